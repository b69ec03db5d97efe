"""The plates this deployment knows: one small JSON file each.

Asset graphs are built from these entries alone; neither a plate's folder nor its pipeline is touched for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.errors import PlateError
from openhcs_engine.files.address import is_remote
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.files.links import refuse_links
from openhcs_engine.files.present import find
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.artifacts import artifact_name
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.wells import folded_plate_id, normalise_well, plate_order, validate_plate_id
from openhcs_engine.plan.context import OutputPlan
from openhcs_engine.plan.fit import TAKEN_NAMES
from openhcs_engine.plan.run_options import RunOptions

_WAS_URL: Final = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+:/")


class CatalogueError(PlateError, ValueError):
    """A plate cannot enter the catalogue, or is not in it."""

    plate_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One plate: what its asset graph is built from."""

    id: str
    """Name of its output folder, asset group and asset keys."""
    name: str = ""
    """The instrument's own name of the plate."""
    folder: str
    """The raw plate, absolute. Never written to."""
    microscope: str
    """Key of the handler that read it."""
    pipeline: str
    """``module:attribute``."""
    search_path: tuple[str, ...] = ()
    """Folders that are searched for the pipeline's module before Python's own."""
    output: str
    """Output directory, absolute; the plate gets ``output/id``."""
    options: RunOptions = field(default_factory=RunOptions)
    reading: ReadOptions = field(default_factory=ReadOptions)
    """How the folder is read, where detection is not enough."""
    wells: tuple[str, ...]
    """Canonical names in plate order: the partitions."""
    listing_digest: str
    """Digest of the plate's listing when the entry was written."""
    fits: tuple[str, ...] = ()
    """Names of what the pipeline fits once for the plate, each an asset; renewed when the plate is compiled."""
    missing_planes: int = 0
    """Planes that the plate should have and its folder did not, when the entry was written."""
    added: str
    """ISO time, UTC."""

    @property
    def missing_sentence(self) -> str:
        """A sentence about planes that are missing, with a space before it; empty if none is."""
        if not self.missing_planes:
            return ""
        count = f"{self.missing_planes} {'plane of it is' if self.missing_planes == 1 else 'planes of it are'}"
        return f" {count} missing; `openhcs planes` lists them."

    @property
    def group(self) -> str:
        """Name of the asset group; Dagster allows letters, digits and ``_``."""
        return self.id.replace("-", "_").replace(".", "_")

    @property
    def output_plan(self) -> OutputPlan:
        """Where the engine puts this plate's results; the pipeline's name joins it when it is imported."""
        return self.options.output_plan(self.output, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenEntry:
    """A file of the catalogue that is no entry."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"The catalogue file {self.path} is left out: {self.reason}"


@dataclass(frozen=True, slots=True)
class Contents:
    """What the catalogue holds at one moment."""

    entries: tuple[CatalogueEntry, ...]
    """By id."""
    broken: tuple[BrokenEntry, ...]

    def __iter__(self) -> Iterator[CatalogueEntry]:
        return iter(self.entries)


class Catalogue:
    """A folder with one JSON file a plate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, entry: CatalogueEntry) -> Path:
        """Register a plate.

        Raises
        ------
        CatalogueError
            If the id is taken, equal to another once Dagster spells it, or the entry contradicts itself.
        PlateIdError
            If the id cannot be a name.
        """
        _check(entry)
        folded = folded_plate_id(entry.id)
        clash = next((known for known in self.list() if folded_plate_id(known.id) == folded), None)
        if clash is not None:
            raise CatalogueError(_clash_sentence(entry.id, clash), plate_id=entry.id)
        return self.replace(entry)

    def replace(self, entry: CatalogueEntry) -> Path:
        """Write an entry over the one with its id."""
        _check(entry)
        path = self._path(entry.id)
        self._refuse_links(path)
        write_whole(path, msgspec.json.format(msgspec.json.encode(entry), indent=2))
        return path

    def read(self, plate_id: str) -> CatalogueEntry:
        """The entry of one plate.

        Raises
        ------
        CatalogueError
            If the plate is not in the catalogue, or its file cannot be read.
        """
        entry = _read(self._path(validate_plate_id(plate_id)))
        if entry is None:
            known = ", ".join(entry.id for entry in self.list()) or "none"
            raise CatalogueError(
                f"No plate {plate_id!r} is registered (known: {known}); register it with `openhcs-dagster add`.",
                plate_id=plate_id,
            )
        if isinstance(entry, BrokenEntry):
            raise CatalogueError(str(entry), plate_id=plate_id)
        return entry

    def list(self) -> Contents:
        """All plates; files that are no entry are named, the others stand."""
        entries: dict[str, CatalogueEntry] = {}
        broken = []
        for path in find(self.folder, "[!.]*.json"):
            entry = _read(path)
            if entry is None:
                continue
            if isinstance(entry, BrokenEntry):
                broken.append(entry)
            elif (folded := folded_plate_id(entry.id)) in entries:
                broken.append(BrokenEntry(path=str(path), reason=_clash_sentence(entry.id, entries[folded])))
            else:
                entries[folded] = entry
        return Contents(tuple(sorted(entries.values(), key=lambda entry: entry.id)), tuple(broken))

    def remove(self, plate_id: str) -> CatalogueEntry:
        """Forget a plate; its raw folder and its output stay."""
        entry = self.read(plate_id)
        self._refuse_links(self._path(plate_id))
        self._path(plate_id).unlink()
        return entry

    def _refuse_links(self, path: Path) -> None:
        """The settings followed a link to a catalogue that a person named, so that one in its place now is no such."""
        refuse_links(self.folder.parent, [f"{self.folder.name}/{path.name}"])

    def _path(self, plate_id: str) -> Path:
        return self.folder / f"{plate_id}.json"


