"""Opera Phenix and Operetta plates: real exports against their published facts, and small plates with one trap each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from openhcs_engine.microscopes import detect_microscope, list_folder
from openhcs_engine.microscopes.harmony.handler import OperaPhenixHandler
from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.model.image_index import ImageKey, PlaneKind
from openhcs_engine.model.plate import Grid, StageFrame
from openhcs_engine.raw.stamps import stamp
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.harmony_exports import image_name, index_text, read, record, write_export

SETS = ("operetta_ball_384", "phenix_BR00121482_xml_only")
EMISSIONS = {
    "operetta_ball_384": [525.0],
    "phenix_BR00121482_xml_only": [706.0, 599.0, 599.0, 522.0, 456.0, None],
}
"""MainEmissionWavelength as the indexes give it; 0, in transmitted light, is none."""
Facts = dict[str, Any]  # Any: the JSON of the published facts


def facts_of(data_dir: Path, name: str) -> Facts:
    """The published truth of one set."""
    facts: Facts = json.loads((data_dir / "facts.json").read_text(encoding="utf-8"))[name]
    return facts


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything below a folder."""
    found = ((path, path.stat()) for path in folder.rglob("*"))
    return {str(path): (status.st_size, status.st_mtime_ns) for path, status in found}


# Real exports.


@pytest.mark.parametrize("name", SETS)
def test_planes_positions_and_heights_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """Each image of the index is one plane with its file, stage position and height, present or not."""
    _, index = read(data_dir / name)

    found = [
        (p.key, p.path, p.kind, p.present, p.x_um, p.y_um, p.z_um, p.size > 0)
        for p in sorted(stamp(index, str(data_dir / name)), key=lambda plane: str(plane.path))
    ]
    assert found == [
        (
            ImageKey(image["well"], image["field"], image["channel"], image["plane"], image["t"]),
            f"Images/{image['url']}",
            PlaneKind.PLANE,
            image["exists"],
            image["x_um"],
            image["y_um"],
            image["z_um"],
            image["exists"],
        )
        for image in facts_of(data_dir, name)["images"]
    ]


@pytest.mark.parametrize("name", SETS)
def test_metadata_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """Plate, channels, pixel size, wavelengths, grid and shape are what the instrument wrote."""
    facts = facts_of(data_dir, name)

    plate, _ = read(data_dir / name)

    assert (plate.microscope, plate.plate_id, plate.name) == ("opera_phenix", name, facts["plate"]["Name"])
    assert (plate.rows, plate.columns) == (int(facts["plate"]["PlateRows"]), int(facts["plate"]["PlateColumns"]))
    assert plate.grid == Grid(rows=facts["grid"]["n_rows"], columns=facts["grid"]["n_cols"])
    assert (list(plate.wells), list(plate.sites)) == (facts["wells"], facts["fields"])
    assert list(plate.z_indexes) == facts["planes_z"]
    assert plate.timepoints == (0,)
    assert plate.stage_frame == StageFrame(origin="well centre", y_axis="up")
    assert {str(channel.index): channel.name for channel in plate.channels} == {
        number: channel["name"] for number, channel in facts["channels"].items()
    }
    assert [channel.wavelength_nm for channel in plate.channels] == EMISSIONS[name]
    assert {plate.pixel_size_um} == {channel["px_um"] for channel in facts["channels"].values()}
    assert [list(channel.shape or ()) for channel in plate.channels] == [
        channel["size"] for channel in facts["channels"].values()
    ]


def test_pixels_are_those_of_the_facts(data_dir: Path) -> None:
    """Every listed path leads to exactly the pixels that the facts give for it."""
    folder = data_dir / "operetta_ball_384"
    plate, index = read(folder)
    assert plate.dtype == "uint16"
    assert (plate.wells, plate.absent_wells, plate.warnings, plate.notes) == (("C03",), (), (), ())
    assert [
        hashlib.sha256(np.ascontiguousarray(tifffile.imread(folder / str(plane.path))).tobytes()).hexdigest()
        for plane in index
    ] == [image["sha256"] for image in facts_of(data_dir, "operetta_ball_384")["images"]]


