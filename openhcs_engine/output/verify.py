"""Is every well that was asked for there, and exactly as it was written?"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.context import ProcessingContext, contexts_from_json
from openhcs_engine.errors import ContextFileError, ManifestError, NotAnOutputError
from openhcs_engine.model.wells import plate_order
from openhcs_engine.ngff.metadata import GROUP, well_path
from openhcs_engine.output.layout import (
    CONTEXTS,
    FREE,
    STAGING,
    TABLES,
    WELLS,
    ZARR_IMAGES,
    is_well,
    places_of_well,
)
from openhcs_engine.output.manifest import WellManifest, read_manifest
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
    plans, unreadable = _plans(place)
    asked = {well for contexts in plans for well in contexts}
    manifests, broken = _manifests(place)
    expected = _in_order(asked | manifests.keys() | broken.keys())
    files = frozenset(_files(place))
    faults = {well: _faults(place, manifest, files, checksums) for well, manifest in manifests.items()}
    faults |= broken
    faults[PLATE] = [*unreadable, *_plate_faults(place, manifests)]
    return VerifyReport(
        expected=expected,
        whole=tuple(well for well in expected if well in manifests and not faults[well]),
        missing=tuple(well for well in expected if well not in manifests and well not in broken),
        damaged=tuple(
            DamagedWell(well=well, reasons=tuple(faults[well])) for well in (*expected, PLATE) if faults.get(well)
        ),
        foreign=tuple(sorted(_foreign(place, files, manifests, broken))),
        plans=_wells_by_plan(plans, manifests),
    )


def _refuse_other_folders(place: Path) -> None:
    if (place / WELLS).is_dir() and (place / CONTEXTS).is_dir():
        return
    inside = sorted(path.name for path in place.glob("*") if (path / WELLS).is_dir() and (path / CONTEXTS).is_dir())
    hint = f" The outputs in it are: {', '.join(inside)}; give one of them." if inside else ""
    raise NotAnOutputError(
        f"{place} is not an output folder (it has no {WELLS}/ and {CONTEXTS}/).{hint}", path=str(place)
    )


def _plans(place: Path) -> tuple[list[dict[str, ProcessingContext]], list[str]]:
    plans, unreadable = [], []
    for path in sorted((place / CONTEXTS).glob("*.json")):
        try:
            plans.append(contexts_from_json(path.read_bytes()))
        except ContextFileError as error:
            unreadable.append(f"{CONTEXTS}/{path.name}: {error}")
        except OSError as error:
            unreadable.append(f"{CONTEXTS}/{path.name} cannot be read ({error.strerror})")
    return plans, unreadable


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


def _faults(place: Path, manifest: WellManifest, files: Collection[str], checksums: bool) -> list[str]:
    listed = {file.path for file in manifest.files}
    own = tuple(f"{part}/" for part in places_of_well(place, manifest.well))
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


def _plate_faults(place: Path, manifests: Mapping[str, WellManifest]) -> Iterator[str]:
    """The groups above the wells must be there and list every published well."""
    wells = [well for well, manifest in manifests.items() if manifest.backend == "zarr"]
    if not wells:
        return
    for row in sorted({well_path(well).split("/")[0] for well in wells}):
        if _group(place / ZARR_IMAGES / row) is None:
            yield f"{ZARR_IMAGES}/{row}/{GROUP} is missing or damaged; the next run writes it again"
    plate = _group(place / ZARR_IMAGES)
    listed = {str(well.get("path")) for well in _listed(plate)}
    unlisted = [well for well in wells if well_path(well) not in listed]
    if plate is None or unlisted:
        named = f" or does not list {', '.join(unlisted)}" if plate is not None else ""
        yield f"{ZARR_IMAGES}/{GROUP} is missing or damaged{named}; the next run writes it again"


def _group(folder: Path) -> dict[str, object] | None:
    try:
        return msgspec.json.decode((folder / GROUP).read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError):
        return None


def _listed(plate: dict[str, object] | None) -> list[dict[str, object]]:
    try:
        return msgspec.convert(plate, _PlateGroup).attributes.ome.plate.wells
    except msgspec.ValidationError:
        return []


class _PlateWells(msgspec.Struct):
    wells: list[dict[str, object]]


class _Ome(msgspec.Struct):
    plate: _PlateWells


class _Attributes(msgspec.Struct):
    ome: _Ome


class _PlateGroup(msgspec.Struct):
    attributes: _Attributes


def _files(place: Path) -> Iterator[str]:
    """Every file that a manifest or a rule must account for, relative."""
    for where, folders, names in os.walk(place):
        if Path(where) == place:
            folders[:] = [name for name in folders if name not in FREE | {STAGING}]
        for name in names:
            if name not in _LITTER:
                yield (Path(where) / name).relative_to(place).as_posix()


def _foreign(
    place: Path, files: Collection[str], manifests: Mapping[str, WellManifest], broken: Collection[str]
) -> Iterator[str]:
    inside = tuple(f"{part}/" for well in (*manifests, *broken) for part in places_of_well(place, well))
    listed = {file.path for manifest in manifests.values() for file in manifest.files}
    for path in files:
        if path not in listed and not path.startswith(inside) and not _belongs_to_plate(path):
            yield path


def _belongs_to_plate(path: str) -> bool:
    parts = path.split("/")
    match parts:
        case [kind, name] if kind in (WELLS, CONTEXTS):
            return name.endswith(".json") and (kind == CONTEXTS or is_well(name.removesuffix(".json")))
        case [images, name] | [images, _, name] if images == ZARR_IMAGES:
            return name == GROUP
        case [tables, _] if tables == TABLES:
            return True  # a consolidated table
        case _:
            return False


def _wells_by_plan(
    plans: list[dict[str, ProcessingContext]], manifests: Mapping[str, WellManifest]
) -> dict[str, tuple[str, ...]]:
    makers = {context.fingerprint: context.pipeline_digest for contexts in plans for context in contexts.values()}
    grouped: dict[str, set[str]] = {}
    for well, manifest in manifests.items():
        grouped.setdefault(makers.get(manifest.fingerprint, UNKNOWN_PLAN), set()).add(well)
    return {plan: _in_order(wells) for plan, wells in sorted(grouped.items())}


def _in_order(wells: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(wells, key=plate_order))


__all__ = ["DamagedWell", "VerifyReport", "verify"]
