"""OME-Zarr plates: written as the specification says, opened by others, read back by us."""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path

import dask.array
import ngio
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import HCS, Image
from ome_zarr_models.v05 import Well as WellModel

from openhcs_engine.errors import (
    NotAnOutputError,
    PlaneMismatchError,
    PlaneReadError,
    StorageError,
    UnknownWellError,
)
from openhcs_engine.files.atomic import file_checksum
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.plate import Channel, Plate
from openhcs_engine.ngff.groups import read_attributes
from openhcs_engine.ngff.metadata import PixelScale
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.ngff.reading.reader import LazyArray
from openhcs_engine.ngff.tiles import chunk_edge
from openhcs_engine.ngff.writing.plate_store import (
    ImageOptions,
    WellWriter,
    open_plate,
    write_field,
    write_plate_groups,
)
from openhcs_engine.ngff.writing.pyramid import halve, level_shapes

SHAPE = (600, 530)
SITES = (3, 7)
PLATE = Plate(
    plate_id="P1",
    name="Plate 1",
    microscope="imagexpress",
    root="/raw",
    wells=("A02", "B01", "AA03"),
    sites=SITES,
    channels=(Channel(index=1, name="DAPI"), Channel(index=2, name="GFP")),
    z_indexes=(1, 2, 3),
    timepoints=(1,),
    rows=32,
    columns=48,
)


GROUP = PlateGroup.of(PLATE, ImageOptions(), ("AA03", "B01"))


def make_planes(
    well: str, dtype: str = "uint16", shape: tuple[int, int] = SHAPE
) -> dict[ImageKey, NDArray[np.generic]]:
    rng = np.random.default_rng(ord(well[0]))
    keys = [ImageKey(well, site, channel, z, 1) for site in SITES for channel in (1, 2) for z in (1, 2, 3)]
    return {key: rng.integers(0, 200, shape).astype(dtype) for key in keys}


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[ImageKey, NDArray[np.generic]]]:
    """A plate of three wells, the last of which is not written; z 3 of channel 2 does not exist."""
    folder = tmp_path_factory.mktemp("plate") / "images.zarr"
    write_plate_groups(folder, GROUP, ("AA03", "A02"))
    written = {}
    for well, path in (("A02", "A/02"), ("AA03", "AA/03")):
        planes = {key: plane for key, plane in make_planes(well).items() if (key.channel, key.z_index) != (2, 3)}
        writer = WellWriter(folder / path, well, SITES)
        for key, plane in planes.items():
            writer.write(key, plane)
        writer.finish({1: "DAPI", 2: "GFP"}, PixelScale(pixel_size_um=0.65, z_step_um=2.0))
        written |= planes
    return folder, written


def document(folder: Path) -> dict:
    return json.loads((folder / "zarr.json").read_text())


def test_the_plate_group_lists_the_written_wells_by_layout(plate: tuple[Path, dict]) -> None:
    """With the rows and columns that hold them, and no other; the version is where the specification wants it."""
    attributes = document(plate[0])["attributes"]["ome"]
    listed = attributes["plate"]
    assert attributes["version"] == listed["version"] == "0.5"
    assert [well["path"] for well in listed["wells"]] == ["A/02", "AA/03"]
    for well in listed["wells"]:
        row, column = listed["rows"][well["rowIndex"]]["name"], listed["columns"][well["columnIndex"]]["name"]
        assert well["path"] == f"{row}/{column}"
    assert [row["name"] for row in listed["rows"]] == ["A", "AA"]
    assert [column["name"] for column in listed["columns"]] == ["02", "03"]
    assert listed["name"] == "Plate 1" and listed["acquisitions"][0]["id"] == 0 and listed["field_count"] == 2
    for row in ("A", "AA"):
        assert document(plate[0] / row)["node_type"] == "group"
    own = document(plate[0])["attributes"]["openhcs"]
    assert (own["wells"], own["asked"]) == (["A02", "B01", "AA03"], ["B01", "AA03"])
    assert (own["rows"], own["columns"]) == (32, 48)


