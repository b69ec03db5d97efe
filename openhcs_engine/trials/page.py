"""A trial as one HTML file that needs nothing else: no server, no network, no script.

What it looks like is written in ``page.html.j2`` and ``page.css`` beside this module. Each picture stands once in the
style sheet, however often the page shows it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from openhcs_engine.output.html_page import page_template
from openhcs_engine.output.pictures.greyscale import Scale
from openhcs_engine.output.tables.numbers import QUALITY, WellNumber
from openhcs_engine.trials.pictures import Colour
from openhcs_engine.trials.trial import Cell, Trial

if TYPE_CHECKING:
    import jinja2

PICTURE_PX: Final = 300
"""Width of a picture on the page; clicked, it is as large as it is."""
_PNG: Final = b"\x89PNG"


def render(trial: Trial) -> str:
    """The whole page."""
    classes = {key: f"p{number}" for number, key in enumerate(trial.pictures)}
    return _template().render(
        trial=trial,
        classes=classes,
        styles={classes[key]: _data_url(picture) for key, picture in trial.pictures.items()},
        sizes={key: _size(picture) for key, picture in trial.pictures.items()},
        picture_px=PICTURE_PX,
        conditions={well: _conditions(trial, well) for well in trial.wells},
        counted=_counted(trial.cells),
        scales={title: _words(scale) for title, scale in trial.scales.items() if title != "blank"},
        colours={name: _css(colour) for name, colour in trial.colours.items()},
    )


def number(value: float | int | None) -> str:
    """A number as people write it: 12,345, 0.0123, 4.2e-07; a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _by_weight(numbers: Sequence[WellNumber]) -> tuple[list[WellNumber], list[WellNumber]]:
    """What a person compares, and the rest; image quality is of the raw planes, which all combinations share."""
    shown = [each for each in numbers if each.is_main and each.table != QUALITY]
    return shown, [each for each in numbers if each not in shown]


def _counted(cells: Mapping[tuple[int, str], Cell]) -> list[str]:
    """What the table at the top counts: objects by the name of their labels, or else rows of tables."""
    labels = dict.fromkeys(name for cell in cells.values() for name, _ in cell.counts)
    return list(labels)


def _conditions(trial: Trial, well: str) -> str:
    """What the plate map says of a well."""
    plate_map = trial.plate.plate_map
    if plate_map is None:
        return ""
    role = plate_map.role(well)
    values = [f"{name} {value}" for name, value in plate_map.of_well(well).items() if value]
    return ", ".join([*([str(role)] if role else []), *values])


def _words(scale: Scale) -> str:
    return f"black is {number(scale[0])}, white is {number(scale[1])}"


def _css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _data_url(picture: bytes) -> str:
    kind = "png" if picture.startswith(_PNG) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _size(picture: bytes) -> tuple[int, int]:
    """Width and height."""
    from imagecodecs import imread

    height, width = imread(picture).shape[:2]
    return width, height


@cache
def _template() -> jinja2.Template:
    return page_template("openhcs_engine", "trials", {"number": number, "by_weight": _by_weight})


__all__ = ["render"]
