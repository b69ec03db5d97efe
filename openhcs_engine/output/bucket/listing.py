"""The files of an output in an object store, seen as if every publishing that is under way were undone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from openhcs_engine.errors import ManifestError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.output.bucket.object_names import is_as_listed, stored
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.bucket.write_lock import Mark, read_marks
from openhcs_engine.output.layout import CONTEXTS, FREE, PUBLISHING, manifest_name
from openhcs_engine.output.listing import LITTER, OutputFiles, PresentFile
from openhcs_engine.output.manifest import WellManifest, manifest_of_well


@dataclass(frozen=True)
class BucketFiles(OutputFiles):
    """Objects of one output; listed once.

    While a well is published, objects of its old and its new version stand side by side, and after its publisher died
    they stay until somebody settles it. Its manifest decides which of them count; the others are not shown.
    """

    at_once: ClassVar[int] = 8
    bucket: Bucket

    @property
    def address(self) -> str:
        """The URL."""
        return self.bucket.url

    def by_path(self) -> Mapping[str, PresentFile]:
        """Every object but reports, logs, and what belongs to no published version of a well."""
        return self._view.by_path

    def read(self, path: str) -> bytes:
        """Content of an object; of a group that is about to be replaced, the content that counts."""
        content = self._view.groups.get(path)
        return self.bucket.read(path) if content is None else content

    def checksum(self, path: str) -> int:
        """CRC-32C of an object's content."""
        content = self._view.groups.get(path)
        if content is not None:
            return stored(path, content).crc32c
        return self.bucket.checksum(path, self._view.by_path[path].size)

    def is_output(self) -> bool:
        """True if there is a plan, which every run puts before it writes a well."""
        return bool(self.bucket.names(CONTEXTS))

    def outputs_inside(self) -> Sequence[str]:
        """Names of the outputs one level below."""
        return [name for name in self.bucket.names() if self.bucket.names(f"{name}/{CONTEXTS}")]

    @cached_property
    def _view(self) -> _View:
        everything = self.bucket.objects()
        view = _View({path: about for path, about in everything.items() if _counts(path)})
        for mark in read_marks(self.bucket, everything).values():
            if mark is not None:
                view.undo(mark, listed_files(self.bucket, mark.what))
        return view


@dataclass(slots=True)
class _View:
    by_path: dict[str, PresentFile]
    groups: dict[str, bytes] = field(default_factory=dict)
    """Contents that count instead of what is there."""

    def undo(self, mark: Mark, listed: Mapping[str, StoredFile] | None) -> None:
        """Leave out what no version counts; ``listed`` None: the manifest is damaged, and only the new version goes."""
        for path in self._in(mark.places):
            if listed is None:
                if mark.token in path:
                    del self.by_path[path]
            elif path not in listed:
                del self.by_path[path]
        for path, text in mark.groups:
            content = text.encode()
            if path in self.by_path and listed and path in listed and is_as_listed(listed[path], content):
                self.groups[path] = content
                self.by_path[path] = PresentFile(len(content), self.by_path[path].changed_ns)

    def _in(self, paths: Iterable[str]) -> list[str]:
        prefixes = tuple(f"{each}/" for each in paths)
        return [path for path in self.by_path if path.startswith(prefixes) or path in paths]


def listed_files(bucket: Bucket, well: str) -> dict[str, StoredFile] | None:
    """Files of a well's manifest; none without one, None if it is damaged."""
    try:
        manifest = read_well(bucket, well)
    except ManifestError:
        return None
    return {} if manifest is None else {file.path: file for file in manifest.files}


def read_well(bucket: Bucket, well: str) -> WellManifest | None:
    """The manifest of a well; None if there is none, ManifestError if it is damaged."""
    path = manifest_name(well)
    content = bucket.read_or_none(path)
    return None if content is None else manifest_of_well(content, f"{bucket.url}/{path}", well)


def _counts(path: str) -> bool:
    parts = path.split("/")
    return parts[0] not in FREE | {PUBLISHING} and parts[-1] not in LITTER


__all__ = ["BucketFiles", "listed_files", "read_well"]
