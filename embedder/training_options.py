"""How to train, and hearing how it goes; imports no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from embedder.errors import PhotoError, TrainingError
from embedder.model_files import Architecture

# The highest amounts that make sense.
_HIGHEST = {
    "rotation": 180.0,
    "zoom": 10.0,
    "stretch": 10.0,
    "closer": 10.0,
    "shift": 1.0,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "tint": 1.0,
    "perspective": 0.45,
    "cover": 1.0,
    "blur": 1.0,
    "jpeg": 95.0,
    "background": 1.0,
    "flip": 1.0,
}


@dataclass(frozen=True)
class Augmentation:
    """How much training photos vary; 0 or False switches a variation off.

    Raises `TrainingError` for an amount that makes no sense.

    Attributes:
        rotation: largest turn, in degrees.
        zoom: largest change of scale, as a share: 0.25 is 1/1.25 to 1.25 times.
        stretch: largest change of the proportions, likewise.
        closer: how much larger things are in the middle of that range than in the photo, as a
            share: 0.25 shows 1/1.25 of the photo's side.
        shift: largest move, as a share of the side.
        flip: mirror half of the photos. A mirrored item is another item in some catalogues.
        brightness: largest change, as a share of full white.
        contrast: largest change of the contrast, as a share.
        saturation: largest change of the saturation, as a share.
        tint: largest change of one colour channel, as a share.
        perspective: largest tilt, as a share: 0.1 makes one side up to 1.1/0.9 times as long as the
            opposite one. Below 0.5.
        cover: the area that one rectangle covers at most, as a share of the photo's; it lies on
            half of the photos.
        blur: largest standard deviation of a Gaussian blur, as a share of the side; a quarter of
            the photos are blurred.
        jpeg: lowest quality of JPEG compression, 1 to 95; a quarter of the photos are compressed.
        background: share of the photos with a plain or transparent background that get another one.
    """

    rotation: float = 15.0
    zoom: float = 0.25
    stretch: float = 0.1
    shift: float = 0.1
    flip: bool = False
    brightness: float = 0.05
    contrast: float = 0.08
    saturation: float = 0.1
    tint: float = 0.03
    perspective: float = 0.1
    cover: float = 0.0
    blur: float = 0.0
    jpeg: int = 0
    background: float = 0.0
    closer: float = 0.0

    def __post_init__(self) -> None:
        for part in fields(self):
            _refuse_senseless(part.name, getattr(self, part.name))

    def varied(self, amounts: dict[str, float]) -> Augmentation:
        """The same with other amounts of some variations, by name.

        Raises:
            TrainingError: there is no such variation, or an amount makes no sense.
        """
        kinds = {part.name: type(getattr(Augmentation, part.name)) for part in fields(self)}
        for name, amount in amounts.items():
            if name not in kinds:
                raise TrainingError(f"expected a variation ({', '.join(kinds)}), found '{name}'")
            _refuse_senseless(name, amount, whole=kinds[name] is not float)
        return replace(self, **{name: kinds[name](amount) for name, amount in amounts.items()})


def _refuse_senseless(name: str, amount: float, whole: bool = False) -> None:
    if not 0 <= amount <= _HIGHEST[name] or (whole and amount != int(amount)):
        number = "a whole number " if whole else ""
        raise TrainingError(
            f"expected {name} {number}from 0 to {_HIGHEST[name]:g}, found {amount:g}"
        )


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        architecture: the network.
        weights: None, "imagenet", or a .h5 file of the backbone; see `build_network`.
        epochs: at most this many.
        patience: stop after so many epochs without a better one.
        items_per_batch: P.
        photos_per_item: K.
        learning_rate: the highest; it rises over the first steps and falls as a cosine.
        loss: "hard", each photo with the farthest of its item and the nearest of another, or
            "semi-hard", with the nearest of another that is farther than the one of its item.
        margin: of the triplet loss; None for the soft margin of "hard", and 0.2 between squared
            distances of "semi-hard".
        softmax: weight of a softmax over all items beside the triplets; 0 for none.
        mining: draw every other batch from look-alike items, where there are many items. It tells
            the items trained on better apart; for items that come later it may not be better.
        seed: decides everything random.
        augmentation: how much photos vary.
        backgrounds: a folder of photos to put behind items, as far as `augmentation.background`
            says; None for other photos of the catalogue and generated pictures.
        frozen: leave the backbone as `weights` have it and train the head alone, on features that
            are computed once (`embedder.frozen`).
        training_size: side of the photos while training, at most that of `architecture`, which
            photos are embedded at; None for the same. A smaller one trains as much faster as it has
            fewer pixels.
    """

    architecture: Architecture = field(default_factory=Architecture)
    weights: str | None = None
    epochs: int = 40
    patience: int = 12
    items_per_batch: int = 32
    photos_per_item: int = 4
    learning_rate: float = 1e-3
    loss: Literal["hard", "semi-hard"] = "hard"
    margin: float | None = None
    softmax: float = 0.0
    mining: bool = True
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    backgrounds: str | None = None
    training_size: int | None = None
    frozen: bool = False

    @property
    def side_trained_at(self) -> int:
        """Side of the photos while training, in pixels."""
        return self.training_size or self.architecture.size


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    Attributes:
        epoch: from 1.
        epochs: at most.
        loss: mean over its steps.
        candidate_accuracy: on held-out photos, with 10 candidates, each photo by itself; None if
            every item has too few photos to hold one out.
        top1: on held-out photos, among all items, or 500 of them; None likewise.
        learning_rate: of the last step.
        photos_per_second: trained, augmentation and loss included.
        seconds_left: if it does not stop early.
        best: whether no epoch before was better.
    """

    epoch: int
    epochs: int
    loss: float
    candidate_accuracy: float | None
    top1: float | None
    learning_rate: float
    photos_per_second: float
    seconds_left: float
    best: bool


class Listener:
    """Hears how a training goes; override what is of interest."""

    def decoded(self, done: int, total: int) -> None:
        """A photo was decoded into the cache."""

    def features(self, done: int, total: int) -> None:
        """The frozen backbone has looked at so many photos of all."""

    def unreadable(self, photos: tuple[PhotoError, ...]) -> None:
        """These photos could not be read and are left out."""

    def waiting(self, workers: list[str]) -> None:
        """Waits for these workers, on other hosts."""

    def resumed(self, epoch: int) -> None:
        """Goes on with an unfinished training, after this epoch."""

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """One batch was learned from."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch is finished and its checkpoint written."""
