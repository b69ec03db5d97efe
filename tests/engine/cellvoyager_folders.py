"""Small CellVoyager measurements made by hand, record by record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tifffile

from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.microscopes.cellvoyager.names import CellVoyagerName
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import row_and_column

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<bts:MeasurementData bts:Version="1.0" xmlns:bts="urn:bts">\n'
TAIL = "</bts:MeasurementData>\n"
ERROR = (
    '<bts:MeasurementRecord bts:Type="ERR" bts:Time="2025-01-01T11:00:00+01:00" bts:Column="2" bts:Row="1" '
    'bts:TimePoint="1" {} bts:TimelineIndex="1" bts:X="-20.0" bts:Y="25.0">AF Error at A02\nNo. 0'
    "</bts:MeasurementRecord>"
)


def name_of(key: ImageKey, *, action: int = 1, timeline: int = 1) -> str:
    """The file that the instrument would write."""
    timepoint, field, z_index, channel = (value or 1 for value in (key.timepoint, key.site, key.z_index, key.channel))
    return str(CellVoyagerName(key.well, timepoint, field, timeline, action, z_index, channel, "p"))


def record(
    key: ImageKey,
    file: str | None = None,
    changes: Mapping[str, object] | None = None,
    action: int = 1,
    timeline: int = 1,
) -> str:
    """One record of an image, with some attributes changed or (None) left out; z_index None: a projection."""
    row, column = row_and_column(key.well)
    values: dict[str, object] = {
        "Type": "IMG",
        "Column": column + 1,
        "Row": row + 1,
        "TimePoint": key.timepoint,
        "FieldIndex": key.site,
        "ZIndex": key.z_index or 1,
        "TimelineIndex": timeline,
        "ActionIndex": action,
        "X": 100.0 * (key.site or 1),
        "Y": 50.0,
        "Z": 2.0 * (key.z_index or 1),
        **({"ZImageProcessing": "Maximum"} if key.z_index is None else {}),
        "Ch": key.channel,
    }
    shown = " ".join(
        f'bts:{name}="{value}"' for name, value in (values | dict(changes or {})).items() if value is not None
    )
    text = name_of(key, action=action, timeline=timeline) if file is None else file
    return f"<bts:MeasurementRecord {shown}>{text}</bts:MeasurementRecord>"


def write_records(folder: Path, records: Iterable[str]) -> None:
    """Write a whole mlf file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MeasurementData.mlf").write_text(HEAD + "\n".join(records) + "\n" + TAIL, encoding="utf-8")


def write_image(path: Path) -> None:
    """Write a small TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.zeros((8, 6), np.uint16))


def key(well: str = "A01", site: int = 1, channel: int = 1, z: int | None = 1, t: int = 1) -> ImageKey:
    """A coordinate with ones where nothing is said."""
    return ImageKey(well, site, channel, z, t)


def only(index: ImageIndex) -> ImagePlane:
    """The only plane of an index."""
    (plane,) = index
    return plane


def read(folder: Path) -> tuple[Plate, ImageIndex]:
    """The plate and index of a folder."""
    return detect_microscope(folder).read_plate()
