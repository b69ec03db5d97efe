"""Write the table of measurements in docs/source/measurements.rst anew, from their declarations."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from openhcs_engine.functions.measurement.columns import FEATURES, MEASUREMENTS, Measurement, source_of

_PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "source" / "measurements.rst"
_BEGIN: Final = ".. The tables below are written by tools/draw_measurements.py.\n"
_TITLES: Final = {
    "shape": "Shape",
    "intensity": "Intensity",
    "location": "Location",
    "neighbors": "Neighbours",
    "count": "Number",
    "texture": "Texture",
    "granularity": "Granularity",
    "radial_distribution": "Radial distribution",
    "zernike": "Zernike",
    "regionprops": "Only scikit-image has",
}


def table_of(measurements: list[Measurement]) -> str:
    """A list-table of measurements."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 34 8 14 44",
        "",
        "   * - column, behind the objects' name",
        "     - unit",
        "     - computed by; equal to",
        "     - what it is, and where others differ",
    ]
    for each in measurements:
        name = each.column("<Channel>", "<scale>")
        lines += [
            f"   * - ``{name}``",
            f"     - {each.unit or '–'}",
            f"     - {source_of(each)}",
            f"     - {each.about}",
        ]
    return "\n".join(lines)


def main() -> None:
    """Replace everything behind the mark."""
    text, mark, _ = _PAGE.read_text().partition(_BEGIN)
    sections = []
    for feature in FEATURES:
        title = f"{_TITLES[feature]} (``{feature}``)"
        chosen = [each for each in MEASUREMENTS if each.feature == feature]
        sections.append(f"{title}\n{'-' * len(title)}\n\n{table_of(chosen)}\n")
    _PAGE.write_text(text + mark + "\n" + "\n".join(sections))


if __name__ == "__main__":
    main()
