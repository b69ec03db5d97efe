"""What lies where in a plate's output folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from openhcs_engine.files.present import find
from openhcs_engine.model.wells import is_well, plate_order
from openhcs_engine.ngff.metadata import well_path

ZARR_IMAGES: Final = "images.zarr"
DISK_IMAGES: Final = "images"
TABLES: Final = "tables"
PREVIEWS: Final = "previews"
"""One small file a well. A step may keep its planes in a folder of this name, too: those lie a level deeper."""
WELLS: Final = "wells"
CONTEXTS: Final = "contexts"
FITS: Final = "fits"
STAGING: Final = ".staging"
REPLACED: Final = ".replaced"
"""Of outputs in folders: old versions of wells, as long as their new ones are published."""
PUBLISHING: Final = ".publishing"
"""Of outputs in object stores: who writes which well at this moment."""
LOGS: Final = "logs"
REPORT: Final = "report"
VERDICTS: Final = "verdicts.json"
"""What persons decided about the plate."""
FREE: Final = frozenset({REPORT, LOGS})
"""Folders whose content no manifest lists."""
BACKENDS: Final = ("zarr", "disk")
IMAGE_SETS: Final = frozenset({ZARR_IMAGES, DISK_IMAGES})
"""Folders of every output that hold images; steps that keep theirs add more."""


def image_path(backend: str, well: str) -> str:
    """Where a well's images are, relative to the output folder."""
    return place_in_set(ZARR_IMAGES if backend == "zarr" else DISK_IMAGES, well)


def place_in_set(image_set: str, well: str) -> str:
    """Where a well lies in a set of images: ``<set>.zarr/B/03``, or ``<set>/B03``."""
    return f"{image_set}/{well_path(well) if is_zarr(image_set) else well}"


def is_zarr(image_set: str) -> bool:
    """True for an OME-Zarr plate, False for a folder of OME-TIFF files."""
    return image_set.endswith(".zarr")


def published_path(path: str) -> str:
    """The folder or file that goes in by one rename and holds a file of a well, both relative."""
    parts = path.split("/")
    if parts[0] == TABLES or is_preview(path):
        return path
    return "/".join(parts[: 3 if is_zarr(parts[0]) else 2])


def well_of_path(path: str, image_sets: Collection[str] = IMAGE_SETS) -> tuple[str, str] | None:
    """The well among whose results a file lies, and their path; None for a file that lies among no well's."""
    match path.split("/"):
        case [image_set, row, column, _, *_] if is_zarr(image_set) and image_set in image_sets:
            well, folder = row + column, f"{image_set}/{row}/{column}"
        case [image_set, well, _, *_] if not is_zarr(image_set) and image_set in image_sets:
            folder = f"{image_set}/{well}"
        case [kind, _, name] if kind == TABLES:
            well, folder = name.split(".")[0], path
        case [_, name] if is_preview(path):
            well, folder = name.split(".")[0], path
        case _:
            return None
    return (well, folder) if is_well(well) else None


def image_sets_of(files: Iterable[str]) -> frozenset[str]:
    """The sets of images that files of wells lie in."""
    return frozenset(path.split("/")[0] for path in files if not is_preview(path)) - {TABLES}


def preview_path(well: str) -> str:
    """Where a well's preview lies, relative to the output folder."""
    return f"{PREVIEWS}/{well}.npz"


def is_preview(path: str) -> bool:
    """True for a file that is a well's preview: ``previews/B03.npz``, with a token before ``.npz`` in a store."""
    return path.startswith(f"{PREVIEWS}/") and path.count("/") == 1 and path.endswith(".npz")


def paths_of_well(folder: Path, well: str, image_sets: Collection[str] = IMAGE_SETS) -> Iterator[str]:
    """Everything there that belongs to a well, its manifest left out; ``image_sets`` are those to look into."""
    for image_set in sorted(IMAGE_SETS.union(image_sets)):
        path = place_in_set(image_set, well)
        if (folder / path).exists():
            yield path
    for file in find(folder, f"{TABLES}/*/{well}.*", preview_path(well)):
        yield file.relative_to(folder).as_posix()


def paths_by_well(folder: Path, image_sets: Collection[str] = IMAGE_SETS) -> dict[str, list[str]]:
    """Everything there that lies where a well's results lie, by well."""
    found: dict[str, list[str]] = {}
    for path, name in _candidates(folder, IMAGE_SETS.union(image_sets)):
        if is_well(name):
            found.setdefault(name, []).append(path.relative_to(folder).as_posix())
    return found


def _candidates(folder: Path, image_sets: Collection[str]) -> Iterator[tuple[Path, str]]:
    """What could be a well's, and the well it would be."""
    for image_set in sorted(image_sets):
        if is_zarr(image_set):
            yield from (
                (path, path.parent.name + path.name) for path in find(folder / image_set, "*/*") if path.is_dir()
            )
        else:
            yield from ((path, path.name) for path in find(folder / image_set, "*") if path.is_dir())
    yield from ((path, path.name.split(".")[0]) for path in find(folder, f"{TABLES}/*/*", preview_path("*")))


def manifest_name(well: str) -> str:
    """Path of the well's manifest, relative to the output folder."""
    return f"{WELLS}/{well}.json"


def well_of_manifest(path: str) -> str | None:
    """The well whose manifest a path, relative to the output folder, is; None for other files."""
    parts = path.split("/")
    if len(parts) != 2 or parts[0] != WELLS or not parts[1].endswith(".json"):
        return None
    well = parts[1].removesuffix(".json")
    return well if is_well(well) else None


def manifest_paths(folder: Path) -> list[Path]:
    """The manifests of all wells that have one, in plate order."""
    paths = (path for path in find(folder / WELLS, "*.json") if is_well(path.stem))
    return sorted(paths, key=lambda path: plate_order(path.stem))


def manifest_path(folder: Path, well: str) -> Path:
    """The file that decides whether the well exists."""
    return folder / WELLS / f"{well}.json"
