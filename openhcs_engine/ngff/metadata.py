"""The JSON documents of an OME-Zarr plate.

*Source*: OME-NGFF 0.5 (https://ngff.openmicroscopy.org/0.5/), zarr v3 core specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import row_and_column, row_letters

VERSION: Final = "0.5"
OWN: Final = "openhcs"
"""Our own attribute, beside ``ome``."""
GROUP: Final = "zarr.json"
_COLOURS: Final = (
    (("dapi", "hoechst"), "0000FF"),
    (("gfp", "fitc", "alexa 488", "488"), "00FF00"),
    (("cy3", "tritc", "rfp", "mcherry", "561", "568", "texas"), "FF0000"),
    (("cy5", "640", "647"), "FF00FF"),
)
_FALLBACK_COLOURS: Final = ("00FFFF", "FFFF00", "FF8000", "FF00FF", "00FF00", "FF0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAxes:
    """Values of the three outer axes of a field's array, in its order. None: the axis was collapsed and has size 1."""

    timepoints: tuple[int | None, ...]
    channels: tuple[int | None, ...]
    z_indexes: tuple[int | None, ...]

    @classmethod
    def of(cls, keys: Sequence[ImageKey]) -> StackAxes:
        """The axes that hold all of the keys; collapsed values come first."""
        return cls(
            timepoints=_ordered(key.timepoint for key in keys),
            channels=_ordered(key.channel for key in keys),
            z_indexes=_ordered(key.z_index for key in keys),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(t, c, z)."""
        return len(self.timepoints), len(self.channels), len(self.z_indexes)

    def coordinates(self) -> list[tuple[int | None, int | None, int | None]]:
        """(timepoint, channel, z_index) of every plane in C order."""
        return [(t, c, z) for t in self.timepoints for c in self.channels for z in self.z_indexes]


def _ordered(values: Any) -> tuple[int | None, ...]:  # Any: a generator of int | None
    return tuple(sorted(set(values), key=lambda value: -1 if value is None else value))


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelScale:
    """Sizes in the specimen, µm; None where the plate does not say."""

    pixel_size_um: float | None = None
    z_step_um: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLook:
    """How viewers show a channel."""

    label: str
    low: float
    """Darkest value seen."""
    high: float
    """Brightest value seen."""


def document(value: object) -> bytes:
    """Indented JSON, as people read it in a file browser."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def group_document(attributes: Mapping[str, Any]) -> bytes:
    """``zarr.json`` of a group."""
    return document({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def well_path(well: str) -> str:
    """Path of a well's group inside the plate: ``B/03``."""
    row, column = row_and_column(well)
    return f"{row_letters(row)}/{column + 1:02d}"


def plate_attributes(plate: Plate) -> dict[str, Any]:
    """Attributes of the plate group: every well, whether it is written already or not."""
    places = [row_and_column(well) for well in plate.wells]
    rows = plate.rows or 1 + max(row for row, _ in places)
    columns = plate.columns or 1 + max(column for _, column in places)
    fields = max(len(plate.sites), 1)
    return {
        "ome": {
            "version": VERSION,
            "plate": {
                "version": VERSION,
                "name": plate.name or plate.plate_id,
                "field_count": fields,
                "acquisitions": [{"id": 0, "name": plate.name or plate.plate_id, "maximumfieldcount": fields}],
                "rows": [{"name": row_letters(row)} for row in range(rows)],
                "columns": [{"name": f"{column + 1:02d}"} for column in range(columns)],
                "wells": [
                    {"path": well_path(well), "rowIndex": row, "columnIndex": column}
                    for well, (row, column) in zip(plate.wells, places, strict=True)
                ],
            },
        },
        OWN: {"plate_id": plate.plate_id, "microscope": plate.microscope, "sites": list(plate.sites)},
    }


def well_attributes(well: str, fields: Mapping[str, int | None]) -> dict[str, Any]:
    """Attributes of a well group; ``fields`` maps each image's path to its site, None for a collapsed one."""
    return {
        "ome": {
            "version": VERSION,
            "well": {"version": VERSION, "images": [{"path": path, "acquisition": 0} for path in fields]},
        },
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
    return {
        "ome": {
            "version": VERSION,
            "multiscales": [
                {
                    "name": name,
                    "axes": _axes(scale),
                    "datasets": [_dataset(level, scale) for level in range(levels)],
                    "type": "mean",
                    "metadata": {"description": "mean of 2 x 2 pixels, integers rounded half up"},
                }
            ],
            "omero": {"channels": [_channel(position, look, dtype) for position, look in enumerate(channels)]},
        },
        OWN: {**own, "pixel_size_um": scale.pixel_size_um, "z_step_um": scale.z_step_um},
    }


def _axes(scale: PixelScale) -> list[dict[str, str]]:
    def space(name: str, known: float | None) -> dict[str, str]:
        unit = {} if known is None else {"unit": "micrometer"}
        return {"name": name, "type": "space", **unit}

    return [
        {"name": "t", "type": "time"},
        {"name": "c", "type": "channel"},
        space("z", scale.z_step_um),
        space("y", scale.pixel_size_um),
        space("x", scale.pixel_size_um),
    ]


def _dataset(level: int, scale: PixelScale) -> dict[str, Any]:
    edge = (scale.pixel_size_um or 1.0) * 2**level
    sizes = [1.0, 1.0, scale.z_step_um or 1.0, edge, edge]
    return {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": sizes}]}


def _channel(position: int, look: ChannelLook, dtype: np.dtype[Any]) -> dict[str, Any]:
    lowest, highest = (0, np.iinfo(dtype).max) if dtype.kind == "u" else (look.low, look.high)
    window = {"min": lowest, "max": highest, "start": look.low, "end": max(look.high, look.low)}
    return {"label": look.label, "color": _colour(position, look.label), "active": True, "window": window}


def _colour(position: int, label: str) -> str:
    lower = label.lower()
    for words, colour in _COLOURS:
        if any(word in lower for word in words):
            return colour
    return _FALLBACK_COLOURS[position % len(_FALLBACK_COLOURS)]


__all__ = [
    "GROUP",
    "OWN",
    "VERSION",
    "ChannelLook",
    "PixelScale",
    "StackAxes",
    "document",
    "group_document",
    "image_attributes",
    "plate_attributes",
    "well_attributes",
    "well_path",
]
