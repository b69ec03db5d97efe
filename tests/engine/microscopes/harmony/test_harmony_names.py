"""Harmony's file names, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.microscopes.harmony.names import (
    HarmonyName,
    image_base,
    index_base,
    is_index,
    may_be_index,
    parse_harmony_name,
    url_paths,
)
from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS, well_name

NAMES = st.builds(
    HarmonyName,
    well=st.builds(well_name, st.integers(0, MAX_ROWS - 1), st.integers(0, MAX_COLUMNS - 1)),
    field=st.integers(0, 99_999),
    plane=st.integers(0, 99_999),
    channel=st.integers(0, 999),
    timepoint=st.integers(1, 999_999),
    fast=st.integers(1, 999),
    lifetime=st.integers(1, 999),
    suffix=st.sampled_from((".tiff", ".tif", ".TIFF")),
)


@given(NAMES)
def test_a_name_reads_back_equal(name: HarmonyName) -> None:
    """Every coordinate survives the way into a file name and back."""
    assert parse_harmony_name(str(name)) == name


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_none(text: str) -> None:
    """No text makes the parser fail, and what it reads has a well."""
    name = parse_harmony_name(text)
    assert name is None or name.well


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r03c03f01p01-ch1sk1fk1fl1.tiff", HarmonyName("C03", 1, 1, 1)),
        ("R3C3F001P010-CH12.TIF", HarmonyName("C03", 1, 10, 12, suffix=".TIF")),
        ("r01c01f01p01-ch1t07.tiff", HarmonyName("A01", 1, 1, 1, 7)),
        ("r32c48f01p01-ch1sk2fk3fl4.tiff", HarmonyName("AF48", 1, 1, 1, 2, 3, 4)),
        ("r33c01f01p01-ch1sk1fk1fl1.tiff", None),
        ("r00c01f01p01-ch1sk1fk1fl1.tiff", None),
        ("r01c01f01p01-ch1sk1fk1fl1.png", None),
        ("r01c01f01p01-ch1sk1fk1fl1.tiff\n", None),
        ("xr01c01f01p01-ch1sk1fk1fl1.tiff", None),
        ("r٠١c01f01p01-ch1sk1fk1fl1.tiff", None),
    ],
)
def test_names_of_all_versions(text: str, expected: HarmonyName | None) -> None:
    """Padding, case and what is left out differ between versions; look-alikes are refused."""
    assert parse_harmony_name(text) == expected


@pytest.mark.parametrize(
    ("folder", "images", "index"),
    [
        ("", "", ""),
        ("Images", "", ""),
        ("a/IMAGES", "a", "a"),
        ("a/images/r01c02", "a", "a/images/r01c02"),
        ("a/index", "a/index", "a"),
        ("a/b", "a/b", "a/b"),
    ],
)
def test_the_plate_folder_of_a_folder(folder: str, images: str, index: str) -> None:
    """``Images``, ``index`` and a well's own folder are parts of the plate, not plates."""
    assert (image_base(folder), index_base(folder)) == (images, index)


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("Images", "Index.idx.xml", True),
        ("", "INDEX.XML", True),
        ("x/index", "anything.xml", True),
        ("", "0f8fad5b-d9cb-469f-a165-70867728950e.xml", True),
        ("", "Index.htm", False),
        ("Assaylayout", "Unnamed.xml", False),
    ],
)
def test_which_files_are_looked_into(folder: str, name: str, expected: bool) -> None:
    """Only files that can be an index are opened."""
    assert may_be_index(folder, name) is expected


def test_the_beginning_tells_an_index() -> None:
    """The first element decides, in UTF-8 and UTF-16."""
    assert is_index(b'\xef\xbb\xbf<?xml version="1.0"?><EvaluationInputData xmlns="any">')
    assert is_index('<EvaluationInputData Version="2">'.encode("utf-16"))
    assert not is_index(b"<AssayLayout>")


@given(st.text(max_size=40), st.sampled_from(("", "Images", "a/Images")))
def test_no_url_leads_out_of_the_plate(url: str, folder: str) -> None:
    """Whatever an index says, a place is a printable path below the plate folder."""
    base = index_base(folder)
    for place in url_paths(url, folder, base):
        assert place.isprintable()
        assert not place.startswith("/") and ".." not in place.split("/")
        assert base == "" or place.startswith(base + "/")
