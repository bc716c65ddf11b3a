"""What one would write without `embed`: TensorFlow, Keras and FAISS, as their guides show.

`python naive_match.py MODEL.keras INDEX.faiss ALL_IDS CANDIDATES PHOTOS...` prints the best
candidate of each photo. `benchmarks/speed.py` times it beside `embed match`.
"""

import sys
from pathlib import Path

import faiss
import numpy as np
import tensorflow as tf

model_path, index_path, all_ids, candidates, *photos = sys.argv[1:]
model = tf.keras.models.load_model(model_path)
index = faiss.read_index(index_path)
ids = Path(all_ids).read_text(encoding="utf-8").split()
row_of = {item_id: row for row, item_id in enumerate(ids)}
rows = np.array([row_of[item_id] for item_id in Path(candidates).read_text("utf-8").split()])

size = model.input_shape[1:3]
pixels = [tf.keras.utils.img_to_array(tf.keras.utils.load_img(p, target_size=size)) for p in photos]
vectors = model.predict(np.stack(pixels), verbose=0)
parameters = faiss.SearchParameters(sel=faiss.IDSelectorBatch(rows))
scores, found = index.search(vectors, 1, params=parameters)
for photo, score, row in zip(photos, scores[:, 0], found[:, 0], strict=True):
    print(photo, ids[row], round(float(score), 4))
