"""Measurements of objects as a table, one row an object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.measurement import cellprofiler
from openhcs_engine.functions.measurement.columns import (
    CP_MEASURE_FEATURES,
    DEFAULT_FEATURES,
    SCIKIT_IMAGE,
    Measurement,
    chosen,
    column_channels,
    column_prefix,
    known_features,
)
from openhcs_engine.functions.measurement.intensity import edge_places, measure_intensity, places_of
from openhcs_engine.functions.measurement.neighbors import measure_neighbors, scale_of
from openhcs_engine.functions.measurement.objects import Floats, Objects, objects_of
from openhcs_engine.functions.measurement.outline import Rim, rim_of
from openhcs_engine.functions.measurement.shape import measure_shape
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import checked_by, numpy, special_inputs, special_outputs

if TYPE_CHECKING:
    import pyarrow as pa

_NAME: Final = "measure"
_REACHES: Final = ("adjacent", "expanded")
_MOST_REACH: Final = 100
"""Pixels; each pixel of an outline looks at all that are so near."""


def _refusals(
    features: Any = DEFAULT_FEATURES,
    channels: Any = None,
    neighbors: Any = "adjacent",
    maximum: Any = None,
    texture_scale: Any = 3,
    channel_names: Sequence[str] = (),
    channel_numbers: Sequence[int] = (),
    **unused: object,
) -> Iterator[tuple[str, str]]:
    """What is wrong with parameters of ``measure``; known when a pipeline is compiled."""
    try:
        wanted = {each.feature for each in chosen(features)}
    except ValueError as error:
        yield "features", str(error)
        wanted = known_features(features)
    if channel_names:
        try:
            _numbers_of(channels, channel_names, channel_numbers)
        except ValueError as error:
            yield "channels", str(error)
    is_reach = isinstance(neighbors, int) and not isinstance(neighbors, bool) and 1 <= neighbors <= _MOST_REACH
    if not is_reach and neighbors not in _REACHES:
        yield (
            "neighbors",
            f"neighbors={neighbors!r} must be 'adjacent', 'expanded', or a whole number of pixels from 1 to "
            f"{_MOST_REACH}.",
        )
    if isinstance(texture_scale, bool) or not isinstance(texture_scale, int) or texture_scale < 1:
        yield "texture_scale", f"texture_scale={texture_scale!r} must be a whole number of pixels, at least 1."
    is_number = isinstance(maximum, int | float) and not isinstance(maximum, bool)
    if maximum is not None and not (is_number and 0 < maximum < math.inf):
        yield "maximum", f"maximum={maximum!r} must be a number above 0: the largest value that the camera can write."
    elif maximum is None and "texture" in wanted:
        yield (
            "maximum",
            "texture needs maximum=…, the largest pixel value that the camera can write (4095 for 12 bits, 65535 for "
            "16), so that the grey levels are the same in all wells.",
        )
    missing = [feature for feature in CP_MEASURE_FEATURES if feature in wanted]
    if missing and not cellprofiler.is_installed():
        yield (
            "features",
            f"{', '.join(missing)} is computed by the package {cellprofiler.PACKAGE}, which is not installed here "
            "(pip install 'openhcs-dagster[measure]').",
        )


@numpy
@checked_by(_refusals)
@special_inputs(("labels", "{objects}"), "plane_keys", "channel_names", "channel_numbers")
@special_outputs(("{objects}", "measurements"))
@any_library
def measure(
    stack: Pixels,
    labels: Any,
    objects: str = "nuclei",
    features: str | Sequence[str] = DEFAULT_FEATURES,
    channels: Sequence[str | int] | None = None,
    neighbors: str | int = "adjacent",
    maximum: float | None = None,
    texture_scale: int = 3,
    plane_keys: Sequence[Mapping[str, int | None]] | None = None,
    channel_names: Sequence[str] | None = None,
    channel_numbers: Sequence[int] | None = None,
) -> tuple[Pixels, pa.Table]:
    """Measure the objects of a label image: shape, intensity of each channel, place, neighbours.

    In a pipeline the labels are those that an earlier function made under the name that ``objects`` says, and the
    table is kept under that name, too: ``tables/nuclei.parquet``. Let the stacks run along the channels
    (``variable_components=[VariableComponents.CHANNEL]``), so that an object has one row.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype; in a pipeline the channels of one place. Never written to. Values that are
        not finite do not count.
    labels
        Whole numbers ``(plane, y, x)`` or ``(y, x)``, 0 where there is no object; gaps are fine. Labels of channels of
        one place must be the same.
    objects
        Name of the labels and of the table. Columns begin with it: ``Nuclei_…`` for ``nuclei``.
    features
        Names of groups: ``shape``, ``intensity``, ``location``, ``neighbors``, ``count``; ``texture``, ``granularity``,
        ``radial_distribution``, ``zernike`` (computed by cp_measure, an extra); ``regionprops``. Or of single
        measurements: ``AreaShape_Area``, ``Intensity_MeanIntensity``.
    channels
        Names or numbers of the channels to measure; None: all of the stack.
    neighbors
        Which objects are neighbours: ``adjacent`` ones; those that are once the background is given to the nearest
        object (``expanded``, which takes ten times as long); or those within so many pixels, up to 100.
    maximum
        For ``texture``: the largest pixel value that the camera can write.
    texture_scale
        For ``texture``: pixels between those that are compared.
    plane_keys, channel_names, channel_numbers
        Given by the engine. Without them all planes are channels of one place, called ``1``, ``2``, … or as
        ``channel_names`` says.

    Returns
    -------
    tuple
        ``stack`` itself, and a pyarrow table: ``object`` (the label, int64), then ``<Objects>_<Group>_<Measurement>
        [_<Channel>][_<scale>]`` as CellProfiler names them, int64 where they are counts, otherwise float64; the same
        columns for any number of objects. What is undefined is null.

    Raises
    ------
    ValueError
        If a parameter is wrong, the labels do not fit to the stack or differ between channels, a channel is not there,
        or texture meets a pixel above ``maximum``.

    Notes
    -----
    Pixels are counted from 0, and their middles lie on whole numbers. The table of all measurements, with what each
    equals, is in the documentation.
    """
    require_stack(stack, _NAME)
    for _, sentence in _refusals(features, channels, neighbors, maximum, texture_scale):
        raise ValueError(sentence)
    planes = _label_planes(labels, stack)
    keys = plane_keys or [{"channel": number} for number in range(1, len(stack) + 1)]
    numbers = channel_numbers or sorted({key["channel"] for key in keys if key["channel"] is not None})
    names = channel_names or [str(number) for number in numbers]
    request = _Request.of(objects, chosen(features), neighbors, maximum, texture_scale)
    wanted = _numbers_of(channels, names, numbers)
    titles: dict[int | None, str] = {None: "Image"}
    titles.update(column_channels(names, numbers).items())
    tables = [
        _of_place(request, place, stack, planes, wanted, titles, alone=channels is None) for place in _places(keys)
    ]
    return stack, _below_each_other(tables)


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """What is to be measured."""

    prefix: str
    measurements: tuple[Measurement, ...]
    keys: frozenset[str]
    neighbors: str | int
    maximum: float | None
    texture_scale: int

    @classmethod
    def of(
        cls,
        objects: str,
        measurements: tuple[Measurement, ...],
        neighbors: str | int,
        maximum: float | None,
        texture_scale: int,
    ) -> _Request:
        keys = frozenset(each.key for each in measurements)
        return cls(column_prefix(objects), measurements, keys, neighbors, maximum, texture_scale)

    @property
    def features(self) -> frozenset[str]:
        return frozenset(each.feature for each in self.measurements)

    def scale(self, measurement: Measurement) -> str:
        return str(self.texture_scale) if measurement.feature == "texture" else scale_of(self.neighbors)


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """The planes of one site, z and time point."""

    coordinates: dict[str, int]
    planes: dict[int | None, int]
    """By channel, which plane of the stack it is."""


def _places(keys: Sequence[Mapping[str, int | None]]) -> list[_Place]:
    found: dict[tuple[tuple[str, int], ...], dict[int | None, int]] = {}
    for number, key in enumerate(keys):
        place = tuple((axis, value) for axis, value in key.items() if axis != "channel" and value is not None)
        found.setdefault(place, {})[key.get("channel")] = number
    return [_Place(dict(place), planes) for place, planes in found.items()]


def _label_planes(labels: Any, stack: Pixels) -> NDArray[Any]:
    planes = np.asarray(labels)
    if planes.ndim == 2:
        planes = np.broadcast_to(planes, stack.shape)
    if planes.shape != stack.shape:
        raise ValueError(f"{_NAME} got labels of shape {planes.shape} for a stack of shape {stack.shape}.")
    return planes


def _labels_of(planes: NDArray[Any], numbers: Sequence[int]) -> NDArray[Any]:
    """The one label image of several channels."""
    first: NDArray[Any] = planes[numbers[0]]
    if planes.strides[0] != 0 and any(not np.array_equal(first, planes[number]) for number in numbers[1:]):
        raise ValueError(
            f"{_NAME} got other labels for one channel than for another of the same place; find the objects in one "
            "channel, or measure each channel in a step of its own."
        )
    return first


def _numbers_of(
    channels: Sequence[str | int] | None, names: Sequence[str], numbers: Sequence[int]
) -> tuple[int, ...] | None:
    """The channels' numbers; None: all."""
    if channels is None:
        return None
    if isinstance(channels, str) or not isinstance(channels, Sequence) or not channels:
        raise ValueError(f"channels={channels!r} must be a list of channels' names, as ['DAPI'], or None for all.")
    known = {str(number): number for number in numbers} | dict(zip(names, numbers, strict=True))
    unknown = [channel for channel in channels if str(channel) not in known]
    if unknown:
        raise ValueError(f"channel {unknown[0]!r} is not there (there are: {', '.join(names)}).")
    return tuple(dict.fromkeys(known[str(channel)] for channel in channels))


