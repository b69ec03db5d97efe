"""OME-Zarr plates of both versions: judged and opened by others, read back by us, never mixed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from openhcs_engine.errors import OptionError, OutputPlaceError, PlaneReadError
from openhcs_engine.files.atomic import file_checksum
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.plate import Channel, Plate
from openhcs_engine.model.wells import well_name
from openhcs_engine.ngff.metadata import PixelScale, well_path
from openhcs_engine.ngff.options import CODECS, SHUFFLES, Compression, ImageOptions
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.ngff.reading.lazy_array import LazyArray
from openhcs_engine.ngff.writing.plate_store import WellWriter, open_plate, write_field, write_plate_groups
from openhcs_engine.ngff.writing.pyramid import halve
from openhcs_engine.raw.array_plane import read_array_plane
from tests.engine.ngff_judges import judged_by_models, opened_by_ngio, opened_by_ome_zarr_py

SHAPE = (530, 610)
SITES = (3, 7)
PLATE = Plate(
    plate_id="P1",
    name="Plate 1",
    microscope="imagexpress",
    root="/raw",
    wells=("A02", "B01", "AA03"),
    sites=SITES,
    channels=(Channel(index=1, name="DAPI"), Channel(index=2, name="GFP")),
    z_indexes=(1, 2),
    timepoints=(1, 2),
    rows=32,
    columns=48,
)
PUBLISHED = ("A02", "AA03")


@dataclass(frozen=True)
class Written:
    """A plate whose second well is not published; channel 2 has no z 2, and its second time point no channel 1."""

    folder: Path
    ngff: str
    planes: dict[ImageKey, NDArray[np.uint16]]
    absent: set[ImageKey]
    files: dict[str, list[str]]

    def field(self, well: str, site: int) -> Path:
        return self.folder / well_path(well) / str(SITES.index(site))


def _does_not_exist(key: ImageKey) -> bool:
    return (key.channel, key.z_index) == (2, 2) or (key.channel, key.timepoint) == (1, 2)


@pytest.fixture(scope="module", params=["0.5", "0.4"])
def plate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    options = ImageOptions(ngff=request.param)
    folder = tmp_path_factory.mktemp("plate") / "images.zarr"
    write_plate_groups(folder, PlateGroup.of(PLATE, options, PLATE.wells), PUBLISHED)
    rng = np.random.default_rng(3)
    planes, absent, files = {}, set(), {}
    for well in PUBLISHED:
        writer = WellWriter(folder / well_path(well), well, SITES, options)
        keys = [ImageKey(well, s, c, z, t) for s in SITES for t in (1, 2) for c in (1, 2) for z in (1, 2)]
        absent |= {key for key in keys if _does_not_exist(key)}
        for key in keys:
            if key not in absent:
                planes[key] = rng.integers(0, 4000, SHAPE).astype(np.uint16)
                writer.write(key, planes[key])
        for site in SITES:
            writer.write_label("nuclei", ImageKey(well, site, 1, 1, 1), np.full(SHAPE, 70_000 + site))
        written = writer.finish({1: "DAPI", 2: "GFP"}, PixelScale(pixel_size_um=0.65, z_step_um=2.0))
        assert {*written.absent} == {key for key in absent if key.well == well}
        files[well] = [file.path for file in written.files]
    return Written(folder, options.ngff, planes, absent, files)


def test_the_models_of_the_specification_accept_everything(plate: Written) -> None:
    """Plate, wells, images, and labels."""
    judged = judged_by_models(plate.folder, plate.ngff)
    assert (judged["wells"], judged["images"]) == (2, 4)
    assert judged["labels"] == {f"{well_path(well)}/{place}": ["nuclei"] for well in PUBLISHED for place in (0, 1)}


def test_ngio_opens_all_images_of_a_plate_that_is_half_published(plate: Written) -> None:
    """The well that is not published is none; pixels, labels, channel names and sizes of the others are ours."""
    opened = opened_by_ngio(plate.folder)
    assert opened["wells"] == ["A/02", "AA/03"]
    assert set(opened["images"]) == {f"{well_path(well)}/{place}" for well in PUBLISHED for place in (0, 1)}
    for well in PUBLISHED:
        for place, site in enumerate(SITES):
            image = opened["images"][f"{well_path(well)}/{place}"]
            own = [plane for key, plane in plate.planes.items() if (key.well, key.site) == (well, site)]
            assert image["sum"] == sum(int(plane.astype(np.int64).sum()) for plane in own)
            assert (image["shape"], image["levels"]) == ([2, 2, 2, *SHAPE], 3)
            assert (image["channels"], image["pixel_size"]) == (["DAPI", "GFP"], [2.0, 0.65, 0.65])
            assert image["labels"] == {"nuclei": 70_000 + site}


def test_ome_zarr_py_opens_plate_images_and_labels(plate: Written) -> None:
    """With channel names, every level, and the numbers of objects."""
    opened = opened_by_ome_zarr_py(plate.folder, "A/02/0")
    assert "Plate" in opened["specs"]
    image = opened["images"]["A/02/0"]
    assert image["channels"] == ["DAPI", "GFP"]
    assert image["shapes"] == [[2, 2, 2, *SHAPE], [2, 2, 2, 265, 305], [2, 2, 2, 132, 152]]
    own = [plane for key, plane in plate.planes.items() if (key.well, key.site) == ("A02", 3)]
    assert image["sum"] == sum(int(plane.astype(np.int64).sum()) for plane in own)
    assert list(opened["labels"].values()) == [70_003]


def test_zarr_python_reads_every_level_equal(plate: Written) -> None:
    """Smaller levels are means of the larger; what was never written is the fill value for it."""
    for key, plane in plate.planes.items():
        level = plane
        for number in range(3):
            stored = zarr.open_array(str(plate.field(key.well, key.site or 0) / str(number)), mode="r")
            assert stored.metadata.zarr_format == (2 if plate.ngff == "0.4" else 3)
            place = ((key.timepoint or 0) - 1, (key.channel or 0) - 1, (key.z_index or 0) - 1)
            np.testing.assert_array_equal(stored[place], level)
            level = halve(level)


def test_planes_that_do_not_exist_have_no_chunk_and_come_back_as_missing(plate: Written) -> None:
    """None for a plane, a mask in an array, in images and labels and at every level; never zeros."""
    for key in plate.absent:
        field = open_plate(plate.folder)[key.well][key.site]
        assert field.plane(channel=key.channel, z_index=key.z_index, timepoint=key.timepoint) is None
        place = ((key.timepoint or 0) - 1, (key.channel or 0) - 1, (key.z_index or 0) - 1)
        for level in range(field.levels):
            whole = field.array(level)[...]
            assert isinstance(whole, np.ma.MaskedArray)
            assert whole.mask[place].all() and not whole.mask[0, 0].any()
            part = field.array(level)[place][2:5, -3:]
            assert isinstance(part, np.ma.MaskedArray) and part.mask.all()
        if plate.ngff == "0.4":
            chunks = plate.field(key.well, key.site or 0) / "0"
            assert not chunks.joinpath(*map(str, place)).exists()
        label = field.label("nuclei")
        assert label.absent == {(1, 2), (2, 1), (2, 2)}
        assert label.plane(timepoint=2, z_index=1) is None
        assert isinstance(label.array()[:, 0, 0, 0], np.ma.MaskedArray)


def test_a_plate_that_we_wrote_is_an_input_plate_with_equal_pixels(plate: Written) -> None:
    """Same wells, sites, channels, numbers and sizes; absent planes are missing, and so is the well."""
    found, index = detect_microscope(plate.folder).read_plate()
    assert {plane.key for plane in index.present()} == set(plate.planes)
    assert {plane.key for plane in index.missing()} <= plate.absent
    assert (found.wells, found.absent_wells) == (PUBLISHED, ("B01",))
    assert (found.rows, found.columns) == (32, 48)
    assert [channel.name for channel in found.channels] == ["DAPI", "GFP"]
    assert (found.pixel_size_um, found.z_step_um, found.sites) == (0.65, 2.0, SITES)
    for plane in index.present():
        pixels = read_array_plane(plate.folder, str(plane.path), plane.array_index or ())
        np.testing.assert_array_equal(pixels, plate.planes[plane.key])


@pytest.mark.slow
@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_plate_of_1536_wells_is_accepted_and_opened(tmp_path: Path, ngff: str) -> None:
    """Rows A to AF; the sites of a well need not begin at 1, nor be those of others."""
    wells = tuple(well_name(row, column) for row in range(32) for column in range(48))
    options, folder = ImageOptions(ngff=ngff), tmp_path / "images.zarr"
    group = PlateGroup.of(replace(PLATE, wells=wells), options, wells)
    published = {"Z48": SITES, "AF48": SITES[1:]}
    for well, sites in published.items():
        writer = WellWriter(folder / well_path(well), well, SITES, options)
        for site in sites:
            writer.write(ImageKey(well, site, 1, 1, 1), np.full((8, 8), site, np.uint8))
        writer.finish({1: "DAPI"}, PixelScale())
    write_plate_groups(folder, group, tuple(published))

    assert judged_by_models(folder, ngff) == {"wells": 2, "images": 3, "labels": {}}
    opened = opened_by_ngio(folder)
    assert opened["wells"] == [well_path(well) for well in published]
    assert {path: image["sum"] for path, image in opened["images"].items()} == {
        "Z/48/0": 64 * 3, "Z/48/1": 64 * 7, "AF/48/1": 64 * 7,
    }  # fmt: skip
    assert [(well, list(fields)) for well, fields in open_plate(folder).items()] == [("Z48", [3, 7]), ("AF48", [7])]
    found, _ = detect_microscope(folder).read_plate()
    assert (found.wells, len(found.absent_wells), found.sites) == (("Z48", "AF48"), 1534, SITES)


def test_one_file_holds_what_the_version_allows(plate: Written) -> None:
    """0.5: a field and level, its labels too; 0.4: a plane and level, in folders of its coordinates."""
    files = [path for path in plate.files["A02"] if not path.startswith(("0/labels", "1/"))]
    if plate.ngff == "0.5":
        assert len(files) == 3 * 2 + 1 + 1
    else:
        assert {"0/0/.zarray", "0/0/0/1/0/0/0", "0/.zattrs", "0/.zgroup", ".zattrs", ".zgroup"} <= set(files)
        planes = sum(1 for key in plate.planes if (key.well, key.site) == ("A02", 3))
        assert len(files) == 3 * (planes + 1) + 2 + 2
    there = {
        path.relative_to(plate.folder / "A/02").as_posix()
        for path in (plate.folder / "A/02").rglob("*")
        if path.is_file()
    }
    assert there == set(plate.files["A02"])


def test_the_plate_says_how_it_was_stored(plate: Written) -> None:
    """Version, compression, chunks, resolutions, beside what the specification asks for."""
    attributes = open_plate(plate.folder).attributes
    assert attributes["openhcs"]["storage"] == {
        "ngff": plate.ngff,
        "levels": 3,
        "longest_chunk": 512 if plate.ngff == "0.5" else 2048,
        "compression": {"codec": "zstd", "level": 1, "shuffle": "byte"},
    }
    assert attributes["ome"]["plate"]["version"] == plate.ngff


def test_writing_the_groups_again_touches_no_file(plate: Written) -> None:
    """Neither groups nor wells, published or not."""
    before = {path: path.stat().st_mtime_ns for path in plate.folder.rglob("*") if path.is_file()}
    write_plate_groups(plate.folder, PlateGroup.of(PLATE, ImageOptions(ngff=plate.ngff), PLATE.wells), PUBLISHED)
    assert {path: path.stat().st_mtime_ns for path in plate.folder.rglob("*") if path.is_file()} == before


def test_two_versions_in_one_plate_are_refused(plate: Written) -> None:
    """Before anything is written, with what to do."""
    other = "0.4" if plate.ngff == "0.5" else "0.5"
    before = sorted(plate.folder.rglob("*"))
    with pytest.raises(OutputPlaceError, match=rf"plate of version {plate.ngff}, and wells of version {other}.*--ngff"):
        write_plate_groups(plate.folder, PlateGroup.of(PLATE, ImageOptions(ngff=other), ()), PUBLISHED)
    assert sorted(plate.folder.rglob("*")) == before


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_chunk_that_was_lost_is_an_error_and_not_black(tmp_path: Path, ngff: str) -> None:
    """Whatever part of the array is asked for."""
    plane = np.full((20, 30), 7, np.uint16)
    write_plate_groups(tmp_path / "plate", PlateGroup.of(PLATE, ImageOptions(ngff=ngff), ()), ["B01"])
    writer = WellWriter(tmp_path / "plate/B/01", "B01", SITES, ImageOptions(ngff=ngff))
    for z in (1, 2):
        writer.write(ImageKey("B01", 3, 1, z, 1), plane)
    writer.finish({}, PixelScale())
    (tmp_path / "plate/B/01/0/0" / ("c.0.0.0.0.0" if ngff == "0.5" else "0/0/1/0/0")).unlink()
    field = open_plate(tmp_path / "plate")["B01"][3]
    for selection in (np.s_[0, 0, 1], np.s_[...], np.s_[:, :, 1:, 3, 4]):
        with pytest.raises(PlaneReadError, match="is damaged"):
            field.array()[selection]


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_every_compression_keeps_every_pixel(tmp_path: Path, ngff: str, codec: str, shuffle: str) -> None:
    """For zarr-python and for us, with chunks that do not divide the plane; the array says what it was."""
    options = ImageOptions(ngff=ngff, longest_chunk=16, compression=Compression(codec=codec, level=4, shuffle=shuffle))
    plane = np.random.default_rng(0).integers(0, 900, (37, 21)).astype(np.uint16)
    written = write_field(tmp_path, {ImageKey("A01", 1, 1, 1, 1): plane}, options=options)
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "0"), mode="r")[0, 0, 0], plane)
    np.testing.assert_array_equal(LazyArray(tmp_path / "0", np.zeros((1, 1, 1), bool))[0, 0, 0], plane)
    document = (tmp_path / "0" / ("zarr.json" if ngff == "0.5" else ".zarray")).read_text()
    assert (codec in document) == (codec != "none")
    for file in written.files:
        assert (file.size, file.crc32c) == (
            (tmp_path / file.path).stat().st_size,
            file_checksum(tmp_path / file.path),
        )


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_every_pixel_type_survives_in_zarr_v2(tmp_path: Path, dtype: str) -> None:
    """As it does in v3."""
    plane = (np.arange(35 * 17).reshape(35, 17) % 253).astype(dtype)
    write_field(tmp_path, {ImageKey("A01", 1, 1, 1, 1): plane}, options=ImageOptions(ngff="0.4", longest_chunk=10))
    stored = zarr.open_array(str(tmp_path / "0"), mode="r")
    assert stored.dtype == plane.dtype
    np.testing.assert_array_equal(stored[0, 0, 0], plane)


def test_each_part_says_its_version_in_04(tmp_path: Path) -> None:
    """In 0.5 the version stands once, beside them."""
    write_field(tmp_path, {ImageKey("A01", 1, 1, 1, 1): np.ones((8, 8), np.uint8)}, options=ImageOptions(ngff="0.4"))
    attributes = json.loads((tmp_path / ".zattrs").read_text())
    assert "ome" not in attributes and attributes["openhcs"]["site"] == 1
    assert attributes["multiscales"][0]["version"] == attributes["omero"]["version"] == "0.4"


def test_a_time_step_is_a_scale_in_seconds(tmp_path: Path) -> None:
    """Where it is known; without one the time axis has no unit."""
    images = {ImageKey("A01", 1, 1, 1, t): np.ones((8, 8), np.uint8) for t in (1, 2)}
    write_field(tmp_path / "known", images, scale=PixelScale(time_step_s=90.0))
    write_field(tmp_path / "unknown", images)
    for name, unit, step in (("known", "second", 90.0), ("unknown", None, 1.0)):
        (image,) = json.loads((tmp_path / name / "zarr.json").read_text())["attributes"]["ome"]["multiscales"]
        assert image["axes"][0].get("unit") == unit
        assert image["datasets"][0]["coordinateTransformations"][0]["scale"][0] == step


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ImageOptions(ngff="0.6"), r"ngff='0\.6' is unknown \(choose from 0\.5, 0\.4\)"),
        (lambda: ImageOptions(levels=0), r"levels=0 is out of range \(1 to 16\)"),
        (lambda: ImageOptions(longest_chunk=0), "longest_chunk=0 is out of range"),
        (lambda: Compression(codec="gzip"), "codec='gzip' is unknown"),
        (lambda: Compression(level=10), "level=10 is out of range"),
        (lambda: Compression(shuffle="both"), "shuffle='both' is unknown"),
    ],
)
def test_an_option_that_does_not_exist_is_refused(make: object, sentence: str) -> None:
    """With those that do."""
    assert callable(make)
    with pytest.raises(OptionError, match=sentence):
        make()
