"""ImageXpress and MetaXpress: exports with an HTD, database trees with GUID names, bare folders of such names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.handler import MicroscopeHandler, is_inside, one_plate, outermost
from openhcs_engine.microscopes.image_forms import normal_forms
from openhcs_engine.microscopes.imagexpress.htd import MAX_HTD_BYTES, Htd, is_htd, parse_htd
from openhcs_engine.microscopes.imagexpress.missing import Seen, missing_planes, warn_of_absent
from openhcs_engine.microscopes.imagexpress.names import FolderInfo, parse_folder, parse_image_name
from openhcs_engine.microscopes.imagexpress.planes import (
    ImageFile,
    ImageGroup,
    measured_z_step,
    read_groups,
    read_header,
    read_planes,
)
from openhcs_engine.microscopes.imagexpress.repeats import repeated_groups
from openhcs_engine.microscopes.listing import FolderListing, ListedFile, start_of
from openhcs_engine.microscopes.remarks import Remarks
from openhcs_engine.model.image_index import ImageIndex, ImagePlane
from openhcs_engine.model.plate import Channel, Plate, StageFrame
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.wells import plate_id_of_folder, plate_order, validate_plate_id
from openhcs_engine.model.wording import listed_first
from openhcs_engine.raw.image_header import ImageForm


class ImageXpressHandler(MicroscopeHandler):
    """Reads ImageXpress plates."""

    name: ClassVar[str] = "imagexpress"
    looks_for: ClassVar[str] = (
        "an .HTD file, or images named like A01_s1_w1.tif, directly or in TimePoint_ and ZStep_ folders"
    )

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """Folders that hold images; without any image, folders that hold an HTD."""
        with_images, with_htd = set[str](), set[str]()
        for folder, names in listing.names.items():
            place = parse_folder(folder)
            if place.base not in with_htd and next(_htds_in(listing, folder), None) is not None:
                with_htd.add(place.base)
            if place.base not in with_images and any(_speaks_for_us(name, place) for name in names):
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
        images = _collect_images(listing, base, bool(htd_files), remarks)
        prefixes = (
            {image.name.prefix for inside in images.values() for image in inside} if len(htd_files) > 1 else set()
        )
        htd = _read_htd(listing, htd_files, prefixes, remarks)
        _warn_of_no_htds(listing, base, htd_files, remarks)
        groups = read_groups(listing, images, remarks)
        planes = read_planes(listing, groups, remarks, repeated_groups(listing, groups))
        seen = Seen.of(planes)
        missing: tuple[ImagePlane, ...] = ()
        if htd is not None:
            warn_of_absent(htd.content, seen, remarks)
            missing = missing_planes(htd.content, planes, seen)
        shown = seen if planes else Seen.of(missing)
        source = _Source(
            listing=listing,
            base=base,
            htd=htd,
            groups=groups,
            has_images=bool(planes),
            shown=shown,
            forms=normal_forms(listing, planes, remarks.warnings),
        )
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
        _, said = read_header(listing, plane.path)
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
    has_images: bool
    shown: Seen
    """Coordinates of the images or, if there is none, of what was declared."""
    forms: Mapping[int, ImageForm]
    """What each channel's images normally are."""


def _speaks_for_us(text: str, info: FolderInfo) -> bool:
    name = parse_image_name(text)
    return name is not None and not name.thumbnail and (name.is_typical or info.is_numbered)


def _has_images(listing: FolderListing, base: str) -> bool:
    return any(parse_image_name(name) is not None for name in listing.names.get(base, ()))


def _htds_in(listing: FolderListing, folder: str) -> Iterator[ListedFile]:
    return (file for file in listing.with_suffix(folder, ".htd") if _is_htd_file(listing, file))


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
    for folder in listing.names:
        if parse_folder(folder).base == base:
            own += _htds_in(listing, folder)
        elif is_inside(base, folder):
            above += _htds_in(listing, folder)
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
            remarks.warnings.append(f"{file.path} was not used: {explained(error)}.")
            continue
        others = {_stem(other) for other in files} - {_stem(file)}
        if others:
            remarks.warnings.append(f"{file.path} was used; other HTD files were not: {listed_first(sorted(others))}.")
        return _HtdFile(_stem(file), content)
    return None


