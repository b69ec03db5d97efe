"""The plate as one small image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.groups import read_attributes
from openhcs_engine.ngff.lazy_array import LazyArray
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.output.overview import OVERVIEW, write_overview
from openhcs_engine.output.plate_folder import PlateFolder
from openhcs_engine.output.verify import verify
from openhcs_engine.output.well_writer import write_well
from tests.engine.outputs import make_context, manifest_for, open_folder
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
    assert attributes["openhcs"]["absent"] == ["A02"]
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
    for shard in folder.well_place("B01").rglob("c.0.0.0.0.0"):
        shard.write_bytes(b"short")
    made = write_overview(folder.folder)
    assert made is not None and list(made.tiles) == ["A01"]
    assert read_attributes(made.folder)["openhcs"]["absent"] == ["A02", "B01"]
