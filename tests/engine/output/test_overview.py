"""The plate as one small image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.groups import read_attributes
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.ngff.reading.lazy_array import LazyArray
from openhcs_engine.ngff.reading.reader import FieldReader
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.pictures.overview import OVERVIEW, write_overview
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.output.writing.well_writer import write_well
from tests.engine.outputs import list_wells, make_context, manifest_for, open_folder
from tests.engine.plates import make_plate


def publish_even(folder: PlateFolder, well: str, value: int, ngff: str = "0.5") -> None:
    """A well whose channel 1 is ``value`` everywhere at site 1 and ten more at site 2; channel 2 is brighter."""
    with folder.staging("run") as staging:
        images = {
            ImageKey(well, site, channel, None, 1): np.full((300, 400), value * channel + 10 * (site - 1), np.uint16)
            for site in (1, 2)
            for channel in (1, 2)
        }
        context = make_context(folder.folder.parent, well)
        staged = write_well(staging, context, images.items(), options=ImageOptions(ngff=ngff))
        folder.publish(staged, manifest_for(folder, staged))
    list_wells(folder, ngff)


def pixels_of(folder: Path) -> np.ndarray:
    return np.asarray(LazyArray(folder, np.zeros((1, 1, 1), bool))[0, 0, 0])


def test_every_published_well_has_a_tile_of_its_pixels(tmp_path: Path) -> None:
    """Sites side by side, values as in the images, the wells that are not published dark and named."""
    folder = open_folder(tmp_path)
    publish_even(folder, "A01", 100)
    publish_even(folder, "B01", 700)

    made = write_overview(folder.folder)

    assert made is not None and made.channel == "DAPI" and list(made.tiles) == ["A01", "B01"]
    whole = pixels_of(made.folder / "0")
    assert whole.dtype == np.uint16 and whole.shape == (128, 128)
    for well, value in (("A01", 100), ("B01", 700)):
        top, left, height, width = made.tiles[well]
        tile = whole[top : top + height, left : left + width]
        assert set(np.unique(tile[:, : width // 2])) == {value}
        assert set(np.unique(tile[:, width // 2 :])) == {value + 10}
    assert whole[:64, 64:].max() == 0
    attributes = read_attributes(made.folder)
    assert attributes["openhcs"]["dark"] == ["A02"]
    (channel,) = attributes["ome"]["omero"]["channels"]
    assert (channel["label"], channel["color"]) == ("DAPI", "FFFFFF")
    assert (channel["window"]["start"], channel["window"]["end"]) == made.window


def test_the_channel_can_be_chosen(tmp_path: Path) -> None:
    """By its label."""
    folder = open_folder(tmp_path)
    publish_even(folder, "A01", 100)
    made = write_overview(folder.folder, "GFP")
    assert made is not None and made.channel == "GFP"
    assert pixels_of(made.folder / "0")[0, 0] == 200


def test_a_viewer_needs_a_handful_of_files(tmp_path: Path) -> None:
    """However many wells; a second overview takes the place of the first, and verification finds nothing foreign."""
    folder = open_folder(tmp_path)
    publish_even(folder, "A01", 100)
    write_overview(folder.folder)
    publish_even(folder, "A02", 100)
    write_overview(folder.folder)
    files = [path for path in (folder.folder / OVERVIEW).rglob("*") if path.is_file()]
    assert len(files) <= 7
    assert set(read_attributes(folder.folder / OVERVIEW)["openhcs"]["wells"]) == {"A01", "A02"}
    assert sorted(path.name for path in (folder.folder / "report").iterdir()) == ["overview.zarr"]
    report = verify(folder.folder)
    assert (report.foreign, report.damaged, report.whole) == ((), (), ("A01", "A02"))


def test_it_has_the_version_of_the_plate(tmp_path: Path) -> None:
    """One reader opens both."""
    folder = PlateFolder(tmp_path / "P1", "zarr")
    folder.prepare(make_plate(("A01", "A02", "B01"))[0], ImageOptions(ngff="0.4"))
    publish_even(folder, "A01", 100, "0.4")
    made = write_overview(folder.folder)
    assert made is not None and (made.folder / ".zattrs").is_file()
    assert pixels_of(made.folder / "0")[0, 0] == 100


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_without_a_published_well_there_is_none(tmp_path: Path, backend: str) -> None:
    """Nor for an output of TIFF files."""
    folder = open_folder(tmp_path, backend)
    assert write_overview(folder.folder) is None
    assert not (folder.folder / "report").exists()


def test_a_damaged_well_is_dark_and_the_others_are_drawn(tmp_path: Path) -> None:
    """It is named as absent; finding out why is the task of verification."""
    folder = open_folder(tmp_path)
    publish_even(folder, "A01", 100)
    publish_even(folder, "B01", 700)
    for shard in folder.well_folder("B01").rglob("c.0.0.0.0.0"):
        shard.write_bytes(b"short")
    made = write_overview(folder.folder)
    assert made is not None and list(made.tiles) == ["A01"]
    assert read_attributes(made.folder)["openhcs"]["dark"] == ["A02", "B01"]


@pytest.mark.parametrize("reading", range(12))
def test_a_well_that_goes_while_it_is_drawn_is_dark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: int
) -> None:
    """Another run may take it away to publish it anew, before any reading of it; the others are drawn."""
    folder = open_folder(tmp_path)
    publish_even(folder, "A01", 100)
    publish_even(folder, "B01", 700)
    readings = 0

    def read_late(place: Path) -> dict[str, object]:
        nonlocal readings
        if folder.well_folder("A01") in (place, place.parent):
            if readings == reading:
                folder.well_folder("A01").rename(tmp_path / "aside")
            readings += 1
        return read_attributes(place)

    monkeypatch.setattr("openhcs_engine.ngff.reading.reader.read_attributes", read_late)

    made = write_overview(folder.folder)

    assert made is not None and list(made.tiles) == (["B01"] if readings > reading else ["A01", "B01"])


Planes = dict[ImageKey, np.ndarray]


def publish_planes(folder: PlateFolder, well: str, planes: Planes) -> None:
    """A well of just these planes."""
    with folder.staging("run") as staging:
        staged = write_well(staging, make_context(folder.folder.parent, well), planes.items())
        folder.publish(staged, manifest_for(folder, staged))
    list_wells(folder)


def even(value: float, dtype: str = "uint16", shape: tuple[int, int] = (300, 300)) -> np.ndarray:
    return np.full(shape, value, dtype)


def drawn_values(folder: PlateFolder, channel: str | None = None) -> dict[str, list[float]]:
    """Different values in each well's tile."""
    made = write_overview(folder.folder, channel)
    assert made is not None and made.window[0] < made.window[1]
    whole = pixels_of(made.folder / "0")
    assert np.isfinite(whole).all()
    return {
        well: np.unique(whole[top : top + height, left : left + width]).tolist()
        for well, (top, left, height, width) in made.tiles.items()
    }


