"""Every error that this package raises on purpose.

    EmbedError
    ├── PhotoError          one photo cannot be read; carries its name and the reason
    ├── CatalogueError      a catalogue folder, manifest or file of vectors is not as expected
    ├── ModelError          a model is missing, damaged, or does not fit the index
    ├── TrainingError       training cannot start or go on
    ├── ExportError         a model cannot be exported as asked for
    ├── ClusterError        a Dask cluster cannot be reached, or its workers are not as expected
    ├── MissingExtraError   an optional dependency is not installed; names the extra
    ├── IndexFileError      an index file is missing, damaged or of another version
    │   └── IndexBusyError  another process is writing it
    └── CandidateError      the list of candidates is empty, unreadable or names unknown items

Messages are one line: what was expected, what was found, where, and what to do.
"""

from __future__ import annotations


def in_one_line(error: object, most: int = 200) -> str:
    """What an error says, in so many characters of one line, all printable.

    It may quote what is damaged.
    """
    text = " ".join(str(error).split())[:most]
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class EmbedError(Exception):
    """Base of all errors of this package; the message is one line, ready to be shown."""


class PhotoError(EmbedError):
    """One photo cannot be read.

    Attributes:
        photo: its path, or a name for a photo that has no path.
        reason: why, in a few words.
    """

    def __init__(self, photo: str, reason: str) -> None:
        super().__init__(f"{photo}: {reason}")
        self.photo = photo
        self.reason = reason

    def __reduce__(self) -> tuple[type[PhotoError], tuple[str, str]]:
        """For another process: as it was made."""
        return type(self), (self.photo, self.reason)


class CatalogueError(EmbedError):
    """A catalogue folder, a manifest or a file of vectors is not as expected."""


class ModelError(EmbedError):
    """A model is missing, damaged, of another version, or does not fit the index."""


class TrainingError(EmbedError):
    """Training cannot start or cannot go on."""


class ExportError(EmbedError):
    """A model cannot be exported as asked for, or the export disagrees with the model."""


class MissingExtraError(EmbedError):
    """An optional dependency is not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the extra [{extra}]: pip install 'embed-match[{extra}]'")


class ClusterError(EmbedError):
    """A Dask cluster cannot be reached, or its workers are not as expected."""


class IndexFileError(EmbedError):
    """An index file is missing, damaged, or of another version."""


class IndexBusyError(IndexFileError):
    """Another process is writing the index file."""


class CandidateError(EmbedError):
    """The list of candidates is empty, unreadable, or names items that the index does not have."""
