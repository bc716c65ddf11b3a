"""What one would write without `embed`: a folder of photos through a Keras model.

`python naive_build.py MODEL.keras CATALOGUE OUTPUT.npz` writes the mean vector of each folder's
photos, as the Keras guides show, and how long `predict` took. `benchmarks/speed.py` times it beside
`embed build-index`.
"""

import sys
import time

import numpy as np
import tensorflow as tf

model_path, catalogue, output = sys.argv[1:]
model = tf.keras.models.load_model(model_path)
photos = tf.keras.utils.image_dataset_from_directory(
    catalogue, labels=None, image_size=model.input_shape[1:3], shuffle=False, verbose=0
)
started = time.perf_counter()
vectors = model.predict(photos, verbose=0)
seconds = time.perf_counter() - started
folders = np.array([path.split("/")[-2] for path in photos.file_paths])
names = np.unique(folders)
means = np.stack([vectors[folders == name].mean(axis=0) for name in names])
np.savez(output, names=names, means=means, seconds=seconds, photos=len(vectors))
