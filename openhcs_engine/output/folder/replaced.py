"""The version of a well that a new one replaces: set aside whole, and put back unless the new one is published.

``.replaced/<well>-<random>/`` is laid out as the output. The manifest goes there first and comes back last, so that a
well is never called published while a part of it lies aside. Who moves something there holds the lock of ``wells/``:
what another process finds was left by one that was killed, or that the file system did not let put it back.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.atomic import flush, remove, remove_empty_parents
from openhcs_engine.files.links import refuse_links
from openhcs_engine.files.present import find
from openhcs_engine.model.system_errors import explained_with_file
from openhcs_engine.model.wells import is_well
from openhcs_engine.output.folder.fsync import flush_names
from openhcs_engine.output.layout import REPLACED, TABLES, WELLS, manifest_name, paths_of_well
from openhcs_engine.output.manifest import STAGED_MANIFEST, StagedWell


def replace_well(folder: Path, staged: StagedWell, before: Collection[str], *, fsync: bool) -> None:
    """Put a staged well in place of what an output has of it; the caller holds the lock of ``wells/``.

    Parameters
    ----------
    folder
        The output.
    staged
        The new version, with its manifest.
    before
        Folders and files of the old version that are present, relative to the output.
    fsync
        Wait until the names are on the disk, before the manifest says that the well exists.

    Raises
    ------
    OSError
        If the file system refuses a step. What was done is undone, and the old version is as it was.
    OutputPlaceError
        If it refuses that, too; names the folder that holds the old version.
    """
    manifest = manifest_name(staged.well)
    aside = folder / REPLACED / f"{staged.well}-{secrets.token_hex(4)}"
    moves = _Moves()
    try:
        if (folder / manifest).exists():
            moves.move(folder / manifest, aside / manifest)
            if fsync:
                flush(folder / WELLS)
        for path in before:
            moves.move(folder / path, aside / path)
        for path in staged.places:
            moves.move(staged.folder / path, folder / path)
        if fsync:
            flush_names([folder / path for path in staged.places], folder)
        moves.move(staged.folder / STAGED_MANIFEST, folder / manifest)
        if fsync:
            flush(folder / WELLS)
    except BaseException as error:
        _undo(moves, folder, staged.well, aside, error)
        raise
    with suppress(OSError):  # the new version is published whatever becomes of the old one; a sweep removes it
        aside.rename(staged.folder / aside.name)
        aside.parent.rmdir()


def settle_replaced(folder: Path, is_complete: Callable[[str], bool]) -> None:
    """Put back the old versions of wells whose new ones were not published, and remove the others.

    The caller holds the lock of ``wells/``; ``is_complete`` says whether a well is published with all its files.
    """
    for well, aside in _set_aside(folder):
        # One without a manifest was never published.
        if (aside / manifest_name(well)).exists() and not is_complete(well):
            _put_back(folder, well, aside)
        remove(aside)
    with suppress(OSError):
        (folder / REPLACED).rmdir()


def forget_replaced(folder: Path, wells: Collection[str]) -> None:
    """Remove the old versions of wells, so that no sweep puts them back; the caller holds the lock of ``wells/``."""
    for well, aside in _set_aside(folder):
        if well in wells:
            remove(aside)


@dataclass(frozen=True, slots=True)
class _Moves:
    """Renames that can be undone."""

    begun: list[tuple[Path, Path]] = field(default_factory=list)

    def move(self, source: Path, target: Path) -> None:
        """Rename a file or folder, into folders that are made for it."""
        self.begun.append((source, target))
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)

    def undo(self) -> None:
        """Rename all back, the last one first; stops at the first error."""
        for source, target in reversed(self.begun):
            # On a network drive a rename that failed may have been done.
            if _exists(target) and not _exists(source):
                target.rename(source)


def _undo(moves: _Moves, folder: Path, well: str, aside: Path, error: BaseException) -> None:
    """Bring the old version back after an error; OutputPlaceError if that fails, too."""
    try:
        moves.undo()
    except OSError as refused:
        if isinstance(error, OSError):
            raise OutputPlaceError(
                f"Well {well}: its new version could not be published ({error.strerror}), and the old one could not be "
                f"put back: {explained_with_file(refused)}. The old one lies in {aside}; the next run puts it back, "
                "unless a newer one is published.",
                path=str(aside),
            ) from error
    else:
        for _, target in moves.begun:
            if target.parent != folder / WELLS:  # the lock is on it
                remove_empty_parents(target, folder)


def _put_back(folder: Path, well: str, aside: Path) -> None:
    image_sets = {path.name for path in aside.iterdir()} - {TABLES, WELLS}
    paths = [*paths_of_well(aside, well, image_sets), manifest_name(well)]
    refuse_links(folder, paths)
    for path in paths:
        remove(folder / path)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (aside / path).rename(folder / path)


def _set_aside(folder: Path) -> list[tuple[str, Path]]:
    """Wells with the folders that hold their old versions; what has another name was not made here, and stays."""
    found = [(path.name.rpartition("-")[0], path) for path in find(folder / REPLACED, "*")]
    return [(well, path) for well, path in found if is_well(well)]


def _exists(path: Path) -> bool:
    """True if the path is there; an error that leaves this open is raised, and not taken for no."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


__all__ = ["forget_replaced", "replace_well", "settle_replaced"]