def _of_place(
    request: _Request,
    place: _Place,
    stack: Pixels,
    planes: NDArray[Any],
    wanted: tuple[int, ...] | None,
    titles: Mapping[int | None, str],
    *,
    alone: bool,
) -> pa.Table:
    """The table of one place."""
    channels: Iterable[int | None] = place.planes if alone else wanted or ()
    found = objects_of(_labels_of(planes, list(place.planes.values())))
    absent = [channel for channel in channels if channel not in place.planes]
    images = {titles[channel]: stack[place.planes[channel]] for channel in channels if channel in place.planes}
    empty = {titles[channel]: None for channel in absent}
    return _table(request, place.coordinates, found, {**images, **empty})


def _table(
    request: _Request, coordinates: Mapping[str, int], objects: Objects, images: Mapping[str, Pixels | None]
) -> pa.Table:
    import pyarrow as pa

    rim = rim_of(objects)
    of_shape = _of_shape(request, objects, rim)
    of_channels = _of_channels(request, objects, rim, images)
    columns: dict[str, pa.Array] = {"object": pa.array(objects.labels, pa.int64())}
    for axis, value in coordinates.items():
        columns[axis] = pa.array(np.full(objects.count, value), pa.int64())
    for each in request.measurements:
        for title in images if each.has_channel else ("",):
            values = of_channels[title].get(each.key) if each.has_channel else of_shape[each.key]
            name = f"{request.prefix}_{each.column(title, request.scale(each))}"
            columns[name] = _column(values, objects.count, is_whole=each.is_whole)
    return pa.table(columns)


