"""What lies where in a plate's output folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.wells import normalise_well
from openhcs_engine.ngff.metadata import well_path

ZARR_IMAGES: Final = "images.zarr"
DISK_IMAGES: Final = "images"
TABLES: Final = "tables"
WELLS: Final = "wells"
CONTEXTS: Final = "contexts"
STAGING: Final = ".staging"
FREE: Final = frozenset({"report", "logs"})
"""Folders whose content no manifest lists."""
BACKENDS: Final = ("zarr", "disk")


def image_place(backend: str, well: str) -> str:
    """Where a well's images are, relative to the output folder."""
    return f"{ZARR_IMAGES}/{well_path(well)}" if backend == "zarr" else f"{DISK_IMAGES}/{well}"


def places_of_well(folder: Path, well: str) -> Iterator[str]:
    """Everything there that belongs to a well, its manifest left out."""
    for backend in BACKENDS:
        place = image_place(backend, well)
        if (folder / place).exists():
            yield place
    for table in sorted((folder / TABLES).glob(f"*/{well}.*")):
        yield table.relative_to(folder).as_posix()


def wells_with_places(folder: Path) -> dict[str, list[str]]:
    """Everything there that lies where a well's results lie, by well."""
    found: dict[str, list[str]] = {}
    candidates = [
        *((path, path.parent.name + path.name) for path in (folder / ZARR_IMAGES).glob("*/*") if path.is_dir()),
        *((path, path.name) for path in (folder / DISK_IMAGES).glob("*") if path.is_dir()),
        *((path, path.name.split(".")[0]) for path in (folder / TABLES).glob("*/*")),
    ]
    for path, name in candidates:
        if is_well(name):
            found.setdefault(name, []).append(path.relative_to(folder).as_posix())
    return found


def is_well(name: str) -> bool:
    """True for the canonical name of a well."""
    try:
        return normalise_well(name) == name
    except UnknownWellError:
        return False


def manifest_path(folder: Path, well: str) -> Path:
    """The file that decides whether the well exists."""
    return folder / WELLS / f"{well}.json"
