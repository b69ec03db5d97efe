"""Yokogawa CellVoyager CV7000 and CV8000: measurement folders, and bare folders of such names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, TypeVar

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.cellvoyager.actions import ActionChannel, with_own_channels
from openhcs_engine.microscopes.cellvoyager.names import has_image, parse_image_name
from openhcs_engine.microscopes.cellvoyager.planes import (
    PlateFiles,
    measured_grid,
    measured_z_step,
    read_planes,
    records_of_names,
)
from openhcs_engine.microscopes.cellvoyager.records import Records, read_records
from openhcs_engine.microscopes.cellvoyager.settings import (
    MAX_SETTINGS_BYTES,
    Detail,
    DetailChannel,
    PlateFile,
    Settings,
    SettingsChannel,
    parse_detail,
    parse_plate_file,
    parse_settings,
)
from openhcs_engine.microscopes.handler import MicroscopeHandler, is_inside, one_plate, outermost
from openhcs_engine.microscopes.image_forms import normal_forms
from openhcs_engine.microscopes.listing import FolderListing, ListedFile
from openhcs_engine.microscopes.remarks import Remarks
from openhcs_engine.model.image_index import ImageIndex, ImagePlane
from openhcs_engine.model.plate import Channel, Plate, StageFrame
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.wells import plate_id_of_folder, plate_order, validate_plate_id
from openhcs_engine.model.wording import listed_first
from openhcs_engine.raw.image_header import ImageForm

_MLF: Final = "measurementdata.mlf"
_STAGE_FRAME: Final = StageFrame(origin="well centre", y_axis="up")


class CellVoyagerHandler(MicroscopeHandler):
    """Reads CellVoyager plates."""

    name: ClassVar[str] = "cellvoyager"
    looks_for: ClassVar[str] = (
        "a MeasurementData.mlf, or images named like PLATE_A01_T0001F001L01A01Z01C01.tif (or .png)"
    )

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """Folders that hold records or images; those of images inside a measurement belong to it."""
        return outermost(
            folder for folder, names in listing.names.items() if has_image(names) or any(_mlfs_in(listing, folder))
        )

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """Read the only CellVoyager plate of the folder; see MicroscopeHandler.read_plate.

        Raises also UnreadablePlateError if ``MeasurementData.mlf`` is cut off: what it would have declared is unknown.
        """
        chosen = plate_id_of_folder(listing.name) if plate_id is None else validate_plate_id(plate_id)
        base = one_plate(listing, self.plate_folders(listing), [self])
        remarks = Remarks(warnings=list(listing.warnings))
        mlf = _mlf_file(listing, base, remarks)
        folder = base if mlf is None else mlf.folder
        files = PlateFiles(listing, base, folder)
        records = _records_of(listing, base, mlf, remarks)
        remarks.warnings += records.warnings
        images, actions = with_own_channels(records.images, remarks)
        planes = read_planes(images, files, remarks)
        source = _Source(
            listing=listing,
            base=base,
            records=records,
            actions=actions,
            declares_planes=mlf is not None,
            planes=_of_shown_channels(planes),
            present=tuple(plane for plane in planes if plane.present),
            detail=_read_beside(listing, files, folder, ".mrf", parse_detail, remarks),
            plate_file=_read_beside(listing, files, folder, ".wpi", parse_plate_file, remarks),
        )
        wanted = None if source.detail is None else source.detail.settings_file
        settings = _read_beside(listing, files, folder, ".mes", parse_settings, remarks, wanted)
        source = replace(source, settings=settings)
        if mlf is None:
            remarks.warnings.insert(0, _lost_records(source))
        return _plate(source, chosen, remarks), ImageIndex.of(planes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Everything that was read of one plate."""

    listing: FolderListing
    base: str
    records: Records
    actions: Mapping[int, ActionChannel]
    """Channels that the instrument numbers as others, by the numbers that they got."""
    declares_planes: bool
    """False where the records are lost."""
    planes: tuple[ImagePlane, ...]
    """Of the channels that have an image; of all where none has."""
    present: tuple[ImagePlane, ...]
    """Those of the planes that have a file."""
    detail: Detail | None = None
    plate_file: PlateFile | None = None
    settings: Settings | None = None