def _column(values: Floats | None, count: int, *, is_whole: bool) -> pa.Array:
    """Values with null for what is not finite; all null if there are none."""
    import pyarrow as pa

    kind = pa.int64() if is_whole else pa.float64()
    if values is None:
        return pa.nulls(count, kind)
    known = np.isfinite(values)
    numbers = np.where(known, values, 0).astype(np.int64) if is_whole else np.asarray(values, np.float64)
    return pa.array(numbers, kind, mask=None if known.all() else ~known)


def _of_shape(request: _Request, objects: Objects, rim: Rim) -> dict[str, Floats]:
    """Measurements that no channel has a part in, by their keys."""
    keys, features = request.keys, request.features
    found: dict[str, Floats] = {"Number_Object_Number": objects.labels.astype(np.float64)}
    shape_keys = {key.removeprefix("AreaShape_") for key in keys if key.startswith("AreaShape_")}
    centred = any(key.startswith("Location_Center_") for key in keys)
    if shape_keys or centred or "neighbors" in features:
        shape = measure_shape(objects, rim, shape_keys)
        found |= {f"AreaShape_{name}": values for name, values in shape.items()}
        y, x = shape["Center_Y"], shape["Center_X"]
        found |= {"Location_Center_X": x, "Location_Center_Y": y, "Location_Center_Z": np.zeros(objects.count)}
        if "neighbors" in features:
            beside = measure_neighbors(objects, rim, y, x, request.neighbors)
            found |= {f"Neighbors_{name}": values for name, values in beside.items()}
    if "regionprops" in features:
        found |= _of_scikit_image(objects)
    if "zernike" in features and objects.count:
        found |= cellprofiler.measure_zernike(cellprofiler.compact_labels(objects))
    return {**{each.key: np.zeros(0) for each in request.measurements if not objects.count}, **found}


def _of_scikit_image(objects: Objects) -> dict[str, Floats]:
    from skimage.measure import regionprops_table

    if not objects.count:
        return {}
    found: dict[str, NDArray[Any]] = regionprops_table(  # type: ignore[no-untyped-call] # scikit-image has no types
        cellprofiler.compact_labels(objects), properties=SCIKIT_IMAGE
    )
    return {f"AreaShape_{name}": np.asarray(found[name], np.float64) for name in SCIKIT_IMAGE}


def _of_channels(
    request: _Request, objects: Objects, rim: Rim, images: Mapping[str, Pixels | None]
) -> dict[str, dict[str, Floats]]:
    """Measurements of each channel, by their keys; of a channel that is absent, none."""
    found: dict[str, dict[str, Floats]] = {title: {} for title in images}
    features = {each.feature for each in request.measurements if each.has_channel}
    present = {title: plane for title, plane in images.items() if plane is not None and objects.count}
    if features & {"intensity", "location"}:
        inside = places_of(objects)
        edge = edge_places(objects, rim, inside)
        for title, plane in present.items():
            found[title] |= measure_intensity(plane, inside, edge, request.keys)
    if extra := [feature for feature in CP_MEASURE_FEATURES if feature in features]:
        labels = cellprofiler.compact_labels(objects)
        for title, plane in present.items():
            for feature in extra:
                found[title] |= cellprofiler.measure_channel(
                    feature, labels, plane, request.texture_scale, request.maximum
                )
    return found


def _below_each_other(tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")


__all__ = ["measure"]
