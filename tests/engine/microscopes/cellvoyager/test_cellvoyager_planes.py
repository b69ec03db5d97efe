"""CellVoyager planes: small measurements with one trap each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine.errors import SeveralPlatesError
from openhcs_engine.microscopes import FolderListing
from openhcs_engine.model.plate import Grid
from tests.engine.cellvoyager_folders import ERROR, key, name_of, only, read, record, write_image, write_records


def test_the_channel_is_ch_whatever_the_action(tmp_path: Path) -> None:
    """Actions 1 and 2 took channels 3 and 1."""
    keys = (key(channel=3), key(channel=1))
    write_records(tmp_path, [record(one, action=number) for number, one in enumerate(keys, 1)])
    for number, one in enumerate(keys, 1):
        write_image(tmp_path / name_of(one, action=number))
    plate, index = read(tmp_path)
    assert [(plane.key.channel, str(plane.path)[-10:]) for plane in index] == [(1, "Z01C01.tif"), (3, "Z01C03.tif")]
    assert [channel.index for channel in plate.channels] == [1, 3]


def test_errors_are_sentences_and_no_planes(tmp_path: Path) -> None:
    """An ERR record becomes a sentence with the well and whatever else it names, in one line."""
    write_image(tmp_path / name_of(key()))
    field = 'bts:FieldIndex="2" bts:Ch="3"'
    write_records(tmp_path, [record(key()), ERROR.format(""), ERROR.format(field)])

    plate, index = read(tmp_path)

    assert len(index) == 1
    assert plate.wells == ("A01",)
    assert plate.errors == (
        "Well A02, time point 1 (2025-01-01T11:00:00+01:00): AF Error at A02 No. 0",
        "Well A02, field 2, channel 3, time point 1 (2025-01-01T11:00:00+01:00): AF Error at A02 No. 0",
    )


def test_a_measurement_of_errors_only_is_a_plate_without_planes(tmp_path: Path) -> None:
    """Where every well failed, the errors are told and nothing is invented."""
    write_records(tmp_path, [ERROR.format("")])
    plate, index = read(tmp_path)
    assert (len(index), plate.wells, plate.channels, len(plate.errors)) == (0, (), (), 1)


def test_projections_stand_beside_their_planes(tmp_path: Path) -> None:
    """A projection of a channel that has planes is another row, and enters no z-stack."""
    keys = [key(z=1), key(z=2), key(z=None)]
    files = [name_of(one, action=2 if one.z_index is None else 1) for one in keys]
    write_records(tmp_path, [record(one, file) for one, file in zip(keys, files, strict=True)])
    for file in files:
        write_image(tmp_path / file)
    plate, index = read(tmp_path)
    assert [(plane.key.z_index, plane.kind.value) for plane in index] == [
        (None, "projection"),
        (1, "plane"),
        (2, "plane"),
    ]
    assert [plane.key.z_index for plane in index.pipeline_input()] == [1, 2]
    assert (plate.z_indexes, plate.z_step_um, plate.warnings) == ((1, 2), 2.0, ())


def test_a_missing_file_is_a_row_with_its_path(tmp_path: Path) -> None:
    """A record without its file is listed where it should lie, not present; a well without any file is absent."""
    keys = [key("A01"), key("A01", site=2), key("B02")]
    write_records(tmp_path / "measured", [record(one) for one in keys])
    write_image(tmp_path / "measured" / name_of(keys[0]))

    plate, index = read(tmp_path)

    assert [(plane.key, plane.path) for plane in index.missing()] == [
        (one, "measured/" + name_of(one)) for one in keys[1:]
    ]
    assert (plate.wells, plate.absent_wells) == (("A01",), ("B02",))
    assert plate.warnings == ("Selected for acquisition, but without any image: B02.",)


def test_a_channel_gone_from_every_well_is_missing_and_enters_no_pipeline(tmp_path: Path) -> None:
    """A channel that was not copied counts with each of its records, and stops no well."""
    write_records(tmp_path, [record(key(channel=1)), record(key(channel=2))])
    write_image(tmp_path / name_of(key(channel=1)))
    plate, index = read(tmp_path)
    assert [plane.key.channel for plane in index.missing()] == [2]
    assert only(index.pipeline_input()).key.channel == 1
    assert plate.warnings == ("Channel 2 was recorded, but no file of it is in the folder.",)


@pytest.mark.parametrize(
    ("recorded", "lies"),
    [
        ("Image\\{}.tif", "Image/{}.tif"),
        ("{}.tif", "images/{}.tif"),
        ("{}.tif", "{}.png"),
        ("{}.tif", "{}.TIF"),
        ("D:\\data\\{}.tif", "{}.tif"),
        ("\n  {}.tif\n", "{}.tif"),
    ],
)
def test_a_file_is_found_where_it_was_put(tmp_path: Path, recorded: str, lies: str) -> None:
    """Subfolders with backslashes, moved and repacked images, and paths of the instrument's disk lead to the file."""
    stem = name_of(key()).removesuffix(".tif")
    write_records(tmp_path, [record(key(), recorded.format(stem))])
    write_image(tmp_path / lies.format(stem))
    _, index = read(tmp_path)
    assert (only(index).path, only(index).present) == (lies.format(stem), True)


