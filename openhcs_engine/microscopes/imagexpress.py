"""ImageXpress and MetaXpress: exports with an HTD, database trees with GUID names, bare folders of such names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, Final

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.handler import MicroscopeHandler, is_inside, one_plate, outermost
from openhcs_engine.microscopes.htd import MAX_HTD_BYTES, Htd, is_htd, parse_htd
from openhcs_engine.microscopes.imagexpress_names import FolderPlace, ImageName, parse_folder, parse_image_name
from openhcs_engine.microscopes.imagexpress_planes import (
    ImageFile,
    ImageGroup,
    Remarks,
    measured_z_step,
    read_groups,
    read_header,
    read_planes,
)
from openhcs_engine.microscopes.listing import FolderListing, ListedFile
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Channel, Plate, StageFrame
from openhcs_engine.model.wells import plate_id_of_folder, plate_order, validate_plate_id


class ImageXpressHandler(MicroscopeHandler):
    """Reads ImageXpress plates."""

    name: ClassVar[str] = "imagexpress"
    looks_for: ClassVar[str] = (
        "an .HTD file, or images named like A01_s1_w1.tif, directly or in TimePoint_ and ZStep_ folders"
    )

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """Folders that hold images; without any image, folders that hold an HTD."""
        with_images, with_htd = set[str](), set[str]()
        for folder, files in listing.by_folder.items():
            place = parse_folder(folder)
            if place.base not in with_htd and any(_is_htd_file(listing, file) for file in files):
                with_htd.add(place.base)
            if place.base not in with_images and any(_speaks_for_us(file, place) for file in files):
                with_images.add(place.base)
        # Beside an HTD, plain names (A01.tif) are ours too.
        with_images |= {base for base in with_htd - with_images if _has_images(listing, base)}
        # An HTD above images belongs to them, one below is a copy; any other is a plate without images.
        alone = {
            base
            for base in with_htd
            if not any(is_inside(other, base) or is_inside(base, other) for other in with_images)
        }
        return outermost(with_images | alone)

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """Read the only ImageXpress plate of the folder; see MicroscopeHandler.read_plate."""
        chosen = plate_id_of_folder(listing.name) if plate_id is None else validate_plate_id(plate_id)
        base = one_plate(listing, self.plate_folders(listing), [self])
        remarks = Remarks(warnings=list(listing.warnings))
        htd_files = _htd_files(listing, base)
        images = list(_collect_images(listing, base, bool(htd_files), remarks))
        htd = _read_htd(listing, htd_files, {image.name.prefix for image in images}, remarks)
        groups = read_groups(listing, images, remarks)
        planes = read_planes(listing, groups, remarks)
        missing = () if htd is None else _missing(htd.content, planes, remarks)
        source = _Source(listing=listing, base=base, htd=htd, groups=groups, planes=planes, missing=missing)
        plate = _plate(source, chosen, remarks)
        return plate, ImageIndex.of((*planes, *missing))

    def locate(self, listing: FolderListing, index: ImageIndex) -> ImageIndex:
        """Read each image's own header: MetaXpress writes positions nowhere else."""
        return ImageIndex(tuple(_located(listing, plane) for plane in index))


def _located(listing: FolderListing, plane: ImagePlane) -> ImagePlane:
    """The plane with its position; without one if its file has none, or cannot be read (which a run will tell)."""
    if not plane.present or plane.path is None:
        return plane
    try:
        _, said = read_header(listing, plane.path, plane.size)
    except (OSError, ValueError):
        return plane
    if said is None:
        return plane
    x, y = said.stage_um or (None, None)
    return plane.replace(x_um=x, y_um=y, z_um=said.z_um)


_FRAME: Final = StageFrame(origin="plate", y_axis="down")
"""Positions grow from the plate's corner at A01: x with the columns, y with the rows of wells."""
_HTD_SUFFIXES = (".HTD", ".htd", ".Htd")


@dataclass(frozen=True, slots=True)
class _HtdFile:
    stem: str
    content: Htd


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Everything that was read of one plate."""

    listing: FolderListing
    base: str
    htd: _HtdFile | None
    groups: tuple[ImageGroup, ...]
    planes: tuple[ImagePlane, ...]
    missing: tuple[ImagePlane, ...]


def _speaks_for_us(file: ListedFile, place: FolderPlace) -> bool:
    name = parse_image_name(file.name)
    return name is not None and not name.thumbnail and _is_ours(name, place, beside_htd=False)


def _is_ours(name: ImageName, place: FolderPlace, *, beside_htd: bool) -> bool:
    return name.is_typical or beside_htd or place.timepoint is not None or place.z_step is not None


def _has_images(listing: FolderListing, base: str) -> bool:
    return any(parse_image_name(file.name) is not None for file in listing.by_folder.get(base, ()))


def _is_htd_file(listing: FolderListing, file: ListedFile) -> bool:
    if not file.path.endswith(_HTD_SUFFIXES) or file.name.startswith("."):
        return False
    try:
        return is_htd(listing.read_bytes(file.path, 64))
    except OSError:
        return False


def _htd_files(listing: FolderListing, base: str) -> tuple[ListedFile, ...]:
    """The plate's HTD files: its own, then copies in its TimePoint and ZStep folders, then those in folders above."""
    own: list[ListedFile] = []
    above: list[ListedFile] = []
    for folder, files in listing.by_folder.items():
        if parse_folder(folder).base == base:
            own += [file for file in files if _is_htd_file(listing, file)]
        elif is_inside(base, folder):
            above += [file for file in files if _is_htd_file(listing, file)]
    return *sorted(own, key=_depth), *sorted(above, key=_depth, reverse=True)


