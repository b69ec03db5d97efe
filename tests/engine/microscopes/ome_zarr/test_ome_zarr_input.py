"""OME-Zarr plates as input: real ones against their published facts, our own outputs, and small ones with one trap."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from openhcs_engine import FunctionStep, GroupBy, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import NotAPlateError, PlaneMismatchError, PlaneReadError, UnreadablePlateError
from openhcs_engine.functions import create_max_projection
from openhcs_engine.microscopes import detect_microscope, list_folder
from openhcs_engine.model.image_index import ImageIndex, ImageKey, PlaneKind
from openhcs_engine.model.plate import Plate
from openhcs_engine.raw.array_plane import read_array_header, read_array_plane
from openhcs_engine.synthetic import SyntheticImages, SyntheticPlate, write_ome_zarr
from tests.engine.plates import add

SETS = ("omezarr_apx_2d.zarr", "omezarr_v04_3434_dapi.zarr")
Json = dict[str, Any]  # Any: JSON


def facts_of(data_dir: Path, name: str) -> Json:
    """The published truth of one set."""
    facts: Json = json.loads((data_dir / "facts.json").read_text(encoding="utf-8"))[name]
    return facts


def read(folder: Path) -> tuple[Plate, ImageIndex]:
    """The plate and index of a folder."""
    return detect_microscope(folder).read_plate()


def pixels_of(root: Path, index: ImageIndex) -> dict[ImageKey, np.ndarray]:
    """Pixels of all planes that are present."""
    return {
        plane.key: read_array_plane(root, str(plane.path), plane.array_index or ()) for plane in index if plane.present
    }


# Real plates


@pytest.mark.parametrize("name", SETS)
def test_planes_and_pixels_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """The planes of each image, put together in the array's order, have the image's published shape and digest."""
    facts = facts_of(data_dir, name)["wells"]

    plate, index = read(data_dir / name)

    assert plate.microscope == "ome_zarr"
    found: dict[str, dict[tuple[int, ...], np.ndarray]] = {}
    for plane in index:
        image, level = str(plane.path).rsplit("/", 1)
        assert level == facts[image]["level_paths"][0]
        assert plane.array_index is not None
        pixels = read_array_plane(data_dir / name, str(plane.path), plane.array_index)
        found.setdefault(image, {})[plane.array_index] = pixels
    assert set(found) == set(facts)
    for image, planes in found.items():
        fact = facts[image]
        stack = np.stack([planes[place] for place in np.ndindex(*fact["shape"][:2])]).reshape(fact["shape"])
        assert stack.dtype.name == fact["dtype"]
        assert hashlib.sha256(stack.tobytes()).hexdigest() == fact["sha256"]


def test_metadata_of_the_derived_plate(data_dir: Path) -> None:
    """Levels named s0 and s1, and a plate that lists only the wells in use."""
    plate, index = read(data_dir / "omezarr_v04_3434_dapi.zarr")
    assert (plate.plate_id, plate.name) == ("omezarr_v04_3434_dapi", "9987_Plate_3434")
    assert (plate.wells, plate.sites, plate.z_indexes, plate.timepoints) == (("B02", "B03"), (1, 2), (1, 2, 3), (1,))
    assert [(channel.index, channel.name) for channel in plate.channels] == [(1, "DAPI")]
    assert (plate.pixel_size_um, plate.z_step_um) == (1.3672, 3.0)
    assert (plate.rows, plate.columns) == (None, None)
    assert (plate.shape, plate.dtype, plate.warnings, plate.notes) == ((256, 256), "uint16", (), ())
    first = index.planes[0]
    metadata = (data_dir / "omezarr_v04_3434_dapi.zarr/B/02/0/s0/.zarray").stat()
    assert (first.path, first.array_index, first.size, first.mtime_ns) == (
        "B/02/0/s0", (0, 0), metadata.st_size, metadata.st_mtime_ns,
    )  # fmt: skip
    assert (first.x_um, first.z_um) == (None, None)


def test_images_of_staining_cycles_hold_channels_of_their_own(data_dir: Path) -> None:
    """Three images a well are sites 1 to 3; 1_DAPI is not taken for 0_DAPI though it has the same place."""
    facts = facts_of(data_dir, "omezarr_apx_2d.zarr")
    plate, index = read(data_dir / "omezarr_apx_2d.zarr")
    names = {channel.index: channel.name for channel in plate.channels}
    found: dict[str, list[str | None]] = {}
    for plane in index:
        assert plane.key.site is not None
        assert plane.key.channel is not None
        image = f"{plane.key.well[0]}/{plane.key.well[1:]}/{plane.key.site - 1}"
        found.setdefault(image, []).append(names[plane.key.channel])
    assert found == {image: fact["channels"] for image, fact in facts["wells"].items()}
    assert (plate.wells, plate.absent_wells, plate.sites) == (("A02", "B03"), (), (1, 2, 3))
    assert (plate.rows, plate.columns, plate.dtype) == (2, 3, "uint8")


def test_a_scale_without_a_unit_is_no_size(data_dir: Path) -> None:
    """A bare 1.0 says nothing of µm."""
    plate, _ = read(data_dir / "omezarr_apx_2d.zarr")
    assert (plate.pixel_size_um, plate.z_step_um) == (None, None)


@pytest.mark.parametrize("name", SETS)
def test_chunks_are_not_listed(data_dir: Path, name: str) -> None:
    """The listing holds the metadata of every group and array, and not one chunk."""
    listed = {file.name for file in list_folder(data_dir / name).files}
    assert listed == {".zattrs", ".zgroup", ".zarray"}


def test_the_max_projection_of_the_whole_engine_is_that_of_the_facts(data_dir: Path, tmp_path: Path) -> None:
    """Read, compile, run, publish: the projections of all sites have the published digests."""
    facts = facts_of(data_dir, "omezarr_v04_3434_dapi.zarr")["wells"]
    steps = Pipeline([FunctionStep(func=create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
    run(data_dir / "omezarr_v04_3434_dapi.zarr", steps, tmp_path)
    output = tmp_path / "omezarr_v04_3434_dapi"
    _, index = read(output)
    assert len(index) == 4
    for key, pixels in pixels_of(output, index).items():
        fact = facts[f"{key.well[0]}/{key.well[1:]}/{(key.site or 0) - 1}"]["max_projection_z"]
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == fact["sha256"]


# Our own outputs


def run(plate: Path, pipeline: Pipeline, output: Path) -> None:
    """Run a pipeline on all wells; every well must succeed."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner="threads").initialize()
    contexts = orchestrator.compile_pipelines(pipeline)
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)
    assert [result.error for result in results.values()] == [None] * len(contexts)