def test_a_file_that_could_be_two_is_missing_and_named(tmp_path: Path) -> None:
    """Two files of the recorded name in other folders: neither is guessed."""
    write_records(tmp_path, [record(key()), record(key(site=2))])
    for folder in ("one", "two"):
        write_image(tmp_path / folder / name_of(key()))
    write_image(tmp_path / name_of(key(site=2)))
    plate, index = read(tmp_path)
    assert [plane.key for plane in index.missing()] == [key()]
    assert any("several files could be each of them" in warning for warning in plate.warnings)


@pytest.mark.parametrize(
    "file", ["../secret.tif", "/etc/secret.tif", "a/../../secret.tif", "C:\\secret.tif", "a\tb.tif"]
)
def test_names_that_leave_the_folder_are_not_followed(tmp_path: Path, file: str) -> None:
    """A hostile name gives a plane without a path, and a warning."""
    write_image(tmp_path / "secret.tif")
    write_records(tmp_path / "plate", [record(key(), file), record(key(site=2))])
    write_image(tmp_path / "plate" / name_of(key(site=2)))
    plate, index = read(tmp_path / "plate")
    assert [(plane.key, plane.path) for plane in index.missing()] == [(key(), None)]
    assert any("lead out of the plate folder" in warning for warning in plate.warnings)


def test_a_repeated_record_counts_once(tmp_path: Path) -> None:
    """A field that was taken twice under one name is one plane, at its last place."""
    write_image(tmp_path / name_of(key()))
    write_records(tmp_path, [record(key()), record(key(), changes={"X": 7.5})])
    plate, index = read(tmp_path)
    assert only(index).x_um == 7.5
    assert plate.notes == ("1 records repeat others of the same file; each image was counted as recorded last.",)


@pytest.mark.parametrize("heights", [(1, 1), (1, 2)], ids=["same planes", "other planes"])
def test_two_actions_on_one_channel_are_two_channels(tmp_path: Path, heights: tuple[int, int]) -> None:
    """Their images enter no common stack, whether or not they share a height; the first keeps its number."""
    taken = [(action, key(channel=channel, z=z)) for action, z in enumerate(heights, 1) for channel in (1, 2)[:action]]
    write_records(tmp_path, [record(one, action=action) for action, one in reversed(taken)])
    for action, one in taken:
        write_image(tmp_path / name_of(one, action=action))

    plate, index = read(tmp_path)

    assert {plane.key.replace(z_index=1): plane.path for plane in index} == {
        key(channel=1): name_of(key(channel=1, z=heights[0]), action=1),
        key(channel=2): name_of(key(channel=2, z=heights[1]), action=2),
        key(channel=3): name_of(key(channel=1, z=heights[1]), action=2),
    }
    assert [channel.name for channel in plate.channels] == ["Channel 1 (action 1)", None, "Channel 1 (action 2)"]
    assert plate.warnings == () and "1: action 1, 3: action 2" in plate.notes[0]


def test_two_actions_are_two_channels_by_names_alone(tmp_path: Path) -> None:
    """Without records the names say the action."""
    for action in (1, 2):
        write_image(tmp_path / name_of(key(), action=action))
    plate, index = read(tmp_path)
    assert [plane.path for plane in index] == [name_of(key(), action=action) for action in (1, 2)]
    assert [channel.name for channel in plate.channels] == ["Channel 1 (action 1)", "Channel 1 (action 2)"]


def test_actions_that_share_no_field_share_a_channel(tmp_path: Path) -> None:
    """One for some wells and one for others; a second record of one file is no second image either."""
    keys = [key("A01"), key("B01")]
    files = [name_of(one, action=number) for number, one in enumerate(keys, 1)]
    records = [record(one, file, action=number) for number, (one, file) in enumerate(zip(keys, files, strict=True), 1)]
    write_records(tmp_path, [*records, record(keys[0], files[0], action=3)])
    for file in files:
        write_image(tmp_path / file)
    plate, index = read(tmp_path)
    assert [plane.key for plane in index] == keys
    assert [(channel.index, channel.name) for channel in plate.channels] == [(1, None)]


def test_time_lines_that_count_on_keep_their_time_points(tmp_path: Path) -> None:
    """The instrument numbers time points over all time lines; its numbers stay."""
    keys = [key("A01", t=1), key("B01", t=2)]
    write_records(tmp_path, [record(one, timeline=line) for line, one in enumerate(keys, 1)])
    plate, index = read(tmp_path)
    assert {plane.key for plane in index} == set(keys)
    assert plate.notes == ()