def _read(path: Path) -> CatalogueEntry | BrokenEntry | None:
    """What a file holds; None if it vanished, as when another command removes the plate."""
    try:
        entry = msgspec.json.decode(path.read_bytes(), type=CatalogueEntry)
        if entry.id != path.stem:
            raise CatalogueError(f"It describes plate {entry.id!r}; name the file {entry.id}.json.", plate_id=entry.id)
        _check(entry)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError, ValueError, LookupError) as error:
        return BrokenEntry(path=str(path), reason=f"{explained(error)}.")
    return entry


def _check(entry: CatalogueEntry) -> None:
    validate_plate_id(entry.id)
    complaint = entry.options.complaint()
    if complaint is None:
        complaint = remote_output(entry.output)
    if complaint is None and not entry.wells:
        complaint = "A plate without wells has nothing to process."
    if complaint is None and list(entry.wells) != sorted(
        {normalise_well(well) for well in entry.wells}, key=plate_order
    ):
        complaint = "The wells must be canonical names in plate order, each once."
    if complaint is None:
        complaint = _wrong_fits(entry.fits)
    if complaint is None and not all(entry.pipeline.partition(":")):
        complaint = f"{entry.pipeline!r} does not name a pipeline; write module:attribute."
    if complaint is not None:
        raise CatalogueError(f"Plate {entry.id!r}: {complaint}", plate_id=entry.id)


def _wrong_fits(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            artifact_name(name)
        except ValueError as error:
            return str(error)
        if name.lower() in TAKEN_NAMES:
            return f"{name!r} is another asset of every plate, and cannot name what its pipeline fits."
    return None if len({name.lower() for name in names}) == len(names) else "Two fits have the same name."


def remote_output(output: str) -> str | None:
    """What is wrong with an output that is a URL, as a sentence; None for a folder."""
    # A path that was a URL has lost one of its slashes: s3:/bucket.
    if not is_remote(output) and not _WAS_URL.match(output):
        return None
    return (
        f"The output {output} is a URL, but Dagster keeps a plate's report, locks and lineage beside its wells, in a "
        "folder of this host or of a network drive; choose one, and copy the finished plate, or use `openhcs run`."
    )


def _clash_sentence(plate_id: str, known: CatalogueEntry) -> str:
    if plate_id == known.id:
        return f"Plate {plate_id!r} is registered already ({known.folder}); remove it first, or give another --id."
    return (
        f"Plate id {plate_id!r} is the same as {known.id!r} once '-' and '.' become '_' and case is ignored; "
        "give another --id."
    )
