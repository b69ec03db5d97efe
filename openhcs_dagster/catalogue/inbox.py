"""Which folders of an inbox are complete plates.

A microscope writes for hours. A folder counts as complete when the number, sizes and times of its files were the same
in two looks, and its format's own description of the plate is there; a bare folder never does, unless the inbox says
what its files are. An OME-Zarr plate describes itself before its first well is written: it is complete when every well
that it lists has its images.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry
from openhcs_dagster.catalogue.inbox_file import Inbox
from openhcs_dagster.catalogue.registration import register
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.files.links import target_of
from openhcs_engine.files.present import find
from openhcs_engine.microscopes.detect import DetectedMicroscope
from openhcs_engine.microscopes.file_names.presets import PRESETS
from openhcs_engine.microscopes.ome_zarr.handler import OmeZarrHandler
from openhcs_engine.model.completeness import missing_planes
from openhcs_engine.model.system_errors import explained_with_file
from openhcs_engine.model.wells import plate_order

DESCRIPTIONS: Final = {
    "imagexpress": (".htd",),
    "opera_phenix": (".xml",),
    "cellvoyager": (".mlf",),
    "ome_zarr": ("zarr.json", ".zattrs"),
}
"""Endings of the files without which a format's acquisition is not finished, although its images could be read."""

Footprint = tuple[int, int, int]
"""Files, bytes, time of the last change in ns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxMemory:
    """What the next look must know."""

    footprints: dict[str, Footprint] = field(default_factory=dict)
    """By folder name, as last seen."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why a settled folder is no plate; kept until the folder or the inbox file changes."""
    inbox: str = ""
    """What the inbox file said when they were refused."""
    waiting: tuple[str, ...] = ()
    """Plates that were registered and have not been started."""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> InboxMemory:
        """What the last look left; nothing if it cannot be read."""
        try:
            return msgspec.json.decode(cursor, type=cls) if cursor else cls()
        except msgspec.MsgspecError:
            return cls()

    def to_cursor(self) -> str:
        """Text for the sensor's cursor."""
        return msgspec.json.encode(self).decode()

    def without_waiting(self, started: Iterable[str]) -> InboxMemory:
        """The memory after some plates were started."""
        gone = set(started)
        return replace(self, waiting=tuple(plate for plate in self.waiting if plate not in gone))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found."""

    memory: InboxMemory
    registered: tuple[CatalogueEntry, ...]
    """New in the catalogue since this look."""
    waiting: tuple[CatalogueEntry, ...]
    """Registered by an earlier look and not yet started."""
    notes: tuple[str, ...]

    def sentence(self) -> str:
        """Why nothing is started."""
        new = [
            f"{entry.id} is registered and starts once the code location has reloaded.{entry.missing_sentence}"
            for entry in self.registered
        ]
        held = [f"{entry.id} waits for the code location to reload." for entry in self.waiting]
        return " ".join([*new, *held, *self.notes]) or "No new folder in the inbox."


def look_into(inbox: Inbox, catalogue: Catalogue, memory: InboxMemory) -> Look:
    """Register the folders that settled since the last look."""
    entries = {entry.id: entry for entry in catalogue.list()}
    waiting = tuple(entries[plate] for plate in memory.waiting if plate in entries)
    if note := _no_inbox(inbox.folder):
        return Look(memory=memory, registered=(), waiting=waiting, notes=(note,))
    if memory.inbox != str(inbox):
        memory = replace(memory, refused={})
    known = {entry.folder for entry in entries.values()}
    footprints, refused, registered, notes = {}, {}, [], []
    for folder in _folders(inbox.folder):
        if str(folder.resolve()) in known:
            continue
        if folder.is_symlink():
            notes.append(f"{folder.name}: {_IS_LINK.format(target=target_of(folder))}")
            continue
        try:
            found, footprints[folder.name] = _judge(inbox, catalogue, folder, memory)
        except OSError as error:  # one folder that cannot be read must not keep the others waiting
            notes.append(f"{folder.name}: it cannot be read ({explained_with_file(error)}); it is looked at again.")
            continue
        if isinstance(found, CatalogueEntry):
            registered.append(found)
            continue
        notes.append(f"{folder.name}: {found.reason}")
        if found.is_final:
            refused[folder.name] = found.reason
    left = (*(entry.id for entry in waiting), *(entry.id for entry in registered))
    return Look(
        memory=InboxMemory(footprints=footprints, refused=refused, inbox=str(inbox), waiting=left),
        registered=tuple(registered),
        waiting=waiting,
        notes=tuple(notes),
    )


def _no_inbox(folder: Path) -> str | None:
    """Why plates cannot arrive in a folder; None if they can."""
    if not folder.is_dir():
        return f"The inbox {folder} is no folder; correct the inbox file."
    own = [
        path.name for path in find(folder, "*") if path.name.lower().endswith((".htd", ".mlf", "zarr.json", ".zattrs"))
    ]
    if own:
        return f"The inbox {folder} is a plate itself (it holds {own[0]}); write the folder in which plates arrive."
    return None


_IS_LINK: Final = (
    "it is a link to {target}, and nobody knows who put it there. Move the folder itself into the inbox, or register "
    "it with `openhcs-dagster add`."
)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a folder is not registered."""

    reason: str
    is_final: bool
    """True: until the folder changes."""


