"""The page of plates of 96, 384 and 1,536 wells: nothing cut off, nothing lost on paper, small enough to be mailed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openhcs_dagster.report import page
from openhcs_dagster.report.page import PICTURE_BYTES, render
from openhcs_dagster.report.pictures import PlatePictures, within
from openhcs_engine.model.wells import row_letters
from tests.dagster.large_plates import GAPS, large_plate

MOST_BYTES = 5_000_000
PAGE_PX = 1076
"""Width inside of a section."""
SHEET = (Path(page.__file__).parent / "page.css").read_text()


def noise(height: int = 700, width: int = 1040) -> bytes:
    """A picture that cannot be compressed without a loss."""
    pixels = np.random.default_rng(1).integers(0, 256, (height, width), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def rendered(wells: int, channels: int = 1) -> str:
    pictures = PlatePictures(
        status=b"", seconds=noise(400, 800), montages={f"channel {number}": noise() for number in range(channels)},
        scales={f"channel {number}": "Black is 0." for number in range(channels)},
    )  # fmt: skip
    return render(large_plate(wells), pictures)


@pytest.fixture(scope="module")
def largest() -> str:
    """The page of 1,536 wells in five channels of noise."""
    return rendered(1536, 5)


def maps(html: str) -> list[str]:
    """The two maps of the plate."""
    return re.findall(r"<svg class=plate .*?</svg>", html, re.DOTALL)


@pytest.mark.parametrize(("wells", "columns", "rows"), [(96, 12, 8), (384, 24, 16), (1536, 48, 32)])
def test_a_map_shows_every_well_and_every_label(wells: int, columns: int, rows: int) -> None:
    """All circles and labels lie in the drawing, which is shrunk to the page and never cut off."""
    for drawing in maps(rendered(wells)):
        (width, height), (shown,) = (
            tuple(map(int, re.findall(r"viewBox='0 0 (\d+) (\d+)'", drawing)[0])),
            map(int, re.findall(r"style='width:(\d+)px'", drawing)),
        )
        labels = re.findall(r"<text [^>]*>([^<]+)<", drawing)
        centres = re.findall(r"<circle cx=(\d+) cy=(\d+) r=(\d+)", drawing)

        assert labels == [*map(str, range(1, columns + 1)), *map(row_letters, range(rows))]
        assert len(centres) == wells
        assert all(int(x) + int(r) <= width and int(y) + int(r) <= height for x, y, r in centres)
        assert shown <= PAGE_PX
        assert shown / width * 10 > 7, "numbers of columns stay as large as small print"


def test_maps_of_1536_wells_stand_below_each_other(largest: str) -> None:
    """Side by side, the second half of their columns would have no room."""
    assert "<div class='one'>" in largest and "<div class='two'>" not in largest


def test_lists_of_wells_are_in_plate_order(largest: str) -> None:
    """AA behind Z, and 30 wells that failed alike are one row."""
    assert "A42, C42, E42, G42" in largest
    assert re.search(r"Y42, AA42, AC42, AE42</b>", largest)
    assert largest.count("Step 2 &#39;find nuclei&#39;: the image has no contrast") == 1


def test_wells_are_marked_without_colours_too(largest: str) -> None:
    """Failed ones are hatched, those with gaps are rings, and the legend says so."""
    status = maps(largest)[0]

    assert status.count("class='well failed'") == 32
    assert status.count("class='well gaps'") == 16 and GAPS in status
    assert "a ring: done with gaps (16)" in largest
    assert "<pattern id=failed-well" in largest and "url(#failed-well)" in SHEET


def test_nothing_depends_on_backgrounds_that_paper_loses() -> None:
    """Browsers print no backgrounds: marks are drawn or are borders, and no text is white."""
    rules = dict(
        re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"/\*.*?\*/|@[a-z]+ ?[^{;]*\{", "", SHEET, flags=re.DOTALL))
    )

    coloured = {name.strip(): body for name, body in rules.items() if "var(--c" in body}
    assert coloured.keys() >= {".well", ".tag", ".total", ".gaps"}
    assert not [name for name, body in coloured.items() if re.search(r"background[^;]*var\(", body)]
    assert not re.search(r"(?<![-\w])color: *(#fff|white)", SHEET)
    assert "overflow-x" not in SHEET


def test_every_class_of_the_page_has_a_rule(largest: str) -> None:
    """A class that no rule knows is a circle without a size."""
    used = {
        name for text in re.findall(r"class=(?:'([^']*)'|(\w+))", largest) for each in text for name in each.split()
    }
    known = set(re.findall(r"\.([a-z]+)", SHEET))

    assert used - known - {"one", "key", "attention"} == set()


def test_1536_wells_in_five_channels_stay_below_five_megabytes(largest: str) -> None:
    """Also of noise, the worst case of any picture."""
    assert len(largest.encode()) <= MOST_BYTES
    assert len(largest.encode()) > PICTURE_BYTES / 2, "the pictures are still there"


def test_pictures_are_compressed_only_where_they_are_too_large() -> None:
    """What fits stays as it is, pixel by pixel."""
    small = {"DAPI": noise(20, 20)}
    large = {"DAPI": noise(), "GFP": noise()}

    assert within(small, 10_000) == small
    assert sum(map(len, within(large, 400_000).values())) <= 400_000
