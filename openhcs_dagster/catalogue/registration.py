"""How a plate's folder becomes an entry of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry, CatalogueError, remote_output
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.microscopes.plate_listing import PlateListing, read_listing
from openhcs_engine.model.completeness import missing_planes
from openhcs_engine.model.wells import plate_id_of_folder, validate_plate_id
from openhcs_engine.plan.run_options import RunOptions


def register(
    catalogue: Catalogue,
    folder: str | Path,
    *,
    pipeline: str,
    output: str | Path,
    plate_id: str | None = None,
    search_path: Sequence[Path] = (),
    options: RunOptions | None = None,
    reading: ReadOptions | None = None,
) -> CatalogueEntry:
    """Read a plate's folder once and add it to the catalogue. The pipeline is not imported.

    Raises
    ------
    PlateError
        If the folder is no plate, its id is taken or impossible, or the output is a URL or lies inside the raw plate.
    """
    address = _address(str(folder))
    name = address.rpartition("/")[2]
    wanted_id = plate_id_of_folder(name) if plate_id is None else validate_plate_id(plate_id)
    if complaint := remote_output(str(output)):
        raise CatalogueError(complaint, plate_id=wanted_id)
    results = local_folder(str(output)).resolve()
    if not is_remote(address) and results.is_relative_to(address):
        raise CatalogueError(
            f"The output {results} lies inside the raw plate {address}, which is never written to; choose another one.",
            plate_id=wanted_id,
        )
    listing = read_listing(address, wanted_id, reading)
    entry = CatalogueEntry(
        id=wanted_id,
        name=listing.plate.name,
        folder=address,
        microscope=listing.plate.microscope,
        pipeline=pipeline,
        search_path=tuple(str(place.resolve()) for place in search_path),
        output=str(results),
        options=options or RunOptions(),
        reading=reading or ReadOptions(),
        wells=listing.plate.wells,
        listing_digest=listing.digest,
        missing_planes=len(missing_planes(listing.plate, listing.index)),
        added=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    catalogue.add(entry)
    return entry


def _address(folder: str) -> str:
    """A URL as it is; a folder by its real path, whatever link leads to it."""
    return folder.rstrip("/") if is_remote(folder) else str(local_folder(folder).resolve())


def renewed(entry: CatalogueEntry, listing: PlateListing) -> CatalogueEntry:
    """The entry with what the folder holds now."""
    return replace(
        entry,
        wells=listing.plate.wells,
        listing_digest=listing.digest,
        missing_planes=len(missing_planes(listing.plate, listing.index)),
    )