def _depth(file: ListedFile) -> tuple[int, str]:
    return file.path.count("/"), file.path


def _read_htd(
    listing: FolderListing, files: tuple[ListedFile, ...], prefixes: set[str | None], remarks: Remarks
) -> _HtdFile | None:
    """Read the first HTD that can be read, one with the images' own name first."""
    for file in sorted(files, key=lambda file: _stem(file) not in prefixes):
        try:
            content = parse_htd(listing.read_bytes(file.path, MAX_HTD_BYTES), file.path)
        except (UnreadablePlateError, OSError) as error:
            remarks.warnings.append(f"{file.path} was not used: {error}")
            continue
        others = {_stem(other) for other in files} - {_stem(file)}
        if others:
            remarks.warnings.append(f"{file.path} was used; other HTD files were not: {_listed(sorted(others))}.")
        return _HtdFile(_stem(file), content)
    return None


def _stem(file: ListedFile) -> str:
    return file.name[: -len(".htd")]


def _collect_images(listing: FolderListing, base: str, has_htd: bool, remarks: Remarks) -> Iterator[ImageFile]:
    """The plate's images by their names; thumbnails and images outside its folders are counted, not read."""
    thumbnails, elsewhere = 0, Counter[str]()
    inside = {folder: files for folder, files in listing.by_folder.items() if is_inside(folder, base)}
    for folder, files in inside.items():
        place = parse_folder(folder)
        for file in files:
            name = parse_image_name(file.name)
            if name is None:
                continue
            if name.thumbnail:
                thumbnails += 1
            elif not _is_ours(name, place, beside_htd=has_htd):
                continue
            elif place.base != base:
                elsewhere[folder] += 1
            else:
                yield ImageFile.of(file, name, place)
    if thumbnails:
        remarks.notes.append(f"{thumbnails} thumbnails were left out; they are not data.")
    remarks.warnings += [
        f"{count} images in {folder} were left out: they lie in a folder inside the plate that is neither a TimePoint "
        "nor a ZStep folder."
        for folder, count in sorted(elsewhere.items())
    ]


def _missing(htd: Htd, planes: tuple[ImagePlane, ...], remarks: Remarks) -> tuple[ImagePlane, ...]:
    """What the HTD declares and no file shows: wells × sites × waves × time points, at the z that the wave shows."""
    seen = _Seen.of(planes)
    _warn_of_absent(htd, seen, remarks)
    present = {_coordinates(plane) for plane in planes}
    declared = product(
        htd.wells or sorted(seen.wells, key=plate_order),
        htd.declared_sites(seen.sites),
        _slots(htd, planes),
        _declared_timepoints(htd, seen),
    )
    return tuple(
        ImagePlane(key=ImageKey(well, site, slot[0], slot[2], timepoint), path=None, kind=slot[1], present=False)
        for well, site, slot, timepoint in declared
        if (well, site, slot, timepoint) not in present
    )


_Slot = tuple[int | None, PlaneKind, int | None]
"""A channel and one z that it shows; None for its projection."""


def _coordinates(plane: ImagePlane) -> tuple[str, int | None, _Slot, int | None]:
    key = plane.key
    return key.well, key.site, (key.channel, plane.kind, key.z_index), key.timepoint


@dataclass(frozen=True, slots=True)
class _Seen:
    """Values of each coordinate that some file shows."""

    wells: frozenset[str]
    sites: frozenset[int]
    channels: frozenset[int]
    z_indexes: frozenset[int]
    timepoints: frozenset[int]

    @classmethod
    def of(cls, planes: Iterable[ImagePlane]) -> _Seen:
        keys = [plane.key for plane in planes]
        return cls(
            frozenset(key.well for key in keys),
            frozenset(key.site for key in keys if key.site is not None),
            frozenset(key.channel for key in keys if key.channel is not None),
            frozenset(key.z_index for key in keys if key.z_index is not None),
            frozenset(key.timepoint for key in keys if key.timepoint is not None),
        )


def _slots(htd: Htd, planes: tuple[ImagePlane, ...]) -> tuple[_Slot, ...]:
    """What each declared channel shows anywhere on the plate; without any image, what the HTD promises."""
    declared = {wave.index for wave in htd.waves if wave.collected} or {1}
    if not planes:
        return tuple(product(sorted(declared), [PlaneKind.PLANE], range(1, htd.z_steps + 1)))
    shown = {(plane.key.channel, plane.kind, plane.key.z_index) for plane in planes}
    return tuple(slot for slot in shown if slot[0] in declared)


