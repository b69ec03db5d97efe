"""What can be wrong with one well of an OME-Zarr plate, in zarr 2 and in zarr 3, as drives and copies leave it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Version = Literal["0.4", "0.5"]
CHUNK: Final = {"0.4": "0/0/0/0/0/0/0", "0.5": "0/0/c/0/0/0/0/0"}
"""The first plane of a well's first image."""


@dataclass(frozen=True)
class Damage:
    """Something that happens to a well."""

    what: str
    harm: Callable[[Path, Version], object]
    """Gets the well's folder."""

    def __str__(self) -> str:
        return self.what


def attributes(folder: Path, version: Version) -> Path:
    """The document with the attributes of a group."""
    return folder / (".zattrs" if version == "0.4" else "zarr.json")


def _array(well: Path, version: Version) -> Path:
    return well / "0" / "0" / (".zarray" if version == "0.4" else "zarr.json")


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _edit(path: Path, change: Callable[[Any], object]) -> None:  # Any: JSON
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def _image(well: Path, version: Version, change: Callable[[Any], object]) -> None:
    """Change the first multiscale of a well's image."""

    def inside(document: Any) -> None:  # Any: JSON
        held = document if version == "0.4" else document["attributes"]["ome"]
        change(held["multiscales"][0])

    _edit(attributes(well / "0", version), inside)


def _other_type(well: Path, version: Version) -> None:
    if version == "0.4":
        _edit(_array(well, version), lambda found: found.update(dtype="<x9"))
    else:
        _edit(_array(well, version), lambda found: found.update(data_type="float9"))


DAMAGES: Final = (
    Damage("the well's document is missing", lambda well, version: attributes(well, version).unlink()),
    Damage("the well's document is cut off", lambda well, version: _cut(attributes(well, version))),
    Damage("the well's document is zeros", lambda well, version: attributes(well, version).write_bytes(bytes(200))),
    Damage("the image is missing", lambda well, version: shutil.rmtree(well / "0")),
    Damage("the image's document is missing", lambda well, version: attributes(well / "0", version).unlink()),
    Damage("the image's document is cut off", lambda well, version: _cut(attributes(well / "0", version))),
    Damage("the image has no axes", lambda well, version: _image(well, version, lambda found: found.pop("axes"))),
    Damage("the image has no level", lambda well, version: _image(well, version, lambda found: found.pop("datasets"))),
    Damage("an axis too many", lambda well, version: _image(
        well, version, lambda found: found["axes"].insert(0, {"name": "t", "type": "time"}))),
    Damage("the level is elsewhere", lambda well, version: _image(
        well, version, lambda found: found["datasets"][0].update(path="nowhere"))),
    Damage("the array is missing", lambda well, version: shutil.rmtree(well / "0" / "0")),
    Damage("the array's document is missing", lambda well, version: _array(well, version).unlink()),
    Damage("the array's document is cut off", lambda well, version: _cut(_array(well, version))),
    Damage("the array's shape is text", lambda well, version: _edit(
        _array(well, version), lambda found: found.update(shape="big"))),
    Damage("the array has an axis less", lambda well, version: _edit(
        _array(well, version), lambda found: found["shape"].pop())),
    Damage("the array is of an unknown type", _other_type),
    Damage("a chunk is cut off", lambda well, version: _cut(well / CHUNK[version])),
    Damage("a chunk is empty", lambda well, version: (well / CHUNK[version]).write_bytes(b"")),
    Damage("a chunk is noise", lambda well, version: (well / CHUNK[version]).write_bytes(b"\xff\x00\x7f" * 500)),
)  # fmt: skip