SPEC = SyntheticPlate(name="raw", rows=1, columns=2, sites=2, z=2, shape=(40, 48), objects_per_megapixel=2000)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of two wells as another program writes it; read only."""
    return write_ome_zarr(tmp_path_factory.mktemp("raw") / "raw", SPEC)


@pytest.fixture
def plate(raw: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(raw, tmp_path / "plate"))


@pytest.fixture(scope="session")
def own_output(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What our engine makes of it: every plane brighter by one."""
    output = tmp_path_factory.mktemp("output")
    run(raw, Pipeline([FunctionStep(func=add)]), output)
    return output / "raw"


@pytest.mark.parametrize("inside", ["", "images.zarr"])
def test_our_own_output_is_a_plate_again(raw: Path, own_output: Path, inside: str) -> None:
    """Given as the output folder or its images.zarr: the same plate, the same planes, the pixels that were written."""
    before, planes_before = read(raw)
    plate, index = read(own_output / inside)
    assert plate.plate_id == "raw"
    assert (plate.wells, plate.sites, plate.z_indexes) == (before.wells, before.sites, before.z_indexes)
    assert plate.channels == before.channels
    assert (plate.pixel_size_um, plate.z_step_um) == (before.pixel_size_um, before.z_step_um)
    assert plate.warnings == ()
    expected = {key: pixels + 1 for key, pixels in pixels_of(raw, planes_before).items()}
    np.testing.assert_equal(pixels_of(own_output / inside, index), expected)
    assert {str(plane.path).split("/")[0] for plane in index} == {"A" if inside else "images.zarr"}


def test_sites_keep_the_numbers_that_our_engine_wrote(own_output: Path, tmp_path: Path) -> None:
    """The image's own site counts, also where another program wrote the well's group anew; twice is once too often."""
    folder = Path(shutil.copytree(own_output / "images.zarr", tmp_path / "images.zarr"))
    for well in ("A/01", "A/02"):
        change(folder / well / "zarr.json", lambda node: node["attributes"].pop("openhcs"))
        change(folder / well / "1/zarr.json", lambda node: node["attributes"]["openhcs"].update(site=7))
    assert read(folder)[0].sites == (1, 7)
    change(folder / "A/02/1/zarr.json", lambda node: node["attributes"]["openhcs"].update(site=1))
    plate, index = read(folder)
    assert plate.warnings == ("A/02/1 was left out: its well has another image of site 1.",)
    assert len({plane.key for plane in index}) == len(index) == 12


