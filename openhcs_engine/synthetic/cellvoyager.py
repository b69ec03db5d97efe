"""A synthetic plate as a Yokogawa CellVoyager records it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from openhcs_engine.microscopes.cellvoyager.names import CellVoyagerName
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import row_and_column
from openhcs_engine.synthetic.light import light
from openhcs_engine.synthetic.plate import SyntheticPlate
from openhcs_engine.synthetic.writing import Layout, site_offset_um, write_plate

_BANDS: Final = {
    "DAPI": "BP445/45",
    "GFP": "BP525/50",
    "FITC": "BP525/50",
    "Cy3": "BP600/37",
    "Texas Red": "BP600/37",
    "Cy5": "BP676/29",
}
"""Emission filters of a CV8000."""
_START: Final = datetime(2024, 1, 1, tzinfo=UTC)
_NAMESPACE: Final = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
_PROLOGUE: Final = '<?xml version="1.0" encoding="utf-8"?>\n'


def write_cellvoyager(folder: str | os.PathLike[str], spec: SyntheticPlate | None = None) -> Path:
    """Write a CellVoyager measurement: records (mlf), detail (mrf), settings (mes), plate (wpi) and TIFF planes.

    As on the instrument, channels are recorded by actions of other numbers, and shading images lie beside the planes.
    With ``spec.projections`` a second run of the actions gives maximum projections; ``spec.thumbnails`` has no meaning
    here.

    Parameters
    ----------
    folder : path
        The plate folder; it must be absent or empty.
    spec : SyntheticPlate, optional
        24 wells with 2 sites, 2 channels and 3 z planes if not given.

    Returns
    -------
    pathlib.Path
        The plate folder. The truth lies beside it in ``<folder>.truth.json``.

    Raises
    ------
    OutputPlaceError
        If the folder is not empty.
    """
    return write_plate(folder, spec, _CellVoyager)


class _CellVoyager(Layout):
    """A plate as a CellVoyager records it."""

    def write_metadata(self) -> None:
        spec, keys = self.spec, list(_recorded_keys(self.spec))
        # As the instrument does it: all but the records begin with a byte order mark.
        self.write_text("MeasurementData.mlf", _records(spec, keys), "utf-8")
        self.write_text("MeasurementDetail.mrf", _detail(spec), "utf-8-sig")
        self.write_text(f"{spec.name}.mes", _settings(spec), "utf-8-sig")
        self.write_text(f"{spec.name}.wpi", _plate_file(spec), "utf-8-sig")
        self.write_shading_images()

    def image_keys(self) -> Iterator[ImageKey]:
        return (key for key in _recorded_keys(self.spec) if not self.spec.is_missing(key))

    def write_text(self, name: str, text: str, encoding: str) -> None:
        (self.folder / name).write_bytes((_PROLOGUE + text).encode(encoding))

    def write_shading_images(self) -> None:
        import numpy as np
        import tifffile  # only writing needs it

        for number in range(1, len(self.spec.channels) + 1):
            vignette = 0.0 if self.spec.scene is None else self.spec.scene.vignette
            lit = light(self.spec.seed, vignette, self.spec.shape, number - 1)
            shading = (10_000 * lit).round().astype(np.uint16)
            tifffile.imwrite(self.folder / _shading_name(number), shading, metadata=None)

    def write_image(self, key: ImageKey) -> Path:
        import tifffile  # only writing needs it

        path = self.folder / str(_name(self.spec, key))
        tifffile.imwrite(path, self.images.plane(key), metadata=None)
        return path


def _recorded_keys(spec: SyntheticPlate) -> Iterator[ImageKey]:
    """All planes, those to be left out included: the instrument recorded them."""
    for key in replace(spec, missing=()).image_keys():
        yield key
        if spec.projections and key.z_index == spec.z:
            yield key.replace(z_index=None)


def _action(spec: SyntheticPlate, key: ImageKey) -> int:
    """Actions run from the last channel to the first, then again for the projections."""
    count = len(spec.channels)
    return count + 1 - (key.channel or 1) + (count if key.z_index is None else 0)


def _name(spec: SyntheticPlate, key: ImageKey) -> CellVoyagerName:
    return CellVoyagerName(
        well=key.well,
        timepoint=key.timepoint or 1,
        field=key.site or 1,
        timeline=1,
        action=_action(spec, key),
        z_index=key.z_index or 1,
        channel=key.channel or 1,
        prefix=spec.name,
    )


def _shading_name(channel: int) -> str:
    return f"SC_{_BANDS['GFP'].replace('/', '-')}_20x v2_M01_CH{channel:02d}.tif"


def _records(spec: SyntheticPlate, keys: list[ImageKey]) -> str:
    records = "".join(_record(spec, key, number) for number, key in enumerate(keys))
    return f'<bts:MeasurementData bts:Version="1.0" {_NAMESPACE}>\n{records}</bts:MeasurementData>\n'


def _record(spec: SyntheticPlate, key: ImageKey, number: int) -> str:
    row, column = row_and_column(key.well)
    x, y = site_offset_um(spec, key.site or 1)
    bottom, top = 0.0, (spec.z - 1) * spec.z_step_um
    height = (bottom + top) / 2 if key.z_index is None else (key.z_index - 1) * spec.z_step_um
    time = (_START + timedelta(milliseconds=200 * number)).isoformat(timespec="milliseconds")
    depth = {"ZImageProcessing": "Maximum", "ZTop": top, "ZBottom": bottom} if key.z_index is None else {}
    values: dict[str, object] = {
        "Type": "IMG",
        "Time": time,
        "Column": column + 1,
        "Row": row + 1,
        "TimePoint": key.timepoint or 1,
        "FieldIndex": key.site or 1,
        "ZIndex": key.z_index or 1,
        "TimelineIndex": 1,
        "ActionIndex": _action(spec, key),
        "Action": "3D" if spec.z > 1 else "2D",
        "X": round(x, 1),
        "Y": round(y, 1),
        "Z": round(height, 1),
        **depth,
        "Ch": key.channel or 1,
    }
    return _element("MeasurementRecord", values, escape(str(_name(spec, key)))) + "\n"


def _detail(spec: SyntheticPlate) -> str:
    plate = {"Name": spec.name, "WellPlateFileName": f"{spec.name}.wpi", "WellPlateProductFileName": ""}
    channels = "".join(
        _element(
            "MeasurementChannel",
            {
                "Ch": number,
                "HorizontalPixelDimension": spec.pixel_size_um,
                "VerticalPixelDimension": spec.pixel_size_um,
                "CameraNumber": 1,
                "InputBitDepth": 16,
                "HorizontalPixels": spec.shape[1],
                "VerticalPixels": spec.shape[0],
                "ShadingCorrectionSource": _shading_name(number),
            },
        )
        + "\n"
        for number in range(1, len(spec.channels) + 1)
    )
    values = {
        "Version": "1.0",
        "Title": f"Synthetic plate, seed {spec.seed}",
        "MeasurementSettingFileName": f"{spec.name}.mes",
        "ColumnCount": spec.columns,
        "RowCount": spec.rows,
        "TimePointCount": spec.timepoints,
        "FieldCount": spec.sites,
        "ZCount": spec.z,
        "TargetSystem": "CV8000",
    }
    return _element(
        "MeasurementDetail", values, f"\n{_element('MeasurementSamplePlate', plate)}\n{channels}", root=True
    )


def _settings(spec: SyntheticPlate) -> str:
    places = (row_and_column(well) for well in spec.wells)
    targets = "".join(_element("TargetWell", {"Column": column + 1, "Row": row + 1}, "true") for row, column in places)
    actions = "".join(
        _element("ActionAcquire3D", {"SliceLength": spec.z_step_um}, _element("Ch", {}, str(number)))
        for number in range(len(spec.channels), 0, -1)
    )
    timeline = _element("WellSequence", {"IsSelected": "true"}, targets) + _element("ActionList", {}, actions)
    channels = "".join(
        _element(
            "Channel",
            {"Ch": number, "Target": name, "Acquisition": _BANDS.get(name, ""), "Kind": "ConfocalFluorescence"},
        )
        for number, name in enumerate(spec.channels, 1)
    )
    content = _element("Timelapse", {}, _element("Timeline", {"Name": "Time Line 1"}, timeline))
    values = {"Version": "1.0", "Columns": spec.columns, "Rows": spec.rows}
    return _element("MeasurementSetting", values, content + _element("ChannelList", {}, channels), root=True)


def _plate_file(spec: SyntheticPlate) -> str:
    values = {"Version": "1.0", "Name": spec.name, "Columns": spec.columns, "Rows": spec.rows}
    return _element("WellPlate", values, root=True)


def _element(kind: str, values: Mapping[str, object], content: str = "", *, root: bool = False) -> str:
    attributes = "".join(f" bts:{name}={quoteattr(str(value))}" for name, value in values.items())
    return f"<bts:{kind}{attributes}{' ' + _NAMESPACE if root else ''}>{content}</bts:{kind}>"
