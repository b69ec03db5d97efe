"""Files, and folders of files, under keys: below a local folder or in an object store."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

if TYPE_CHECKING:
    pass
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

DECODING_ERRORS: Final = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, ArithmeticError, AttributeError, MemoryError,
    struct.error,
)  # fmt: skip
"""What decoders raise on damaged files: tifffile and imagecodecs have no common base."""

Result = TypeVar("Result")

ReadFile: TypeAlias = Callable[[str], bytes]
"""Content of one file of a folder; FileNotFoundError if it is not there."""


class FileStore(ABC):
    """Where a backend keeps files. Keys were checked before.

    A *folder* is one value made of several files, one of which has the name ``mark``; it appears whole, as a file does.
    A key without a value raises FileNotFoundError; a key that lies below another one, or is a folder of others,
    NotADirectoryError or IsADirectoryError.
    """

    atomic_rename: bool
    """True if a finished folder can be put in place by one rename."""

    @abstractmethod
    def write(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        """Make a file of what ``fill`` writes, and put it in place of what was there."""

    @abstractmethod
    def write_folder(self, key: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Make a folder of named files, and put it in place of what was there."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open a file for reading; what it reads stays the same while others replace the file."""

    @abstractmethod
    def read_folder(self, key: str, use: Callable[[ReadFile], Result]) -> Result:
        """Call ``use`` with a function that reads files of one folder. ValueError if the key holds just a file.

        If the folder is replaced meanwhile, ``use`` is called again with the new one: it never sees files of both.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """True if a file or a folder with the mark is there."""

    @abstractmethod
    def walk(self, prefix: str) -> Iterator[str]:
        """All keys below a folder of keys, in any order; everything for the empty prefix."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a file or folder."""

    def read(self, key: str) -> bytes:
        """Content of a file."""
        with self.open(key) as file:
            return file.read()

    def open_many(self, keys: Sequence[str]) -> Iterator[BinaryIO]:
        """Open files one after another, in the order of their keys."""
        for key in keys:
            yield self.open(key)

    def read_folders(self, keys: Sequence[str], use: Callable[[ReadFile], Result]) -> Iterator[Result]:
        """``read_folder`` of several keys, in their order."""
        for key in keys:
            yield self.read_folder(key, use)

    def sweep(self) -> int:
        """Remove what dead writers left; returns how many."""
        return 0


__all__ = ["FileStore", "ReadFile"]
