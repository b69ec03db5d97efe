"""Opera Phenix and Operetta: Harmony's exports, with an index or, where that is lost, by file names alone.

Numbers are the instrument's: with an index the time points are its TimepointIDs, which V5 counts from 0; file names
count theirs from 1. Positions are relative to the well's centre and y grows upwards; heights are those relative to the
plate's bottom (PositionZ), each channel at its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.handler import MicroscopeHandler, is_inside, one_plate, outermost
from openhcs_engine.microscopes.harmony.index import HarmonyIndex, read_harmony_index
from openhcs_engine.microscopes.harmony.names import has_image, image_base, index_base, is_index, may_be_index
from openhcs_engine.microscopes.harmony.planes import (
    HarmonyFiles,
    LocatedIndex,
    planes_of_index,
    planes_of_names,
    z_step,
)
from openhcs_engine.microscopes.harmony.series import index_with_series, names_with_series
from openhcs_engine.microscopes.image_forms import normal_forms
from openhcs_engine.microscopes.listing import FolderListing, ListedFile
from openhcs_engine.microscopes.remarks import Remarks
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Channel, PlaneCoordinate, Plate, StageFrame, grid_of
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.wells import plate_id_of_folder, plate_order, validate_plate_id
from openhcs_engine.model.wording import listed_first

_HEAD = 4096
"""Bytes by which an index is recognised."""


class OperaPhenixHandler(MicroscopeHandler):
    """Reads Opera Phenix and Operetta plates."""

    name: ClassVar[str] = "opera_phenix"
    looks_for: ClassVar[str] = (
        "Harmony's Index.xml or Index.idx.xml, or images named like r01c01f01p01-ch1sk1fk1fl1.tiff, directly or in "
        "Images"
    )

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """Folders that hold an index or images, directly or in ``Images``."""
        found = {index_base(file.folder) for file in _index_files(listing, "")}
        for folder, names in listing.names.items():
            base = image_base(folder)
            if base not in found and has_image(names):
                found.add(base)
        return outermost(found)

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """Read the only Harmony plate of the folder; see MicroscopeHandler.read_plate."""
        chosen = plate_id_of_folder(listing.name) if plate_id is None else validate_plate_id(plate_id)
        base = one_plate(listing, self.plate_folders(listing), [self])
        remarks = Remarks(warnings=list(listing.warnings))
        located = _read_index(listing, base, remarks)
        files = HarmonyFiles(listing, base)
        if located is None:
            remarks.warnings.append(
                "There is no index in the folder: the images are known by their file names alone. Positions, heights, "
                "pixel size, channel names, the plate's format and what is missing are unknown."
            )
            names, lifetimes = names_with_series(files.images, remarks)
            found = ImageIndex.of(planes_of_names(listing, names, remarks))
            source = _Source(listing=listing, base=base, planes=found, channel_names=lifetimes)
        else:
            located = replace(located, index=index_with_series(located.index, remarks))
            indexed = planes_of_index(located, files, remarks)
            source = _Source(
                listing=listing,
                base=base,
                index=located.index,
                planes=ImageIndex.of(indexed.planes),
                errors=indexed.errors,
                failed=indexed.failed,
            )
        return _plate(source, chosen, remarks), source.planes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Everything that was read of one plate."""

    listing: FolderListing
    base: str
    planes: ImageIndex
    index: HarmonyIndex | None = None
    channel_names: Mapping[int, str] = field(default_factory=dict)
    """Of channels that only names of files distinguish."""
    errors: tuple[str, ...] = ()
    failed: tuple[PlaneCoordinate, ...] = ()


def _index_files(listing: FolderListing, base: str) -> tuple[ListedFile, ...]:
    """Index files in a folder and below, by their content."""
    return tuple(
        file
        for folder in listing.names
        if is_inside(folder, base)
        for file in listing.with_suffix(folder, ".xml")
        if may_be_index(folder, file.name) and _has_index_head(listing, file)
    )


def _has_index_head(listing: FolderListing, file: ListedFile) -> bool:
    try:
        return is_index(listing.read_bytes(file.path, _HEAD))
    except OSError:
        return False


def _read_index(listing: FolderListing, base: str, remarks: Remarks) -> LocatedIndex | None:
    """Read the plate's first index that can be read; the one beside the images comes first.

    Raises
    ------
    UnreadablePlateError
        If there are index files and none can be read.
    """
    files = sorted(
        (file for file in _index_files(listing, base) if index_base(file.folder) == base),
        key=lambda file: (file.folder == base, file.name.lower() not in {"index.xml", "index.idx.xml"}, file.path),
    )
    refusals: list[UnreadablePlateError] = []
    for file in files:
        try:
            with listing.open(file.path) as stream:
                index = read_harmony_index(stream, file.path)
        except UnreadablePlateError as error:
            refusals.append(error)
            continue
        except OSError as error:
            refusals.append(UnreadablePlateError(f"{file.path} cannot be read: {explained(error)}.", path=file.path))
            continue
        others = [other for other in files if other.path != file.path]
        _remark_on_others(listing, file, others, refusals, remarks)
        return LocatedIndex(path=file.path, folder=file.folder, base=base, index=index)
    if refusals:
        raise refusals[0]
    return None


