"""What the groups of an OME-Zarr plate say, well by well: a damaged one stops no other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.model.wells import plate_order
from openhcs_engine.ngff.documents import Nodes
from openhcs_engine.ngff.foreign import (
    AbsentImageError,
    ListedImage,
    ListedWell,
    OmeZarrImage,
    OmeZarrPlate,
    read_image,
    read_plate,
    read_well,
)

OUTPUT_IMAGES: Final = "images.zarr"
"""What our engine calls the plate inside its output folder."""
_MAX_PLANES: Final = 10**7
"""Planes of a plate: 1536 wells of 9 sites, 5 channels and 72 z planes are half of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateSource:
    """Everything that was read of one plate."""

    group: OmeZarrPlate
    images: tuple[OmeZarrImage, ...]
    unread: tuple[ListedImage, ...]
    """Images that wells list and that cannot be read."""
    damaged: tuple[tuple[str, str], ...]
    """Wells with metadata that cannot be read, and why."""
    warnings: tuple[str, ...]


def nodes_of(listing: FolderListing) -> Nodes:
    """The groups and arrays of a folder."""

    def size_of(path: str) -> int | None:
        file = listing.by_path.get(path)
        return None if file is None else listing.size_of(path)

    def content_of(path: str) -> bytes:
        content = listing.read_bytes(path, listing.size_of(path))
        if listing.arrays is not None:
            listing.arrays.documents[path] = content  # behind a URL none is fetched twice
        return content

    return Nodes(size_of, content_of)


def read_source(listing: FolderListing, base: str) -> PlateSource:
    """Read the plate's group in a folder, its wells in plate order, and their images.

    Raises
    ------
    UnreadablePlateError
        If the plate's own group cannot be used, or none of its images can be read.
    """
    nodes = nodes_of(listing)
    reader = _Reader(listing, nodes, read_plate(nodes, base))
    for well in sorted(reader.group.wells, key=lambda well: plate_order(well.name)):
        reader.read(well)
    return reader.source()


@dataclass(slots=True)
class _Reader:
    """Reads one well after the other."""

    listing: FolderListing
    nodes: Nodes
    group: OmeZarrPlate
    images: dict[tuple[str, int | None], OmeZarrImage] = field(default_factory=dict)
    """By well and site."""
    unread: list[ListedImage] = field(default_factory=list)
    bare: list[ListedWell] = field(default_factory=list)
    """Wells that do not say which images they have."""
    damaged: dict[str, str] = field(default_factory=dict)
    refused: list[UnreadablePlateError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    planes: int = 0

    def read(self, well: ListedWell) -> None:
        if self.is_debris(well):
            self.warnings.append(
                f"Well {well.name} was left out: it has no wells/{well.name}.json, so the run that wrote it was "
                "interrupted."
            )
            return
        try:
            found = read_well(self.nodes, well)
        except UnreadablePlateError as error:
            self.refused.append(error)
            self.add_damaged(well, str(error))
            return
        for listed in found:
            self.read_image(listed)
        if not found and (image := self.unlisted_image(well)) is not None:
            path = self.nodes.group_path(well.folder)
            self.add_damaged(well, f"{path} lists no image of well {well.name}, but the folder holds {image}.")

    def add_damaged(self, well: ListedWell, reason: str) -> None:
        self.damaged[well.name] = reason
        self.bare.append(well)
        self.warnings.append(f"{reason} Well {well.name} fails when it is run.")

    def unlisted_image(self, well: ListedWell) -> str | None:
        """An image in a well's folder that its group should list; our own groups list nothing before all is written."""
        below = self.listing.folders_in.get(well.folder, ()) if self.group.own_id is None else ()
        return next((folder for folder in below if self.nodes.mentions(folder, b'"multiscales"')), None)

    def read_image(self, listed: ListedImage) -> None:
        try:
            image = read_image(self.nodes, listed)
        except UnreadablePlateError as error:
            self.refused.append(error)
            if not isinstance(error, AbsentImageError):
                self.damaged.setdefault(listed.well, str(error))
            self.warnings.append(f"{error} Its planes count as missing.")
            self.unread.append(listed)
            return
        site = image.listed.site
        if self.images.setdefault((listed.well, site), image) is not image:
            self.warnings.append(f"{listed.folder} was left out: its well has another image of site {site}.")
            return
        self.planes += image.planes
        if self.planes > _MAX_PLANES:
            raise UnreadablePlateError(
                f"The arrays of {self.listing.root} claim more than {_MAX_PLANES} planes; no plate has so many.",
                path=self.listing.root,
            )

    def is_debris(self, well: ListedWell) -> bool:
        """In an output folder of ours, a manifest alone decides that a well exists."""
        folder, _, name = self.group.folder.rpartition("/")
        manifests = f"{folder}/wells" if folder else "wells"
        if self.group.own_id is None or name != OUTPUT_IMAGES or manifests not in self.listing.names:
            return False
        # A well that is not published yet has a group that lists no image.
        is_published = f"{manifests}/{well.name}.json" in self.listing.by_path
        return not is_published and self.nodes.mentions(well.folder, b'"path"')

    def source(self) -> PlateSource:
        if self.refused and not self.images:
            raise self.refused[0]
        # Which images a damaged well had is not known: those of the plate's other wells stand for them.
        sites = {image.listed.site for image in self.images.values()}
        stand_ins = [
            ListedImage(well=well.name, folder=well.folder, acquisition=None, site=site)
            for well in self.bare
            for site in sites
        ]
        return PlateSource(
            group=self.group,
            images=tuple(self.images.values()),
            unread=(*self.unread, *stand_ins),
            damaged=tuple(self.damaged.items()),
            warnings=(*self.listing.warnings, *self.group.warnings, *self.warnings),
        )


__all__ = ["OUTPUT_IMAGES", "PlateSource", "nodes_of", "read_source"]
