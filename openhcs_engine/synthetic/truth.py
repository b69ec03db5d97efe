"""The truth of a synthetic plate, in files beside its folder.

``<plate>.truth.json`` holds the spec, the roles of wells, and the objects of each site. A scene has more to say:
Parquet tables and the light of each channel in ``<plate>.truth/``, which the document names and explains.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from openhcs_engine.synthetic.drawing import OFFSET, SPOT_SIGMA, draw
from openhcs_engine.synthetic.images import SyntheticImages
from openhcs_engine.synthetic.light import light
from openhcs_engine.synthetic.plate import SyntheticPlate
from openhcs_engine.synthetic.scene import BODY

Row = dict[str, Any]  # Any: text, numbers, truth values and nulls
_SITE: Final = {"well": "name of the well", "site": "counted from 1"}
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "nuclei": {
        **_SITE,
        "object": "number in the scene, from 1; overlapping sites of a well give the same nucleus the same number",
        "group": "nuclei of one site with the same number touch",
        "y_px": "centre of the planted ellipse, pixels from the middle of the site's top left pixel",
        "x_px": "the same along x",
        "z_index": "plane in which it is in focus, from 1; between two planes where it is not whole",
        "semi_major_px": "half the ellipse's long axis",
        "semi_minor_px": "half its short axis",
        "angle_rad": "of the long axis, from x towards y",
        "area_px": "pixels of the nucleus that the site shows; of two that overlap, each has those nearer to it",
        "cut": "true: a part lies outside the site",
        "at_border": "true: it has a pixel in the site's first or last row or column",
        "cell_area_px": "pixels of nucleus and body that the site shows; null without cells",
        "cell_cut": "true: a part of the cell lies outside the site; null without cells",
        "spots": "planted spots of the cell; null without cells",
        "ratio": "brightness of the nucleus in the second channel, in the body's; null without cells",
        "peak_<channel>": "counts above the background in focus: of the body where the channel shows one, else of the "
        "nucleus",
        "mean_<channel>": "mean over area_px: counts above the background in focus, even light, without noise",
        "cytoplasm_mean_<channel>": "the same over the cell's other pixels; null without any",
    },
    "spots": {
        **_SITE,
        "object": "number of the cell's nucleus",
        "spot": "number in the cell, from 1",
        "y_px": "centre, pixels from the middle of the site's top left pixel",
        "x_px": "the same along x",
        "peak": "counts above what lies below it, in focus",
    },
    "sites": {
        **_SITE,
        "y_px": "true position of the site's first pixel in the well, pixels from where the stage has the first site's",
        "x_px": "the same along x",
        "stage_y_px": "where the stage says that it is; the layout's metadata have it in µm, if any positions",
        "stage_x_px": "the same along x",
        "nuclei": "nuclei of which the site shows a pixel",
        "nuclei_cut": "how many of them are cut",
        "background_<channel>": "counts of the background in even light, above the camera's offset",
    },
}
"""Tables of a scene, and what their columns mean."""


def truth_path(folder: str | os.PathLike[str]) -> Path:
    """Where the truth of a synthetic plate lies: beside its folder."""
    plate = Path(folder)
    return plate.with_name(plate.name + ".truth.json")


def truth_folder(folder: str | os.PathLike[str]) -> Path:
    """Where the tables and the light of a plate with a scene lie: beside its folder."""
    plate = Path(folder)
    return plate.with_name(plate.name + ".truth")


def write_truth(folder: Path, images: SyntheticImages) -> None:
    """Write the truth beside a plate folder; the document, which names all other files, last."""
    document = images.truth()
    if images.spec.scene is not None:
        document["scene"] = _write_scene(truth_folder(folder), images.spec)
    truth_path(folder).write_text(json.dumps(document, indent=1), encoding="utf-8")


def _write_scene(folder: Path, spec: SyntheticPlate) -> dict[str, object]:
    """Tables and light; return what the document says about them."""
    folder.mkdir(exist_ok=True)
    tables: dict[str, list[Row]] = {name: [] for name in _COLUMNS}
    for well in spec.wells:
        for site in range(1, spec.sites + 1):
            tables["nuclei"] += _nuclei(spec, well, site)
            tables["spots"] += _spots(spec, well, site)
            tables["sites"].append(_site(spec, well, site))
    stated = {}
    for name, rows in tables.items():
        path = folder / f"{name}.parquet"
        _write_table(path, rows, _schema_of(name, spec))
        stated[name] = {"path": f"{folder.name}/{path.name}", "columns": _COLUMNS[name]}
    lights = {}
    for number, channel in enumerate(spec.channels):
        path = folder / f"light_{number + 1}.npy"
        np.save(path, light(spec.seed, spec.scene.vignette if spec.scene else 0.0, spec.shape, number))
        lights[channel] = f"{folder.name}/{path.name}"
    return {
        "tables": stated,
        "light": lights,
        "pixels": f"{OFFSET:g} + light * (background + objects), with the noise of photons and of the camera; light "
        "has mean 1; out of focus an object is fainter, not wider",
        "camera_offset": OFFSET,
        "spot_sigma_px": SPOT_SIGMA,
        "cell_in_nuclei": BODY,
    }


def _nuclei(spec: SyntheticPlate, well: str, site: int) -> Iterator[Row]:
    for seen in draw(spec, well, site).nuclei_seen():
        planted, outline = seen.planted, seen.planted.outline
        is_cell = seen.cell_area_px is not None
        yield {
            "well": well,
            "site": site,
            "object": planted.number,
            "group": planted.group,
            "y_px": seen.y,
            "x_px": seen.x,
            "z_index": planted.z_index,
            "semi_major_px": outline.semi_major,
            "semi_minor_px": outline.semi_minor,
            "angle_rad": outline.angle,
            "area_px": seen.area_px,
            "cut": seen.is_cut,
            "at_border": seen.is_at_border,
            "cell_area_px": seen.cell_area_px,
            "cell_cut": seen.is_cell_cut,
            "spots": len(planted.spots) if is_cell else None,
            "ratio": planted.ratio,
            **_by_channel("peak", spec, planted.peaks),
            **_by_channel("mean", spec, seen.means),
            **_by_channel("cytoplasm_mean", spec, seen.cytoplasm_means or (None,) * len(spec.channels)),
        }


def _spots(spec: SyntheticPlate, well: str, site: int) -> Iterator[Row]:
    for planted, number, spot in draw(spec, well, site).spots_seen():
        yield {
            "well": well,
            "site": site,
            "object": planted.number,
            "spot": number,
            "y_px": spot.y,
            "x_px": spot.x,
            "peak": spot.peak,
        }


def _site(spec: SyntheticPlate, well: str, site: int) -> Row:
    drawing = draw(spec, well, site)
    frame, first = drawing.frame, draw(spec, well, 1).frame
    seen = drawing.nuclei_seen()
    return {
        "well": well,
        "site": site,
        "y_px": frame.top - first.nominal_top,
        "x_px": frame.left - first.nominal_left,
        "stage_y_px": frame.nominal_top - first.nominal_top,
        "stage_x_px": frame.nominal_left - first.nominal_left,
        "nuclei": len(seen),
        "nuclei_cut": sum(nucleus.is_cut for nucleus in seen),
        **_by_channel("background", spec, [drawing.background(number) for number in range(len(spec.channels))]),
    }


def _by_channel(name: str, spec: SyntheticPlate, values: Any) -> Row:
    return {f"{name}_{channel}": value for channel, value in zip(spec.channels, values, strict=True)}


def _schema_of(name: str, spec: SyntheticPlate) -> Any:
    """Arrow's schema of a table, the meaning of each column in its field's metadata."""
    import pyarrow as pa  # only writing needs it

    whole = {"site", "object", "group", "area_px", "cell_area_px", "spots", "spot", "nuclei", "nuclei_cut"}
    fields = []
    for column, meaning in _COLUMNS[name].items():
        kind = pa.int64() if column in whole else pa.float64()
        kind = {"well": pa.string(), "cut": pa.bool_(), "at_border": pa.bool_(), "cell_cut": pa.bool_()}.get(
            column, kind
        )
        repeated = [column.replace("<channel>", channel) for channel in spec.channels]
        for named in repeated if "<channel>" in column else [column]:
            fields.append(pa.field(named, kind, metadata={"description": meaning}))
    return pa.schema(fields)


def _write_table(path: Path, rows: list[Row], schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