def test_an_index_alone_gives_the_complete_table(data_dir: Path) -> None:
    """A folder of metadata only has the wells that were declared, and says so; its pixel type is unknown."""
    plate, index = read(data_dir / "phenix_BR00121482_xml_only")
    assert (plate.wells, plate.absent_wells) == (("A01",), ())
    assert len(index) == len(index.missing()) == 6
    assert [channel.dtype for channel in plate.channels] == [None] * 6
    assert plate.warnings == ("The folder has an index, but no image.",)


@pytest.mark.parametrize("name", SETS)
def test_a_real_export_is_detected_and_left_as_it_was(data_dir: Path, name: str) -> None:
    """Among all formats this one is found; nothing is written into the folder."""
    before = snapshot(data_dir / name)
    detected = detect_microscope(data_dir / name)
    detected.read_plate()
    assert detected.handler.name == "opera_phenix"
    assert snapshot(data_dir / name) == before


@pytest.mark.parametrize(
    "name",
    [
        "ix_singlechannel_zstep",
        "ix_timelapse_zmix",
        "metaxpress_3434_mixed",
        "cv8000_minimal",
        "cv7000_hipsc_png",
        "cv7000_z_processed_meta_only",
        "sbs_translocation",
        "examplehuman",
        "nf1_cytation",
        "omezarr_apx_2d.zarr",
        "omezarr_v04_3434_dapi.zarr",
    ],
)
def test_other_formats_are_not_taken(data_dir: Path, name: str) -> None:
    """Real plates of other makers are not taken for Harmony's."""
    assert not OperaPhenixHandler().recognises(list_folder(data_dir / name))


# Files that are missing, elsewhere, or too many.


def test_a_missing_file_is_a_row_that_is_not_present(tmp_path: Path) -> None:
    """One absent plane is listed with its coordinate and the path where it should lie."""
    write_export(tmp_path, index_text([record(), record(field=2)]), [image_name()])
    plate, index = read(tmp_path)
    (row,) = index.missing()
    assert (row.key, row.path, row.size) == (ImageKey("A01", 2, 1, 1, 0), f"Images/{image_name(field=2)}", 0)
    assert (plate.wells, plate.warnings) == (("A01",), ())


def test_a_well_without_files_is_absent(tmp_path: Path) -> None:
    """Wells that the plate's head or a record names and that have no file are named; their planes are missing."""
    text = index_text([record(), record(1, 2)], plate='<Well id="0101" /><Well id="0102" /><Well id="0812" />')
    write_export(tmp_path, text, [image_name()])
    plate, index = read(tmp_path)
    assert (plate.wells, plate.absent_wells) == (("A01",), ("A02", "H12"))
    assert plate.warnings == ("Selected for acquisition, but without any image: A02, H12.",)
    assert [plane.key.well for plane in index.missing()] == ["A02"]


def test_a_channel_gone_from_every_well_is_missing_and_enters_no_pipeline(tmp_path: Path) -> None:
    """A channel that was never copied counts with each of its records, and stops no well."""
    write_export(tmp_path, index_text([record(), record(channel=2, ChannelName="GFP")]), [image_name()])
    plate, index = read(tmp_path)
    assert [channel.index for channel in plate.channels] == [1]
    assert plate.warnings == ('The index lists channel 2 ("GFP"), but no file of it is in the folder.',)
    assert [plane.key.channel for plane in index.missing()] == [2]
    assert [plane.key.channel for plane in index.pipeline_input()] == [1]


@pytest.mark.parametrize("state", ["Failed", "  Error\n"])
def test_records_of_failed_images_are_errors(tmp_path: Path, state: str) -> None:
    """What the instrument could not record is an error of the plate, never a plane; a file of that name is left out."""
    records = [record(), record(field=2, State=state), record(field=3, State=state)]
    write_export(tmp_path, index_text(records), [image_name(), image_name(field=3)])
    plate, index = read(tmp_path)
    where = "Well A01, site {}, channel 1, z 1, time point 0: Images/Index.idx.xml records the state {!r}"
    assert plate.errors == (
        where.format(2, state.strip()) + f" for Images/{image_name(field=2)}.",
        where.format(3, state.strip()) + f"; Images/{image_name(field=3)} was left out.",
    )
    assert [plane.key.site for plane in index] == [1]
    assert plate.warnings == ()


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("my%20image%231.tiff", "my image#1.tiff"),
        ("100%25.tiff", "100%25.tiff"),
        ("R01C01F01P01-CH1SK1FK1FL1.TIFF", "r01c01f01p01-ch1sk1fk1fl1.tiff"),
        ("sub/image.tiff", "sub/image.tiff"),
        ("sub\\image.tiff", "sub/image.tiff"),
        ("./image.tiff", "image.tiff"),
        ("C:\\exports\\Images\\r01c01f01p01-ch1sk1fk1fl1.tiff", "r01c01f01p01-ch1sk1fk1fl1.tiff"),
        ("\\\\server\\share\\r01c01f01p01-ch1sk1fk1fl1.tiff", "r01c01f01p01-ch1sk1fk1fl1.tiff"),
        ("http://columbus/x/r01c01f01p01-ch1sk1fk1fl1.tiff", "r01c01f01p01-ch1sk1fk1fl1.tiff"),
    ],
)
def test_urls_lead_to_files(tmp_path: Path, url: str, file: str) -> None:
    """Percent-encoded, in another case, with Windows' separators, or from another computer: the file is found."""
    write_export(tmp_path, index_text([record(URL=url)]), [file])
    plate, (plane,) = read(tmp_path)
    assert (plane.path, plane.present) == (f"Images/{file}", True)
    assert plate.warnings == ()


