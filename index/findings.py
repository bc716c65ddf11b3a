"""What an audit says of a catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Mislabelled:
    """A photo that likely shows another item.

    Attributes:
        photo: its path.
        item_id: what it is filed under.
        shown: the item it seems to show.
        share: of the photos that are most like it, how many are of that item.
        own_share: how many of them are of the item it is filed under.
        shown_photo: a typical photo of the item it seems to show.
    """

    photo: str
    item_id: str
    shown: str
    share: float
    own_share: float
    shown_photo: str


@dataclass(frozen=True)
class Duplicate:
    """A photo that is there already.

    Attributes:
        photo: its path.
        item_id: what it is filed under.
        of: the photo to keep.
        of_item: what that is filed under.
        likeness: of their pixels, up to 1; 1 for the same file.
        same: what is the same: the "file" itself, listed twice or linked to; its "bytes"; or the
            "look" alone.
    """

    photo: str
    item_id: str
    of: str
    of_item: str
    likeness: float
    same: Literal["file", "bytes", "look"]


@dataclass(frozen=True)
class LookAlikes:
    """Two items that will be taken for each other.

    Attributes:
        item_id: the one that is taken for the other more often.
        other: that other one.
        confusion: the probability that a photo of the first is taken for the other, if these two
            are the candidates.
        reverse: the same the other way round.
        photo: the photo of the first that is most like the other.
        other_photo: a typical photo of the other.
        photos: how many the first has.
        other_photos: how many the other has.
    """

    item_id: str
    other: str
    confusion: float
    reverse: float
    photo: str
    other_photo: str
    photos: int
    other_photos: int


@dataclass(frozen=True)
class Outlier:
    """A photo that is like no item.

    Attributes:
        photo: its path.
        item_id: what it is filed under.
        reason: "of one colour", "blurred" or "like no item".
        oddness: how far it is from all items, in robust standard deviations, 6 or more; None of one
            that is told by its pixels.
        typical_photo: a typical photo of its item.
    """

    photo: str
    item_id: str
    reason: str
    oddness: float | None
    typical_photo: str


@dataclass(frozen=True)
class FewPhotos:
    """An item with too few photos.

    Attributes:
        item_id: its id.
        photos: how many it has that can be used: each once, without those listed as mislabelled or
            as outliers.
    """

    item_id: str
    photos: int


@dataclass(frozen=True)
class Unreadable:
    """A photo that cannot be read.

    Attributes:
        photo: its path.
        item_id: what it is filed under.
        reason: why.
    """

    photo: str
    item_id: str
    reason: str


@dataclass(frozen=True)
class WrongLabels:
    """How many photos of one item show another, by confident learning.

    Attributes:
        item_id: what they are filed under.
        shown: what they seem to show.
        photos: that were counted.
        estimated: how many there are in all.
    """

    item_id: str
    shown: str
    photos: int
    estimated: float


@dataclass(frozen=True)
class Audit:
    """What an audit found; the worst of each kind first.

    Attributes:
        items: in the catalogue.
        photos: that were looked at.
        mislabelled: photos that likely show another item.
        duplicates: photos that are there already.
        look_alikes: pairs of items that will be taken for each other.
        outliers: photos that are like no item.
        few_photos: items with too few.
        unreadable: photos that cannot be read.
        wrong_labels: counts of photos that seem to show another item, by items.
    """

    items: int
    photos: int
    mislabelled: tuple[Mislabelled, ...]
    duplicates: tuple[Duplicate, ...]
    look_alikes: tuple[LookAlikes, ...]
    outliers: tuple[Outlier, ...]
    few_photos: tuple[FewPhotos, ...]
    unreadable: tuple[Unreadable, ...]
    wrong_labels: tuple[WrongLabels, ...]
