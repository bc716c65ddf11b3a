"""A catalogue in a table: CSV or Parquet with the columns item_id and path, read row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedder.errors import CatalogueError, MissingExtraError, in_one_line

CSV, PARQUET = ".csv", ".parquet"
_COLUMNS = ["item_id", "path"]
_AT_ONCE = 10_000  # rows


def is_manifest(path: Path) -> bool:
    """Whether there is a file with the ending of a manifest."""
    return path.suffix.lower() in (CSV, PARQUET) and path.is_file()


def root_of(source: Path) -> Path:
    """The folder that paths within a catalogue start from, of one that may be gone."""
    manifest = source.suffix.lower() in (CSV, PARQUET) and not source.is_dir()
    return source.parent if manifest else source


def manifest_rows(manifest: Path) -> Iterator[tuple[str, str]]:
    """The rows of a manifest one by one, as they come: it is never held whole.

    Of Parquet, the two columns of one row group are held.

    Yields:
        an item's id, not checked yet, and a photo's path as it is there.

    Raises:
        CatalogueError: a row is not as expected, or the file cannot be read.
        MissingExtraError: for Parquet, without the extra [parquet].
    """
    if manifest.suffix.lower() == PARQUET:
        yield from _parquet_rows(manifest)
    else:
        yield from _csv_rows(manifest)


def _csv_rows(manifest: Path) -> Iterator[tuple[str, str]]:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines)
            header = next(rows, [])
            if [name.strip() for name in header[:2]] != _COLUMNS:
                found = " ".join(",".join(header).split()) or "nothing"
                raise CatalogueError(
                    f"{manifest}:1: expected 'item_id,path' in the first line, found '{found}'"
                )
            for row in rows:
                if not row:
                    continue
                if len(row) < 2 or not row[0].strip() or not _is_path(row[1]):
                    where = f"{manifest}:{rows.line_num}"
                    raise CatalogueError(f"{where}: expected 'item_id,path', found {row}")
                # Spaces as people put them behind commas; others are part of what is written.
                yield row[0].strip(" \t"), row[1].strip(" \t")
    except csv.Error as error:
        raise CatalogueError(f"{manifest}:{rows.line_num}: not valid CSV: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(
            f"{manifest}: cannot be read as UTF-8 text: {error}: save it so"
        ) from error


def _parquet_rows(manifest: Path) -> Iterator[tuple[str, str]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtraError("reading Parquet files", "parquet") from None
    try:
        # Not by name: Arrow knows no names that are no texts.
        with manifest.open("rb") as opened, parquet.ParquetFile(opened) as file:
            names = file.schema_arrow.names
            if not set(_COLUMNS) <= set(names):
                raise CatalogueError(
                    f"{manifest}: expected columns 'item_id' and 'path', found {in_one_line(names)}"
                )
            before = 0
            # Group by group: Arrow holds what it has read of all groups that it was asked for.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(_AT_ONCE, [group], _COLUMNS, use_threads=False):
                    yield from _rows_of(manifest, batch, before)
                    before += len(batch)
    except (ArrowException, OSError, ValueError) as error:
        raise CatalogueError(
            f"{manifest}: cannot be read as Parquet: {in_one_line(error)}"
        ) from error


def _rows_of(manifest: Path, batch: Any, before: int) -> Iterator[tuple[str, str]]:
    columns = [_texts(manifest, batch, name) for name in _COLUMNS]
    for row, (item_id, path) in enumerate(zip(*columns, strict=True), before + 1):
        if not (item_id and item_id.strip() and path and _is_path(path)):
            raise CatalogueError(
                f"{manifest}: row {row}: expected 'item_id' and 'path', found "
                f"{in_one_line([item_id, path])}"
            )
        yield item_id, path


def _is_path(text: str) -> bool:
    return bool(text.strip()) and "\0" not in text  # no file is called so, and no system takes it


def _texts(manifest: Path, batch: Any, name: str) -> list[str | None]:
    from pyarrow import types

    column = batch.column(name)
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
        raise CatalogueError(
            f"{manifest}: expected '{name}' as texts, found {in_one_line(column.type)}"
        )
    found: list[str | None] = column.to_pylist()
    return found
