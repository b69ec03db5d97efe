"""OME-Zarr plates of any writer as input: what their metadata say, NGFF 0.4 (zarr v2) and 0.5 (zarr v3) alike.

What this reads is as strict as the two specifications where pixels depend on it (axes, shapes, types), and liberal
elsewhere. Errors name the file; they are UnreadablePlateError throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Final

import numpy as np
from msgspec import UNSET

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.model.wells import is_well, plate_order
from openhcs_engine.ngff.documents import (
    ArrayDocument,
    Axis,
    Multiscale,
    Nodes,
    OwnAttributes,
    OwnPlate,
    OwnWell,
    PlateDocument,
    Transform,
    acquisitions_of,
    join,
)
from openhcs_engine.ngff.units import in_um
from openhcs_engine.ngff.well_names import name_wells

VERSIONS: Final = ("0.4", "0.5")
_KINDS: Final = ("time", "channel", "space")
"""Kinds of axes in the order that NGFF demands; a custom axis stands in the channel's place."""
_KIND_OF_NAME: Final = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_MAX_PLANES: Final = 10**6
"""Planes of one image; a week of time points every minute in five channels and ten planes is half of it."""
_MAX_PLANE_BYTES: Final = 2**33
"""A stitched well of 60,000 x 60,000 pixels of 16 bits fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedWell:
    """A well that the plate lists."""

    name: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImage:
    """An image that a well lists."""

    well: str
    folder: str
    acquisition: int | None
    site: int | None
    """The number our engine gave it, None if all sites were collapsed; of other writers, its index counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeZarrPlate:
    """What the plate's group says."""

    folder: str
    name: str | None
    version: str
    wells: tuple[ListedWell, ...]
    rows: int | None
    """Rows of the plate's format; None where it lists only those that are in use."""
    columns: int | None
    acquisitions: dict[int, str | None]
    own_id: str | None
    """Our plate id, if our engine wrote it."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    """Which path is which well, where that is not what one reads."""
    own_absent: tuple[str, ...] = ()
    """Wells that our engine knew of and did not list, since they are not published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeZarrImage:
    """What one image's group and its level 0 say."""

    listed: ListedImage
    array: str
    """Folder of level 0, the first dataset."""
    array_file: str
    """Its metadata file."""
    axes: tuple[str, ...]
    """Kinds of the leading axes in the array's order: some of ``time``, ``channel``, ``space`` (z)."""
    sizes: tuple[int, ...]
    """Their lengths."""
    shape: tuple[int, int]
    """(y, x) of a plane."""
    dtype: str
    """NumPy name."""
    labels: tuple[str | None, ...]
    """Name of each channel, None where there is none; as many as there are channels."""
    pixel_size_um: tuple[float | None, float | None]
    """(y, x); None without a unit."""
    z_step_um: float | None
    own: OwnAttributes | None
    """Which numbers our engine gave to site, time points, channels and planes."""

    @property
    def planes(self) -> int:
        """Planes that the array has room for."""
        return prod(self.sizes)

    def size(self, kind: str) -> int:
        """Length of an axis; 1 if the array has none of the kind."""
        return self.sizes[self.axes.index(kind)] if kind in self.axes else 1

    def positions(self) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
        """(index on the leading axes, t, c, z from 0) of every plane, in the array's order."""
        t, c, z = (self.axes.index(kind) if kind in self.axes else None for kind in _KINDS)
        for index in product(*map(range, self.sizes)):
            yield (
                index,
                0 if t is None else index[t],
                0 if c is None else index[c],
                0 if z is None else index[z],
            )


class AbsentImageError(UnreadablePlateError):
    """A well lists an image that is not there, or whose pixels are not."""


def is_plate(nodes: Nodes, folder: str) -> bool:
    """True if the group says that it is a plate, or would if it could be read: reading it then says what is wrong."""
    try:
        group = nodes.group(folder)
    except UnreadablePlateError:
        return nodes.mentions(folder, b'"plate"')
    return group is not None and group.plate is not None