@pytest.mark.parametrize("first", [0, 1])
def test_records_without_a_url_follow_the_name_rule(tmp_path: Path, first: int) -> None:
    """File names count time points from 1, whatever the index counts from; absent ones have the path of the rule."""
    records = [record(timepoint=first + n, URL="") for n in range(3)]
    write_export(tmp_path, index_text(records), [image_name(timepoint=n).replace("sk", "SK") for n in (0, 1)])
    _, index = read(tmp_path)
    assert [(plane.key.timepoint, plane.present, plane.path) for plane in index] == [
        (first, True, "Images/r01c01f01p01-ch1SK1fk1fl1.tiff"),
        (first + 1, True, "Images/r01c01f01p01-ch1SK2fk1fl1.tiff"),
        (first + 2, False, "Images/r01c01f01p01-ch1sk3fk1fl1.tiff"),
    ]


@pytest.mark.parametrize(
    "url", ["../../secret.tiff", "a/../../../secret.tiff", "%2E%2E/../secret.tiff", "a&#10;b.tiff"]
)
def test_urls_never_lead_out_of_the_plate_folder(tmp_path: Path, url: str) -> None:
    """A URL with ``..`` or a line break has no path at all; the plate says so."""
    (tmp_path / "secret.tiff").touch()
    write_export(tmp_path / "plate", index_text([record(URL=url), record(field=2)]), [image_name(field=2)])
    plate, index = read(tmp_path / "plate")
    (row,) = index.missing()
    assert row.path is None
    (warning,) = plate.warnings
    assert warning.startswith("Images/Index.idx.xml names 1 files outside of the plate folder, the first '")
    assert warning.isprintable()


def test_a_url_may_go_up_inside_the_plate_folder(tmp_path: Path) -> None:
    """An index in a folder of its own points to its neighbour."""
    text = index_text([record(URL="../Images/x.tiff")])
    write_export(tmp_path, text, ["x.tiff"], index_name="index/Index.xml")
    assert [plane.path for plane in read(tmp_path)[1].present()] == ["Images/x.tiff"]


def test_repeated_records_are_counted_once(tmp_path: Path) -> None:
    """The same image twice is a note; two files for one coordinate are a warning, and the first is read."""
    records = [record(), record(), record(URL="r01c01f01p01-ch1sk1fk1fl1_2.tiff")]
    write_export(tmp_path, index_text(records), [image_name(), "r01c01f01p01-ch1sk1fk1fl1_2.tiff"])
    plate, index = read(tmp_path)
    assert [plane.path for plane in index] == [f"Images/{image_name()}"]
    assert plate.notes == ("Images/Index.idx.xml lists 1 images twice; each was counted once.",)
    assert plate.warnings == (
        "Images/r01c01f01p01-ch1sk1fk1fl1_2.tiff was left out: the index gives it the same well, site, channel, z and "
        f"time point as Images/{image_name()}.",
    )


def series_name(time: int, fast: int, lifetime: int = 1, channel: int = 1) -> str:
    """The file of an image of a series."""
    return f"r01c01f01p01-ch{channel}sk{time}fk{fast}fl{lifetime}.tiff"