def _remark_on_others(
    listing: FolderListing,
    used: ListedFile,
    others: Sequence[ListedFile],
    refusals: Iterable[UnreadablePlateError],
    remarks: Remarks,
) -> None:
    remarks.warnings += [str(error) for error in refusals]
    unlike = [other.path for other in others if not listing.are_as_large(other.path, used.path)]
    if unlike:
        remarks.warnings.append(f"{used.path} was read; other index files were not: {listed_first(unlike)}.")
    elif others:
        remarks.notes.append(f"{used.path} was read; {len(others)} more index files have the same size.")


def _plate(source: _Source, plate_id: str, remarks: Remarks) -> Plate:
    index, present = source.index, source.planes.present()
    shown = [plane.key for plane in (present if len(present) else source.planes)]
    channels = tuple(_channels(source, _numbers(key.channel for key in shown), remarks))
    return Plate(
        plate_id=plate_id,
        name=(index.plate_name if index else None) or source.base.rpartition("/")[2] or source.listing.name,
        microscope=OperaPhenixHandler.name,
        root=source.listing.root,
        wells=tuple(present.by_well),
        absent_wells=_absent_wells(source, present, remarks),
        sites=_numbers(key.site for key in shown),
        channels=channels,
        z_indexes=_numbers(key.z_index for key in shown),
        timepoints=_numbers(key.timepoint for key in shown),
        rows=index.rows if index else None,
        columns=index.columns if index else None,
        pixel_size_um=None if index is None else _pixel_size(index, channels, remarks),
        z_step_um=z_step(source.planes.without(source.planes.plate_gaps())),
        grid=grid_of(source.planes.site_positions()),
        stage_frame=_stage_frame(source.planes),
        shape=channels[0].shape if channels else None,
        dtype=channels[0].dtype if channels else None,
        errors=source.errors,
        failed=source.failed,
        declares_planes=index is not None,
        warnings=tuple(remarks.warnings),
        notes=tuple(remarks.notes),
    )


def _numbers(values: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(sorted({value for value in values if value is not None}))


def _stage_frame(planes: ImageIndex) -> StageFrame | None:
    given = any(plane.x_um is not None and plane.y_um is not None for plane in planes)
    return StageFrame(origin="well centre", y_axis="up") if given else None


def _absent_wells(source: _Source, present: ImageIndex, remarks: Remarks) -> tuple[str, ...]:
    """Wells that were measured according to the index, and have no image."""
    measured = {*source.planes.by_well, *(source.index.wells if source.index else ())}
    absent = tuple(sorted(measured - set(present.by_well), key=plate_order))
    if not len(source.planes):
        remarks.warnings.append("The index lists no image that was acquired.")
    elif not len(present):
        remarks.warnings.append("The folder has an index, but no image.")
    elif absent:
        remarks.warnings.append(f"Selected for acquisition, but without any image: {listed_first(absent)}.")
    return absent


def _pixel_size(index: HarmonyIndex, channels: Iterable[Channel], remarks: Remarks) -> float | None:
    described = (index.channels.get(channel.index) for channel in channels)
    stated = [said.pixel_size_um for said in described if said is not None]
    sizes = Counter(width for width, _ in stated if width is not None)
    if len(sizes) > 1:
        shown = listed_first(sorted(sizes))
        remarks.warnings.append(f"The channels have different pixel sizes ({shown} µm); the most frequent is used.")
    oblong = [(width, height) for width, height in stated if width and height and abs(width / height - 1) > 1e-3]
    if oblong:
        width, height = oblong[0]
        remarks.warnings.append(f"Pixels are not square: {width} x {height} µm; their width is used as pixel size.")
    return sizes.most_common(1)[0][0] if sizes else None


def _channels(source: _Source, numbers: Iterable[int], remarks: Remarks) -> Iterator[Channel]:
    described = [_described(number, source, remarks) for number in numbers]
    stated = {channel.index: channel.shape for channel in described if channel.shape is not None}
    forms = normal_forms(source.listing, source.planes, remarks.warnings, stated)
    for channel in described:
        form = forms.get(channel.index)
        if form is None:
            yield channel
            continue
        if channel.shape is not None and channel.shape != form.shape:
            remarks.warnings.append(
                f"The index gives {channel.shape[0]} x {channel.shape[1]} pixels for channel {channel.index}, its "
                f"images have {form.shape[0]} x {form.shape[1]}; the images are right."
            )
        yield replace(channel, shape=form.shape, dtype=form.dtype)


def _described(number: int, source: _Source, remarks: Remarks) -> Channel:
    said = None if source.index is None else source.index.channels.get(number)
    if said is None:
        return Channel(index=number, name=source.channel_names.get(number))
    if not said.is_uniform:
        remarks.warnings.append(
            f"The index describes channel {number} in several ways (name, pixel size, image size or wavelength); the "
            "most frequent values are used."
        )
    return Channel(index=number, name=said.name, wavelength_nm=said.emission_nm, shape=said.shape)