def test_wells_of_different_sites_are_all_drawn(tmp_path: Path) -> None:
    """A site has its place in every tile, whichever sites the first well has; a stitched well fills its tile."""
    folder = open_folder(tmp_path)
    publish_planes(folder, "A01", {ImageKey("A01", 1, 1, None, 1): even(100)})
    publish_planes(folder, "A02", {ImageKey("A02", None, 1, None, 1): even(200)})
    publish_planes(folder, "B01", {ImageKey("B01", 2, 1, None, 1): even(300)})
    assert drawn_values(folder) == {"A01": [100], "A02": [200], "B01": [300]}


def test_wells_of_different_types_keep_their_values(tmp_path: Path) -> None:
    """Wells of an earlier pipeline may be of another type; none is cut to that of the first."""
    folder = open_folder(tmp_path)
    publish_planes(folder, "A01", {ImageKey("A01", 1, 1, None, 1): even(7, "uint8")})
    publish_planes(folder, "A02", {ImageKey("A02", 1, 1, None, 1): even(3000, "uint16")})
    publish_planes(folder, "B01", {ImageKey("B01", 1, 1, None, 1): even(0.5, "float32")})
    assert drawn_values(folder) == {"A01": [7], "A02": [3000], "B01": [0.5]}


def test_a_channel_that_the_first_well_has_not_can_be_chosen(tmp_path: Path) -> None:
    """Wells without it are dark."""
    folder = open_folder(tmp_path)
    publish_planes(folder, "A01", {ImageKey("A01", 1, 1, None, 1): even(100)})
    publish_planes(folder, "A02", {ImageKey("A02", 1, 2, None, 1): even(200)})
    assert drawn_values(folder, "GFP") == {"A02": [200]}


@pytest.mark.parametrize(
    ("plane", "values"),
    [
        (even(np.nan, "float32"), [0]),
        (even(np.inf, "float32"), [0]),
        (np.where(np.eye(300) > 0, np.nan, 3).astype(np.float32), [3]),
        (even(2**64 - 1, "uint64"), [2.0**64]),
        (even(1, "bool"), [True]),
        (even(65_535), [65_535]),
        (even(7, "int16", (1, 1)), [7]),
        (even(7, "uint8", (1, 900)), [7]),
    ],
)
def test_any_pixels_are_drawn(tmp_path: Path, plane: np.ndarray, values: list[float]) -> None:
    """No number at all, infinite, the largest of its type, or a single row: the plate has its picture."""
    folder = open_folder(tmp_path)
    publish_planes(folder, "A01", {ImageKey("A01", 1, 1, None, 1): plane})
    assert drawn_values(folder) == {"A01": values}


def test_our_own_reader_opens_the_overview(tmp_path: Path) -> None:
    """As any image that we wrote."""
    folder = open_folder(tmp_path)
    publish_even(folder, "A01", 100)
    made = write_overview(folder.folder)
    assert made is not None
    field = FieldReader(made.folder, "", None, read_attributes(made.folder))
    assert field.shape == (1, 1, 1, 128, 128) and field[0, 0, 0, 0, 0] == 100