def test_a_plane_that_our_engine_calls_absent_is_missing(own_output: Path, tmp_path: Path) -> None:
    """``absent`` in our attributes is a row that is not present."""
    folder = Path(shutil.copytree(own_output / "images.zarr", tmp_path / "images.zarr"))
    change(folder / "A/02/0/zarr.json", lambda node: node["attributes"]["openhcs"].update(absent=[[1, 2, 1]]))
    _, index = read(folder)
    assert [plane.key for plane in index.missing()] == [ImageKey("A02", 1, 2, 1, 1)]


def test_room_that_no_plane_was_meant_for_is_not_missing(raw: Path, tmp_path: Path) -> None:
    """Channel 1 projected, channel 2 kept: the array has room for both at every z, and nothing is missing."""
    step = FunctionStep(
        func={"1": create_max_projection, "2": add},
        variable_components=[VariableComponents.Z_INDEX],
        group_by=GroupBy.CHANNEL,
    )
    run(raw, Pipeline([step]), tmp_path)
    plate, index = read(tmp_path / "raw")
    assert len(index.missing()) == 0
    assert {(plane.key.channel, plane.kind, plane.key.z_index) for plane in index} == {
        (1, PlaneKind.PROJECTION, None),
        (2, PlaneKind.PLANE, 1),
        (2, PlaneKind.PLANE, 2),
    }
    assert plate.z_indexes == (1, 2)


def test_collapsed_axes_read_back_as_one(raw: Path, tmp_path: Path) -> None:
    """A composite of projections is channel 1, z 1, named after its step, without an invented z step."""
    steps = [
        FunctionStep(func=create_max_projection, variable_components=[VariableComponents.Z_INDEX]),
        FunctionStep(func=create_max_projection, name="Blend", variable_components=[VariableComponents.CHANNEL]),
    ]
    run(raw, Pipeline(steps), tmp_path)
    plate, index = read(tmp_path / "raw")
    assert [plane.key for plane in index] == [
        ImageKey(well, site, 1, 1, 1) for well in ("A01", "A02") for site in (1, 2)
    ]
    assert {plane.kind for plane in index} == {PlaneKind.PLANE}
    assert [channel.name for channel in plate.channels] == ["Blend"]
    assert plate.z_step_um is None


def test_a_well_without_a_manifest_is_no_well(own_output: Path, tmp_path: Path) -> None:
    """In our output folder the manifest decides; images that an interrupted run left are named and not read."""
    folder = Path(shutil.copytree(own_output, tmp_path / "raw"))
    (folder / "wells/A02.json").unlink()
    plate, index = read(folder)
    assert (plate.wells, plate.absent_wells) == (("A01",), ("A02",))
    assert plate.warnings[0].startswith("Well A02 was left out: it has no wells/A02.json")
    assert {plane.key.well for plane in index} == {"A01"}


def test_an_own_array_without_its_shard_is_missing(own_output: Path, tmp_path: Path) -> None:
    """Our engine writes every chunk, so an array without any was not copied whole."""
    folder = Path(shutil.copytree(own_output / "images.zarr", tmp_path / "copy.zarr"))
    for chunk in (folder / "A/02/1/0").glob("c*"):
        chunk.unlink()
    _, index = read(folder)
    assert {(plane.key.well, plane.key.site) for plane in index.missing()} == {("A02", 2)}
    assert len(index.missing()) == 4


# Small plates made by hand