def test_writing_the_plate_groups_again_changes_nothing(tmp_path: Path) -> None:
    """Not even the times of files."""
    write_plate_groups(tmp_path / "P.zarr", GROUP, PLATE.wells)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("zarr.json")}
    write_plate_groups(tmp_path / "P.zarr", GROUP, PLATE.wells)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("zarr.json")} == before


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_rows_and_the_plate_itself_are_groups_while_they_hold_a_listed_well(tmp_path: Path, ngff: str) -> None:
    """A row that lost its last well is none, and with the last well of all the plate is gone."""
    folder, group = tmp_path / "P.zarr", PlateGroup.of(PLATE, ImageOptions(ngff=ngff), ())
    write_plate_groups(folder, group, ())
    assert not folder.exists()
    write_plate_groups(folder, group, PLATE.wells)
    rows = {path.parent.name for path in folder.glob("*/*")}
    assert rows == {"A", "B", "AA"}
    write_plate_groups(folder, group, ("B01",))
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["B"]
    write_plate_groups(folder, group, ())
    assert not folder.exists()


def test_a_field_says_what_its_pixels_are(plate: tuple[Path, dict]) -> None:
    """Axes, units, scales of every level, channel names, colours and windows."""
    attributes = document(plate[0] / "A/02/0")["attributes"]
    (image,) = attributes["ome"]["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["t", "c", "z", "y", "x"]
    assert [axis.get("unit") for axis in image["axes"]] == [None, None, *["micrometer"] * 3]
    scales = [dataset["coordinateTransformations"][0]["scale"] for dataset in image["datasets"]]
    assert scales == [[1.0, 1.0, 2.0, 0.65 * step, 0.65 * step] for step in (1, 2, 4)]
    channels = attributes["ome"]["omero"]["channels"]
    assert [(channel["label"], channel["color"]) for channel in channels] == [("DAPI", "0000FF"), ("GFP", "00FF00")]
    for channel in channels:
        window = channel["window"]
        assert 0 == window["min"] <= window["start"] <= window["end"] <= window["max"] == 65535
    own = attributes["openhcs"]
    assert (own["site"], own["channel"], own["z_index"]) == (3, [1, 2], [1, 2, 3])
    assert own["absent"] == [[1, 2, 3]]


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize(
    ("plane", "low", "high"),
    [
        (np.zeros(SHAPE, np.uint16), 0, 1),
        (np.full(SHAPE, 65_535, np.uint16), 65_534, 65_535),
        (np.full(SHAPE, 2**64 - 1, np.uint64), None, None),
        (np.full(SHAPE, -(2**63), np.int64), None, None),
        (np.zeros(SHAPE, bool), 0, 1),
        (np.ones(SHAPE, bool), 0, 1),
        (np.full(SHAPE, -7, np.int16), -7, -6),
        (np.full(SHAPE, 0.25, np.float32), 0.25, 1.25),
        (np.full(SHAPE, np.nan, np.float32), 0, 1),
        (np.where(np.arange(SHAPE[1]) < 8, np.nan, np.full(SHAPE, 3)).astype(np.float32), 3, 4),
        (np.where(np.arange(SHAPE[1]) < 8, np.inf, np.full(SHAPE, 3)).astype(np.float32), 3, 4),
    ],
)
def test_a_window_is_never_empty(
    tmp_path: Path, ngff: str, plane: NDArray[np.generic], low: float | None, high: float | None
) -> None:
    """Whatever the pixels: viewers divide by its width, and napari refuses an image with none. JSON has no NaN."""
    write_field(tmp_path, {ImageKey("A01", 1, 1, 1, 1): plane}, options=ImageOptions(ngff=ngff))
    (channel,) = read_attributes(tmp_path)["ome"]["omero"]["channels"]
    window = channel["window"]
    assert window["min"] <= window["start"] < window["end"] <= window["max"]
    if low is not None:
        assert (window["start"], window["end"]) == (low, high)


def test_a_field_without_a_single_number_beside_others_keeps_their_window(tmp_path: Path) -> None:
    """The window is that of the pixels that are numbers."""
    planes = {
        ImageKey("A01", 1, 1, 1, 1): np.full((8, 8), np.nan, np.float32),
        ImageKey("A01", 1, 1, 2, 1): np.linspace(5, 9, 64, dtype=np.float32).reshape(8, 8),
    }
    write_field(tmp_path, planes)
    (channel,) = document(tmp_path)["attributes"]["ome"]["omero"]["channels"]
    assert channel["window"]["start"] == pytest.approx(5, abs=0.1)
    assert channel["window"]["end"] == pytest.approx(9, abs=0.1)


def test_an_unknown_pixel_size_is_no_micrometre(tmp_path: Path) -> None:
    """Scale 1 without a unit, and our own attribute says that nobody knows."""
    write_field(tmp_path, make_planes("A01"))
    attributes = document(tmp_path)["attributes"]
    (image,) = attributes["ome"]["multiscales"]
    assert not any("unit" in axis for axis in image["axes"])
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0] * 5
    assert attributes["openhcs"]["pixel_size_um"] is None