def read_plate(nodes: Nodes, folder: str) -> OmeZarrPlate:
    """Read the plate's group."""
    path = nodes.group_path(folder)
    group = nodes.group(folder)
    if group is None or group.plate is None:
        raise UnreadablePlateError(f"{path} does not describe an OME-Zarr plate.", path=path)
    version = str(group.version or group.plate.version or ("0.5" if path.endswith(".json") else "0.4"))
    if version not in VERSIONS:
        raise UnreadablePlateError(
            f"{path} is of OME-Zarr version {version}; this version reads {' and '.join(VERSIONS)}.", path=path
        )
    named = name_wells(group.plate, path)
    wells, warnings = _wells(group.plate, named.names, folder, path)
    own = group.own(OwnPlate, path)
    rows, columns = named.rows, named.columns
    absent = set[str]()
    if own is not None and own.asked is not None:  # rows and columns are listed only where they hold wells
        rows, columns = own.rows, own.columns
        absent = {*own.wells, *own.asked} - {well.name for well in wells}
    return OmeZarrPlate(
        folder=folder,
        name=str(group.plate.name) if group.plate.name else None,
        version=version,
        wells=wells,
        rows=rows,
        columns=columns,
        acquisitions=acquisitions_of(group.plate),
        own_id=None if own is None else own.plate_id,
        own_absent=tuple(sorted(filter(is_well, absent), key=plate_order)),
        warnings=tuple(warnings),
        notes=named.notes,
    )


def read_well(nodes: Nodes, well: ListedWell) -> tuple[ListedImage, ...]:
    """Images of a well; none if it is not there, or was not written yet."""
    group = nodes.group(well.folder)
    if group is None or group.well is None:
        return ()
    path = nodes.group_path(well.folder)
    images, own = group.well.images, group.own(OwnWell, path)
    sites = own.sites if own is not None and len(own.sites) == len(images) else range(1, len(images) + 1)
    return tuple(
        ListedImage(
            well=well.name,
            folder=join(well.folder, _checked_path(image.path, path)),
            acquisition=image.acquisition,
            site=site,
        )
        for image, site in zip(images, sites, strict=True)
    )


def read_image(nodes: Nodes, listed: ListedImage) -> OmeZarrImage:
    """Read an image's group and the metadata of its level 0."""
    group, path = nodes.group(listed.folder), nodes.group_path(listed.folder)
    if group is None:
        raise AbsentImageError(f"A well lists the image {listed.folder}, but there is none.", path=path)
    if not group.multiscales:
        raise UnreadablePlateError(f"{path} does not describe an image, but its well lists one there.", path=path)
    multiscale = group.multiscales[0]
    if not multiscale.datasets:
        raise UnreadablePlateError(f"{path} lists no resolution of the image.", path=path)
    folder = join(listed.folder, _checked_path(multiscale.datasets[0].path, path))
    array = nodes.array(folder)
    if array is None:
        raise AbsentImageError(f"{path} names level 0 of the image {folder}, but there is no such array.", path=path)
    axes = _axes(multiscale.axes, path)
    shape, dtype = _shape(array, axes), _dtype(array)
    sizes = dict(zip(axes, shape[:-2], strict=True))
    labels = group.channel_labels()[: sizes.get("channel", 1)]
    scales = _scales_um(multiscale)
    own = group.own(OwnAttributes, path)
    image = OmeZarrImage(
        listed=listed if own is None or own.site is UNSET else replace(listed, site=own.site),
        array=folder,
        array_file=array.path,
        axes=axes,
        sizes=shape[:-2],
        shape=(shape[-2], shape[-1]),
        dtype=dtype,
        labels=labels + (None,) * (sizes.get("channel", 1) - len(labels)),
        pixel_size_um=(scales[-2], scales[-1]),
        z_step_um=scales[-3] if "space" in axes else None,
        own=own,
    )
    _check_own(image, path)
    return image


def _wells(
    plate: PlateDocument, names: Sequence[str], folder: str, path: str
) -> tuple[tuple[ListedWell, ...], list[str]]:
    wells, warnings = dict[str, ListedWell](), []
    for listed, name in zip(plate.wells, names, strict=True):
        if name in wells:  # by the same path, since two would have been refused
            warnings.append(f"{path} lists well {name} twice, both times as {listed.path!r}; it counts once.")
        wells[name] = ListedWell(name=name, folder=join(folder, _checked_path(listed.path, path)))
    return tuple(wells.values()), warnings


def _checked_path(path: str, named_in: str) -> str:
    """A path below its group, as it stands in a document, without a slash at its end."""
    path = path.removesuffix("/")
    parts = path.split("/")
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise UnreadablePlateError(
            f"{named_in} names {path!r}, which is not a path below it; nothing outside a plate's folder is read.",
            path=named_in,
        )
    return path