def _declared_timepoints(htd: Htd, seen: _Seen) -> tuple[int, ...]:
    numbered = range(1, htd.timepoints + 1)
    # Folders may be numbered from 0, or only some time points may have been exported under their own numbers.
    return tuple(numbered) if seen.timepoints <= set(numbered) else tuple(sorted(seen.timepoints))


def _warn_of_absent(htd: Htd, seen: _Seen, remarks: Remarks) -> None:
    """Say what the HTD promises and no file of the whole plate shows."""
    if not seen.wells:
        remarks.warnings.append("The folder has an HTD file, but no image.")
        return
    remarks.warnings += [
        f'The HTD promises wave {wave.index} ("{wave.name}"), but no file of it is in the folder.'
        if wave.name
        else f"The HTD promises wave {wave.index}, but no file of it is in the folder."
        for wave in htd.waves
        if wave.collected and wave.index not in seen.channels
    ]
    absent_z = [z for z in range(1, htd.z_steps + 1) if z not in seen.z_indexes] if htd.z_steps > 1 else []
    if absent_z:
        remarks.warnings.append(
            f"The HTD promises {htd.z_steps} z steps, but no plane of z step {_listed(absent_z)} is in the folder."
        )
    absent_t = [t for t in _declared_timepoints(htd, seen) if t not in seen.timepoints]
    if absent_t:
        remarks.warnings.append(
            f"No image of time point {_listed(absent_t)} is in the folder, but the HTD promises it."
        )
    absent_wells = [well for well in htd.wells if well not in seen.wells]
    if absent_wells:
        remarks.warnings.append(f"Selected for acquisition, but without any image: {_listed(absent_wells)}.")
    if htd.wells and (unselected := sorted(seen.wells - set(htd.wells), key=plate_order)):
        remarks.warnings.append(f"The HTD does not select these wells, but they have images: {_listed(unselected)}.")


def _listed(values: Iterable[object]) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "")


def _plate(source: _Source, plate_id: str, remarks: Remarks) -> Plate:
    htd = None if source.htd is None else source.htd.content
    shown = source.planes or source.missing
    seen = _Seen.of(shown)
    wells = tuple(sorted({plane.key.well for plane in source.planes}, key=plate_order))
    channels = tuple(_channel(index, source, remarks) for index in sorted(seen.channels))
    return Plate(
        plate_id=plate_id,
        name=_instrument_name(source),
        microscope=ImageXpressHandler.name,
        root=source.listing.root,
        wells=wells,
        absent_wells=() if htd is None else tuple(well for well in htd.wells if well not in wells),
        sites=tuple(sorted(seen.sites)),
        channels=channels,
        z_indexes=tuple(sorted(seen.z_indexes)),
        timepoints=tuple(sorted(seen.timepoints)),
        rows=None if htd is None else htd.rows,
        columns=None if htd is None else htd.columns,
        pixel_size_um=_pixel_size(source.groups, remarks),
        z_step_um=measured_z_step(source.groups),
        grid=None if htd is None else htd.site_grid,
        stage_frame=_FRAME if any(group.metaseries and group.metaseries.stage_um for group in source.groups) else None,
        shape=channels[0].shape if channels else None,
        dtype=channels[0].dtype if channels else None,
        warnings=tuple(remarks.warnings),
        notes=tuple(remarks.notes),
    )


def _instrument_name(source: _Source) -> str:
    if source.htd is not None:
        return source.htd.stem
    stated = (group.metaseries.plate_name for group in source.groups if group.metaseries is not None)
    return next((name for name in stated if name), None) or source.base.rpartition("/")[2] or source.listing.name


def _channel(index: int, source: _Source, remarks: Remarks) -> Channel:
    groups = [group for group in source.groups if group.channel == index]
    described = [group.metaseries for group in groups if group.metaseries is not None]
    forms = list(
        dict.fromkeys((group.header.shape, group.header.dtype) for group in groups if group.header is not None)
    )
    if len(forms) > 1:
        stated = " and ".join(f"{shape[0]} x {shape[1]} pixels of {dtype}" for shape, dtype in forms)
        remarks.warnings.append(f"Channel {index} has images of different kinds: {stated}.")
    channel = Channel(
        index=index,
        name=next((said.illumination for said in described if said.illumination), None),
        wavelength_nm=next((said.wavelength_nm for said in described if said.wavelength_nm), None),
        shape=forms[0][0] if forms else None,
        dtype=forms[0][1] if forms else None,
    )
    waves = () if source.htd is None else source.htd.content.waves
    called = next((wave.name for wave in waves if wave.index == index and wave.name), None)
    return replace(channel, name=called or channel.name)


def _pixel_size(groups: Iterable[ImageGroup], remarks: Remarks) -> float | None:
    described = (group.metaseries for group in groups if group.metaseries is not None)
    sizes = Counter(said.pixel_size_um for said in described if said.pixel_size_um is not None)
    if len(sizes) > 1:
        stated = _listed(sorted(sizes))
        remarks.warnings.append(f"The images state different pixel sizes ({stated} µm); the most frequent is used.")
    return sizes.most_common(1)[0][0] if sizes else None