def test_the_models_of_the_specification_accept_plate_well_and_image(plate: tuple[Path, dict]) -> None:
    """ome-zarr-models reads each group without complaint."""
    folder, _ = plate
    model = HCS.from_zarr(zarr.open_group(folder, mode="r"))
    assert len(model.attributes.ome.plate.wells) == 2
    WellModel.from_zarr(zarr.open_group(folder / "A/02", mode="r"))
    image = Image.from_zarr(zarr.open_group(folder / "AA/03/1", mode="r"))
    assert len(image.attributes.ome.multiscales[0].datasets) == 3


def test_ngio_opens_the_plate(plate: tuple[Path, dict]) -> None:
    """With names, pixel size and equal pixels."""
    folder, planes = plate
    opened = ngio.open_ome_zarr_plate(str(folder), mode="r")
    image = opened.get_image("AA", 3, "1").get_image()
    assert set(opened.wells_paths()) == {"A/02", "AA/03"}
    assert (image.pixel_size.x, image.pixel_size.z) == (0.65, 2.0)
    pixels = image.get_as_numpy()
    assert pixels.shape == (1, 2, 3, *SHAPE)
    np.testing.assert_array_equal(pixels[0, 1, 0], planes[ImageKey("AA03", 7, 2, 1, 1)])


def test_ome_zarr_py_opens_plate_well_and_image(plate: tuple[Path, dict], caplog: pytest.LogCaptureFixture) -> None:
    """Its reader sees a plate, stitches the well, and finds the image's channel names."""
    folder, planes = plate
    caplog.set_level(logging.CRITICAL)
    (whole,) = list(Reader(parse_url(str(folder)))())[:1]
    assert "Plate" in {type(spec).__name__ for spec in whole.specs}
    (well,) = list(Reader(parse_url(str(folder / "A/02")))())[:1]
    assert well.data[0].shape == (1, 2, 3, SHAPE[0], 2 * SHAPE[1])
    (image,) = list(Reader(parse_url(str(folder / "A/02/1")))())[:1]
    assert image.metadata["channel_names"] == ["DAPI", "GFP"]
    np.testing.assert_array_equal(np.asarray(image.data[0][0, 0, 1]), planes[ImageKey("A02", 7, 1, 2, 1)])


def test_zarr_python_reads_every_level_equal(plate: tuple[Path, dict]) -> None:
    """The shards we encode ourselves are what zarr-python expects; smaller levels are means of the larger."""
    folder, planes = plate
    for key, plane in planes.items():
        field = folder / {"A02": "A/02", "AA03": "AA/03"}[key.well] / str(SITES.index(key.site))
        level = plane
        for number in range(3):
            stored = zarr.open_array(str(field / str(number)), mode="r")
            np.testing.assert_array_equal(stored[0, key.channel - 1, key.z_index - 1], level)
            level = halve(level)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (513, 1030)], ids=str)
def test_every_pixel_type_and_odd_size_survives(tmp_path: Path, dtype: str, shape: tuple[int, int]) -> None:
    """Through our writer and zarr-python's reader, with chunks that do not divide the plane."""
    plane = (np.arange(shape[0] * shape[1]).reshape(shape) % 253).astype(dtype)
    write_field(tmp_path, {ImageKey("A01", 1, 1, 1, 1): plane}, options=ImageOptions(longest_chunk=100))
    stored = zarr.open_array(str(tmp_path / "0"), mode="r")
    assert stored.dtype == plane.dtype
    assert len([path for path in (tmp_path / "0").rglob("*") if path.is_file()]) == 2
    np.testing.assert_array_equal(stored[0, 0, 0], plane)
    Image.from_zarr(zarr.open_group(tmp_path, mode="r"))