def _axes(axes: Sequence[Axis], path: str) -> tuple[str, ...]:
    """Kinds of the leading axes, after the checks of NGFF: two to five axes, time, then channel, then z, y, x."""
    kinds = [_kind(axis) for axis in axes]
    names = [axis.name for axis in axes]
    space = [axis.name.lower() for axis, kind in zip(axes, kinds, strict=True) if kind == "space"]
    known = "zyx"[-len(space) :] if space else ""
    # Other names of space are allowed; x, y and z in another order would turn or tear the planes.
    in_order = space == list(known) or not set(space) & set("xyz")
    sound = (
        len(space) in (2, 3)
        and in_order
        and len(set(names)) == len(names)
        and all(kinds.count(kind) <= 1 for kind in _KINDS[:2])
        and kinds == sorted(kinds, key=_KINDS.index)
    )
    if not sound:
        raise UnreadablePlateError(
            f"{path} has the axes {', '.join(names) or 'none'}; an image has two to five in this order: time, channel "
            "(at most one of each), then z (or none), y, x.",
            path=path,
        )
    return tuple(kinds[:-2])


def _kind(axis: Axis) -> str:
    stated = axis.type or _KIND_OF_NAME.get(axis.name.lower(), "")
    return stated if stated in _KINDS else "channel"


def _shape(array: ArrayDocument, axes: tuple[str, ...]) -> tuple[int, ...]:
    shape = array.shape
    if len(shape) != len(axes) + 2:
        raise UnreadablePlateError(
            f"{array.path} has {len(shape)} dimensions, but its image names {len(axes) + 2} axes.", path=array.path
        )
    if min(shape) < 1 or prod(shape[:-2]) > _MAX_PLANES or max(shape) > 2**31:
        raise UnreadablePlateError(
            f"{array.path} claims the shape {_times(shape)}, which no image has (at most {_MAX_PLANES} planes).",
            path=array.path,
        )
    return shape


def _dtype(array: ArrayDocument) -> str:
    try:
        dtype = np.dtype(array.dtype) if isinstance(array.dtype, str) else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in "biuf":
        raise UnreadablePlateError(
            f"{array.path} has pixels of type {array.dtype!r}; an image has whole numbers, floats or booleans.",
            path=array.path,
        )
    if array.shape[-2] * array.shape[-1] * dtype.itemsize > _MAX_PLANE_BYTES:
        raise UnreadablePlateError(
            f"{array.path} claims planes of {_times(array.shape[-2:])} pixels, more than {_MAX_PLANE_BYTES} bytes.",
            path=array.path,
        )
    return dtype.newbyteorder("=").name


def _times(shape: Iterable[int]) -> str:
    return " x ".join(str(size) for size in shape)


def _scales_um(multiscale: Multiscale) -> list[float | None]:
    """Size of a step along each axis, µm: that of level 0 times that of all levels; None where no unit is given."""
    count = len(multiscale.axes)
    own = _scale(multiscale.datasets[0].coordinate_transformations, count)
    common = _scale(multiscale.coordinate_transformations, count)
    if own is None and common is None:
        return [None] * count
    factors = zip(own or [1.0] * count, common or [1.0] * count, strict=True)
    return [in_um(one * other, axis.unit) for (one, other), axis in zip(factors, multiscale.axes, strict=True)]


def _scale(transforms: Sequence[Transform], count: int) -> list[float] | None:
    """The scale among transformations; nan on every axis if it is not one number an axis."""
    scales = [transform.scale for transform in transforms if transform.type == "scale"]
    if not scales:
        return None
    if len(scales) > 1 or scales[0] is None or len(scales[0]) != count:
        return [float("nan")] * count
    return [float("nan") if factor is None else factor for factor in scales[0]]


def _check_own(image: OmeZarrImage, path: str) -> None:
    own = image.own
    if own is None:
        return
    told = {"time": own.timepoint, "channel": own.channel, "space": own.z_index}
    for kind, numbers in told.items():
        if len(numbers) != image.size(kind) or len(set(numbers)) != len(numbers):
            raise UnreadablePlateError(
                f"{path} contradicts itself: its numbers of the {kind} axis are not one for each of the array's "
                f"{image.size(kind)} places.",
                path=path,
            )


__all__ = [
    "AbsentImageError",
    "ListedImage",
    "ListedWell",
    "OmeZarrImage",
    "OmeZarrPlate",
    "is_plate",
    "read_image",
    "read_plate",
    "read_well",
]
