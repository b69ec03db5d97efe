"""Which microscope wrote a folder, and the formats this version knows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from openhcs_engine.errors import NotAPlateError, UnreadablePlateError
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.microscopes.cellvoyager.handler import CellVoyagerHandler
from openhcs_engine.microscopes.file_names.handler import PresetHandler
from openhcs_engine.microscopes.handler import MicroscopeHandler, one_plate
from openhcs_engine.microscopes.harmony.handler import OperaPhenixHandler
from openhcs_engine.microscopes.imagexpress.handler import ImageXpressHandler
from openhcs_engine.microscopes.listing import FolderListing, list_folder, list_url
from openhcs_engine.microscopes.ome_zarr.handler import OmeZarrHandler
from openhcs_engine.model.completeness import note_inferred
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate, SitePosition
from openhcs_engine.model.system_errors import explained


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedMicroscope:
    """A folder, listed once, and the handler that reads it."""

    handler: MicroscopeHandler
    listing: FolderListing

    def read_plate(self, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """The plate and the index of its planes; see MicroscopeHandler.read_plate.

        Of a folder that holds metadata and no image at all, the wells are those that were declared.
        """
        plate, index = self.handler.read_plate(self.listing, plate_id)
        if not plate.wells and len(index):
            declared = tuple(index.by_well)
            absent = tuple(well for well in plate.absent_wells if well not in declared)
            plate = replace(plate, wells=declared, absent_wells=absent)
        return replace(plate, notes=(*plate.notes, *note_inferred(plate, index))), index

    def locate(self, index: ImageIndex) -> ImageIndex:
        """The index with stage positions and heights; see MicroscopeHandler.locate."""
        return self.handler.locate(self.listing, index)

    def read_positions(self, index: ImageIndex) -> tuple[SitePosition, ...]:
        """Stage position of every (well, site) that has one, in plate order."""
        return self.locate(index).site_positions()


def default_handlers() -> tuple[MicroscopeHandler, ...]:
    """All formats this version reads, in the order in which they are asked."""
    return (ImageXpressHandler(), OperaPhenixHandler(), CellVoyagerHandler(), OmeZarrHandler(), PresetHandler())


def detect_microscope(
    folder: str | os.PathLike[str], handlers: Sequence[MicroscopeHandler] | None = None
) -> DetectedMicroscope:
    """List a folder and find the format of the one plate it holds.

    Parameters
    ----------
    folder : path
        The plate folder. It is only read.
    handlers : sequence of MicroscopeHandler, optional
        Formats to try, ``default_handlers()`` if not given.

    Raises
    ------
    NotAPlateError
        If the folder does not exist, is none, is empty, or holds no plate.
    SeveralPlatesError
        If it holds more than one plate; ``.plates`` lists their folders.
    UnreadablePlateError
        If it may not be listed.
    """
    asked = default_handlers() if handlers is None else tuple(handlers)
    listing = _listed(folder)
    found = {handler: handler.plate_folders(listing) for handler in asked if not handler.last_resort}
    if not any(found.values()):
        found = {handler: handler.plate_folders(listing) for handler in asked if handler.last_resort}
    plate = one_plate(listing, [path for paths in found.values() for path in paths], asked)
    handler = next(handler for handler, paths in found.items() if plate in paths)
    return DetectedMicroscope(handler=handler, listing=listing)


def _listed(folder: str | os.PathLike[str]) -> FolderListing:
    if is_remote(str(folder)):
        return _listed_url(str(folder))
    path = local_folder(str(folder))
    shown = ascii(str(folder))[1:-1] if not str(folder).isprintable() else str(folder)
    try:
        if not path.exists():
            raise NotAPlateError(f"There is no folder {shown}; give the folder of a plate.", path=str(folder))
        if not path.is_dir():
            raise NotAPlateError(f"{shown} is a file; give the plate folder that holds it.", path=str(folder))
        listing = list_folder(path)
    except ValueError as error:  # a NUL in the name
        if isinstance(error, NotAPlateError):
            raise
        raise NotAPlateError(f"{shown} cannot be the name of a folder.", path=str(folder)) from error
    except OSError as error:
        raise UnreadablePlateError(f"{shown} cannot be listed: {explained(error)}.", path=str(folder)) from error
    if not listing.names:
        raise NotAPlateError(f"{shown} is empty: there is no plate in it.", path=str(folder))
    return listing


def _listed_url(url: str) -> FolderListing:
    try:
        listing = list_url(url)
    except FileNotFoundError as error:
        raise NotAPlateError(f"There is no folder {url}; give the folder of a plate.", path=url) from error
    except OSError as error:
        raise UnreadablePlateError(f"{url} cannot be listed: {explained(error)}.", path=url) from error
    if not listing.names:
        raise NotAPlateError(f"{url} is empty or does not exist: there is no plate in it.", path=url)
    return listing
