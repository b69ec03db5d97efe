"""The contract of a microscope's format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

from openhcs_engine.errors import NotAPlateError, SeveralPlatesError
from openhcs_engine.microscopes.file_names.suggestion import ways_to_say_it
from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wording import listed_first

NAMED: Final = 3
"""Warnings of a listing that the refusal repeats."""


class MicroscopeHandler(ABC):
    """Reads one vendor's format. It decides by what files are, never by the folder's own name."""

    name: ClassVar[str]
    """Key of the format, e.g. ``imagexpress``."""
    looks_for: ClassVar[str]
    """What makes a folder a plate of this format, for the error when nothing is found."""
    last_resort: ClassVar[bool] = False
    """True if it is asked only where no other format finds a plate."""

    @abstractmethod
    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """Folders, relative to the root, each of which is one plate of this format; the root is the empty name.

        A folder inside a plate is never one of them.
        """

    def recognises(self, listing: FolderListing) -> bool:
        """True if at least one plate of this format lies in the folder."""
        return bool(self.plate_folders(listing))

    @abstractmethod
    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """Read the folder's only plate: what was acquired, and where each plane lies.

        Paths in the index are relative to the listing's root. ``plate_id`` defaults to the root's name.

        Raises
        ------
        NotAPlateError, SeveralPlatesError
            If the folder holds no plate of this format, or more than one.
        UnreadablePlateError
            If its metadata contradict each other beyond repair.
        PlateIdError
            If ``plate_id`` cannot be a folder's name.
        """

    def locate(self, listing: FolderListing, index: ImageIndex) -> ImageIndex:
        """The index with the stage position and height of every plane that has one.

        Formats whose plate-wide metadata give them put them on the planes when the plate is read, and this changes
        nothing; others override it and open files, which reading the plate must not.
        """
        return index


def one_plate(listing: FolderListing, folders: Sequence[str], handlers: Sequence[MicroscopeHandler]) -> str:
    """The only plate folder of a listing; an error that says what was looked for, or which plates there are."""
    plates = outermost(folders)
    if len(plates) == 1:
        return plates[0]
    if not plates:
        looked_for = "; ".join(f"{handler.name}: {handler.looks_for}" for handler in handlers)
        refused = "".join(f" {warning}" for warning in listing.warnings[:NAMED])  # a failing drive hides a plate
        raise NotAPlateError(
            f"{listing.root} is not a plate: none of its {len(listing.files)} files fits a known format "
            f"(looked for {looked_for}).{refused}{ways_to_say_it(listing)}",
            path=listing.root,
        )
    shown = listed_first(plates, 10)
    raise SeveralPlatesError(
        f"{listing.root} holds {len(plates)} plates; give the folder of one of them: {shown}.",
        path=listing.root,
        plates=plates,
    )


def outermost(folders: Iterable[str]) -> tuple[str, ...]:
    """Those folders that do not lie inside another of them, sorted."""
    kept: list[str] = []
    for folder in sorted(set(folders), key=lambda folder: folder.split("/") if folder else []):
        if not any(is_inside(folder, other) for other in kept):
            kept.append(folder)
    return tuple(kept)


def is_inside(folder: str, other: str) -> bool:
    """True if ``folder`` is ``other`` or lies below it; both relative to one root."""
    return other == "" or folder == other or folder.startswith(other + "/")