def _warn_of_no_htds(listing: FolderListing, base: str, htds: tuple[ListedFile, ...], remarks: Remarks) -> None:
    """Name the plate's files that are called so and are none."""
    named = [
        file
        for folder in listing.names
        if parse_folder(folder).base == base
        for file in listing.with_suffix(folder, ".htd")
        if not file.name.startswith(".")
    ]
    remarks.warnings += [
        f'{file.path} was not used: it does not begin with "HTSInfoFile", as an HTD file does.'
        for file in named
        if file not in htds
    ]


def _stem(file: ListedFile) -> str:
    return file.name[: -len(".htd")]


def _collect_images(listing: FolderListing, base: str, has_htd: bool, remarks: Remarks) -> dict[str, list[ImageFile]]:
    """The plate's images by their names, of each folder; thumbnails and images outside its folders are only counted."""
    found, thumbnails, elsewhere = dict[str, list[ImageFile]](), 0, Counter[str]()
    strangers: list[str] = []
    for folder, names in listing.names.items():
        if not is_inside(folder, base):
            continue
        place = parse_folder(folder)
        all_ours = has_htd or place.is_numbered
        images, start = found.setdefault(folder, []), start_of(folder)
        for text in names:
            name = parse_image_name(text)
            if name is None or not (all_ours or name.is_typical):
                if text.lower().endswith((".tif", ".tiff")) and not text.startswith("."):
                    strangers.append(start + text)
            elif name.thumbnail:
                thumbnails += 1
            else:
                images.append(ImageFile(start + text, name, place))
        if place.base != base:
            elsewhere[folder] = len(found.pop(folder))
    if thumbnails:
        remarks.notes.append(f"{thumbnails} thumbnails were left out; they are not data.")
    if strangers:
        remarks.warnings.append(
            f"{len(strangers)} TIFF files were left out: their names are no ImageXpress images' (the first: "
            f"{strangers[0]})."
        )
    remarks.warnings += [
        f"{count} images in {folder} were left out: they lie in a folder inside the plate that is neither a TimePoint "
        "nor a ZStep folder."
        for folder, count in sorted(elsewhere.items())
        if count
    ]
    return found


def _plate(source: _Source, plate_id: str, remarks: Remarks) -> Plate:
    htd = None if source.htd is None else source.htd.content
    seen = source.shown
    wells = tuple(sorted(seen.wells, key=plate_order)) if source.has_images else ()
    channels = tuple(_channel(index, source) for index in sorted(seen.channels))
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
        grid=None if htd is None else htd.selected_grid,
        stage_frame=_FRAME if any(group.metaseries and group.metaseries.stage_um for group in source.groups) else None,
        shape=channels[0].shape if channels else None,
        dtype=channels[0].dtype if channels else None,
        declares_planes=htd is not None,
        warnings=tuple(remarks.warnings),
        notes=tuple(remarks.notes),
    )


def _instrument_name(source: _Source) -> str:
    if source.htd is not None:
        return source.htd.stem
    stated = (group.metaseries.plate_name for group in source.groups if group.metaseries is not None)
    return next((name for name in stated if name), None) or source.base.rpartition("/")[2] or source.listing.name


def _channel(index: int, source: _Source) -> Channel:
    groups = [group for group in source.groups if group.channel == index]
    described = [group.metaseries for group in groups if group.metaseries is not None]
    form = source.forms.get(index)
    channel = Channel(
        index=index,
        name=next((said.illumination for said in described if said.illumination), None),
        wavelength_nm=next((said.wavelength_nm for said in described if said.wavelength_nm), None),
        shape=form.shape if form else None,
        dtype=form.dtype if form else None,
    )
    waves = () if source.htd is None else source.htd.content.waves
    called = next((wave.name for wave in waves if wave.index == index and wave.name), None)
    return replace(channel, name=called or channel.name)


def _pixel_size(groups: Iterable[ImageGroup], remarks: Remarks) -> float | None:
    described = (group.metaseries for group in groups if group.metaseries is not None)
    sizes = Counter(said.pixel_size_um for said in described if said.pixel_size_um is not None)
    if len(sizes) > 1:
        stated = listed_first(sorted(sizes))
        remarks.warnings.append(f"The images state different pixel sizes ({stated} µm); the most frequent is used.")
    return sizes.most_common(1)[0][0] if sizes else None
