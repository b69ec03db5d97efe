"""The plan document: small where names follow a pattern, exact whatever they are, and refused when it was touched."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine import FunctionStep
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import ContextFileError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.microscopes.cellvoyager.names import CellVoyagerName
from openhcs_engine.microscopes.harmony.names import HarmonyName
from openhcs_engine.microscopes.imagexpress.names import ImageName
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.wells import row_and_column, well_name
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from openhcs_engine.plan.number_text import Column, base36, count_runs, from_runs, to_runs
from openhcs_engine.raw.stamps import stamp
from openhcs_engine.synthetic import LAYOUTS, SyntheticPlate
from tests.engine.plates import add, make_plate, output_plan

ROOT = Path(__file__).resolve().parents[3]
WELLS = tuple(well_name(row, column) for row in range(4) for column in range(12))
Document = dict[str, Any]  # Any: JSON


def plan_of(wells: dict[str, list[ImagePlane]]) -> dict[str, ProcessingContext]:
    """One context a well, with just these planes."""
    context = any_context()
    return {well: replace(context, well=well, index=ImageIndex(tuple(planes))) for well, planes in wells.items()}


@cache
def any_context() -> ProcessingContext:
    """One well of the small plate, compiled."""
    plate, index = make_plate(("A01",))
    return compile_plate(plate, index, [FunctionStep(add)], output=output_plan()).contexts["A01"]


def plate_named(name: Callable[[ImageKey], str | None], wells: tuple[str, ...] = WELLS) -> dict[str, list[ImagePlane]]:
    """Wells of 3 sites, 2 channels and 2 z planes with files of these names, written one after the other."""
    pause, now, found = random.Random(1), 1_700_000_000_000_000_000, dict[str, list[ImagePlane]]()
    for well in wells:
        for site in (1, 2, 3):
            for channel in (1, 2):
                for z_index in (1, 2):
                    now += pause.randrange(200_000_000, 900_000_000)
                    key = ImageKey(well, site, channel, z_index, 1)
                    plane = ImagePlane(key=key, path=name(key), size=9_338_880, mtime_ns=now)
                    found.setdefault(well, []).append(plane)
    return found


def parsed(contexts: dict[str, ProcessingContext]) -> Document:
    """The document's JSON."""
    document: Document = msgspec.json.decode(contexts_to_json(contexts))
    return document


def survives(contexts: dict[str, ProcessingContext]) -> bool:
    """Whether what is read back is equal, and has equal fingerprints."""
    again = contexts_from_json(contexts_to_json(contexts))
    prints = {well: context.fingerprint for well, context in contexts.items()}
    return again == contexts and {well: context.fingerprint for well, context in again.items()} == prints


# -- names -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Names of a vendor, and the templates found in them."""

    name: str
    path: Callable[[ImageKey], str]
    templates: tuple[str, ...]


def numbers(key: ImageKey) -> tuple[int, int, int, int]:
    """Site, channel, z and time, all of them given."""
    assert key.site and key.channel and key.z_index and key.timepoint
    return key.site, key.channel, key.z_index, key.timepoint


def imagexpress(key: ImageKey) -> str:
    """In folders for times and z steps."""
    site, channel, z_index, timepoint = numbers(key)
    return f"TimePoint_{timepoint}/ZStep_{z_index}/{ImageName(key.well, site, channel, prefix='P_1')}"


def phenix(key: ImageKey) -> str:
    """Harmony's."""
    site, channel, z_index, timepoint = numbers(key)
    return f"Images/{HarmonyName(key.well, site, z_index, channel, timepoint)}"


def cellvoyager(key: ImageKey) -> str:
    """Each channel is another action, and z is counted through the time lines."""
    site, channel, z_index, timepoint = numbers(key)
    return str(CellVoyagerName(key.well, timepoint, site, 1, 3 - channel, z_index, channel, "AssayPlate_1"))


def ome_zarr(key: ImageKey) -> str:
    """Images are counted from 0."""
    row, column = row_and_column(key.well)
    return f"{well_name(row, 0)[:-2]}/{column + 1}/{numbers(key)[0] - 1}/0"


