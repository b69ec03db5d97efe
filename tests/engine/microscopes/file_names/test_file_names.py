"""ImageXpress file and folder names, both ways."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.microscopes.imagexpress.names import FolderInfo, ImageName, parse_folder, parse_image_name
from openhcs_engine.model.wells import well_name

GUIDS = st.uuids().map(lambda value: str(value).upper())
NUMBERS = st.none() | st.integers(1, 999)
# Any text a file system takes; a prefix may hold underscores, dashes and whole tokens of the grammar itself.
PREFIXES = st.none() | st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")), max_size=30
).filter(lambda text: not text.startswith("."))


@given(
    name=st.builds(
        ImageName,
        well=st.builds(well_name, st.integers(0, 31), st.integers(0, 47)),
        site=NUMBERS,
        channel=NUMBERS,
        z_index=NUMBERS,
        timepoint=NUMBERS,
        prefix=PREFIXES,
        thumbnail=st.booleans(),
        guid=st.none() | GUIDS,
        suffix=st.sampled_from([".tif", ".TIF", ".tiff", ".TIFF"]),
    )
)
def test_a_name_that_was_written_reads_back_equal(name: ImageName) -> None:
    """Every coordinate, prefix and GUID survives being written as a file name."""
    assert parse_image_name(str(name)) == name


@dataclass(frozen=True, slots=True)
class Case:
    """A file name and what it says."""

    title: str
    file: str
    well: str
    site: int | None
    channel: int | None
    thumbnail: bool = False


CASES = (
    Case("export", "9987_B02_s1_w1.TIF", "B02", 1, 1),
    Case(
        "database, several channels",
        "1well-3C-2S-Zmix-T_C07_s2_w3612E2F5A-EDA4-45D6-AEBE-8BB16710CDD5.tif",
        "C07",
        2,
        3,
    ),
    Case("database, one channel", "Projection-Mix_E08_s117654C10-92F1-4DFD-98AA-6A01BBD77557.tif", "E08", 1, None),
    Case(
        "GUID that begins with digits", "Projection-Mix_E08_s2084F795E-D6CB-4229-8A96-B5540E18EC20.tif", "E08", 2, None
    ),
    Case("database, one site and channel", "x_E08084F795E-D6CB-4229-8A96-B5540E18EC20.tif", "E08", None, None),
    Case("thumbnail", "Projection-Mix_E08_s1_thumbD59B8F66-7743-4113-B6A2-8899FD53C3C8.tif", "E08", 1, None, True),
    Case("thumbnail with channel", "p_A01_s1_w1_thumb.tif", "A01", 1, 1, True),
    Case("no prefix", "A01_s1_w1.tif", "A01", 1, 1),
    Case("well in the prefix", "A01_B02_s3_w2.tif", "B02", 3, 2),
    Case("1536 wells", "p_AF48_s9_w5.tif", "AF48", 9, 5),
    Case("ten channels", "p_A1_w10.tiff", "A01", None, 10),
    Case("flat with z and t", "A01_s001_w1_z002_t003.tif", "A01", 1, 1),
    Case("a prefix that looks like site and wave", "my_screen_s2_w1_A01_w3.tif", "A01", None, 3),
    Case("a prefix with _s, and no channel", "first_set_A01.tif", "A01", None, None),
    Case("a prefix with _w, and a site", "new_wells_A01_s7.TIF", "A01", 7, None),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_real_names_give_their_coordinates(case: Case) -> None:
    """Names as instruments write them are read, GUIDs told from numbers by their fixed shape."""
    name = parse_image_name(case.file)
    assert name is not None
    assert (name.well, name.site, name.channel, name.thumbnail) == (case.well, case.site, case.channel, case.thumbnail)


def test_z_and_time_in_a_name_are_read() -> None:
    """A flat folder may carry z and time in its file names."""
    name = parse_image_name("A01_s001_w1_z002_t003.tif")
    assert name is not None
    assert (name.z_index, name.timepoint) == (2, 3)


@pytest.mark.parametrize(
    "file",
    [
        "Channel1-01-A-01.tif",
        "r03c03f01p01-ch1.tiff",
        "r03c03f01p01-ch1sk1fk1fl1.tiff",
        "AssayPlate_Greiner_B03_T0001F001L01A01Z01C01.tif",
        "AssayPlate_B03_T0001F001L01A01Z01C01.png",
        "B7_01_1_1_DAPI_001.tif",
        "AS_09125_050116030001_D03f00d0.tif",
        "A01_s1_w1_z1_t1.ome.tif",
        "A01_s1_w1.png",
        "._A01_s1_w1.tif",
        "A99_s1_w1.tif",
        "А01_s1_w1.tif",  # Cyrillic A
        "A01_s１_w1.tif",  # full-width 1
        "A01_s1_w1.tif\n",
        "A01_s{iii}_w1.tif",
    ],
)
def test_names_of_others_are_not_taken(file: str) -> None:
    """Other vendors' names, our own output and look-alikes are no ImageXpress images."""
    assert parse_image_name(file) is None


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", FolderInfo(base="")),
        ("TimePoint_1", FolderInfo(base="", timepoint=1)),
        ("a/TimePoint_2/ZStep_3", FolderInfo(base="a", timepoint=2, z_step=3)),
        ("a/timepoint-2/ZSTEP0", FolderInfo(base="a", timepoint=2, z_step=0)),
        ("2024-04-22/1697/ZStep_1", FolderInfo(base="2024-04-22/1697", z_step=1)),
        ("ZStep_1/TimePoint_2", FolderInfo(base="", timepoint=2, z_step=1)),
        ("TimePoint_1/analysis", FolderInfo(base="TimePoint_1/analysis")),
    ],
)
def test_folders_tell_time_point_and_z_step(path: str, place: FolderInfo) -> None:
    """TimePoint and ZStep folders are found in any case and spelling; what is above them is the plate."""
    assert parse_folder(path) == place