def change(path: Path, edit: Callable[[Json], object]) -> None:
    """Edit a JSON file in place."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def write_image(
    root: Path, axes: str | list[Json], shape: tuple[int, ...], *, scale: list[float] | None = None, well: str = "A/1"
) -> np.ndarray:
    """A 0.4 plate of one well, made by hand with the least that the specification asks for; returns its pixels."""
    described = [{"name": name} for name in axes] if isinstance(axes, str) else axes
    pixels = np.random.default_rng(1).integers(0, 60_000, shape, np.uint16)
    row, column = well.split("/")
    plate = {
        "wells": [{"path": well, "rowIndex": 0, "columnIndex": 0}],
        "rows": [{"name": row}],
        "columns": [{"name": column}],
        "version": "0.4",
    }
    transforms = [] if scale is None else [{"type": "scale", "scale": scale}]
    multiscale = {"axes": described, "datasets": [{"path": "full", "coordinateTransformations": transforms}]}
    group(root, {"plate": plate})
    group(root / well, {"well": {"images": [{"path": "0"}]}})
    group(root / well / "0", {"multiscales": [multiscale]})
    array = zarr.create_array(str(root / well / "0/full"), shape=shape, chunks=shape, dtype=">u2", zarr_format=2)
    array[...] = pixels
    return pixels


def group(folder: Path, attributes: Json) -> None:
    """A zarr v2 group."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps(attributes))


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("yx", (8, 6)),
        ("zyx", (3, 8, 6)),
        ("cyx", (2, 8, 6)),
        ("tyx", (2, 8, 6)),
        ("czyx", (2, 3, 8, 6)),
        ("tzyx", (2, 3, 8, 6)),
        ("tcyx", (2, 3, 8, 6)),
        ("tczyx", (2, 3, 4, 8, 6)),
    ],
)
def test_any_axes_that_the_specification_allows(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    """Two to five axes, told by their names: one plane for each (t, c, z), with the pixels of its place."""
    pixels = write_image(tmp_path, axes, shape)
    plate, index = read(tmp_path)
    sizes = dict(zip(axes, shape, strict=True))
    assert len(plate.timepoints) == sizes.get("t", 1)
    assert len(plate.channels) == sizes.get("c", 1)
    assert len(plate.z_indexes) == sizes.get("z", 1)
    assert len(index) == int(np.prod(shape[:-2]))
    for plane in index:
        of_axis = {"t": plane.key.timepoint, "c": plane.key.channel, "z": plane.key.z_index}
        place = tuple((of_axis[name] or 0) - 1 for name in axes[:-2])
        assert plane.array_index == place
        np.testing.assert_array_equal(read_array_plane(tmp_path, str(plane.path), place), pixels[place])


def test_a_custom_axis_stands_in_the_place_of_the_channel(tmp_path: Path) -> None:
    """NGFF allows one axis of another type instead of channels."""
    space = [{"name": name, "type": "space"} for name in "yx"]
    write_image(tmp_path, [{"name": "phase", "type": "angle"}, *space], (3, 8, 6))
    assert [channel.index for channel in read(tmp_path)[0].channels] == [1, 2, 3]


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("x", (6,)),
        ("cx", (2, 6)),
        ("xy", (8, 6)),
        ("yxc", (8, 6, 2)),
        ("ctyx", (2, 2, 8, 6)),
        ("yzx", (2, 8, 6)),
        ("yy", (8, 6)),
        ("tczzyx", (1, 1, 1, 1, 8, 6)),
        ("abyx", (1, 1, 8, 6)),
    ],
)
def test_axes_that_the_specification_does_not_allow_are_refused(
    tmp_path: Path, axes: str, shape: tuple[int, ...]
) -> None:
    """The sentence names the file, its axes, and what they should be."""
    write_image(tmp_path, axes, shape)
    with pytest.raises(UnreadablePlateError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"A/1/0/.zattrs has the axes {', '.join(axes)}; an image has two to five in this order: time, channel (at most "
        "one of each), then z (or none), y, x."
    )


@pytest.mark.parametrize(
    ("unit", "scale", "expected"),
    [
        ("micrometer", 0.65, 0.65),
        ("nanometer", 650.0, 0.65),
        ("millimeter", 0.00065, 0.65),
        ("angstrom", 6500.0, 0.65),
        ("µm", 0.65, 0.65),
        (None, 0.65, None),
        ("pixel", 0.65, None),
        ("second", 0.65, None),
        ("micrometer", 0.0, None),
        ("micrometer", -1.0, None),
    ],
)
def test_sizes_are_converted_to_um(tmp_path: Path, unit: str | None, scale: float, expected: float | None) -> None:
    """Units of length become µm to the last digit; without one, or without a size, nothing is known."""
    stated = {} if unit is None else {"unit": unit}
    axes = [{"name": name, "type": "space", **stated} for name in "zyx"]
    write_image(tmp_path, axes, (2, 8, 6), scale=[scale * 2, scale, scale])
    plate, _ = read(tmp_path)
    assert plate.pixel_size_um == expected
    assert plate.z_step_um == (None if expected is None else pytest.approx(2 * expected))


