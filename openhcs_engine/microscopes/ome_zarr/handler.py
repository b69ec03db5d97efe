"""OME-Zarr plates of any writer: NGFF 0.4 in zarr v2, 0.5 in zarr v3. Labels and tables are left alone.

Where OME-Zarr does not say what we need to know:

- **Site**: the number that our engine wrote (``openhcs.site``); of other writers, the image's index in its well's
  list, counted from 1. OME-Zarr does not say which images of two acquisitions show the same field (nor whether an
  acquisition is a staining cycle, a time or a repeat), so an image of another acquisition is a site of its own; a note
  says which sites belong to which acquisition.
- **Channel**: one number a name, in the order of wells and images. So images of different staining cycles
  (``0_DAPI``, ``1_DAPI``) hold different channels, and no two of them are taken for one just because they have the same
  index in their arrays. Channels without a name differ by their index.
- **z and time** are counted from 1.
- **Pixel size**: the scale of level 0 times that of all levels, where the axis has a unit of length; a bare number is
  no size.
- **Stage positions** have no place in OME-Zarr.
- **Missing**: wells that the plate lists and that hold no image are ``absent_wells``; images that a well lists and that
  are not there, or cannot be read, are missing planes, the same as elsewhere on the plate. A chunk that is not stored
  stands for the fill value; where a plate has no chunk at all, its planes are missing.
- **Damaged**: a well whose own metadata, or those of one of its images, cannot be read is one of ``damaged_wells`` and
  fails when it is run, as a well with a damaged TIFF does.

In plates of our engine a collapsed axis has the number 1, or the next free one beside numbered values; a collapsed z
beside planes is a projection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar

from openhcs_engine.errors import PlateIdError
from openhcs_engine.microscopes.handler import MicroscopeHandler, one_plate
from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.microscopes.ome_zarr.planes import Numbering, channels_of, missing_planes, planes_of
from openhcs_engine.microscopes.ome_zarr.source import OUTPUT_IMAGES, PlateSource, nodes_of, read_source
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import plate_id_of_folder, plate_order, validate_plate_id
from openhcs_engine.model.wording import listed_first
from openhcs_engine.ngff.foreign import OmeZarrImage, OmeZarrPlate, is_plate
from openhcs_engine.ngff.nodes import ATTRIBUTES_V2, NODE_V3


class OmeZarrHandler(MicroscopeHandler):
    """Reads OME-Zarr plates, our own outputs among them."""

    name: ClassVar[str] = "ome_zarr"
    looks_for: ClassVar[str] = "an OME-Zarr plate, that is a zarr.json or .zattrs that describes one"

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """Groups that describe a plate; the name of the folder says nothing."""
        nodes, found = nodes_of(listing), list[str]()
        groups = (folder for folder, names in listing.names.items() if NODE_V3 in names or ATTRIBUTES_V2 in names)
        closed: set[str] = set()
        for folder in sorted(groups, key=lambda folder: folder.split("/") if folder else []):
            if any(above in closed for above in _above(folder)):
                continue
            if is_plate(nodes, folder):
                found.append(folder)
                closed.add(folder)
        return tuple(found)

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """Read the only OME-Zarr plate of the folder; see MicroscopeHandler.read_plate."""
        base = one_plate(listing, self.plate_folders(listing), [self])
        source = read_source(listing, base)
        chosen = _plate_id(listing, source.group) if plate_id is None else validate_plate_id(plate_id)
        listed = [image.listed for image in source.images] + list(source.unread)
        numbering = Numbering.of(source.images, listed)
        planes = planes_of(source.images, numbering, listing)
        missing = tuple(missing_planes(source.unread, planes, numbering))
        index = ImageIndex.of((*planes, *missing))
        return _plate(listing, source, numbering, index, chosen), index


def _above(folder: str) -> Iterable[str]:
    """The folders above one, the root last."""
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder


def _plate_id(listing: FolderListing, group: OmeZarrPlate) -> str:
    """The folder's name; every output's images have the same, so there it is the id that our engine wrote."""
    if group.own_id is not None and listing.name == OUTPUT_IMAGES:
        try:
            return validate_plate_id(group.own_id)
        except PlateIdError:
            pass
    return plate_id_of_folder(listing.name)


def _plate(
    listing: FolderListing, source: PlateSource, numbering: Numbering, index: ImageIndex, plate_id: str
) -> Plate:
    channels, odd_channels = channels_of(source.images, numbering)
    # A well whose planes are all missing was promised, too: it fails, and is not passed over.
    wells = tuple(sorted({plane.key.well for plane in index}, key=plate_order))
    known = {well.name for well in source.group.wells}.union(source.group.own_absent)
    absent = tuple(sorted(known.difference(wells), key=plate_order))
    shapes, dtypes = {channel.shape for channel in channels}, {channel.dtype for channel in channels}
    pixel_size, odd_pixels = _pixel_size(source.images)
    z_step, odd_steps = _common([image.z_step_um for image in source.images], "distances of planes")
    keys = [plane.key for plane in index]
    return Plate(
        plate_id=plate_id,
        name=source.group.name or (source.group.folder.rpartition("/")[2] or listing.name).removesuffix(".zarr"),
        microscope=OmeZarrHandler.name,
        root=listing.root,
        wells=wells,
        absent_wells=absent,
        sites=tuple(sorted({key.site for key in keys if key.site is not None})),
        channels=channels,
        z_indexes=tuple(sorted({key.z_index for key in keys if key.z_index is not None})),
        timepoints=tuple(sorted({key.timepoint for key in keys if key.timepoint is not None})),
        rows=source.group.rows,
        columns=source.group.columns,
        pixel_size_um=pixel_size,
        z_step_um=z_step,
        # One form for all, or none: without one each plane is asked for its own.
        shape=channels[0].shape if channels and None not in shapes else None,
        dtype=channels[0].dtype if channels and None not in dtypes else None,
        damaged_wells=source.damaged,
        warnings=(
            *source.warnings,
            *odd_channels,
            *odd_pixels,
            *odd_steps,
            *_other_forms(source, numbering),
            *_absence(listing, source, absent, index),
        ),
        notes=(*source.group.notes, *_acquisitions(source, numbering)),
    )


def _absence(listing: FolderListing, source: PlateSource, absent: Sequence[str], index: ImageIndex) -> Iterable[str]:
    """Say what the plate lists and the folder lacks."""
    if absent:
        yield f"Listed in the plate's metadata, but without any image: {listed_first(absent)}."
    if len(index) and not len(index.present()):
        yield "The folder holds metadata only: none of its arrays has a chunk."
        return
    hollow = [image.array for image in source.images if image.array in listing.empty_arrays and image.own is None]
    if hollow:
        yield (
            f"These arrays have no stored chunk, so that all their pixels are the fill value: {listed_first(hollow)}. "
            "If images were taken there, copy them again."
        )
    if listing.arrays is not None:
        yield from listing.arrays.unstored_parts()


def _other_forms(source: PlateSource, numbering: Numbering) -> Iterable[str]:
    """Report images that seem to be made of another image of their well, as Fractal's ``0_illum_corr`` is of ``0``."""
    sites: dict[tuple[str, str], int] = {}
    for image in source.images:
        well, _, name = image.listed.folder.rpartition("/")
        sites[well, name] = numbering.site(image.listed)
    found = {
        name: f"{name} (site {site}) of {origin} (site {sites[well, origin]})"
        for (well, name), site in sites.items()
        if (origin := next((one for one in _stems(name) if (well, one) in sites), None)) is not None
    }
    if found:
        yield (
            f"Some images seem to be other forms of an image of the same well: {listed_first(found.values())}. "
            "OME-Zarr does not say so: they are read as sites of their own, and counts of objects would be doubled."
        )


