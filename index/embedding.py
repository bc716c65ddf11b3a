"""Embedding the photos of some items of a catalogue, but for those whose content is known."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

from embedder.catalogue import Catalogue
from embedder.errors import PhotoError
from embedder.inference import Embedder, Vector
from embedder.parallel import ordered_map
from embedder.photos import Pixels, photo_name, prepare, read_photo
from index.kept_photos import KeptPhoto, KeptPhotos
from index.signatures import State, settled_states

# A thread takes so many photos at once: one by one, handing them over takes 5 % of the time.
_PHOTOS_AT_ONCE = 16

Known = Callable[[str], dict[bytes, KeptPhoto]]  # what was kept of an item, by name


class Embedded(NamedTuple):
    """What came of one photo.

    Attributes:
        item_id: its item.
        name: its path within the catalogue.
        state: of its file, when it was read.
        result: float32 (dim,), or why it cannot be read.
        new: whether it was embedded now; not if it was known from before, or cannot be read.
        digest: of its content; nothing if it cannot be read.
    """

    item_id: str
    name: str
    state: State
    result: Vector | PhotoError
    new: bool
    digest: bytes


class _Asked(NamedTuple):
    photo: str
    name: str
    state: State
    known: KeptPhoto | None  # if its file is unchanged
    alike: tuple[KeptPhoto, ...]  # photos of the item whose files are as large


class _Prepared(NamedTuple):
    state: State
    digest: bytes
    pixels: Pixels


class _Question(NamedTuple):
    item_id: str
    asked: list[_Asked]
    gone: set[bytes]  # names that are no longer photos of the item, with the last of its questions


class _Answer(NamedTuple):
    state: State
    result: KeptPhoto | PhotoError
    new: bool


def embed_photos(
    catalogue: Catalogue,
    items: Sequence[str],
    kept: KeptPhotos,
    embedder: Embedder,
    jobs: int | None,
) -> Iterator[Embedded]:
    """The vectors of all photos of some items, item by item, in the order of the catalogue.

    A photo whose file is as before, or has the content of one that was kept of the same item, is
    not embedded. Puts what is new into `kept`, without committing it, and takes out what has gone.

    Raises:
        IndexFileError: `kept` cannot be read or written.
        ModelError: LiteRT cannot load the model.
    """
    questions = _questions(catalogue, items, kept.of_item)
    with closing(ordered_map(partial(_answer, embedder), questions, jobs)) as answered:
        for question, answers in answered:
            pairs = zip(question.asked, answers, strict=True)
            changed = [
                (os.fsencode(one.name), answer.result)
                for one, answer in pairs
                if isinstance(answer.result, KeptPhoto) and answer.result is not one.known
            ]
            kept.put(question.item_id, changed)
            kept.remove(question.item_id, question.gone)
            yield from _embedded(question, answers)


def look_up_photos(
    catalogue: Catalogue, known: Known, embedder: Embedder, jobs: int | None, *, moved: bool
) -> Iterator[Embedded]:
    """`embed_photos` of all items, which leaves what is kept as it is.

    Args:
        catalogue: items and photos.
        known: gives what was kept of an item, by name.
        embedder: the model that it was kept with.
        jobs: threads; all cores unless given.
        moved: this is not the catalogue that photos were kept of: only their content says which
            are the same, and not their names.

    Raises:
        ModelError: LiteRT cannot load the model.
    """
    questions = _questions(catalogue, tuple(catalogue.items), known, moved)
    with closing(ordered_map(partial(_answer, embedder), questions, jobs)) as answered:
        for question, answers in answered:
            yield from _embedded(question, answers)


def _embedded(question: _Question, answers: Sequence[_Answer]) -> Iterator[Embedded]:
    for one, (state, result, new) in zip(question.asked, answers, strict=True):
        if isinstance(result, KeptPhoto):
            yield Embedded(question.item_id, one.name, state, result.vector, new, result.digest)
        else:
            yield Embedded(question.item_id, one.name, state, result, new, b"")


def _questions(
    catalogue: Catalogue, items: Sequence[str], kept: Known, moved: bool = False
) -> Iterator[_Question]:
    for item_id in items:
        known = kept(item_id)
        of_size: dict[int, list[KeptPhoto]] = {}
        for photo in known.values():
            of_size.setdefault(photo.size, []).append(photo)
        photos = catalogue.items[item_id]
        names = catalogue.within(photos)
        for start in range(0, len(photos), _PHOTOS_AT_ONCE):
            part = slice(start, start + _PHOTOS_AT_ONCE)
            states = settled_states(photos[part])
            files = zip(photos[part], names[part], states, strict=True)
            last = start + _PHOTOS_AT_ONCE >= len(photos)
            gone = known.keys() - set(map(os.fsencode, names)) if last else set()
            named = {} if moved else known
            yield _Question(item_id, [_ask(*file, named, of_size) for file in files], gone)


def _ask(
    photo: str,
    name: str,
    state: State,
    known: dict[bytes, KeptPhoto],
    of_size: dict[int, list[KeptPhoto]],
) -> _Asked:
    found = known.get(os.fsencode(name))
    same = found is not None and (found.size, found.changed) == state
    alike = () if same else tuple(of_size.get(state[0], ()))
    return _Asked(photo, name, state, found if same else None, alike)


def _answer(embedder: Embedder, question: _Question) -> tuple[_Question, list[_Answer]]:
    # All are decoded before the network runs: by turns, decoding and the network push each other's
    # data out of the processor's caches, for 5 to 10 % of the time.
    size = embedder.info.architecture.size
    looked = [_look(one, size) for one in question.asked]
    pairs = zip(question.asked, looked, strict=True)
    return question, [
        _embed(embedder, one, found) if isinstance(found, _Prepared) else found
        for one, found in pairs
    ]


def _look(asked: _Asked, size: int) -> _Answer | _Prepared:
    """The vector of a photo if it is known, why it cannot be read, or what the network takes."""
    if asked.known is not None:
        return _Answer(asked.state, asked.known, False)
    state = asked.state
    try:
        content = read_photo(asked.photo)
        # A file that was changed meanwhile is looked at again next time.
        (after,) = settled_states([asked.photo])
        if after != state:
            state = (after[0], time.time_ns())
        digest = hashlib.sha256(content).digest()[:16]
        for photo in asked.alike:
            if photo.digest == digest:
                return _Answer(state, KeptPhoto(*state, digest, photo.vector), False)
        return _Prepared(state, digest, prepare(content, size, photo_name(asked.photo)))
    except PhotoError as error:
        return _Answer(state, error, False)


def _embed(embedder: Embedder, asked: _Asked, photo: _Prepared) -> _Answer:
    vector = embedder.embed_prepared(photo.pixels, photo_name(asked.photo))
    if isinstance(vector, PhotoError):
        return _Answer(photo.state, vector, False)
    return _Answer(photo.state, KeptPhoto(*photo.state, photo.digest, vector), True)