def test_the_scale_of_all_levels_multiplies_that_of_level_0(tmp_path: Path) -> None:
    """``coordinateTransformations`` of the multiscale apply on top of the dataset's."""
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    write_image(tmp_path, axes, (8, 6), scale=[0.5, 0.5])

    def add_common(attributes: Json) -> None:
        attributes["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [3.0, 3.0]}]

    change(tmp_path / "A/1/0/.zattrs", add_common)
    assert read(tmp_path)[0].pixel_size_um == 1.5


def test_pixels_that_are_not_square_have_no_size(tmp_path: Path) -> None:
    """One edge cannot stand for two; the warning says both."""
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    write_image(tmp_path, axes, (8, 6), scale=[0.5, 0.6])
    plate, _ = read(tmp_path)
    assert plate.pixel_size_um is None
    assert plate.warnings == ("Some images have pixels that are not square: 0.5 µm high and 0.6 µm wide.",)


@pytest.mark.parametrize(
    ("path", "name"), [("A/1", "A01"), ("a/01", "A01"), ("AF/48", "AF48"), ("0/0", "A01"), ("row/col", "A01")]
)
def test_wells_are_named_by_their_path_or_else_by_their_numbers(tmp_path: Path, path: str, name: str) -> None:
    """Row and column names of any spelling; names that are no well's give way to rowIndex and columnIndex."""
    write_image(tmp_path, "yx", (8, 6), well=path)
    plate, index = read(tmp_path)
    assert plate.wells == (name,)
    assert index.planes[0].path == f"{path}/0/full"


def test_the_folder_needs_no_ending_and_may_lie_deeper(raw: Path, tmp_path: Path) -> None:
    """What the group says makes it a plate, wherever it lies."""
    shutil.copytree(raw, tmp_path / "data" / "export.of.monday")
    plate, index = read(tmp_path)
    assert plate.wells == ("A01", "A02")
    assert index.planes[0].path == "data/export.of.monday/A/01/0/0"


def test_an_image_that_is_no_plate_is_refused(raw: Path, tmp_path: Path) -> None:
    """A lone OME-Zarr image is not a plate."""
    shutil.copytree(raw / "A/01/0", tmp_path / "image.zarr")
    with pytest.raises(NotAPlateError, match=r"ome_zarr: an OME-Zarr plate"):
        read(tmp_path)


def test_listed_wells_without_images_are_absent(plate: Path) -> None:
    """A folder that is gone, and an empty group as other programs leave behind."""
    shutil.rmtree(plate / "A/01")
    found, index = read(plate)
    assert (found.wells, found.absent_wells) == (("A02",), ("A01",))
    assert found.warnings == ("Listed in the plate's metadata, but without any image: A01.",)
    assert {plane.key.well for plane in index} == {"A02"}
    shutil.rmtree(plate / "A/02/0")
    (plate / "A/02/zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    found, index = read(plate)
    assert (found.wells, found.absent_wells, len(index)) == ((), ("A01", "A02"), 0)


def test_an_image_that_its_well_lists_and_that_is_gone_is_missing(plate: Path) -> None:
    """Its planes are those of the same site elsewhere, not present; the warning names the file."""
    shutil.rmtree(plate / "A/02/1")
    found, index = read(plate)
    assert {plane.key for plane in index.missing()} == {
        ImageKey("A02", 2, channel, z, 1) for channel in (1, 2) for z in (1, 2)
    }
    assert {plane.path for plane in index.missing()} == {"A/02/1"}
    assert found.warnings[0].startswith("A well lists the image A/02/1, but there is none.")


def test_labels_and_tables_are_left_alone(plate: Path, raw: Path) -> None:
    """Arrays beside the levels change nothing."""
    shutil.copytree(plate / "A/01/0/0", plate / "A/01/0/labels/nuclei/0")
    shutil.copytree(plate / "A/01/0/0", plate / "A/01/0/tables/regions/X")
    assert [plane.key for plane in read(plate)[1]] == [plane.key for plane in read(raw)[1]]
    assert [file.path for file in list_folder(plate).files] == [file.path for file in list_folder(raw).files]


def test_acquisitions_are_sites_of_their_own_and_named(plate: Path) -> None:
    """Two images of two acquisitions are sites 1 and 2; a note tells which is which."""

    def two_cycles(node: Json) -> None:
        for image, acquisition in zip(node["attributes"]["ome"]["well"]["images"], (0, 3), strict=True):
            image["acquisition"] = acquisition

    for well in ("A/01", "A/02"):
        change(plate / well / "zarr.json", two_cycles)
    acquisitions = [{"id": 0, "name": "cycle 1"}, {"id": 3}]
    change(plate / "zarr.json", lambda node: node["attributes"]["ome"]["plate"].update(acquisitions=acquisitions))
    found, _ = read(plate)
    assert found.sites == (1, 2)
    assert found.notes == ('Acquisition 0 ("cycle 1"): site 1.', "Acquisition 3: site 2.")


def test_channels_without_a_name_are_told_by_their_place(plate: Path) -> None:
    """One image without omero beside named ones has their channels; a plate without any name has none."""

    def forget(node: Json) -> None:
        del node["attributes"]["ome"]["omero"]

    change(plate / "A/01/0/zarr.json", forget)
    found, index = read(plate)
    assert [(channel.index, channel.name) for channel in found.channels] == [(1, "DAPI"), (2, "GFP")]
    assert {plane.key.channel for plane in index if plane.key.well == "A01" and plane.key.site == 1} == {1, 2}
    for image in ("A/01/1", "A/02/0", "A/02/1"):
        change(plate / image / "zarr.json", forget)
    assert [(channel.index, channel.name) for channel in read(plate)[0].channels] == [(1, None), (2, None)]


def test_the_same_channels_in_another_order_keep_their_numbers(plate: Path) -> None:
    """A well whose array begins with GFP has GFP as channel 2 like the others."""
    change(plate / "A/02/0/zarr.json", lambda node: node["attributes"]["ome"]["omero"]["channels"].reverse())
    _, index = read(plate)
    planes = {plane.array_index: plane.key.channel for plane in index if (plane.key.well, plane.key.site) == ("A02", 1)}
    assert (planes[0, 0, 0], planes[0, 1, 0]) == (2, 1)


def test_two_channels_of_one_name_stay_two(plate: Path) -> None:
    """An image may call two channels alike."""
    for image in ("A/01/0", "A/01/1", "A/02/0", "A/02/1"):
        change(
            plate / image / "zarr.json",
            lambda node: [channel.update(label="GFP") for channel in node["attributes"]["ome"]["omero"]["channels"]],
        )
    found, index = read(plate)
    assert [(channel.index, channel.name) for channel in found.channels] == [(1, "GFP"), (2, "GFP")]
    assert len({plane.key for plane in index}) == len(index) == 16


def test_wells_of_different_size_run(plate: Path, tmp_path: Path) -> None:
    """Images of another size in another well are a warning, and each well is processed in its own."""
    shutil.rmtree(plate / "A/02/0/0")
    zarr.create_array(str(plate / "A/02/0/0"), data=np.ones((1, 2, 2, 30, 20), np.uint8), chunks=(1, 1, 1, 30, 20))
    found, _ = read(plate)
    assert (
        found.warnings[0]
        == "Channel 1 has images of different kinds: 40 x 48 pixels of uint16 and 30 x 20 pixels of uint8."
    )
    assert (found.shape, found.channels[0].shape, found.dtype) == (None, None, None)
    steps = Pipeline([FunctionStep(func=add, variable_components=[VariableComponents.Z_INDEX])])
    run(plate, steps, tmp_path / "output")
    pixels = pixels_of(tmp_path / "output/plate", read(tmp_path / "output/plate")[1])
    assert {(plane.shape, plane.dtype.name) for plane in pixels.values()} == {((40, 48), "uint16"), ((30, 20), "uint8")}


def test_a_copy_of_the_metadata_alone_has_no_plane(plate: Path) -> None:
    """Without a single chunk every plane is listed and none is present."""
    for chunks in plate.rglob("c"):
        shutil.rmtree(chunks)
    found, index = read(plate)
    assert len(index) == len(index.missing()) == 16
    assert (found.wells, found.absent_wells) == (("A01", "A02"), ())
    assert found.warnings[-1] == "The folder holds metadata only: none of its arrays has a chunk."


def test_a_single_array_without_chunks_is_its_fill_value_and_a_warning(plate: Path) -> None:
    """Writers leave out chunks of zeros, so the planes are there; a person is told."""
    shutil.rmtree(plate / "A/01/0/0/c")
    found, index = read(plate)
    assert len(index.missing()) == 0
    assert found.warnings[0].startswith(
        "These arrays have no stored chunk, so that all their pixels are the fill value: A/01/0/0."
    )
    assert not read_array_plane(plate, "A/01/0/0", (0, 0, 0)).any()


# Damaged and hostile metadata


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("zarr.json", '{"attributes": {"ome": {"plate": ', r"^zarr\.json is damaged: Input data was truncated"),
        (
            "zarr.json",
            '{"attributes": {"ome": {"version": "0.5", "plate": {"wells": 7}}}}',
            r"^zarr\.json is not as OME-Zarr prescribes: Expected `array`, got `int` - at `.*\.plate\.wells`",
        ),
        (
            "zarr.json",
            '{"attributes": {"ome": {"version": "0.9", "plate": {"wells": []}}}}',
            r"^zarr\.json is of OME-Zarr version 0\.9; this version reads 0\.4 and 0\.5\.$",
        ),
        (
            "zarr.json",
            '{"attributes": {"ome": {"plate": {"wells": [{"path": "../B/02", "rowIndex": 1, "columnIndex": 1}]}}}}',
            r"names '\.\./B/02', which is not a path below it",
        ),
        ("zarr.json", '{"attributes": {"ome": {"plate": {"name": ' + "[" * 100_000, r"^zarr\.json is damaged"),
    ],
)
def test_a_damaged_plate_document_is_a_sentence(plate: Path, file: str, content: str, sentence: str) -> None:
    """Cut off, of another shape, of another version, leading out of the folder, or endlessly nested."""
    (plate / file).write_text(content)
    with pytest.raises(UnreadablePlateError, match=sentence):
        read(plate)


