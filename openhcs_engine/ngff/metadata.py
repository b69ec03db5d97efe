"""The JSON documents of an OME-Zarr plate.

Here they are as in 0.5, without their version; ``groups`` gives them the form of a version.
*Source*: OME-NGFF 0.5 (https://ngff.openmicroscopy.org/0.5/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from openhcs_engine.model.wells import normalise_well, row_and_column, row_letters

OWN: Final = "openhcs"
"""Our own attribute, beside ``ome``."""
_COLOURS: Final = (
    (("dapi", "hoechst"), "0000FF"),
    (("gfp", "fitc", "alexa 488", "488"), "00FF00"),
    (("cy3", "tritc", "rfp", "mcherry", "561", "568", "texas"), "FF0000"),
    (("cy5", "640", "647"), "FF00FF"),
)
WINDOWS: Final = (
    "start and end: the lowest and the highest of the percentiles 0.1 and 99.9 of the finite pixels of the channel's "
    "planes in this well, on the smallest resolution, end at least one more than start where all are equal; min and "
    "max: the range of the pixel type for unsigned numbers and booleans, else start and end"
)
"""How the windows of channels are found, as the document says it."""
_FALLBACK_COLOURS: Final = ("00FFFF", "FFFF00", "FF8000", "FF00FF", "00FF00", "FF0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelScale:
    """Sizes in the specimen, µm; None where the plate does not say."""

    pixel_size_um: float | None = None
    z_step_um: float | None = None
    time_step_s: float | None = None
    """Time between neighbouring time points, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLook:
    """How viewers show a channel."""

    label: str
    low: float
    """Shown black; see ``WINDOWS``."""
    high: float
    """Shown white."""
    colour: str | None = None
    """RRGGBB; None: by the label."""


def document(value: object) -> bytes:
    """Indented JSON, as people read it in a file browser."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def well_path(well: str) -> str:
    """Path of a well's group inside the plate: ``B/03``."""
    name = normalise_well(well)
    return f"{name[:-2]}/{name[-2:]}"


def plate_attributes(name: str, sites: int, wells: Sequence[str], own: Mapping[str, object]) -> dict[str, Any]:
    """Attributes of a plate's group that lists these wells, and the rows and columns that hold them.

    ``sites`` is the most that a well has; ``own`` is kept beside ``ome``.
    """
    positions = [row_and_column(well) for well in wells]
    rows, columns = (sorted({position[axis] for position in positions}) for axis in (0, 1))
    fields = max(sites, 1)
    return {
        "ome": {
            "plate": {
                "name": name,
                "field_count": fields,
                "acquisitions": [{"id": 0, "name": name, "maximumfieldcount": fields}],
                "rows": [{"name": row_letters(row)} for row in rows],
                "columns": [{"name": f"{column + 1:02d}"} for column in columns],
                "wells": [
                    # The indexes of their names among those of the plate's rows and columns that are listed.
                    {"path": well_path(well), "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
                    for well, (row, column) in zip(wells, positions, strict=True)
                ],
            },
        },
        OWN: own,
    }


def well_attributes(well: str, fields: Mapping[str, int | None]) -> dict[str, Any]:
    """Attributes of a well group; ``fields`` maps each image's path to its site, None for a collapsed one."""
    return {
        "ome": {"well": {"images": [{"path": path, "acquisition": 0} for path in fields]}},
        OWN: {"well": well, "sites": list(fields.values())},
    }


def image_attributes(
    name: str,
    *,
    levels: int,
    scale: PixelScale,
    channels: Sequence[ChannelLook],
    dtype: np.dtype[Any],
    own: Mapping[str, Any],
) -> dict[str, Any]:
    """Attributes of one field's group; ``own`` is kept beside ``ome`` for our reader."""
    smaller = {"type": "mean", "metadata": {"description": "mean of 2 x 2 pixels, integers rounded half up"}}
    return {
        "ome": {
            "multiscales": [_multiscale(name, "tczyx", levels, scale, smaller)],
            "omero": {"channels": [_channel(position, look, dtype) for position, look in enumerate(channels)]},
        },
        OWN: {**own, **_sizes(scale), "windows": WINDOWS},
    }


def labels_attributes(names: Sequence[str]) -> dict[str, Any]:
    """Attributes of the group ``labels`` of an image."""
    return {"ome": {"labels": list(names)}}


def label_attributes(name: str, *, levels: int, scale: PixelScale, own: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of one label's group, ``labels/<name>`` of its image."""
    smaller = {"type": "nearest", "metadata": {"description": "every second pixel, so that all numbers are objects"}}
    return {
        "ome": {
            "multiscales": [_multiscale(name, "tzyx", levels, scale, smaller)],
            "image-label": {"source": {"image": "../../"}},
        },
        OWN: {**own, **_sizes(scale)},
    }


def _sizes(scale: PixelScale) -> dict[str, float | None]:
    return {
        "pixel_size_um": scale.pixel_size_um,
        "z_step_um": scale.z_step_um,
        "time_step_s": scale.time_step_s,
    }


def _multiscale(name: str, axes: str, levels: int, scale: PixelScale, smaller: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of ``multiscales``; sizes that nobody knows are 1, without a unit."""
    known = {
        "t": scale.time_step_s,
        "c": None,
        "z": scale.z_step_um,
        "y": scale.pixel_size_um,
        "x": scale.pixel_size_um,
    }
    return {
        "name": name,
        "axes": [_axis(axis, known[axis]) for axis in axes],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [_step(axis, known[axis], level) for axis in axes]}
                ],
            }
            for level in range(levels)
        ],
        **smaller,
    }


def _axis(name: str, known: float | None) -> dict[str, str]:
    kind = {"t": "time", "c": "channel"}.get(name, "space")
    unit = {"unit": "second" if name == "t" else "micrometer"} if known is not None else {}
    return {"name": name, "type": kind, **unit}


def _step(axis: str, known: float | None, level: int) -> float:
    return (known or 1.0) * (2**level if axis in "yx" else 1)


def _channel(position: int, look: ChannelLook, dtype: np.dtype[Any]) -> dict[str, Any]:
    return {
        "label": look.label,
        "color": look.colour or _colour(position, look.label),
        "active": True,
        "window": _window(look, dtype),
    }


def _window(look: ChannelLook, dtype: np.dtype[Any]) -> dict[str, float]:
    """What is shown black and white; never both by one value: viewers divide by the difference."""
    if dtype.kind == "b":
        return {"min": 0, "max": 1, "start": 0, "end": 1}
    start, end = look.low, look.high
    if end <= start:
        end = start + least_step(start)
    if dtype.kind != "u":
        return {"min": start, "max": end, "start": start, "end": end}
    highest = int(np.iinfo(dtype).max)
    if end > highest:
        start, end = highest - least_step(highest), highest
    return {"min": 0, "max": highest, "start": start, "end": end}


def least_step(value: float) -> float:
    """One, or what a float can still add to so large a number."""
    return max(1.0, 2 * float(np.spacing(abs(float(value)))))


def _colour(position: int, label: str) -> str:
    lower = label.lower()
    for words, colour in _COLOURS:
        if any(word in lower for word in words):
            return colour
    return _FALLBACK_COLOURS[position % len(_FALLBACK_COLOURS)]


__all__ = [
    "OWN",
    "WINDOWS",
    "ChannelLook",
    "PixelScale",
    "document",
    "image_attributes",
    "label_attributes",
    "labels_attributes",
    "least_step",
    "plate_attributes",
    "well_attributes",
    "well_path",
]
