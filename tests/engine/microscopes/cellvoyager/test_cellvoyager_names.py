"""CellVoyager file names, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.microscopes.cellvoyager.names import CellVoyagerName, parse_image_name
from openhcs_engine.model.wells import well_name

# Any text a file system takes; a prefix may hold underscores, # and whole tokens of the grammar itself.
PREFIXES = st.none() | st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")), max_size=30
).filter(lambda text: not text.startswith("."))


@given(
    name=st.builds(
        CellVoyagerName,
        well=st.builds(well_name, st.integers(0, 31), st.integers(0, 47)),
        timepoint=st.integers(0, 99_999),
        field=st.integers(0, 9_999),
        timeline=st.integers(0, 999),
        action=st.integers(0, 999),
        z_index=st.integers(0, 9_999),
        channel=st.integers(0, 999),
        prefix=PREFIXES,
        suffix=st.sampled_from([".tif", ".TIF", ".tiff", ".png", ".PNG"]),
    )
)
def test_a_name_that_was_written_reads_back_equal(name: CellVoyagerName) -> None:
    """Every coordinate and prefix survives being written as a file name."""
    assert parse_image_name(str(name)) == name


def test_real_names_give_their_coordinates() -> None:
    """The plate's name may hold #, dots, dashes and spaces; the action is not the channel."""
    name = parse_image_name("AssayPlate_Cellvis_#384-1.5H-N v2_P24_T0012F003L02A04Z05C01.tif")
    assert name == CellVoyagerName("P24", 12, 3, 2, 4, 5, 1, prefix="AssayPlate_Cellvis_#384-1.5H-N v2")


@pytest.mark.parametrize("well", ["A01", "P24", "Z01", "AA01", "AF48"])
def test_wells_of_all_plate_formats_are_read(well: str) -> None:
    """96, 384 and 1536 wells."""
    name = parse_image_name(f"p_{well}_T0001F001L01A01Z01C01.tif")
    assert name is not None
    assert name.well == well


@pytest.mark.parametrize(
    "file",
    [
        "SC_BP445-45_20x v2_M01_CH01.tif",
        "DC_DCAM#1_CAM3.tif",
        "W1F001T0001Z01C1.tif",
        "9987_B02_s1_w1.TIF",
        "r03c03f01p01-ch1.tiff",
        "A01_s1_w1_z1_t1.ome.tif",
        "p_A01_T0001F001L01A01Z01C01.jpg",
        "p_A01_T0001F001L01A01Z01C01.tif.bak",
        "p_A01_T0001F001L01A01Z01.tif",
        "p_A99_T0001F001L01A01Z01C01.tif",
        "p_А01_T0001F001L01A01Z01C01.tif",  # Cyrillic A
        "p_A01_T000１F001L01A01Z01C01.tif",  # full-width 1
        "p_A01_T0001F001L01A01Z01C01.tif\n",
        "._p_A01_T0001F001L01A01Z01C01.tif",
    ],
)
def test_names_of_others_are_not_taken(file: str) -> None:
    """Shading and dark images, other vendors' names and look-alikes are no planes."""
    assert parse_image_name(file) is None