def test_a_document_of_absurd_size_is_not_read(plate: Path) -> None:
    """A sparse file of a gigabyte is refused by its size."""
    with (plate / "zarr.json").open("r+b") as file:
        file.truncate(2**30)
    with pytest.raises(UnreadablePlateError, match=r"^zarr\.json has 1073741824 bytes; the metadata of a plate have"):
        read(plate)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (
            {"shape": [10**9, 10**9, 10**9, 40, 48]},
            "A/01/0/0/zarr.json claims the shape 1000000000 x 1000000000 x 1000000000 x 40 x 48, which no image has",
        ),
        ({"shape": [1, 2, 2, 0, 48]}, "A/01/0/0/zarr.json claims the shape 1 x 2 x 2 x 0 x 48, which no image has"),
        ({"shape": [1, 2, 2, 10**8, 10**8]}, "A/01/0/0/zarr.json claims planes of 100000000 x 100000000 pixels"),
        ({"shape": [2, 40, 48]}, "A/01/0/0/zarr.json has 3 dimensions, but its image names 5 axes."),
        ({"data_type": "complex64"}, "A/01/0/0/zarr.json has pixels of type 'complex64'; an image has whole numbers"),
        ({"data_type": {"name": "numpy.datetime64"}}, "A/01/0/0/zarr.json has pixels of type"),
    ],
)
def test_arrays_that_are_no_images_are_named_and_their_planes_missing(plate: Path, edit: Json, sentence: str) -> None:
    """One bad image does not stop the plate: it is a warning, and its planes are missing."""
    change(plate / "A/01/0/0/zarr.json", lambda node: node.update(edit))
    found, index = read(plate)
    assert found.warnings[0].startswith(sentence)
    assert {(plane.key.well, plane.key.site) for plane in index.missing()} == {("A01", 1)}