def _of_shown_channels(planes: tuple[ImagePlane, ...]) -> tuple[ImagePlane, ...]:
    shown = {plane.key.channel for plane in planes if plane.present}
    return tuple(plane for plane in planes if plane.key.channel in shown) if shown else planes


def _mlfs_in(listing: FolderListing, folder: str) -> Iterator[ListedFile]:
    return (file for file in listing.with_suffix(folder, ".mlf") if _is_mlf(listing, file))


def _is_mlf(listing: FolderListing, file: ListedFile) -> bool:
    """True for records under any name, and for what bears their name and may be damaged; other tools write .mlf too."""
    if file.name.startswith("."):
        return False
    if file.name.lower() == _MLF:
        return True
    try:
        return b"MeasurementData" in listing.read_bytes(file.path, 1024).replace(b"\0", b"")  # UTF-16 has zeros
    except OSError:
        return False


def _mlf_file(listing: FolderListing, base: str, remarks: Remarks) -> ListedFile | None:
    """The plate's records: in its folder, else in the nearest one below."""
    inside = (folder for folder in listing.names if is_inside(folder, base))
    found = [file for folder in inside for file in _mlfs_in(listing, folder)]
    found.sort(key=lambda file: (file.path.count("/"), file.name.lower() != _MLF, file.path))
    if len(found) > 1:
        others = listed_first(file.path for file in found[1:])
        remarks.warnings.append(f"{found[0].path} was used; other records were not: {others}.")
    return found[0] if found else None


def _records_of(listing: FolderListing, base: str, mlf: ListedFile | None, remarks: Remarks) -> Records:
    if mlf is None:
        images = tuple(records_of_names(listing.by_folder.get(base, ())))
        return Records(images=images, errors=(), warnings=())
    try:
        with listing.open(mlf.path) as stream:
            return read_records(stream, mlf.path)
    except OSError as error:
        raise UnreadablePlateError(f"{mlf.path} cannot be read: {explained(error)}.", path=mlf.path) from error


def _lost_records(source: _Source) -> str:
    unknown = "stage positions, z positions, which images are projections, and which are missing"
    return (
        "There is no MeasurementData.mlf: planes were read by the names of their files, and "
        f"{unknown if source.detail else 'pixel size, ' + unknown}, are unknown."
    )


_Parsed = TypeVar("_Parsed")


def _read_beside(
    listing: FolderListing,
    files: PlateFiles,
    folder: str,
    suffix: str,
    parse: Callable[[bytes, str], _Parsed],
    remarks: Remarks,
    wanted: str | None = None,
) -> _Parsed | None:
    """Read the plate's file of a suffix: the one that is wanted first, then those nearest to the records."""
    found = files.with_suffix(suffix)
    found.sort(key=lambda file: (file.name != wanted, file.folder != folder, file.path.count("/"), file.path))
    for file in found:
        try:
            return parse(listing.read_bytes(file.path, MAX_SETTINGS_BYTES + 1), file.path)
        except UnreadablePlateError as error:
            remarks.warnings.append(f"{file.path} was not used: {error}")
        except OSError as error:
            remarks.warnings.append(f"{file.path} was not used: it cannot be read ({explained(error)}).")
    return None


