"""An index, wherever it is: in a file of SQLite, or in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFileError, PhotoError
from index.database import only_writer, refuse_folder
from index.places import DatabaseUrl, Place, Where, place_of
from index.rows import Item, Row
from index.schema import IndexInfo
from index.store import Store, stamp_of

if TYPE_CHECKING:
    from index.store_writing import WritableStore

Result = TypeVar("Result")


class AnyStore(Protocol):
    """What matching, searching and editing need of an open index.

    `index.store.Store` says what each method does, takes and raises; it is a file, and can be built
    besides. `index.postgres.PostgresStore` is the other one.
    """

    @property
    def path(self) -> Place:
        """Where it is, to be shown."""

    info: IndexInfo

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def __len__(self) -> int: ...
    def at_one_moment(self) -> AbstractContextManager[None]: ...
    def stamp(self) -> tuple[int, int, int]: ...
    def photo_count(self) -> int: ...
    def has(self, item_id: str) -> bool: ...
    def ids(self) -> Iterator[str]: ...
    def neighbours(self, item_id: str, count: int) -> list[str]: ...
    def problems(
        self, check: Literal["quick_check", "integrity_check"], most: int
    ) -> list[str]: ...
    def unreadable(self) -> tuple[PhotoError, ...]: ...
    def centroids(self, ids: Iterable[str]) -> tuple[npt.NDArray[np.float32], list[str]]: ...
    def statistics(self, ids: Iterable[str]) -> dict[str, Row]: ...
    def references(self, ids: Iterable[str]) -> dict[str, Path]: ...
    def added(self, ids: Iterable[str]) -> set[str]: ...
    def rows_after(self, number: int, most: int) -> list[tuple[Any, ...]]: ...
    def rows_numbered(self, numbers: Sequence[int]) -> list[tuple[Any, ...]]: ...
    def numbers_from(self, numbers: Sequence[int]) -> list[int]: ...
    def ends(self) -> tuple[int, int]: ...
    def spreads(self) -> Iterator[tuple[object, object]]: ...
    def part(self, name: str) -> object: ...
    def damaged_ids(self) -> IndexFileError: ...


class AnyWritableStore(AnyStore, Protocol):
    """What changing an open index needs besides, as `index.store_writing.WritableStore` says it."""

    def put(self, item: Item) -> None: ...
    def put_unreadable(self, item_id: str, photos: Iterable[PhotoError]) -> None: ...
    def remove(self, ids: Iterable[str]) -> None: ...
    def put_part(self, name: str, content: bytes | None) -> None: ...
    def commit(self) -> None: ...


def open_store(where: Where) -> AnyStore:
    """Open an index that is there, for reading.

    Args:
        where: a file, or the `postgresql://` URL of a database.

    Raises:
        IndexFileError: there is none, it is damaged, of a newer version, or cannot be reached.
        MissingExtraError: a URL without the extra [postgres].
    """
    place = place_of(where)
    if isinstance(place, DatabaseUrl):
        from index.postgres import PostgresStore

        return PostgresStore.open(place)
    return Store.open(place)


def change_store(
    place: Place, change: Callable[[AnyWritableStore], Result], other: str = "another process"
) -> Result:
    """Let something change an index that is there, and commit that, while nobody else writes it.

    Args:
        place: of the index.
        change: does all of it; it may be called once more where a connection was lost.
        other: who is writing it if somebody is, for the message.

    Raises:
        IndexFileError: as `open_store`, or the index is being written.
    """
    if isinstance(place, DatabaseUrl):
        from index.postgres import change_database

        return change_database(place, change)
    refuse_folder(place)
    return change_file(place, change, other)


def change_file(
    path: Path, change: Callable[[WritableStore], Result], other: str = "another process"
) -> Result:
    """As `change_store`, of what is known to be no database."""
    from index.store_writing import WritableStore

    Store.open(path).close()  # where there is none, not even a lock is written
    with only_writer(path, other), WritableStore.open(path) as store:
        return change(store)


def place_stamp(place: Place) -> tuple[int, int, int]:
    """What `AnyStore.stamp` of an index would give that is opened after this.

    Raises:
        OSError: there is no such file.
        IndexFileError: as `open_store`.
    """
    if isinstance(place, DatabaseUrl):
        with open_store(place) as store:
            return store.stamp()
    return stamp_of(place)