NAMINGS = (
    Naming(
        name="imagexpress",
        path=imagexpress,
        templates=("TimePoint_1/ZStep_{z_index}/P_1_{row}{column:02d}_s{site}_w{channel}.tif",),
    ),
    Naming(
        name="phenix",
        path=phenix,
        templates=("Images/r{row:02d}c{column:02d}f{site:02d}p{z_index:02d}-ch{channel}sk1fk1fl1.tiff",),
    ),
    Naming(
        name="cellvoyager",
        path=cellvoyager,
        templates=(
            "AssayPlate_1_{row}{column:02d}_T0001F{site:03d}L01A02Z{z_index:02d}C01.tif",
            "AssayPlate_1_{row}{column:02d}_T0001F{site:03d}L01A01Z{z_index:02d}C02.tif",
        ),
    ),
    Naming(name="ome_zarr", path=ome_zarr, templates=("{row}/{column}/{site-1}/0",)),
    Naming(
        name="cytation",
        path=lambda key: f"{key.well[0]}{int(key.well[1:])}_01_{key.channel}_{key.site}Z{key.z_index}_DAPI_001.tif",
        templates=("{row}{column}_01_{channel}_{site}Z{z_index}_DAPI_001.tif",),
    ),
    Naming(
        name="arrayscan",
        path=lambda key: f"z{key.z_index}/MFGTMP_150406100001_{key.well}f{key.site:02d}d{key.channel}.TIF",
        templates=("z{z_index}/MFGTMP_150406100001_{row}{column:02d}f{site:02d}d{channel}.TIF",),
    ),
    Naming(
        name="small letters",
        path=lambda key: f"{key.well.lower()}/t{key.timepoint}_s{key.site}_w{key.channel}_z{key.z_index}.tif",
        templates=("{row:lower}{column:02d}/t1_s{site}_w{channel}_z{z_index}.tif",),
    ),
    Naming(
        name="a word for each channel",
        path=lambda key: f"{key.well}/{('DAPI', 'GFP')[numbers(key)[1] - 1]}_{key.site}_{key.z_index}.tif",
        templates=("{row}{column:02d}/DAPI_{site}_{z_index}.tif", "{row}{column:02d}/GFP_{site}_{z_index}.tif"),
    ),
)


@pytest.mark.parametrize("naming", NAMINGS, ids=lambda naming: naming.name)
def test_names_of_every_vendor_become_templates(naming: Naming) -> None:
    """Wells, sites, channels and z are found in the names, and nothing is said of a single file but its time."""
    contexts = plan_of(plate_named(naming.path))

    index = parsed(contexts)["index"]

    assert tuple(template["path"] for template in index["templates"]) == naming.templates
    assert {name for well in index["wells"].values() for name in well} == {"mtime_ns"}
    assert survives(contexts)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_plates_as_they_are_read_come_back(tmp_path: Path, layout: str) -> None:
    """From the folder through the plan document: the same planes, in few templates, arrays' indexes included."""
    spec = SyntheticPlate(rows=2, columns=3, sites=2, channels=("DAPI", "GFP"), z=2, shape=(32, 32))
    plate, index = detect_microscope(LAYOUTS[layout](tmp_path / "plate", spec)).read_plate()
    entering = stamp(index.pipeline_input(), plate.root)

    contexts = plan_of({well: list(planes) for well, planes in entering.by_well.items()})

    assert survives(contexts)
    assert len(parsed(contexts)["index"]["templates"]) <= 2


def test_an_array_that_holds_many_planes_has_its_index_as_a_template() -> None:
    """Indexes count from 0 where the plate counts from 1."""
    wells = plate_named(ome_zarr)
    placed = {
        well: [plane.replace(array_index=(0, numbers(plane.key)[1] - 1, numbers(plane.key)[2] - 1)) for plane in planes]
        for well, planes in wells.items()
    }
    contexts = plan_of(placed)

    (template,) = parsed(contexts)["index"]["templates"]

    assert template["array_index"] == "0,{channel-1},{z_index-1}"
    assert survives(contexts)


def guid_after(name: Callable[[ImageKey], str]) -> Callable[[ImageKey], str]:
    """Names with a GUID before their ending, always the same ones."""
    bits = random.Random(3)
    return lambda key: f"{name(key)}{str(uuid.UUID(int=bits.getrandbits(128))).upper()}.tif"