def _judge(
    inbox: Inbox, catalogue: Catalogue, folder: Path, memory: InboxMemory
) -> tuple[CatalogueEntry | _Refusal, Footprint]:
    now = footprint(folder)
    if now != memory.footprints.get(folder.name) or not now[0]:
        return _Refusal(f"{now[0]} files, waiting until it no longer changes.", is_final=False), now
    found = memory.refused.get(folder.name) or _register(inbox, catalogue, folder)
    return (_Refusal(found, is_final=True) if isinstance(found, str) else found), now


def footprint(folder: Path) -> Footprint:
    """Number of files below a folder, their bytes, and the time of the last change."""
    files, size, latest = 0, 0, 0
    for entry in _walk(folder):
        try:
            status = entry.stat()
        except FileNotFoundError:  # a link to nowhere, or a file renamed while we look
            status = entry.stat(follow_symlinks=False)
        files, size, latest = files + 1, size + status.st_size, max(latest, status.st_mtime_ns)
    return files, size, latest


def _walk(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            else:
                yield entry


def _unfinished(inbox: Inbox, folder: Path) -> str | None:
    """Why a folder is not complete, although it can be read; None if it is."""
    detected = inbox.reading.detect(str(folder))
    if detected.handler.last_resort:
        return (
            "It has images and nothing that describes the plate. If their names say enough, choose a preset in the "
            f"inbox file ({', '.join(PRESETS)}), or give a pattern."
        )
    endings = DESCRIPTIONS.get(detected.handler.name)
    if endings is not None and not any(file.path.lower().endswith(endings) for file in detected.listing.files):
        return (
            f"It has images, but no {' or '.join(endings).upper()} file yet; it is registered when that file is there."
        )
    if isinstance(detected.handler, OmeZarrHandler):
        return _wells_to_come(detected)
    return None


def _wells_to_come(detected: DetectedMicroscope) -> str | None:
    plate, index = detected.read_plate()
    absent = {*plate.absent_wells, *(plane.key.well for plane in index.missing())}
    absent -= {well for well, _ in plate.damaged_wells}  # which fail when they are run, and never heal by waiting
    if not absent:  # what only other wells let expect may never have been meant to come
        return None
    named = ", ".join(sorted(absent, key=plate_order)[:6]) + (" ..." if len(absent) > 6 else "")
    count = len(missing_planes(plate, index))
    return (
        f"The plate lists wells whose images are not there yet ({len(absent)}: {named})"
        f"{f', {count} missing planes in all' if count else ''}; it is registered when they are. If they will never "
        "come, register it with `openhcs-dagster add`."
    )


def _folders(inbox: Path) -> list[Path]:
    return [path for path in find(inbox, "[!.]*") if path.is_dir()]


def _register(inbox: Inbox, catalogue: Catalogue, folder: Path) -> CatalogueEntry | str:
    try:
        if unfinished := _unfinished(inbox, folder):
            return unfinished
        return register(
            catalogue,
            folder,
            pipeline=inbox.pipeline,
            search_path=[Path(place) for place in inbox.search_path],
            output=inbox.output,
            options=inbox.options,
            reading=inbox.reading,
        )
    except OpenHCSError as error:
        return str(error)
