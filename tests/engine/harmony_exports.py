"""Small Harmony exports, written by hand: an index of any version, and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tifffile

from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.microscopes.harmony.handler import OperaPhenixHandler
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate

V4 = "http://www.perkinelmer.com/PEHH/HarmonyV4"
V5 = "http://www.perkinelmer.com/PEHH/HarmonyV5"
V6 = "http://www.perkinelmer.com/PEHH/HarmonyV6"
V7 = "43B2A954-E3C3-47E1-B392-6635266B0DD3/HarmonyV7"
CHANNEL = {
    "ChannelName": "DAPI",
    "ImageResolutionX": "6.5E-07",
    "ImageResolutionY": "6.5E-07",
    "ImageSizeX": "12",
    "ImageSizeY": "8",
    "MainEmissionWavelength": "456",
}
"""What an index says of a channel."""
_UNITS = {"ImageResolutionX": "m", "ImageResolutionY": "m", "MainEmissionWavelength": "nm"} | {
    f"{name}{axis}": "m" for name in ("Position", "AbsPosition") for axis in "XYZ"
}

Record = dict[str, str]
"""Elements of one Image record; a name may hold its unit, as in ``PositionX|mm``."""


def record(
    row: int = 1, column: int = 1, field: int = 1, plane: int = 1, channel: int = 1, timepoint: int = 0, **more: str
) -> Record:
    """A record with the elements that all versions have; an empty value leaves an element out."""
    elements = {
        "id": f"{row:02d}{column:02d}K{timepoint + 1}F{field}P{plane}R{channel}",
        "State": "Ok",
        "URL": image_name(row, column, field, plane, channel, timepoint),
        "Row": str(row),
        "Col": str(column),
        "FieldID": str(field),
        "PlaneID": str(plane),
        "TimepointID": str(timepoint),
        "ChannelID": str(channel),
    }
    return {name: value for name, value in (elements | more).items() if value}


def image_name(
    row: int = 1, column: int = 1, field: int = 1, plane: int = 1, channel: int = 1, timepoint: int = 0
) -> str:
    """The file name that Harmony gives an image; time points of the index count from 0 here."""
    return f"r{row:02d}c{column:02d}f{field:02d}p{plane:02d}-ch{channel}sk{timepoint + 1}fk1fl1.tiff"


def index_text(
    records: Iterable[Record],
    *,
    namespace: str = V5,
    entries: Mapping[int, Mapping[str, str]] | None = None,
    prefix: str = "",
    plate: str = "<PlateID>P1</PlateID><Name>My plate</Name><PlateRows>8</PlateRows><PlateColumns>12</PlateColumns>",
    head: str = "",
) -> str:
    """An index; ``entries`` are the channels of V6 and V7, ``head`` stands before the first element."""
    images = "".join(f'<Image Version="1">{_elements(record)}</Image>' for record in records)
    maps = "".join(
        f'<Entry ChannelID="{channel}"><FlatfieldProfile>{{Background: {{Mean: 1.2}}}}</FlatfieldProfile></Entry>'
        for channel in entries or {}
    )
    described = "".join(
        f'<Entry ChannelID="{channel}">{_elements(said)}</Entry>' for channel, said in (entries or {}).items()
    )
    body = (
        f"<User>me</User><Plates><Plate>{plate}</Plate></Plates>"
        f'<Wells><Well><id>0101</id><Row>1</Row><Col>1</Col><Image id="0101K1F1P1R1" /></Well></Wells>'
        f"<Maps><Map>{maps}</Map><Map>{described}</Map></Maps><Images>{images}</Images>"
    )
    text = f'<EvaluationInputData Version="1" xmlns="{namespace}">{body}</EvaluationInputData>'
    if prefix:
        text = text.replace("</", "</\0").replace("<", f"<{prefix}:").replace(f"<{prefix}:/\0", f"</{prefix}:")
        text = text.replace("xmlns=", f"xmlns:{prefix}=")
    return f'<?xml version="1.0" encoding="utf-8"?>\r\n{head}{text}'


def _elements(record: Mapping[str, str]) -> str:
    parts = []
    for key, value in record.items():
        name, _, stated = key.partition("|")
        unit = stated or _UNITS.get(name, "")
        parts.append(f'<{name} Unit="{unit}">{value}</{name}>' if unit else f"<{name}>{value}</{name}>")
    return "".join(parts)


def write_export(
    folder: Path,
    index: str | bytes | None,
    images: Iterable[str] = (),
    *,
    place: str = "Images",
    index_name: str = "Images/Index.idx.xml",
) -> Path:
    """Write an export: its index, and images of 8 x 12 pixels in ``place``."""
    (folder / place).mkdir(parents=True, exist_ok=True)
    if index is not None:
        path = folder / index_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(index.encode() if isinstance(index, str) else index)
    for number, name in enumerate(images):
        path = folder / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.full((8, 12), number, np.uint16))
    return folder


def read(folder: Path) -> tuple[Plate, ImageIndex]:
    """The plate and index of a folder, by this handler alone."""
    return detect_microscope(folder, [OperaPhenixHandler()]).read_plate()