def test_nan_in_a_document_is_unknown(plate: Path) -> None:
    """Python writes NaN where JSON has none; the rest of the document counts."""
    path = plate / "A/01/0/zarr.json"
    path.write_text(path.read_text().replace("65535", "NaN").replace("2.0", "NaN"))
    for other in ("A/01/1", "A/02/0", "A/02/1"):
        shutil.copy(path, plate / other / "zarr.json")
    found, _ = read(plate)
    assert (found.warnings, found.z_step_um, found.pixel_size_um) == ((), None, 0.65)


def test_own_attributes_that_contradict_the_array_are_named(own_output: Path, tmp_path: Path) -> None:
    """Our attributes were changed by hand: the image is not read by guess."""
    folder = Path(shutil.copytree(own_output / "images.zarr", tmp_path / "images.zarr"))
    change(folder / "A/01/0/zarr.json", lambda node: node["attributes"]["openhcs"].update(z_index=[1]))
    found, index = read(folder)
    assert found.warnings[0].startswith("A/01/0/zarr.json contradicts itself")
    assert {(plane.key.well, plane.key.site) for plane in index.missing()} == {("A01", 1)}


# Reading planes


def chunk_of(array: Path) -> Path:
    """The first chunk of an array."""
    return min(path for path in array.rglob("*") if path.is_file() and path.name.isdigit())


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_chunk_is_an_error(tmp_path: Path, version: Any, damage: str) -> None:
    """A chunk that is there and cannot be decoded never comes back as zeros."""
    folder = write_ome_zarr(tmp_path / "plate", SPEC, version)
    chunk = chunk_of(folder / "A/01/0/0")
    content = chunk.read_bytes()
    chunk.write_bytes({"cut": content[: len(content) // 2], "noise": b"\xff" * len(content), "empty": b""}[damage])
    with pytest.raises(PlaneReadError, match=r"A/01/0/0 is damaged: plane \(0, 0, 0\) cannot be decoded"):
        read_array_plane(folder, "A/01/0/0", (0, 0, 0))
    read_array_plane(folder, "A/01/0/0", (0, 0, 1))


def test_a_damaged_shard_of_ours_is_an_error(own_output: Path, tmp_path: Path) -> None:
    """The index of a shard has a checksum."""
    folder = Path(shutil.copytree(own_output / "images.zarr", tmp_path / "images.zarr"))
    (shard,) = (folder / "A/01/0/0").glob("c.*")
    shard.write_bytes(shard.read_bytes()[:-3] + b"\0\0\0")
    with pytest.raises(PlaneReadError, match="is damaged"):
        read_array_plane(folder, "A/01/0/0", (0, 0, 0))


def test_planes_are_read_into_a_given_array(raw: Path) -> None:
    """``out`` is filled and returned; another shape or type is refused with both named."""
    expected = SyntheticImages(SPEC).plane(ImageKey("A02", 2, 2, 2, 1))
    out = np.empty((40, 48), np.uint16)
    assert read_array_plane(raw, "A/02/1/0", (0, 1, 1), out=out) is out
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(PlaneMismatchError, match=r"planes of 48 x 40 uint16, but the plate's .* are 48 x 40 uint8"):
        read_array_plane(raw, "A/02/1/0", (0, 1, 1), out=np.empty((40, 48), np.uint8))


@pytest.mark.parametrize("place", [(), (0, 0), (0, 0, 2), (0, 0, -1), (0, 0, 0, 0)])
def test_a_place_that_the_array_has_not_is_refused(raw: Path, place: tuple[int, ...]) -> None:
    """An index of other length or beyond the end is an error, not another plane."""
    with pytest.raises(PlaneReadError, match=r"A/01/0/0 has no plane .*: its shape is \(1, 2, 2, 40, 48\)"):
        read_array_plane(raw, "A/01/0/0", place)


def test_no_array_at_the_path(raw: Path) -> None:
    """A group is no array."""
    with pytest.raises(PlaneReadError, match="A/01/0/9 is no zarr array"):
        read_array_plane(raw, "A/01/0/9", (0, 0, 0))
    with pytest.raises(PlaneReadError, match="A/01/0 cannot be opened as a zarr array"):
        read_array_plane(raw, "A/01/0", (0, 0, 0))


def test_an_array_that_was_written_anew_is_opened_anew(tmp_path: Path) -> None:
    """What is kept open does not outlive the array."""
    write_image(tmp_path, "yx", (8, 6))
    assert read_array_header(tmp_path, "A/1/0/full") == ((8, 6), "uint16")
    shutil.rmtree(tmp_path / "A/1/0/full")
    zarr.create_array(str(tmp_path / "A/1/0/full"), data=np.ones((12, 10), np.float32), zarr_format=2)
    assert read_array_header(tmp_path, "A/1/0/full") == ((12, 10), "float32")
    assert read_array_plane(tmp_path, "A/1/0/full", ()).shape == (12, 10)


def test_a_chunk_of_many_planes_is_decoded_once(tmp_path: Path) -> None:
    """Plane after plane of one chunk opens its file once, and what is handed out can be changed."""
    pixels = write_image(tmp_path, "zyx", (5, 8, 6))
    (chunk,) = [path for path in (tmp_path / "A/1/0/full").iterdir() if not path.name.startswith(".")]
    first = read_array_plane(tmp_path, "A/1/0/full", (0,))
    first[...] = 0
    chunk.unlink()
    for place in range(5):
        np.testing.assert_array_equal(read_array_plane(tmp_path, "A/1/0/full", (place,)), pixels[place])
