"""Is every well that was asked for there, and exactly as it was written?"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.errors import ManifestError, NotAnOutputError
from openhcs_engine.model.wells import plate_order
from openhcs_engine.ngff.groups import GROUP_FILES, group_files, read_attributes, version_of
from openhcs_engine.ngff.metadata import well_path
from openhcs_engine.ngff.options import NGFF_VERSIONS
from openhcs_engine.ngff.plate_store import is_empty_well
from openhcs_engine.output.layout import (
    CONTEXTS,
    FREE,
    IMAGE_SETS,
    STAGING,
    TABLES,
    WELLS,
    image_sets_of,
    is_well,
    is_zarr,
    places_of_well,
)
from openhcs_engine.output.manifest import WellManifest, read_manifest
from openhcs_engine.output.plans import Plan, read_plans
from openhcs_engine.vfs.files import StoredFile, file_checksum

PLATE: Final = "plate"
"""Stands for a well's name where a file of the whole plate is damaged."""
UNKNOWN_PLAN: Final = "unknown"
_LITTER: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file browsers leave behind; no harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedWell:
    """A well that is not as it was written."""

    well: str
    """Its name, or ``plate`` for files of the whole plate."""
    reasons: tuple[str, ...]
    """One sentence a file, naming it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was found in an output folder; wells in plate order."""

    expected: tuple[str, ...]
    """Wells that any kept plan asks for, or that are published."""
    whole: tuple[str, ...]
    missing: tuple[str, ...]
    """Expected, and without a manifest."""
    damaged: tuple[DamagedWell, ...]
    foreign: tuple[str, ...]
    """Files that belong to no well, relative to the folder."""
    plans: Mapping[str, tuple[str, ...]]
    """Wells by the digest of the pipeline that made them; ``unknown`` where no kept plan has the well's fingerprint."""

    @property
    def ok(self) -> bool:
        """True if every expected well is whole."""
        return not self.missing and not self.damaged


def verify(folder: str | PathLike[str], *, checksums: bool = True) -> VerifyReport:
    """Compare an output folder with its plans and manifests; changes nothing.

    Parameters
    ----------
    folder
        ``<output>/<plate_id>``.
    checksums
        Also read every published file and compare its checksum; otherwise only sizes.

    Raises
    ------
    NotAnOutputError
        If the folder was not written by this engine.
    """
    place = Path(folder)
    _refuse_other_folders(place)
    kept = read_plans(place)
    manifests, broken = _manifests(place)
    expected = _in_order(kept.wells | manifests.keys() | broken.keys())
    files = frozenset(_files(place))
    listed = [file.path for manifest in manifests.values() for file in manifest.files]
    image_sets = IMAGE_SETS | kept.image_sets | image_sets_of(listed)
    own = {well: _own(place, well, image_sets) for well in expected}
    faults = {well: _faults(place, manifest, own[well], files, checksums) for well, manifest in manifests.items()}
    faults |= broken
    faults[PLATE] = [*kept.unreadable, *_plate_faults(place, manifests.values())]
    inside = tuple(part for well in (*manifests, *broken) for part in own[well])
    foreign = {path for path in files.difference(listed) if not path.startswith(inside)}
    return VerifyReport(
        expected=expected,
        whole=tuple(well for well in expected if well in manifests and not faults[well]),
        missing=tuple(well for well in expected if well not in manifests and well not in broken),
        damaged=tuple(
            DamagedWell(well=well, reasons=tuple(faults[well])) for well in (*expected, PLATE) if faults.get(well)
        ),
        foreign=tuple(sorted(path for path in foreign if not _belongs_to_plate(place, path, image_sets))),
        plans=_wells_by_plan(kept.plans, manifests),
    )


def _refuse_other_folders(place: Path) -> None:
    if (place / WELLS).is_dir() and (place / CONTEXTS).is_dir():
        return
    inside = sorted(path.name for path in place.glob("*") if (path / WELLS).is_dir() and (path / CONTEXTS).is_dir())
    hint = f" The outputs in it are: {', '.join(inside)}; give one of them." if inside else ""
    raise NotAnOutputError(
        f"{place} is not an output folder (it has no {WELLS}/ and {CONTEXTS}/).{hint}", path=str(place)
    )


def _manifests(place: Path) -> tuple[dict[str, WellManifest], dict[str, list[str]]]:
    """Manifests by well, and what is wrong with those that cannot be read."""
    found, broken = dict[str, WellManifest](), dict[str, list[str]]()
    for path in sorted((place / WELLS).glob("*.json")):
        if not is_well(path.stem):
            continue
        try:
            manifest = read_manifest(path)
        except ManifestError as error:
            broken[path.stem] = [str(error)]
        else:
            if manifest is not None:
                found[path.stem] = manifest
    return found, broken


def _own(place: Path, well: str, image_sets: Collection[str]) -> tuple[str, ...]:
    """Where only files of the well's manifest may be; the empty groups of an OME-Zarr plate belong to the plate."""
    parts = places_of_well(place, well, image_sets)
    return tuple(f"{part}/" for part in parts if (place / part).is_file() or not is_empty_well(place / part))


