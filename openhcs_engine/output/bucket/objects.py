"""The objects below a URL: read, put, listed and removed, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import google_crc32c

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.address import OBJECT_STORES, changed_ns, remote, store_errors
from openhcs_engine.output.listing import PresentFile

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MEMORY: Final = "memory"
_AT_ONCE: Final = 8
"""Requests in flight. Files that are sent lie in memory, up to 100 MB each."""
_BLOCK: Final = 1 << 25
"""Bytes that are fetched at a time where a whole object need not be in memory."""
_MAGIC: Final = frozenset("*?[")
"""Letters in a name that fsspec takes for a pattern where it removes many at once."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Bucket:
    """Objects below a URL, by paths relative to it."""

    url: str

    def __post_init__(self) -> None:
        if self.protocol not in OBJECT_STORES:
            raise OutputPlaceError(
                f"The output {self.url} is a URL of a kind that takes no results: wells are published by putting whole "
                f"objects, as object stores do ({', '.join(sorted(OBJECT_STORES))}). Choose one of these, or a folder "
                "of this host or of a network drive.",
                path=self.url,
            )

    @property
    def protocol(self) -> str:
        """What stands before ``://``."""
        return self.url.partition("://")[0]

    @property
    def at_once(self) -> int:
        """Requests in flight; fsspec's own memory is one dictionary, which threads share unguarded."""
        return 1 if self.protocol == MEMORY else _AT_ONCE

    def objects(self, prefix: str = "") -> dict[str, PresentFile]:
        """Every object below a folder, as it is now."""
        with self._bucket_needed(), self._errors(f"listing {prefix or 'the output'}"):
            listed = self._store.find(self._path(prefix), detail=True)
        return {
            path: PresentFile(int(about.get("size") or 0), changed_ns(about))
            for name, about in (listed or {}).items()
            if (path := str(name).removeprefix(f"{self._folder}/")) and about.get("type") != "directory"
        }

    def names(self, prefix: str = "") -> list[str]:
        """Names one level below a folder, objects and folders; empty if there is nothing."""
        with self._errors(f"listing {prefix or 'the output'}"), suppress(FileNotFoundError):
            listed = self._store.ls(self._path(prefix), detail=False)
            return sorted({str(name).rstrip("/").rpartition("/")[2] for name in listed})
        return []

    def read(self, path: str) -> bytes:
        """Content of an object; FileNotFoundError if there is none."""
        with self._errors(f"reading {path}"):
            content: bytes = self._store.cat_file(self._path(path))
        return content

    def read_or_none(self, path: str) -> bytes | None:
        """Content of an object; None if there is none."""
        with suppress(FileNotFoundError):
            return self.read(path)
        return None

    def read_all(self, paths: Collection[str]) -> dict[str, bytes]:
        """Contents of objects; those that are not there are left out."""
        with ThreadPoolExecutor(self.at_once) as threads:
            contents = zip(paths, threads.map(self.read_or_none, paths), strict=True)
            return {path: content for path, content in contents if content is not None}

    def exists(self, path: str) -> bool:
        """True if there is an object of this name."""
        with self._errors(f"looking for {path}"):
            return bool(self._store.isfile(self._path(path)))

    def checksum(self, path: str, size: int) -> int:
        """CRC-32C of an object's content, fetched piece by piece; FileNotFoundError if there is none."""
        crc = 0
        with self._errors(f"reading {path}"):
            for start in range(0, size, _BLOCK):
                end = min(start + _BLOCK, size)
                crc = google_crc32c.extend(crc, self._store.cat_file(self._path(path), start=start, end=end))
        return crc

    def put(self, path: str, content: bytes) -> None:
        """Make or replace an object; others see the old one or the new."""
        with self._sending(f"writing {path}"):
            self._store.pipe_file(self._path(path), content)

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        """``put`` each; whatever stops it, some are there and others are not."""
        self._each(lambda item: self.put(*item), contents.items())

    def upload(self, files: Mapping[str, Path]) -> None:
        """Send files of this host, by the paths that they get; whatever stops it, some are there and others not."""

        def send(item: tuple[str, Path]) -> None:
            with self._sending(f"writing {item[0]}"):
                self._store.put_file(str(item[1]), self._path(item[0]))

        self._each(send, files.items())

    def remove(self, paths: Collection[str]) -> None:
        """Remove objects; those that are not there are fine."""
        if not paths:
            return
        with suppress(FileNotFoundError), self._errors(f"removing {len(paths)} objects"):
            if self.protocol == MEMORY or _MAGIC.intersection(self._folder):
                for path in paths:
                    with suppress(FileNotFoundError):
                        self._store.rm_file(self._path(path))
            else:
                self._store.rm([self._path(path) for path in paths])

    def abort_uploads(self, prefix: str) -> None:
        """Drop the parts of large objects that a dead writer never finished: no listing shows them, and they cost."""
        if self.protocol not in ("s3", "s3a"):
            return
        bucket, _, key = self._path(prefix).partition("/")
        with suppress(Exception):  # stores that keep no list of them, or forbid it, have rules that end them
            listed = self._store.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{key}/")
            for upload in listed.get("Uploads", ()):
                self._store.call_s3(
                    "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )

    def _each(self, do: Callable[[Item], None], items: Iterable[Item]) -> None:
        with ThreadPoolExecutor(self.at_once) as threads:
            waiting = [threads.submit(do, item) for item in items]
            try:
                for done in waiting:
                    done.result()
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise

    @cached_property
    def _remote(self) -> tuple[AbstractFileSystem, str]:
        # Listings are never kept: what others just put decides who may write.
        return remote(self.url, use_listings_cache=False)

    @property
    def _store(self) -> AbstractFileSystem:
        return self._remote[0]

    @property
    def _folder(self) -> str:
        return self._remote[1]

    def _path(self, path: str) -> str:
        return f"{self._folder}/{path}" if path else self._folder

    @contextmanager
    def _sending(self, doing: str) -> Iterator[None]:
        with self._bucket_needed(), self._errors(doing):
            yield

    @contextmanager
    def _bucket_needed(self) -> Iterator[None]:
        """What is missing where objects are put or listed is the bucket."""
        try:
            yield
        except FileNotFoundError as error:
            if error.filename is not None:  # a file of this host that was to be sent
                raise
            raise OutputPlaceError(
                f"{self.url} does not exist; create the bucket, or choose another output.", path=self.url
            ) from error

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return store_errors(self.url, doing, "Finished wells are kept.")


def is_around(outer: str, inner: str) -> bool:
    """True if one URL is the other, or a folder above it."""
    return f"{inner.rstrip('/')}/".startswith(f"{outer.rstrip('/')}/")


__all__ = ["MEMORY", "Bucket", "is_around"]