def _plate(source: _Source, plate_id: str, remarks: Remarks) -> Plate:
    shown = source.present or source.planes
    numbers = _numbers(plane.key.channel for plane in shown)
    stated = {index: shape for index in numbers if (shape := _detail_channel(source, index).shape) is not None}
    forms = normal_forms(source.listing, source.present, remarks.warnings, stated)
    channels = tuple(_channel(index, source, forms.get(index), remarks) for index in numbers)
    wells = tuple(sorted({plane.key.well for plane in source.present}, key=plate_order))
    rows, columns = _plate_format(source)
    has_positions = any(plane.x_um is not None and plane.y_um is not None for plane in source.planes)
    slices = () if source.settings is None else source.settings.slices_um
    return Plate(
        plate_id=plate_id,
        name=_instrument_name(source),
        microscope=CellVoyagerHandler.name,
        root=source.listing.root,
        wells=wells,
        absent_wells=_absent_wells(source, frozenset(wells), remarks),
        sites=_numbers(plane.key.site for plane in shown),
        channels=channels,
        z_indexes=_numbers(plane.key.z_index for plane in shown),
        timepoints=_numbers(plane.key.timepoint for plane in shown),
        rows=rows,
        columns=columns,
        pixel_size_um=_pixel_size(source, channels, remarks),
        z_step_um=measured_z_step(source.planes, slices, remarks),
        grid=measured_grid(source.planes),
        stage_frame=_STAGE_FRAME if has_positions else None,
        shape=channels[0].shape if channels else None,
        dtype=channels[0].dtype if channels else None,
        errors=source.records.errors,
        declares_planes=source.declares_planes,
        warnings=tuple(remarks.warnings),
        notes=tuple(remarks.notes),
    )


def _numbers(values: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(sorted({value for value in values if value is not None}))


def _plate_format(source: _Source) -> tuple[int | None, int | None]:
    for said in (source.detail, source.plate_file):
        if said is not None and said.rows is not None and said.columns is not None:
            return said.rows, said.columns
    return None, None


def _instrument_name(source: _Source) -> str:
    if source.detail is not None and source.detail.plate_name:
        return source.detail.plate_name
    if source.plate_file is not None and source.plate_file.name:
        return source.plate_file.name
    names = (parse_image_name(record.file.rpartition("/")[2]) for record in source.records.images[:1])
    prefix = next((name.prefix for name in names if name is not None), None)
    return prefix or source.base.rpartition("/")[2] or source.listing.name


def _absent_wells(source: _Source, present: frozenset[str], remarks: Remarks) -> tuple[str, ...]:
    """Wells that were selected or recorded, and have no image."""
    selected = () if source.settings is None else source.settings.wells
    wanted = {*selected, *(plane.key.well for plane in source.planes)}
    absent = tuple(sorted(wanted - present, key=plate_order))
    if not present:
        remarks.warnings.append("The folder has the records of a measurement, but no image.")
    elif absent:
        remarks.warnings.append(f"Selected for acquisition, but without any image: {listed_first(absent)}.")
    return absent


def _channel(index: int, source: _Source, form: ImageForm | None, remarks: Remarks) -> Channel:
    own = source.actions.get(index)
    number = index if own is None else own.channel
    said = SettingsChannel() if source.settings is None else source.settings.channels.get(number, SettingsChannel())
    stated = _detail_channel(source, index).shape
    name = said.name if own is None else f"{said.name or f'Channel {number}'} (action {own.action})"
    channel = Channel(index=index, name=name, wavelength_nm=said.wavelength_nm, shape=stated)
    if form is None:
        return channel
    if stated is not None and form.shape != stated:
        remarks.warnings.append(
            f"Channel {index} was recorded with {stated[0]} x {stated[1]} pixels, but its images have "
            f"{form.shape[0]} x {form.shape[1]}."
        )
    return replace(channel, shape=form.shape, dtype=form.dtype)


def _detail_channel(source: _Source, index: int) -> DetailChannel:
    number = source.actions[index].channel if index in source.actions else index
    return DetailChannel() if source.detail is None else source.detail.channels.get(number, DetailChannel())


def _pixel_size(source: _Source, channels: Sequence[Channel], remarks: Remarks) -> float | None:
    stated = [_detail_channel(source, channel.index) for channel in channels]
    sizes = Counter(said.pixel_size_um for said in stated if said.pixel_size_um is not None)
    if not sizes:
        return None
    if len(sizes) > 1:
        remarks.warnings.append(
            f"Channels have different pixel sizes ({listed_first(sorted(sizes))} µm); the most frequent is used."
        )
    chosen = sizes.most_common(1)[0][0]
    heights = {said.pixel_height_um for said in stated if said.pixel_size_um == chosen and said.pixel_height_um}
    if heights - {chosen}:
        remarks.warnings.append(f"Pixels are not square: {chosen} µm wide, {listed_first(sorted(heights))} µm high.")
    return chosen