@pytest.mark.parametrize("has_index", [True, False])
def test_fast_kinetics_are_time_points_of_their_own(tmp_path: Path, has_index: bool) -> None:
    """A plate has no axis for them: they follow each other in time, and a warning says which is which."""
    places = [(time, fast) for time in (1, 2) for fast in (1, 2, 10)]
    records = [record(timepoint=time - 1, URL=series_name(time, fast)) for time, fast in reversed(places)]
    write_export(tmp_path, index_text(records) if has_index else None, [series_name(*place) for place in places])

    plate, index = read(tmp_path)

    first = 0 if has_index else 1  # this index counts from 0
    assert [(plane.key.timepoint, plane.path) for plane in index] == [
        (number, f"Images/{series_name(*place)}") for number, place in enumerate(places, first)
    ]
    assert any(
        f"fast kinetic series are time points of their own, numbered {first} to {first + 5}" in warning
        and f"{first + 1}: time point {first}, fast 2" in warning
        for warning in plate.warnings
    )


@pytest.mark.parametrize("has_index", [True, False])
def test_lifetimes_are_channels_of_their_own(tmp_path: Path, has_index: bool) -> None:
    """The first keeps the channel's number; others are numbered behind the last one."""
    images = [(1, 1), (1, 2), (4, 1)]
    names = [series_name(1, 1, lifetime, channel) for channel, lifetime in images]
    records = [record(channel=channel, URL=name) for (channel, _), name in zip(images, names, strict=True)]
    write_export(tmp_path, index_text(records) if has_index else None, names)

    plate, index = read(tmp_path)

    assert {plane.key.channel: plane.path for plane in index} == {
        1: f"Images/{names[0]}", 5: f"Images/{names[1]}", 4: f"Images/{names[2]}",
    }  # fmt: skip
    assert [str(channel.name) for channel in plate.channels[::2]] == [
        "Channel 1 (lifetime 1)",
        "Channel 1 (lifetime 2)",
    ]
    assert plate.channels[1].name is None
    assert any("1: lifetime 1, 5: lifetime 2" in warning for warning in plate.warnings)


def test_a_number_of_a_series_that_never_changes_moves_nothing(tmp_path: Path) -> None:
    """One image a coordinate needs no other."""
    write_export(tmp_path, index_text([record(URL=series_name(1, 2))]), [series_name(1, 2)])
    plate, index = read(tmp_path)
    assert [plane.key.timepoint for plane in index] == [0] and plate.warnings == ()


def test_of_two_records_the_one_with_a_file_is_kept(tmp_path: Path) -> None:
    """A gap is none if another record of the plane has its file."""
    write_export(tmp_path, index_text([record(URL="gone.tiff"), record()]), [image_name()])
    _, index = read(tmp_path)
    assert [(plane.path, plane.present) for plane in index] == [(f"Images/{image_name()}", True)]


def test_images_that_the_index_does_not_list_are_left_out(tmp_path: Path) -> None:
    """Files beside the index that no record names are counted, not read."""
    write_export(tmp_path, index_text([record()]), [image_name(), image_name(field=2), image_name(field=3)])
    plate, index = read(tmp_path)
    assert len(index) == 1
    assert plate.warnings == (
        "2 images in the folder are not in Images/Index.idx.xml and were left out, the first "
        f"Images/{image_name(field=2)}.",
    )


def test_damaged_records_are_counted(tmp_path: Path) -> None:
    """Records without a row, or with a well of no plate, are left out with a warning."""
    records = [record(), record(field=2, Row=""), record(field=3, Row="99"), record(field=4, ChannelID="x")]
    write_export(tmp_path, index_text(records), [image_name()])
    plate, index = read(tmp_path)
    assert len(index) == 1
    assert plate.warnings == (
        "Images/Index.idx.xml has 3 records without a row, column or channel, or with a number that cannot be read "
        "(the first: 0101K1F2P1R1); not used.",
    )


def test_a_cut_or_empty_image_does_not_stop_the_plate(tmp_path: Path) -> None:
    """The next image tells the pixel type, and the damaged ones are named."""
    names = [image_name(field=n) for n in (1, 2, 3)]
    write_export(tmp_path, index_text([record(field=n) for n in (1, 2, 3)]), names)
    os.truncate(tmp_path / "Images" / names[0], 0)
    os.truncate(tmp_path / "Images" / names[1], 300)
    plate, _ = read(tmp_path)
    assert plate.dtype == "uint16"
    assert plate.warnings == (
        f"Images/{names[0]} cannot be read: it is empty.",
        f"Images/{names[1]} is cut short: its pixels end beyond the end of the file.",
    )


