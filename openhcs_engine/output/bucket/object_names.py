"""Names of a well's objects where nothing can be renamed: each version of a well has a token of its own in its paths.

The images of a well become ``images.zarr/B/03/<token><n>`` (OME-Zarr wants letters and digits), its OME-TIFF files lie
in ``images/B03/<token>/``, its tables are ``tables/<name>/B03.<token>.parquet``, its preview is
``previews/B03.<token>.npz``. Only the well's group and its manifest keep their names, and each of them is replaced by
one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import google_crc32c
import msgspec

from openhcs_engine.errors import StorageError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.ngff.groups import GROUP_FILES
from openhcs_engine.ngff.metadata import document
from openhcs_engine.output.layout import PREVIEWS, TABLES, is_preview, is_zarr
from openhcs_engine.output.manifest import StagedWell, WellManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class WellVersion:
    """A staged well under the names that it gets."""

    well: str
    uploads: Mapping[str, Path]
    """Files of this host, by the paths of their objects."""
    groups: Mapping[str, bytes]
    """The well's groups, by path; they name the images."""
    files: tuple[StoredFile, ...]
    """Everything, for the manifest."""
    places: tuple[str, ...]
    """Folders and files that hold it."""

    @classmethod
    def of(cls, staged: StagedWell, token: str) -> WellVersion:
        """Name a staged well's files; StorageError if a group of it is not as this engine writes them."""
        groups, uploads, files = dict[str, bytes](), dict[str, Path](), list[StoredFile]()
        for file in staged.files:
            path = versioned(file.path, staged.well, token)
            if is_well_group(path):
                groups[path] = _renamed((staged.folder / path).read_bytes(), token, path)
                files.append(stored(path, groups[path]))
            else:
                uploads[path] = staged.folder / file.path
                files.append(replace(file, path=path))
        return cls(
            well=staged.well,
            uploads=uploads,
            groups=groups,
            files=tuple(files),
            places=tuple(versioned(folder, staged.well, token) for folder in staged.places),
        )

    def manifest(self, manifest: WellManifest) -> WellManifest:
        """The manifest with these files."""
        return replace(manifest, files=self.files)


def versioned(path: str, well: str, token: str) -> str:
    """The path of a well's file or folder with the token of its version in it; folders of images stay as they are."""
    match path.split("/"):
        case [kind, name, file] if kind == TABLES:
            return f"{kind}/{name}/{well}.{token}{file.removeprefix(well)}"
        case [_, file] if is_preview(path):
            return f"{PREVIEWS}/{well}.{token}{file.removeprefix(well)}"
        case [image_set, row, column, image, _, *_] if is_zarr(image_set):
            return path.replace(f"{image_set}/{row}/{column}/{image}", f"{image_set}/{row}/{column}/{token}{image}", 1)
        case [image_set, folder, name] if not is_zarr(image_set):
            return f"{image_set}/{folder}/{token}/{name}"
        case _:
            return path


def is_well_group(path: str) -> bool:
    """True for a file of the group of a well: ``images.zarr/B/03/zarr.json``."""
    parts = path.split("/")
    return len(parts) == 4 and is_zarr(parts[0]) and parts[3] in GROUP_FILES


def stored(path: str, content: bytes) -> StoredFile:
    """What a manifest says of a content."""
    return StoredFile(path, len(content), google_crc32c.value(content))


def is_as_listed(file: StoredFile, content: bytes | None) -> bool:
    """True if a content is what a manifest lists."""
    return content is not None and stored(file.path, content) == file


class _Path(msgspec.Struct):
    path: str


def _renamed(content: bytes, token: str, path: str) -> bytes:
    """The group's document with the new names of its images; their order stays, which says whose site each is."""
    found: dict[str, Any] = msgspec.json.decode(content)
    parts = found.get("attributes", found)
    well = parts.get("ome", parts).get("well")
    if well is None:
        return content  # .zgroup
    try:
        names = msgspec.convert(well["images"], list[_Path])
    except (KeyError, msgspec.ValidationError) as error:
        raise StorageError(f"{path} is no group of a well as this engine writes it: {error}.") from error
    for image, name in zip(well["images"], names, strict=True):
        image["path"] = token + name.path
    return document(found)


__all__ = ["WellVersion", "is_as_listed", "is_well_group", "stored", "versioned"]
