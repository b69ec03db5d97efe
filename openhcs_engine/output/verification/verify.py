"""Is every well that was asked for there, and exactly as it was written?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Final

import msgspec

from openhcs_engine.errors import ManifestError, NotAnOutputError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.wells import plate_order
from openhcs_engine.ngff.groups import GROUP_FILES, attributes_in, group_files, version_by_files
from openhcs_engine.ngff.metadata import well_path
from openhcs_engine.ngff.options import NGFF_VERSIONS
from openhcs_engine.ngff.plate_group import lists_published_wells, wells_listed
from openhcs_engine.output.image_sets import zarr_sets_of
from openhcs_engine.output.layout import (
    CONTEXTS,
    IMAGE_SETS,
    TABLES,
    VERDICTS,
    WELLS,
    image_sets_of,
    is_zarr,
    well_of_manifest,
    well_of_path,
)
from openhcs_engine.output.listing import OutputFiles, PresentFile
from openhcs_engine.output.manifest import WellManifest, manifest_of_well
from openhcs_engine.output.opening import files_of
from openhcs_engine.output.plans import PLAN_ENDINGS, Plan, SavedPlans, read_plans
from openhcs_engine.output.verification.fits import PresentFits

PLATE: Final = "plate"
"""Stands for a well's name where a file of the whole plate is damaged."""
UNKNOWN_PLAN: Final = "unknown"


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
    replaced: tuple[str, ...] = ()
    """Folders of old versions of wells that a killed run set aside; the next run puts them back or removes them."""
    other_versions: tuple[str, ...] = ()
    """Plans that another version of this software wrote: no damage, but wells of theirs alone are not expected."""
    missing_fits: tuple[str, ...] = ()
    """Folders of fits that published wells name and that are not there; the next run makes them again."""
    damaged_fits: tuple[str, ...] = ()
    """Folders of fits that are not as they were written; the reasons are among those of ``plate`` in ``damaged``."""

    @property
    def ok(self) -> bool:
        """True if every expected well is whole, and so is every fit that one was made with."""
        return not self.missing and not self.damaged and not self.missing_fits


def verify(folder: str | PathLike[str], *, checksums: bool | Collection[str] = True) -> VerifyReport:
    """Compare an output folder with its plans and manifests; changes nothing.

    Parameters
    ----------
    folder
        ``<output>/<plate_id>``, or its URL.
    checksums
        Also read every published file and compare its checksum; otherwise only sizes. Or the wells whose files are
        read.

    Raises
    ------
    NotAnOutputError
        If the folder was not written by this engine.
    """
    files = files_of(folder)
    _refuse_other_folders(files)
    output = _Output.read(files)
    manifests, broken, saved = output.manifests, output.broken, output.saved
    expected = _in_order(saved.wells | manifests.keys() | broken.keys())
    read = expected if checksums is True else checksums or ()
    faults = {well: output.faults(well, well in read) for well in manifests}
    faults |= broken
    fits = PresentFits.read(files, output.by_path)
    bad_fits = {
        folder: [*reasons, *output.file_faults(fits.files(folder), checksums is True)] for folder, reasons in fits
    }
    of_fits = (f"{reason}; verify --repair removes the fit" for reasons in bad_fits.values() for reason in reasons)
    faults[PLATE] = [*saved.unreadable, *output.plate_faults(), *of_fits]
    return VerifyReport(
        expected=expected,
        whole=tuple(well for well in expected if well in manifests and not faults[well]),
        missing=tuple(well for well in expected if well not in manifests and well not in broken),
        damaged=tuple(
            DamagedWell(well=well, reasons=tuple(faults[well])) for well in (*expected, PLATE) if faults.get(well)
        ),
        foreign=output.foreign(fits.listed),
        missing_fits=fits.missing(manifests.values()),
        damaged_fits=tuple(folder for folder, reasons in bad_fits.items() if reasons),
        replaced=files.set_aside(),
        plans=_wells_by_plan(saved.plans, manifests),
        other_versions=saved.other_versions,
    )