def test_one_file_holds_a_field_and_level(plate: tuple[Path, dict]) -> None:
    """A well of two fields and three levels has 2 x 7 + 1 files."""
    files = [path for path in (plate[0] / "A/02").rglob("*") if path.is_file()]
    assert len(files) == 15


def test_files_and_checksums_are_those_on_disk(tmp_path: Path) -> None:
    """What the writer reports can be verified later."""
    written = write_field(tmp_path, make_planes("A01"))
    assert {file.path for file in written.files} == {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    for file in written.files:
        path = tmp_path / file.path
        assert (file.size, file.crc32c) == (path.stat().st_size, file_checksum(path))


def test_planes_that_do_not_exist_come_back_as_missing(plate: tuple[Path, dict]) -> None:
    """None for a plane, a mask in an array; never zeros. zarr itself finds no chunk there."""
    field = open_plate(plate[0])["A02"][3]
    assert field.absent == {(1, 2, 3)}
    assert field.plane(channel=2, z_index=3) is None
    assert field.plane(channel=2, z_index=9) is None
    stack = field[0, :, :, 0, 0]
    assert isinstance(stack, np.ma.MaskedArray)
    np.testing.assert_array_equal(stack.mask, [[False] * 3, [False, False, True]])
    assert not isinstance(field[0, 0], np.ma.MaskedArray)
    with pytest.raises(PlaneReadError, match=r"planes that do not exist.*index it with \[\.\.\.\]"):
        np.asarray(field.array())


def test_the_reader_gives_wells_fields_and_pixels(plate: tuple[Path, dict]) -> None:
    """Written wells in plate order, sites by number, planes by the vendor's numbers, slices of any level."""
    folder, planes = plate
    opened = open_plate(folder)
    assert (list(opened), opened.all_wells) == (["A02", "AA03"], ("A02", "B01", "AA03"))
    assert opened.name == "Plate 1" and list(opened["a2"]) == list(SITES)
    field = opened["AA03"][7]
    assert field.channel_labels == ("DAPI", "GFP") and (field.pixel_size_um, field.z_step_um) == (0.65, 2.0)
    assert (field.shape, field.dtype, field.levels) == ((1, 2, 3, *SHAPE), np.uint16, 3)
    for key, plane in planes.items():
        read = opened[key.well][key.site].plane(channel=key.channel, z_index=key.z_index)
        np.testing.assert_array_equal(read, plane)
    first = planes[ImageKey("AA03", 7, 1, 1, 1)]
    np.testing.assert_array_equal(field.array(1)[0, 0, 0, 10:20, ::3], halve(first)[10:20, ::3])
    with pytest.raises(UnknownWellError, match="B01 is not written"):
        opened["B01"]
    with pytest.raises(IndexError, match="levels 0 to 2"):
        field.array(3)


def test_opening_reads_no_pixels(plate: tuple[Path, dict], monkeypatch: pytest.MonkeyPatch) -> None:
    """Wells, fields, shapes and labels come from the metadata alone."""
    monkeypatch.setattr(zarr, "open_array", lambda *_, **__: pytest.fail("pixels were asked for"))
    for well in open_plate(plate[0]).values():
        for field in well.values():
            assert field.array(1).shape == (1, 2, 3, 300, 265)


def test_an_empty_group_left_by_another_program_is_no_well(tmp_path: Path) -> None:
    """Programs that open a plate for writing create groups for the wells they look for."""
    write_plate_groups(tmp_path, GROUP, ["B01"])
    zarr.open_group(tmp_path / "B" / "01", mode="a")
    assert list(open_plate(tmp_path)) == []


def test_collapsed_axes_have_size_one(tmp_path: Path) -> None:
    """A composite of one well: one field, one channel, one z, said in our attribute."""
    write_plate_groups(tmp_path, GROUP, ["B01"])
    writer = WellWriter(tmp_path / "B" / "01", "B01", SITES)
    writer.write(ImageKey("B01", None, None, None, 1), np.ones((8, 8), np.uint8))
    writer.finish({}, PixelScale(pixel_size_um=1.0, z_step_um=3.0))
    field = open_plate(tmp_path)["B01"][None]
    assert field.folder.name == "0" and field.shape == (1, 1, 1, 8, 8)
    assert field.channel_labels == ("All channels",) and field.z_step_um is None
    assert document(field.folder)["attributes"]["openhcs"]["collapsed"] == ["channel", "z_index", "site"]
    plane = field.plane()
    assert plane is not None and plane.sum() == 64


def test_every_field_of_a_well_has_the_same_axes(tmp_path: Path) -> None:
    """A channel that one site lacks is absent there, and the other channels keep their places."""
    writer = WellWriter(tmp_path / "A" / "02", "A02", SITES)
    for key in (ImageKey("A02", 3, 1, 1, 1), ImageKey("A02", 3, 2, 1, 1), ImageKey("A02", 7, 2, 1, 1)):
        writer.write(key, np.full((4, 4), key.channel, np.uint8))
    written = writer.finish({}, PixelScale())
    assert written.absent == (ImageKey("A02", 7, 1, 1, 1),)
    write_plate_groups(tmp_path, GROUP, ["A02"])
    plane = open_plate(tmp_path)["A02"][7].plane(channel=2)
    assert plane is not None and plane.max() == 2


@pytest.mark.parametrize(
    ("plane", "sentence"),
    [
        (np.zeros((9, 8), np.uint16), r"Well A02.*\(9, 8\) pixels of uint16.*\(8, 8\)"),
        (np.zeros((8, 8), np.float32), "float32"),
        (np.zeros((1, 8, 8), np.uint16), "cannot be stored"),
        (np.zeros((8, 8), np.complex64), "cannot be stored"),
    ],
)
def test_a_plane_that_does_not_fit_is_refused(tmp_path: Path, plane: NDArray[np.generic], sentence: str) -> None:
    """With the well, its place, what it is and what was expected."""
    writer = WellWriter(tmp_path, "A02", SITES)
    writer.write(ImageKey("A02", 3, 1, 1, 1), np.zeros((8, 8), np.uint16))
    with pytest.raises(PlaneMismatchError, match=sentence):
        writer.write(ImageKey("A02", 3, 2, 1, 1), plane)


def test_a_plane_is_written_once(tmp_path: Path) -> None:
    """A second one of the same place is a mistake, not a replacement."""
    writer = WellWriter(tmp_path, "A02", SITES)
    key = ImageKey("A02", 3, 1, 1, 1)
    writer.write(key, np.zeros((8, 8), np.uint16))
    with pytest.raises(StorageError, match="written twice"):
        writer.write(key, np.ones((8, 8), np.uint16))


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_field_is_never_written_over_another(tmp_path: Path, ngff: str) -> None:
    """It would be a mixture of both: the file of a shard would grow, and its index lead to the old pixels."""
    key, options = ImageKey("A01", 1, 1, 1, 1), ImageOptions(ngff=ngff)
    write_field(tmp_path, {key: np.full((8, 8), 1, np.uint8)}, options=options)
    with pytest.raises(OSError):
        write_field(tmp_path, {key: np.full((8, 8), 2, np.uint8)}, options=options)


def test_an_array_of_ours_is_what_other_programs_know_as_one(plate: tuple[Path, dict]) -> None:
    """Its length, its axes, a loop over it, and dask's lazy arrays; what would need a copy is said to need one."""
    folder, planes = plate
    array = open_plate(folder)["AA03"][7].array()
    assert (array.ndim, len(array), array.size) == (5, 1, 6 * SHAPE[0] * SHAPE[1])
    first = dask.array.from_array(array, chunks=(1, 1, 1, 100, 200))[0, 0, 0]
    np.testing.assert_array_equal(first.compute(), planes[ImageKey("AA03", 7, 1, 1, 1)])
    assert [part.shape for part in array] == [array.shape[1:]]
    with pytest.raises(ValueError, match="without a copy"):
        np.array(array, copy=False)
    with pytest.raises(PlaneReadError, match="planes that do not exist"):
        np.asarray(open_plate(folder)["AA03"][7])  # a field, too, and never an array of one object


@pytest.mark.parametrize(
    "selection", [[0], np.array([0]), None, True, 1.0, "z", (0, 0, 0, 0, 0, 0), (..., ...), (0, 9)]
)
def test_what_selects_no_part_is_an_index_error(plate: tuple[Path, dict], selection: object) -> None:
    """With what can be given; lists of numbers too, which NumPy would take."""
    with pytest.raises(IndexError):
        open_plate(plate[0])["A02"][3].array()[selection]


def _indexes(size: int) -> st.SearchStrategy[int | slice]:
    return st.integers(-size, size - 1) | st.slices(size + 2)


@given(st.tuples(*map(_indexes, (1, 2, 3, *SHAPE))), st.integers(0, 5), st.booleans())
def test_a_selection_is_that_of_numpy(
    plate: tuple[Path, dict], indexes: tuple[int | slice, ...], known: int, from_behind: bool
) -> None:
    """Negative numbers, steps, empty and reversed slices, with or without ``...``: pixels and mask alike."""
    array = open_plate(plate[0])["A02"][3].array()
    whole = _whole(plate[0])
    selection = (..., *indexes[5 - known :]) if from_behind else indexes[:known]
    found, expected = array[selection], whole[selection]
    np.testing.assert_array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
    np.testing.assert_array_equal(np.ma.filled(found, 0), np.ma.filled(expected, 0))
    assert found.dtype == whole.dtype


@cache
def _whole(folder: Path) -> np.ma.MaskedArray:
    """All pixels of A02's first site, by zarr and the fixture's word on what is absent."""
    pixels = zarr.open_array(str(folder / "A/02/0/0"), mode="r")[...]
    mask = np.zeros(pixels.shape, bool)
    mask[0, 1, 2] = True
    return np.ma.masked_array(pixels, mask)


def test_a_damaged_index_is_an_error(tmp_path: Path) -> None:
    """Its checksum is kept and compared."""
    planes = make_planes("A01", shape=(20, 20))
    write_field(tmp_path / "A" / "01" / "0", {key: plane for key, plane in planes.items() if key.site == 3})
    shard = tmp_path / "A/01/0/0/c.0.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[-10] ^= 1
    shard.write_bytes(content)
    with pytest.raises(PlaneReadError, match="is damaged"):
        LazyArray(tmp_path / "A/01/0/0", np.zeros((1, 2, 3), bool))[...]


def test_a_folder_that_is_no_plate_is_named(tmp_path: Path) -> None:
    """Empty, or another group."""
    with pytest.raises(NotAnOutputError, match="zarr"):
        open_plate(tmp_path)
    zarr.open_group(tmp_path, mode="w")
    with pytest.raises(NotAnOutputError, match="lists no wells"):
        open_plate(tmp_path)


@given(
    arrays.arrays(
        st.sampled_from(["uint8", "uint16", "int16", "uint32"]),
        arrays.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9),
    )
)
def test_halving_is_the_rounded_mean_of_blocks(plane: NDArray[np.generic]) -> None:
    """As Python's whole numbers would do it: (a + b + c + d + 2) // 4."""
    halved = halve(plane)
    assert halved.dtype == plane.dtype and halved.shape == (plane.shape[0] // 2, plane.shape[1] // 2)
    for y, x in np.ndindex(halved.shape):
        block = [int(value) for value in plane[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel()]
        assert int(halved[y, x]) == (sum(block) + 2) // 4


def test_levels_stop_at_256_pixels() -> None:
    """Halved until an edge is below, at most as many as asked for."""
    assert level_shapes((1080, 1080), 3) == ((1080, 1080), (540, 540), (270, 270))
    assert level_shapes((2160, 2560), 9)[-1] == (135, 160)
    assert level_shapes((255, 4000), 9) == ((255, 4000),)


@given(st.integers(1, 5000), st.integers(1, 600))
def test_chunks_are_equal_and_not_too_long(size: int, longest: int) -> None:
    """As few as possible, and hardly padded."""
    edge = chunk_edge(size, longest)
    count = -(-size // edge)
    assert 1 <= edge <= longest and count <= -(-size // longest) and count * edge - size < count
