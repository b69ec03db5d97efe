"""The HTD file of a MetaXpress export."""

from __future__ import annotations

from pathlib import Path

import pytest

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.imagexpress.htd import Wave, is_htd, parse_htd
from openhcs_engine.model.plate import Grid


def htd(*lines: str, encoding: str = "utf-8", end: str = "\r\n") -> bytes:
    """An HTD of the given lines."""
    return end.join(('"HTSInfoFile", Version 1.0', *lines, '"EndFile"', "")).encode(encoding)


def test_a_real_htd_is_read_whole(data_dir: Path) -> None:
    """A real HTD, neither UTF-8 nor cp1252, gives wells, sites, waves, z steps and its description."""
    content = (data_dir / "metaxpress_3434_mixed" / "9987.HTD").read_bytes()

    read = parse_htd(content, "9987.HTD")

    assert read.wells == ("B02", "B03")
    assert (read.rows, read.columns) == (8, 12)
    assert read.site_grid == Grid(rows=1, columns=2)
    assert read.selected_sites == (1, 2)
    assert [(wave.index, wave.name, wave.collected) for wave in read.waves] == [
        (1, "DAPI", True),
        (2, "FITC", True),
        (3, "Texas Red", True),
        (4, "Cy5", True),
    ]
    assert (read.timepoints, read.z_steps) == (1, 3)
    assert read.description is not None
    assert read.description.splitlines()[1] == "DAPI: 3z + MIP"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_encodings_and_line_ends_give_the_same(encoding: str, end: str) -> None:
    """A wave's µ is the same in every encoding that instruments use, with any line ends."""
    read = parse_htd(htd('"NWavelengths", 1', '"WaveName1", "5µm bead"', encoding=encoding, end=end), "p.HTD")
    assert read.waves == (Wave(index=1, name="5µm bead", collected=True),)


def test_sites_are_numbered_over_the_selected_ones() -> None:
    """MetaXpress counts selected sites only; files with higher numbers show that the full grid was counted."""
    read = parse_htd(
        htd(
            '"XSites", 3',
            '"YSites", 2',
            '"SiteSelection1", FALSE, TRUE, FALSE',
            '"SiteSelection2", TRUE, FALSE, TRUE',
        ),
        "p.HTD",
    )
    assert read.selected_sites == (2, 4, 6)
    assert read.declared_sites(frozenset({1, 3})) == (1, 2, 3)
    assert read.declared_sites(frozenset({2, 6})) == (2, 4, 6)


def test_waves_that_are_not_collected_are_known_as_such() -> None:
    """WaveCollect 0 means that the wave was set up, but not to be acquired."""
    read = parse_htd(htd('"NWavelengths", 2', '"WaveName1", "DAPI"', '"WaveName2", ""', '"WaveCollect2", 0'), "p.HTD")
    assert read.waves == (Wave(index=1, name="DAPI", collected=True), Wave(index=2, name=None, collected=False))


def test_a_1536_well_plate_reaches_row_af() -> None:
    """Row 32 is AF; values beyond the last column are ignored."""
    row = ", ".join(["FALSE"] * 47 + ["TRUE", "TRUE"])
    read = parse_htd(htd('"XWells", 48', '"YWells", 32', f'"WellsSelection32", {row}'), "p.HTD")
    assert read.wells == ("AF48",)


def test_without_a_z_series_there_is_one_z_step() -> None:
    """ZSteps of an older protocol stay in the file when the z series is off."""
    assert parse_htd(htd('"ZSeries", FALSE', '"ZSteps", 9'), "p.HTD").z_steps == 1


def test_a_single_site_has_no_grid() -> None:
    """With sites off, XSites and YSites say nothing."""
    read = parse_htd(htd('"Sites", FALSE', '"XSites", 3', '"YSites", 3'), "p.HTD")
    assert (read.site_grid, read.selected_sites) == (None, (1,))


def test_a_quote_that_is_not_closed_costs_only_its_line() -> None:
    """A broken description does not swallow the lines that follow."""
    assert parse_htd(htd('"Description", "unclosed', '"TimePoints", 4'), "p.HTD").timepoints == 4


def test_the_case_of_keys_does_not_matter() -> None:
    """Copies that other programs wrote may have lower-case keys."""
    lines = ('"XWells", 3', '"WellsSelection1", TRUE, false', '"XSites", 2', '"YSites", 1', '"NWavelengths", 1')
    as_written = htd(*lines, '"WaveName1", "dapi"', '"ZSteps", 3')
    assert is_htd(as_written.lower()) and parse_htd(as_written.lower(), "p.HTD") == parse_htd(as_written, "p.HTD")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", 'p.HTD is not an HTD file: it does not begin with "HTSInfoFile".'),
        (b"II*\0", 'p.HTD is not an HTD file: it does not begin with "HTSInfoFile".'),
        (htd('"XSites", many'), "p.HTD is a damaged HTD file: \"XSites\" is 'many', expected a number up to 1000."),
        (
            htd('"YWells", 99999999'),
            "p.HTD is a damaged HTD file: \"YWells\" is '99999999', expected a number up to 32.",
        ),
    ],
)
def test_what_is_no_htd_is_refused_in_a_sentence(content: bytes, sentence: str) -> None:
    """Other files and absurd numbers are refused, naming the file."""
    with pytest.raises(UnreadablePlateError) as caught:
        parse_htd(content, "p.HTD")
    assert str(caught.value) == sentence


def test_an_htd_is_known_by_its_beginning() -> None:
    """The signature decides, with or without a byte order mark."""
    assert is_htd(htd(encoding="utf-8-sig"))
    assert not is_htd(b'"TimePoints", 1')