def _stems(name: str) -> Iterable[str]:
    """What stands before each underscore of a name."""
    parts = name.split("_")
    return ("_".join(parts[:count]) for count in range(1, len(parts)))


def _acquisitions(source: PlateSource, numbering: Numbering) -> Iterable[str]:
    sites: dict[int, set[int]] = {}
    for listed in [*(image.listed for image in source.images), *source.unread]:
        if listed.acquisition is not None:
            sites.setdefault(listed.acquisition, set()).add(numbering.site(listed))
    if len(sites) < 2:
        return
    for acquisition, numbers in sorted(sites.items()):
        name = source.group.acquisitions.get(acquisition)
        called = f'{acquisition} ("{name}")' if name else str(acquisition)
        yield f"Acquisition {called}: {'site' if len(numbers) == 1 else 'sites'} {listed_first(sorted(numbers))}."


def _pixel_size(images: Sequence[OmeZarrImage]) -> tuple[float | None, list[str]]:
    sizes: list[float | None] = []
    oblong: dict[tuple[float | None, float | None], None] = {}
    for y, x in (image.pixel_size_um for image in images):
        square = y is not None and x is not None and abs(y - x) <= 1e-3 * x
        sizes.append(x if square else None)
        if (y is not None or x is not None) and not square:
            oblong[y, x] = None
    size, warnings = _common(sizes, "pixel sizes")
    told = [f"{_um(y)} high and {_um(x)} wide" for y, x in oblong]
    return size, warnings + [f"Some images have pixels that are not square: {listed_first(told)}." for _ in told[:1]]


def _common(values: Iterable[float | None], what: str) -> tuple[float | None, list[str]]:
    """The value of most images, and a warning if others have another."""
    counted = Counter(value for value in values if value is not None).most_common()
    if not counted:
        return None, []
    told = [f"{_um(value)} in {count} images" for value, count in counted]
    return counted[0][0], [f"The images state different {what}: {listed_first(told)}."] if len(counted) > 1 else []


def _um(value: float | None) -> str:
    return "of unknown size" if value is None else f"{value:g} µm"
