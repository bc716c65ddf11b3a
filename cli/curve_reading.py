"""What a learning curve says: figures with intervals, and what to do in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from embedder.learning_curve import Curve, CurvePoint
from index.measures import Figure, mean_figure, resampled

_ONE_TRAINING = (
    "Each figure is of one training, whose luck no interval holds: a point or two may be luck."
)
_ENOUGH = 0.005  # half a point: who takes photos for less does it for nothing


@dataclass(frozen=True)
class CurveFigure:
    """One training of a learning curve.

    Attributes:
        photos: an item, at most.
        epochs: at most.
        accuracy: share right among 10 candidates, each photo by itself.
    """

    photos: int
    epochs: int
    accuracy: Figure


@dataclass(frozen=True)
class CurveReading:
    """What a learning curve says.

    Attributes:
        items: of the photos that were tested.
        tested: photos, which no training saw.
        figures: one a training.
        more_photos: what the last step to more photos gained; None where there was one step only.
        more_epochs: what the last step to more epochs gained, with all photos.
        advice: what to do, in sentences.
    """

    items: int
    tested: int
    figures: tuple[CurveFigure, ...]
    more_photos: Figure | None
    more_epochs: Figure | None
    advice: tuple[str, ...]


def read_curve(curve: Curve) -> CurveReading:
    """Put intervals to the figures of a learning curve, and say what follows from them.

    All trainings were tested with the same photos, so that what a step gained is the mean of
    differences, whose interval is narrower than those of the figures. Intervals are of other items;
    how much another training of the same photos would differ is not in them.
    """
    items = int(curve.item.max()) + 1
    weights = resampled(items)
    found = {(point.photos, point.epochs): point for point in curve.points}
    photos = sorted({point.photos for point in curve.points})
    epochs = sorted({point.epochs for point in curve.points})
    best = max(epochs, key=lambda count: float(found[photos[-1], count].right.mean()))

    def gain(before: CurvePoint, after: CurvePoint) -> Figure:
        return mean_figure(after.right - before.right, curve.item, weights)

    more_photos = more_epochs = None
    if len(photos) > 1:
        more_photos = gain(found[photos[-2], best], found[photos[-1], best])
    if len(epochs) > 1:
        more_epochs = gain(found[photos[-1], epochs[-2]], found[photos[-1], epochs[-1]])
    by_photos = [float(found[count, best].right.mean()) for count in photos]
    return CurveReading(
        items,
        len(curve.item),
        tuple(
            CurveFigure(point.photos, point.epochs, mean_figure(point.right, curve.item, weights))
            for point in curve.points
        ),
        more_photos,
        more_epochs,
        (
            *_on_photos(photos, by_photos, more_photos),
            *_on_epochs(epochs, best, more_epochs),
            _ONE_TRAINING,
        ),
    )


def _on_photos(photos: list[int], right: list[float], gain: Figure | None) -> list[str]:
    if gain is None:
        return [f"All items have about {photos[0]} photos: take more to see whether they help."]
    step = f"from {photos[-2]} to {photos[-1]} photos an item: {_points(gain)}"
    if gain.low > 0 and gain.value >= _ENOUGH:
        return [f"More photos still help ({step}): take more, of items that are confused first."]
    enough = next(
        n for n, share in zip(photos, right, strict=True) if share >= max(right) - _ENOUGH
    )
    if gain.high < _ENOUGH:
        return [f"More photos gain nothing worth taking them ({step}): {enough} an item do."]
    return [
        f"Whether more photos help cannot be told from so few ({step}); {enough} an item may do."
    ]


def _on_epochs(epochs: list[int], best: int, gain: Figure | None) -> list[str]:
    if gain is None:
        return []
    step = f"from {epochs[-2]} to {epochs[-1]}: {_points(gain)}"
    if gain.low > 0 and gain.value >= _ENOUGH:
        return [f"More epochs help ({step}): train with --epochs {epochs[-1]}."]
    if gain.high < _ENOUGH:
        return [f"More epochs gain nothing worth waiting for ({step}): {best} were best."]
    return [f"Whether more epochs help cannot be told ({step}); {best} were best."]


def _points(gain: Figure) -> str:
    value, low, high = (100 * part for part in gain)
    return f"{value:+.1f} points, {low:+.1f} to {high:+.1f}"