@pytest.mark.parametrize(
    ("name", "template"),
    [
        (
            guid_after(lambda key: f"TimePoint_1/{key.well}_s{key.site}_w{key.channel}"),
            "TimePoint_1/{row}{column:02d}_s{site}_w{channel}{text}.tif",
        ),
        (guid_after(lambda key: "TimePoint_1/"), "TimePoint_1/{text}.tif"),
    ],
    ids=["readable beginning", "GUID only"],
)
def test_names_with_a_guid_cost_little_more_than_it(name: Callable[[ImageKey], str], template: str) -> None:
    """All of a name that wells share is in the template; 60 bytes a plane are enough for the whole index."""
    contexts = plan_of(plate_named(name))

    document = parsed(contexts)

    assert [found["path"] for found in document["index"]["templates"]] == [template]
    assert len(msgspec.json.encode(document["index"])) <= 60 * sum(len(c.index) for c in contexts.values())
    assert survives(contexts)


def test_one_odd_well_does_not_spoil_the_template_of_the_others() -> None:
    """A well that was acquired again under another name has names of its own."""
    wells = plate_named(imagexpress)
    wells["B05"] = [plane.replace(path=f"again/{number}_x.tif") for number, plane in enumerate(wells["B05"])]
    contexts = plan_of(wells)

    templates = parsed(contexts)["index"]["templates"]

    assert NAMINGS[0].templates[0] in [template["path"] for template in templates]
    assert not any("{text}" in template["path"] for template in templates)
    assert survives(contexts)


def test_gaps_cost_a_few_bytes_each() -> None:
    """Wells that each lack another plane, or declare one without a file, still share the template."""
    wells = plate_named(imagexpress)
    whole = len(contexts_to_json(plan_of(wells)))
    for number, well in enumerate(wells):
        del wells[well][number % 12]
        wells[well][number % 11] = wells[well][number % 11].replace(present=False, size=0, mtime_ns=0)
    contexts = plan_of(wells)

    assert len(parsed(contexts)["index"]["templates"]) == 1
    assert len(contexts_to_json(contexts)) < whole + 120 * len(wells)
    assert survives(contexts)


def test_a_document_of_one_well_holds_that_well_alone() -> None:
    """A worker is sent no file name of another well, and no other well's times."""
    contexts = plan_of(plate_named(guid_after(lambda key: f"{key.well}_s{key.site}")))

    for well in ("A01", "D12"):
        document = contexts_to_json({well: contexts[well]})
        assert set(re.findall(rb"[A-D][01][0-9]_s", document)) == {well.encode() + b"_s"}
        assert contexts_from_json(document) == {well: contexts[well]}


def test_the_index_is_known_by_its_digest() -> None:
    """Plans of the same files name the same index, whatever their steps; one file more is another index."""
    wells = plate_named(imagexpress)
    plans = [plan_of(wells), plan_of(wells), plan_of(wells | {"A01": wells["A01"][1:]})]
    plans[1] = {well: replace(context, versions=("numpy==0",)) for well, context in plans[1].items()}

    first, other_steps, other_files = (parsed(plan) for plan in plans)

    assert first["index_sha256"] == other_steps["index_sha256"] != other_files["index_sha256"]
    assert first["fingerprint"] != other_steps["fingerprint"]


# -- laws ------------------------------------------------------------------------------------------------------------

axis_values = st.none() | st.integers(0, 12) | st.integers()
odd_names = st.text(max_size=12) | st.text("{}:\n\0/.-site0", max_size=12)
NAMES: tuple[Callable[[ImageKey], str], ...] = (
    lambda key: f"T_{key.timepoint}/{key.well}_s{key.site}_w{key.channel}_z{key.z_index}.tif",
    lambda key: f"{key.well}/{key.site}{key.channel}.tif",
    lambda key: f"r{len(key.well):02d}c01/{key.well.lower()}-{(key.site or 0) + 7:03d}.tif",
    lambda key: f"L01A01_{key.well}_{(key.z_index or 0) * 3}.tif",
)


def is_inside(path: str) -> bool:
    """False for a path that no plane of a plate can have."""
    return not path.startswith("/") and ".." not in path.split("/")