def test_few_headers_are_read_and_no_image_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many planes there are, at most 25 headers are read."""
    keys = [(field, channel) for field in range(1, 10) for channel in (1, 2)]
    write_export(
        tmp_path,
        index_text([record(field=field, channel=channel) for field, channel in keys]),
        [image_name(field=field, channel=channel) for field, channel in keys],
    )
    opened: list[str] = []
    open_file = FolderListing.open_header

    def counting(self: FolderListing, path: str) -> Any:  # Any: whatever the original returns
        opened.append(path)
        return open_file(self, path)

    monkeypatch.setattr(FolderListing, "open_header", counting)
    read(tmp_path)

    assert 0 < len([path for path in opened if path.endswith(".tiff")]) <= 25


# Without an index.

LOST = (
    "There is no index in the folder: the images are known by their file names alone. Positions, heights, pixel size, "
    "channel names, the plate's format and what is missing are unknown."
)


@pytest.mark.parametrize("place", [".", "Images", "images/r03c03"])
@pytest.mark.parametrize("suffix", [".tiff", ".TIF"])
def test_images_alone_are_read_by_their_names(tmp_path: Path, place: str, suffix: str) -> None:
    """Names give the coordinates; everything else is unknown, and the plate says so."""
    names = [f"R03C03F0{field}P02-CH4SK{time}FK1FL1{suffix}" for field in (1, 2) for time in (1, 2)]
    write_export(tmp_path / "plate", None, names, place=place)
    plate, index = read(tmp_path / "plate")
    assert [plane.key for plane in index] == [ImageKey("C03", field, 4, 2, time) for time in (1, 2) for field in (1, 2)]
    assert (plate.name, plate.grid, plate.pixel_size_um, plate.stage_frame) == ("plate", None, None, None)
    assert (plate.channels[0].name, plate.shape, plate.dtype) == (None, (8, 12), "uint16")
    assert plate.warnings == (LOST,)
    assert len(index.missing()) == 0


def test_a_lost_index_changes_no_plane(tmp_path: Path, data_dir: Path) -> None:
    """The real plate without its index has the same images, but for the number of the time point."""
    shutil.copytree(data_dir / "operetta_ball_384" / "Images", tmp_path / "Images")
    _, with_index = read(tmp_path)
    (tmp_path / "Images" / "Index.idx.xml").unlink()
    _, without = read(tmp_path)
    assert [plane.path for plane in without] == [plane.path for plane in with_index]
    assert {plane.key.timepoint for plane in without} == {1}


def test_copies_are_counted_once_and_others_are_named(tmp_path: Path) -> None:
    """Two files of one plane: equal ones are a note, others a warning."""
    write_export(tmp_path, None, [image_name(), image_name(field=2)], place=".")
    (tmp_path / "Images").mkdir()
    shutil.copy(tmp_path / image_name(), tmp_path / "Images")
    tifffile.imwrite(tmp_path / "Images" / image_name(field=2), np.ones((8, 12), np.uint8))
    plate, index = read(tmp_path)
    assert [plane.path for plane in index] == [image_name(), image_name(field=2)]
    assert plate.notes == ("1 files repeat others byte for byte; each image was counted once.",)
    assert plate.warnings[1:] == (
        f"Images/{image_name(field=2)} was left out: it differs from {image_name(field=2)}, but both are the same "
        "well, site, channel, z and time point.",
    )


def test_names_that_only_look_alike_are_not_read(tmp_path: Path) -> None:
    """Thumbnails, files of macOS, wells of no plate and letters from other scripts are no images of ours."""
    name = image_name()
    others = ["._" + name, name.replace("r01", "r33"), name.replace("c01", "c0１"), "r01c01.tiff"]
    write_export(tmp_path, None, [name, *others])
    _, index = read(tmp_path)
    assert [plane.path for plane in index] == [f"Images/{image_name()}"]


def test_an_imagexpress_plate_is_not_ours(tmp_path: Path) -> None:
    """No file of another maker's export makes it ours."""
    folder = write_imagexpress(tmp_path / "plate", SyntheticPlate(rows=1, columns=1, shape=(64, 64)))
    assert not OperaPhenixHandler().recognises(list_folder(folder))