def _faults(
    place: Path, manifest: WellManifest, own: tuple[str, ...], files: Collection[str], checksums: bool
) -> list[str]:
    listed = {file.path for file in manifest.files}
    strangers = sorted(path for path in files if path.startswith(own) and path not in listed)
    return [
        *(fault for file in manifest.files if (fault := _file_fault(place, file, checksums))),
        *(f"{path} is not in the well's manifest" for path in strangers),
    ]


def _file_fault(place: Path, file: StoredFile, checksums: bool) -> str | None:
    path = place / file.path
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"{file.path} has {size} bytes instead of {file.size}"
        if checksums and file_checksum(path) != file.crc32c:
            return f"{file.path} was changed after it was written (checksum)"
    except FileNotFoundError:
        return f"{file.path} is missing"
    except OSError as error:
        return f"{file.path} cannot be read ({error.strerror})"
    return None


def _plate_faults(place: Path, manifests: Collection[WellManifest]) -> Iterator[str]:
    """The groups above the wells of every OME-Zarr plate must be there and list every published well."""
    published: dict[str, list[str]] = {}
    for manifest in manifests:
        for image_set in image_sets_of(file.path for file in manifest.files):
            if is_zarr(image_set):
                published.setdefault(image_set, []).append(manifest.well)
    for image_set, wells in sorted(published.items()):
        yield from _group_faults(place, image_set, wells)


def _group_faults(place: Path, image_set: str, wells: list[str]) -> Iterator[str]:
    folders = [place / image_set, *(place / image_set / well_path(well) for well in wells)]
    ngff = next((found for folder in folders if (found := version_of(folder)) is not None), NGFF_VERSIONS[0])
    for row in sorted({well_path(well).split("/")[0] for well in wells}):
        if damaged := _damaged_file(place / image_set / row, group_files({}, ngff)):
            yield f"{image_set}/{row}/{damaged} is missing or damaged; the next run writes it again"
    if damaged := _damaged_file(place / image_set, group_files({"ome": {}}, ngff)):
        yield f"{image_set}/{damaged} is missing or damaged; the next run writes it again"
    elif unlisted := [well for well in wells if well_path(well) not in _listed(place / image_set)]:
        yield f"{image_set}: its group does not list {', '.join(unlisted)}; the next run writes it again"


def _damaged_file(folder: Path, names: Iterable[str]) -> str | None:
    """The first of a group's files that is missing or cannot be read."""
    for name in names:
        try:
            msgspec.json.decode((folder / name).read_bytes(), type=dict[str, object])
        except (OSError, msgspec.MsgspecError):
            return name
    return None


def _listed(plate: Path) -> set[str]:
    """Paths of the wells that a plate's group lists."""
    try:
        wells = msgspec.convert(read_attributes(plate), _PlateGroup).ome.plate.wells
    except (NotAnOutputError, msgspec.ValidationError):
        return set()
    return {str(well.get("path")) for well in wells}


class _PlateWells(msgspec.Struct):
    wells: list[dict[str, object]]


class _Ome(msgspec.Struct):
    plate: _PlateWells


class _PlateGroup(msgspec.Struct):
    ome: _Ome


def _files(place: Path) -> Iterator[str]:
    """Every file that a manifest or a rule must account for, relative."""
    for where, folders, names in os.walk(place):
        if Path(where) == place:
            folders[:] = [name for name in folders if name not in FREE | {STAGING}]
        for name in names:
            if name not in _LITTER:
                yield (Path(where) / name).relative_to(place).as_posix()


def _belongs_to_plate(place: Path, path: str, image_sets: Collection[str]) -> bool:
    parts = path.split("/")
    match parts:
        case [kind, name] if kind in (WELLS, CONTEXTS):
            return name.endswith(".json") and (kind == CONTEXTS or is_well(name.removesuffix(".json")))
        case [images, name] | [images, _, name] if is_zarr(images) and images in image_sets:
            return name in GROUP_FILES
        case [images, _, _, name] if is_zarr(images) and images in image_sets:
            return name in GROUP_FILES and is_empty_well((place / path).parent)
        case [tables, _] if tables == TABLES:
            return True  # a consolidated table
        case _:
            return False


def _wells_by_plan(plans: Collection[Plan], manifests: Mapping[str, WellManifest]) -> dict[str, tuple[str, ...]]:
    makers = {context.fingerprint: context.pipeline_digest for contexts in plans for context in contexts.values()}
    grouped: dict[str, set[str]] = {}
    for well, manifest in manifests.items():
        grouped.setdefault(makers.get(manifest.fingerprint, UNKNOWN_PLAN), set()).add(well)
    return {plan: _in_order(wells) for plan, wells in sorted(grouped.items())}


def _in_order(wells: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(wells, key=plate_order))


__all__ = ["DamagedWell", "VerifyReport", "verify"]