@st.composite
def planes_of(draw: st.DrawFn, well: str) -> list[ImagePlane]:
    """Planes of one well, in any order, with names by a rule or none."""
    found = []
    for _ in range(draw(st.integers(0, 6))):
        key = ImageKey(well, *(draw(axis_values) for _ in range(4)))
        named = st.sampled_from(NAMES).map(lambda name, key=key: name(key))
        found.append(
            ImagePlane(
                key=key,
                path=draw(st.none() | named | named | odd_names.filter(is_inside)),
                kind=draw(st.sampled_from(PlaneKind)),
                present=draw(st.booleans()),
                size=draw(st.integers(0, 9) | st.integers(0)),
                mtime_ns=draw(st.integers(0, 9) | st.integers()),
                array_index=draw(st.none() | st.lists(st.integers(), max_size=3).map(tuple)),
            )
        )
    return draw(st.permutations(found))


@st.composite
def plates(draw: st.DrawFn) -> dict[str, list[ImagePlane]]:
    """Wells with planes of their own, or with those of another well under its own name."""
    names = st.sampled_from(("A01", "A02", "B01", "B12", "P24", "AF48")) | st.text(max_size=4)
    wells = draw(st.lists(names.filter(is_inside), min_size=1, max_size=4, unique=True))
    plate = {wells[0]: draw(planes_of(wells[0]))}
    for well in wells[1:]:
        copied = [
            plane.replace(
                key=plane.key.replace(well=well), path=plane.path and plane.path.replace(wells[0] or "\x7f", well)
            )
            for plane in plate[wells[0]]
        ]
        plate[well] = copied if draw(st.booleans()) else draw(planes_of(well))
    return plate


@given(plates().filter(lambda plate: all(p.path is None or is_inside(p.path) for ps in plate.values() for p in ps)))
def test_every_plan_comes_back_exactly(plate: dict[str, list[ImagePlane]]) -> None:
    """Null axes, gaps, projections, any text as a name, any integer as time, in any order: equal, fingerprints too."""
    assert survives(plan_of(plate))


@given(st.lists(st.integers()))
def test_runs_stand_for_the_same_integers(values: list[int]) -> None:
    """In the same order, and their number is known before they are made."""
    runs = to_runs(values)

    assert list(from_runs(runs)) == values
    assert count_runs(runs) == len(values)


@given(st.integers())
def test_base_36_is_what_python_reads(value: int) -> None:
    """Of either sign and any size."""
    assert int(base36(value), 36) == value


@given(st.lists(st.integers(), min_size=1), st.integers(1, 10**9), st.booleans())
def test_columns_keep_their_values(values: list[int], unit: int, differences: bool) -> None:
    """Whatever the step that all of them share."""
    stepped = [value * unit for value in values]
    column = Column.of(stepped)

    assert (
        column.decode(column.encode(stepped, differences=differences), len(values), differences=differences) == stepped
    )


WRITE_DOCUMENT = """
    import sys
    from tests.engine.plan.test_plan_document import cellvoyager, contexts_to_json, guid_after, plan_of, plate_named

    for name in (cellvoyager, guid_after(lambda key: f"{key.well}/{key.well}_s{key.site}")):
        sys.stdout.buffer.write(contexts_to_json(plan_of(plate_named(name))))
"""


def test_every_process_writes_the_same_bytes() -> None:
    """Whatever the seed of its hashes."""
    told = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(WRITE_DOCUMENT)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "4242")
    ]

    assert told[0] == told[1] != b""


# -- damage ----------------------------------------------------------------------------------------------------------


def template(document: Document) -> Document:
    """Its only template."""
    (found,) = document["index"]["templates"]
    assert isinstance(found, dict)
    return found


def well(document: Document) -> Document:
    """What is well A02's own."""
    found = document["index"]["wells"]["A02"]
    assert isinstance(found, dict)
    return found