def _refuse_other_folders(files: OutputFiles) -> None:
    if files.is_output():
        return
    inside = ", ".join(files.outputs_inside())
    hint = f" The outputs in it are: {inside}; give one of them." if inside else ""
    raise NotAnOutputError(
        f"{files.address} is not an output folder (it has no {WELLS}/ and {CONTEXTS}/).{hint}", path=files.address
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """What lies in an output, and what its plans and manifests say should."""

    files: OutputFiles
    by_path: Mapping[str, PresentFile]
    saved: SavedPlans
    manifests: Mapping[str, WellManifest]
    broken: Mapping[str, list[str]]
    """What is wrong with manifests that cannot be read, by well."""
    image_sets: frozenset[str]
    listed: frozenset[str]
    """Files of all manifests."""
    own: Mapping[str, frozenset[str]]
    """Files that lie where only those of a well's manifest may."""
    empty: frozenset[str]
    """Folders of wells with a group that lists no image, as earlier versions left them."""

    @classmethod
    def read(cls, files: OutputFiles) -> _Output:
        """List the output, and read its plans and manifests."""
        found, saved = files.by_path(), read_plans(files)
        manifests, broken = _manifests(files, found)
        listed = frozenset(file.path for manifest in manifests.values() for file in manifest.files)
        image_sets = IMAGE_SETS | saved.image_sets | image_sets_of(listed)
        by_owner = _paths_by_owner(found, image_sets)
        empty = frozenset(folder for _, folder in by_owner if _is_empty_group(folder, by_owner))
        own: dict[str, frozenset[str]] = {}
        for (well, folder), paths in by_owner.items():
            # A table that no manifest lists is foreign, unless nobody knows what the manifest listed.
            if folder not in empty and (folder not in paths or well in broken):
                own[well] = own.get(well, frozenset()).union(paths)
        return cls(
            files=files,
            by_path=found,
            saved=saved,
            manifests=manifests,
            broken=broken,
            image_sets=image_sets,
            listed=listed,
            own=own,
            empty=empty,
        )

    def faults(self, well: str, checksums: bool) -> list[str]:
        """What is wrong with a well that has a manifest, one sentence a file."""
        manifest = self.manifests[well]
        strangers = self.own.get(well, frozenset()).difference(file.path for file in manifest.files)
        return [
            *self.file_faults(manifest.files, checksums),
            *(f"{path} is not in the well's manifest" for path in sorted(strangers)),
        ]

    def file_faults(self, listed: Sequence[StoredFile], checksums: bool) -> list[str]:
        """What is wrong with files that are listed somewhere, one sentence a file."""
        faults = {file.path: self._size_fault(file) for file in listed}
        right = [file.path for file in listed if faults[file.path] is None] if checksums else []
        wanted = {file.path: file.crc32c for file in listed}
        for path, read in self.files.checksums(right):
            if isinstance(read, FileNotFoundError):
                faults[path] = f"{path} is missing"
            elif isinstance(read, OSError):
                faults[path] = f"{path} cannot be read ({explained(read)})"
            elif read != wanted[path]:
                faults[path] = f"{path} was changed after it was written (checksum)"
        return [fault for fault in faults.values() if fault is not None]

    def _size_fault(self, file: StoredFile) -> str | None:
        there = self.by_path.get(file.path)
        if there is None:
            return f"{file.path} is missing"
        return None if there.size == file.size else f"{file.path} has {there.size} bytes instead of {file.size}"

    def foreign(self, of_fits: frozenset[str]) -> tuple[str, ...]:
        """Files that no manifest and no rule accounts for; ``of_fits`` are those of fits."""
        own = frozenset[str]().union(*(self.own.get(well, ()) for well in (*self.manifests, *self.broken)))
        others = self.by_path.keys() - self.listed - own - of_fits
        return tuple(sorted(path for path in others if not self._belongs_to_plate(path)))

    def plate_faults(self) -> Iterator[str]:
        """The groups above the wells of every OME-Zarr plate must be there and list every published well, no other."""
        published: dict[str, list[str]] = {}
        for manifest in self.manifests.values():
            for image_set in zarr_sets_of(manifest):
                published.setdefault(image_set, []).append(manifest.well)
        groups = {image_set for image_set in self.image_sets if is_zarr(image_set) and self._version(image_set)}
        for image_set in sorted(published.keys() | groups):
            yield from self._group_faults(image_set, published.get(image_set, []))

    def _group_faults(self, image_set: str, wells: list[str]) -> Iterator[str]:
        groups = [image_set, *(f"{image_set}/{well_path(well)}" for well in wells)]
        ngff = next((version for group in groups if (version := self._version(group))), NGFF_VERSIONS[0])
        for row in dict.fromkeys(well_path(well).split("/")[0] for well in _in_order(wells)):
            if damaged := self._damaged_file(f"{image_set}/{row}", group_files({}, ngff)):
                yield f"{image_set}/{row}/{damaged} is missing or damaged; the next run writes it again"
        names = group_files({"ome": {}}, ngff)
        if damaged := self._damaged_file(image_set, names):
            yield f"{image_set}/{damaged} is missing or damaged; the next run writes it again"
            return
        attributes = attributes_in(self._document(f"{image_set}/{[*names][-1]}") or {})
        listed = wells_listed(attributes)
        if unlisted := [well for well in wells if well not in listed]:
            yield f"{image_set}: its group does not list {', '.join(unlisted)}; the next run writes it again"
        if not lists_published_wells(attributes):
            return  # an earlier version listed all wells of the plate, each with a group
        if absent := [well for well in listed if well not in (*wells, *self.broken)]:
            yield f"{image_set}: its group lists {', '.join(absent)}, not published; the next run writes it again"

    def _version(self, group: str) -> str | None:
        return version_by_files(name for name in GROUP_FILES if f"{group}/{name}" in self.by_path)

    def _damaged_file(self, group: str, names: Iterable[str]) -> str | None:
        """The first of a group's files that is missing or cannot be read."""
        return next((name for name in names if self._document(f"{group}/{name}") is None), None)

    def _document(self, path: str) -> dict[str, object] | None:
        try:
            return msgspec.json.decode(self.files.read(path), type=dict[str, object])
        except (OSError, msgspec.MsgspecError):
            return None

    def _belongs_to_plate(self, path: str) -> bool:
        match path.split("/"):
            case [kind, name] if kind == CONTEXTS:
                return name.endswith(PLAN_ENDINGS)
            case [kind, _] if kind == WELLS:
                return well_of_manifest(path) is not None
            case [images, name] | [images, _, name] if is_zarr(images) and images in self.image_sets:
                return name in GROUP_FILES
            case [images, _, _, name] if is_zarr(images) and images in self.image_sets:
                return name in GROUP_FILES and path.rpartition("/")[0] in self.empty
            case [tables, _] if tables == TABLES:
                return True  # a consolidated table
            case [name]:
                return name == VERDICTS
            case _:
                return False


def _manifests(files: OutputFiles, paths: Collection[str]) -> tuple[dict[str, WellManifest], dict[str, list[str]]]:
    """Manifests by well, and what is wrong with those that cannot be read."""
    manifests, broken = dict[str, WellManifest](), dict[str, list[str]]()
    found = {path: well for path in paths if (well := well_of_manifest(path)) is not None}
    wells = dict(sorted(found.items(), key=lambda item: plate_order(item[1])))
    for path, content in files.read_all(tuple(wells)):
        well = wells[path]
        if isinstance(content, FileNotFoundError):
            continue  # another run replaces the well
        if isinstance(content, OSError):
            broken[well] = [f"{path} cannot be read: {explained(content)}."]
            continue
        try:
            manifests[well] = manifest_of_well(content, path, well)
        except ManifestError as error:
            broken[well] = [str(error)]
    return manifests, broken


def _paths_by_owner(files: Iterable[str], image_sets: Collection[str]) -> dict[tuple[str, str], list[str]]:
    """Files that lie among a well's results, by the well and the path that holds them."""
    paths: dict[tuple[str, str], list[str]] = {}
    for path in files:
        if (owner := well_of_path(path, image_sets)) is not None:
            paths.setdefault(owner, []).append(path)
    return paths


def _is_empty_group(folder: str, by_owner: Mapping[tuple[str, str], list[str]]) -> bool:
    """True for the folder of a well that has no images, as earlier versions left it for each unpublished well."""
    image_set, *parts = folder.split("/")
    if not is_zarr(image_set):
        return False
    return all(path.removeprefix(f"{folder}/") in GROUP_FILES for path in by_owner["".join(parts), folder])


def _wells_by_plan(plans: Collection[Plan], manifests: Mapping[str, WellManifest]) -> dict[str, tuple[str, ...]]:
    makers = {context.fingerprint: context.pipeline_digest for contexts in plans for context in contexts.values()}
    grouped: dict[str, set[str]] = {}
    for well, manifest in manifests.items():
        grouped.setdefault(makers.get(manifest.fingerprint, UNKNOWN_PLAN), set()).add(well)
    return {plan: _in_order(wells) for plan, wells in sorted(grouped.items())}


def _in_order(wells: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(wells, key=plate_order))


__all__ = ["DamagedWell", "VerifyReport", "verify"]
