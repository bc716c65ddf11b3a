"""The model folder: model.json, weights.safetensors, model.tflite, and often held_out.vectors.

Everything needed to embed photos with a trained model is read here without TensorFlow. Each file
is checked against the SHA-256 in model.json before it is used.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from embedder.errors import ModelError

SCHEMA_VERSION = 1
DIM = 100
POOLINGS = ("mean", "gem")

MODEL_JSON = "model.json"
WEIGHTS = "weights.safetensors"
LITERT = "model.tflite"
HELD_OUT = "held_out.vectors"

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
    """

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
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: expected a model folder, found none: train one with 'embed train', "
            "or name one with --model"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ModelError(
            f"{path}: expected schema version {SCHEMA_VERSION}, found {version}: "
            "written by a newer version of embed; upgrade it"
        )
    if version != SCHEMA_VERSION:
        raise ModelError(f"{path}: expected schema version {SCHEMA_VERSION}, found {version!r}")
    if document.get("preprocessing") != PREPROCESSING:
        raise ModelError(
            f"{path}: expected preprocessing {PREPROCESSING}, found "
            f"{document.get('preprocessing')}: train again with this version of embed"
        )
    try:
        return _info(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a valid model description: {error}") from error


def read_checked(folder: Path, name: str, info: ModelInfo) -> bytes:
    """The bytes of one file of the model, after its SHA-256 was found to be the one expected.

    Raises:
        ModelError: the file is missing or is not the one that model.json was written with.
    """
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != info.sha256[name]:
        raise ModelError(
            f"{path}: expected SHA-256 {info.sha256[name][:12]}..., found {found[:12]}...: "
            "the file is damaged or of another model; train again or restore the folder"
        )
    return content


def _info(document: dict[str, Any]) -> ModelInfo:
    known = {item.name for item in fields(Architecture)}
    described = document["architecture"]
    if not known - {"pooling"} <= set(described) <= known:
        raise ValueError(f"expected architecture with {sorted(known)}, found {sorted(described)}")
    architecture = Architecture(**described)
    _expect(isinstance(architecture.backbone, str), "backbone", architecture.backbone)
    _expect(architecture.pooling in POOLINGS, "pooling", architecture.pooling)
    alpha = architecture.alpha
    _expect(alpha is None or isinstance(alpha, int | float), "alpha", alpha)
    for name in ("size", "dim"):
        value = getattr(architecture, name)
        _expect(type(value) is int and 1 <= value <= 4096, name, value)
    temperature = document["temperature"]
    _expect(_divides(temperature), "temperature", temperature)
    whitened = document.get("whitened_temperature")  # models from before it have none
    _expect(whitened is None or _divides(whitened), "whitened_temperature", whitened)
    sha256 = document["sha256"]
    # Models from before it, and of photos too few to hold some out, have no held_out.vectors.
    for name in (LITERT, WEIGHTS, *({HELD_OUT} & set(sha256))):
        value = sha256[name]
        _expect(isinstance(value, str) and len(value) == 64, f"sha256 of {name}", value)
    return ModelInfo(
        architecture,
        float(temperature),
        dict(document["training"]),
        dict(sha256),
        None if whitened is None else float(whitened),
    )


def _divides(temperature: Any) -> bool:
    return type(temperature) in (int, float) and bool(1e-6 <= temperature <= 1e6)


def _expect(holds: bool, name: str, found: object) -> None:
    if not holds:
        raise ValueError(f"{name} cannot be {found!r}")