def all_text(document: Document, text: str) -> None:
    """Every plane's path becomes this text."""
    template(document).update(path="{text}")
    for own in document["index"]["wells"].values():
        own["texts"] = [text] * 12


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: template(d).update(path="../{row}{column}_{site}.tif"), r"'\.\./.*leads out of the plate folder"),
        (lambda d: template(d).update(path="/etc/{site}"), "leads out of the plate folder"),
        (lambda d: template(d).update(path="a/../../b"), "leads out of the plate folder"),
        (lambda d: all_text(d, "a/../../b"), "of well A01, the path 'a/../../b' leads out of the plate folder"),
        (lambda d: template(d).update(path="{root}/a.tif"), r"unknown field \{root\}"),
        (lambda d: template(d).update(path="{site:99999999999d}"), "brace"),
        (lambda d: template(d).update(path="{site-1:lower}"), "unknown field"),
        (lambda d: template(d).update(path="{text}{text}"), "more fields than a path needs"),
        (lambda d: template(d).update(path="a\nb"), "control character"),
        (lambda d: template(d).update(array_index="{row}"), "unknown field"),
        (lambda d: template(d).update(array_index="one"), "invalid literal"),
        (lambda d: template(d).update(site=[[1, 2_000_000_000]]), "24,000,000,000|there are .* planes"),
        (lambda d: template(d).update(site=[[3, 1]]), "ends before it begins"),
        (lambda d: template(d).update(site=None), "collapsed"),
        (lambda d: template(d).update(kind="movie"), "movie"),
        (lambda d: template(d).update(owner="me"), "owner"),
        (lambda d: template(d).update(path="{row}{column:02d}_other_{site}.tif"), "A01, A02.* do not match"),
        (lambda d: well(d).update(slots=[[0, 12]]), "of well A02, plane 12 is named, and the templates have 12"),
        (lambda d: well(d).update(slots=[-1]), "of well A02, plane -1"),
        (lambda d: well(d).update(slots=[[0, 4_000_000_000]]), "there are 4,0.* planes"),
        (lambda d: well(d).update(slots=[0]), "12 numbers stand for 1 planes"),
        (lambda d: well(d).update(mtime_ns="0 1"), "of well A02, 2 numbers stand for 12 planes"),
        (lambda d: well(d).update(mtime_ns="0 " + " ".join(["ä"] * 11)), "of well A02, invalid literal"),
        (lambda d: well(d).update(mtime_ns=4), "wells A02 do not match"),
        (lambda d: well(d).update(size=1), "wells A02 do not match"),
        (lambda d: well(d).update(absent=[2]), "wells A02 do not match"),
        (lambda d: well(d).update(absent=[[0, 10**12]]), "of well A02, more than its 12 planes are absent"),
        (lambda d: well(d).update(texts=["a"]), "of well A02, 1 texts stand for 0 planes"),
        (lambda d: d["index"]["mtime_ns"].update(first=0), "A01.* do not match"),
        (lambda d: d["index"]["wells"].pop("A02"), "names well A02 without its planes"),
        (lambda d: d["wells"].pop("A02"), "names well A02 without its planes or its fingerprint"),
        (lambda d: d["index"]["wells"].update({"?": d["index"]["wells"].pop("A02")}), "'?' is not the name of a well"),
        (lambda d: d.update(index_sha256="0" * 64), "changed after it was written"),
        (lambda d: d.update(format=1), "has format 1; this version reads format 2"),
    ],
)  # fmt: skip
def test_a_damaged_or_edited_index_is_refused(change: Callable[[Document], object], sentence: str) -> None:
    """With the well or the template, before anything is made of a claim that no plate can meet."""
    document = parsed(plan_of(plate_named(imagexpress, WELLS[:3])))
    change(document)

    with pytest.raises(ContextFileError, match=sentence):
        contexts_from_json(msgspec.json.encode(document))


def test_a_document_of_the_format_before_says_so() -> None:
    """It has no index at all, and still the sentence names the format and not a missing field."""
    document = parsed(plan_of(plate_named(imagexpress, WELLS[:1]))) | {"format": 1}
    del document["index"], document["index_sha256"]

    with pytest.raises(ContextFileError, match=r"has format 1; this version reads format 2\. Compile the plate again"):
        contexts_from_json(msgspec.json.encode(document))


@pytest.mark.parametrize("path", ["/data/a.tif", "../a.tif", "a/../../b.tif", "../{a}\n.tif"])
def test_a_plan_with_files_outside_the_plate_folder_is_not_written(path: str) -> None:
    """What would be refused when it is read is refused when it is written."""
    wells = plate_named(imagexpress, WELLS[:2])
    wells["A02"][3] = wells["A02"][3].replace(path=path)

    with pytest.raises(ContextFileError, match="leads out of the plate folder"):
        contexts_to_json(plan_of(wells))