def test_time_lines_that_count_from_one_again_are_numbered_on(tmp_path: Path) -> None:
    """No image of a second time line is lost to the first; the shift is told."""
    lines = {1: (1, 2), 2: (1,)}
    write_records(tmp_path, [record(key(t=t), timeline=line) for line, times in lines.items() for t in times])
    plate, index = read(tmp_path)
    assert [(plane.key.timepoint, str(plane.path)[15:18]) for plane in index] == [(1, "L01"), (2, "L01"), (3, "L02")]
    assert plate.timepoints == (1, 2, 3)
    assert "time line 2: + 2" in plate.notes[0]


def test_images_without_a_record_are_named(tmp_path: Path) -> None:
    """An image that no record names is left out with a warning; shading images are nobody's."""
    write_records(tmp_path, [record(key())])
    for file in (name_of(key()), name_of(key(site=2)), "SC_BP525-50_20x v2_M01_CH01.tif"):
        write_image(tmp_path / file)
    plate, index = read(tmp_path)
    assert len(index) == 1
    assert plate.warnings == (f"1 images were left out: no record names them (the first: {name_of(key(site=2))}).",)


def test_wells_of_1536_are_read(tmp_path: Path) -> None:
    """Row 32, column 48 is AF48."""
    write_records(tmp_path, [record(key("AF48"))])
    write_image(tmp_path / name_of(key("AF48")))
    assert read(tmp_path)[0].wells == ("AF48",)


@pytest.mark.parametrize(
    ("places", "grid"),
    [
        ([(0, 0)], Grid(rows=1, columns=1)),
        ([(0, 0), (600.1, 0.3), (1200, 0)], Grid(rows=1, columns=3)),
        ([(0, 0), (600, 0), (0, -600)], Grid(rows=2, columns=2)),
        ([(0, 0), (600, 600)], None),
        ([(0, 0), (610, 20), (1500, 77)], None),
    ],
)
def test_the_grid_is_measured_or_none(tmp_path: Path, places: list[tuple[float, float]], grid: Grid | None) -> None:
    """Fields on an even lattice make a grid, with a corner left out too; scattered ones make none."""
    write_records(tmp_path, [record(key(site=site), changes={"X": x, "Y": y}) for site, (x, y) in enumerate(places, 1)])
    assert read(tmp_path)[0].grid == grid


def test_fields_that_lie_elsewhere_in_each_well_make_no_grid(tmp_path: Path) -> None:
    """Fields that the instrument searched for have positions and no grid."""
    write_records(tmp_path, [record(key("A01"), changes={"X": 10.0}), record(key("B01"), changes={"X": 210.0})])
    plate, index = read(tmp_path)
    assert plate.grid is None
    assert [plane.x_um for plane in index] == [10.0, 210.0]


def test_one_plane_in_two_packings_is_one(tmp_path: Path) -> None:
    """Without records, the same plane as TIFF and PNG is one plane, and the other file is named."""
    write_image(tmp_path / name_of(key()))
    write_image(tmp_path / name_of(key()).replace(".tif", ".png"))
    plate, index = read(tmp_path)
    assert only(index).present
    assert len(plate.warnings) == 2
    assert "was left out" in plate.warnings[1]


def test_records_below_the_images_belong_to_them(tmp_path: Path) -> None:
    """Metadata kept in a folder below the images are used, and the images are found above."""
    write_records(tmp_path / "metadata", [record(key())])
    write_image(tmp_path / name_of(key()))
    plate, index = read(tmp_path)
    assert (only(index).path, only(index).x_um) == (name_of(key()), 100.0)
    assert plate.warnings == ()


def test_two_measurements_are_two_plates(tmp_path: Path) -> None:
    """A folder of measurements is not one plate; each of them is."""
    for folder in ("first", "second"):
        write_records(tmp_path / folder, [record(key())])
    with pytest.raises(SeveralPlatesError, match="first, second"):
        read(tmp_path)
    assert len(read(tmp_path / "first")[1]) == 1


def test_an_mlf_of_another_kind_is_no_plate(tmp_path: Path) -> None:
    """Speech tools write .mlf files too; without the instrument's element the names decide."""
    (tmp_path / "labels.mlf").write_text("#!MLF!#\n")
    write_image(tmp_path / name_of(key()))
    assert read(tmp_path)[0].warnings[0].startswith("There is no MeasurementData.mlf")


def test_few_headers_are_read_and_no_image_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many planes there are, at most 25 headers are read."""
    keys = [key(well, site, channel) for well in ("A01", "B01") for site in range(1, 13) for channel in (1, 2)]
    write_records(tmp_path, map(record, keys))
    for one in keys:
        write_image(tmp_path / name_of(one))
    opened: Counter[str] = Counter()
    open_file = FolderListing.open_header

    def counting(self: FolderListing, path: str) -> Any:  # Any: whatever the original returns
        opened[path] += 1
        return open_file(self, path)

    monkeypatch.setattr(FolderListing, "open_header", counting)
    _, index = read(tmp_path)

    assert len(index.present()) == 48
    assert {opened[path] for path in opened if path.endswith(".tif")} == {1}
    assert len([path for path in opened if path.endswith(".tif")]) <= 25
