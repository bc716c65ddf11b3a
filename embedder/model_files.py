"""The model folder: model.json, weights.safetensors, model.tflite, and often held_out.vectors.

Everything needed to embed photos with a trained model is read here without TensorFlow. Each file
is checked against the SHA-256 in model.json before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, ClassVar

from embedder.errors import ModelError

SCHEMA_VERSION = 1
DIM = 100
POOLINGS = ("mean", "gem")

MODEL_JSON = "model.json"
WEIGHTS = "weights.safetensors"
LITERT = "model.tflite"
HELD_OUT = "held_out.vectors"

# A folder from elsewhere may hold anything: larger files are not read. The others can have as much
# as LiteRT can address.
_MOST_OF = {MODEL_JSON: 1 << 20, HELD_OUT: 1 << 26}
MOST_BYTES = (1 << 31) - 1

NETWORK_SUFFIXES = (".tflite", ".onnx")

_RESTORE = "train again or restore the folder"

# What `embedder.photos.prepare` does to a photo; a model is good for photos prepared in the same
# way only. Raise the version whenever the same photo would get other pixels.
PREPROCESSING = {"version": 1, "fit": "pad", "fill": [124, 116, 104], "range": [0, 255]}


@dataclass(frozen=True)
class Architecture:
    """What network it is.

    Attributes:
        backbone: "compact", or the name of a function of `keras.applications`.
        alpha: width multiplier of the MobileNet family, or None.
        size: side of the square photos, in pixels.
        dim: numbers in an embedding.
        pooling: how the backbone's features are pooled over the photo: "mean", or "gem", the
            generalised mean with power 3 (Radenovic, Tolias and Chum 2018, "Fine-tuning CNN image
            retrieval with no human annotation"), where what stands out counts for more.
    """

    backbone: str = "compact"
    alpha: float | None = None
    size: int = 96
    dim: int = DIM
    pooling: str = "mean"


@dataclass(frozen=True)
class ModelInfo:
    """What model.json says.

    Attributes:
        architecture: the network.
        temperature: divides the cosine in the softmax that gives a confidence; fitted on photos
            held out of training.
        whitened_temperature: the same for cosines of whitened vectors (`embedder.score_space`),
            where those were better on the photos held out; None where they were not.
        training: facts about the training, for people: items, photos, accuracy, versions ...
        sha256: of each of the other files of the folder, in hexadecimal.
        ready_made: whether it is no model folder, but a network (`embedder.network_files`) that did
            not learn from the catalogue.
    """

    ready_made: ClassVar[bool] = False

    architecture: Architecture
    temperature: float
    training: dict[str, Any] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    whitened_temperature: float | None = None

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same photo might get another embedding; 64 hexadecimal digits."""
        architecture = asdict(self.architecture)
        if self.architecture.pooling == "mean":
            del architecture["pooling"]  # as it was before there was another
        parts = {
            "architecture": architecture,
            "preprocessing": PREPROCESSING,
            "litert": self.sha256[LITERT],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def former_folder(folder: Path) -> Path:
    """Where a model folder lies for the moment in which another takes its place."""
    return folder.parent / f".{folder.name}.old"


def current_folder(folder: Path) -> Path:
    """Where to read a model; not at its place if that was left without one in such a moment."""
    former = former_folder(folder)
    return former if (former / MODEL_JSON).is_file() and not folder.exists() else folder


def is_network(path: Path) -> bool:
    """Whether a path is that of a network in a file of its own, and of no model folder."""
    return path.is_file() or (path.suffix.lower() in NETWORK_SUFFIXES and not path.is_dir())


def write_model_info(folder: Path, info: ModelInfo) -> None:
    """Write model.json; the other files must be in the folder already, and match `info.sha256`."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "preprocessing": PREPROCESSING,
        **asdict(info),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (folder / MODEL_JSON).write_text(text, encoding="utf-8")


def read_model_info(folder: Path) -> ModelInfo:
    """Read and check model.json.

    Raises:
        ModelError: there is no model, or model.json is damaged or of a newer version.
    """
    path = folder / MODEL_JSON
    try:
        document = json.loads(_content(path).decode("utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: expected a model folder, found none: train one with 'embed train', "
            "or name one with --model"
        ) from None
    except NotADirectoryError:
        raise ModelError(
            f"{folder}: expected a model folder, found a file: name another with --model"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}: {_RESTORE}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    found = f"{path}: expected schema version {SCHEMA_VERSION}, found {shortened(version)}"
    if type(version) is not int or version < SCHEMA_VERSION:
        raise ModelError(found)
    if version > SCHEMA_VERSION:
        raise ModelError(f"{found}: written by a newer version of embed; upgrade it")
    if document.get("preprocessing") != PREPROCESSING:
        raise ModelError(
            f"{path}: expected preprocessing {PREPROCESSING}, found "
            f"{shortened(document.get('preprocessing'))}: train again with this version of embed"
        )
    try:
        return _info(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a valid model description: {error}: {_RESTORE}") from error


def read_checked(folder: Path, name: str, info: ModelInfo) -> bytes:
    """The bytes of one file of the model, after its SHA-256 was found to be the one expected.

    Raises:
        ModelError: the file is missing, too large, no file, or not the one that model.json was
            written with.
    """
    path = folder / name
    try:
        content = _content(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != info.sha256[name]:
        raise ModelError(
            f"{path}: expected SHA-256 {info.sha256[name][:12]}..., found {found[:12]}...: "
            f"the file is damaged or of another model; {_RESTORE}"
        )
    return content


def read_bounded(path: Path, most: int) -> bytes:
    """All of a file; of a pipe or a device there is no end.

    Raises:
        ModelError: it has more than so many bytes, or is no file.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: cannot be read: expected a file, found a folder or special file")
    with path.open("rb") as file:
        if (found := os.fstat(file.fileno()).st_size) > most:
            raise ModelError(
                f"{path}: cannot be read: expected at most {most:,} bytes, found {found:,}"
            )
        return file.read(found)


def _content(path: Path) -> bytes:
    return read_bounded(path, _MOST_OF.get(path.name, MOST_BYTES))


def _info(document: dict[str, Any]) -> ModelInfo:
    architecture = _architecture(document["architecture"])
    temperature = document["temperature"]
    _expect(_divides(temperature), "temperature", temperature)
    whitened = document.get("whitened_temperature")  # models from before it have none
    _expect(whitened is None or _divides(whitened), "whitened_temperature", whitened)
    training, sha256 = document["training"], document["sha256"]
    _expect(isinstance(training, dict), "training", training)
    _expect(isinstance(sha256, dict), "sha256", sha256)
    # Models from before it, and of photos too few to hold some out, have no held_out.vectors. Other
    # names could be of any file of the system.
    _expect(set(sha256) - {HELD_OUT} == {LITERT, WEIGHTS}, "files of sha256", sorted(sha256))
    for name, value in sha256.items():
        hexadecimal = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)
        _expect(bool(hexadecimal), f"sha256 of {name}", value)
    return ModelInfo(
        architecture,
        float(temperature),
        training,
        sha256,
        None if whitened is None else float(whitened),
    )


def _architecture(described: Any) -> Architecture:
    _expect(isinstance(described, dict), "architecture", described)
    known = {item.name for item in fields(Architecture)}
    if not known - {"pooling"} <= set(described) <= known:
        raise ValueError(
            f"expected architecture with {sorted(known)}, found {shortened(sorted(described))}"
        )
    architecture = Architecture(**described)
    _expect(isinstance(architecture.backbone, str), "backbone", architecture.backbone)
    _expect(architecture.pooling in POOLINGS, "pooling", architecture.pooling)
    alpha = architecture.alpha
    _expect(alpha is None or (_is_number(alpha) and 0 < alpha <= 100), "alpha", alpha)
    for name in ("size", "dim"):
        value = getattr(architecture, name)
        _expect(type(value) is int and 1 <= value <= 4096, name, value)
    return architecture


def _is_number(value: object) -> bool:
    return type(value) in (int, float)  # JSON's true and false are int too


def _divides(temperature: Any) -> bool:
    return _is_number(temperature) and bool(1e-6 <= temperature <= 1e6)


def _expect(holds: bool, name: str, found: object) -> None:
    if not holds:
        raise ValueError(f"{name} cannot be {shortened(found)}")
