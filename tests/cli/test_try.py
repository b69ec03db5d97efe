"""``openhcs try``: values of settings compared on a few wells, on one page, with nothing published."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from openhcs_engine.cli.commands import openhcs
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

LAB = """
import os
import numpy as np
from openhcs_engine.memory import special_inputs
from openhcs_engine.pipeline import PlateStep, Sample
from openhcs_engine import FunctionStep, GroupBy, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection, measure, segment_nuclei, subtract_background

def dark_only(stack, limit: float = 1e9):
    if stack.max() > limit:
        raise RuntimeError(f"brighter than {limit:g}")
    return stack

def nuclei(nuclei: str = "DAPI"):
    project = FunctionStep(func=create_max_projection, variable_components=[VariableComponents.Z_INDEX])
    segment = FunctionStep(
        func={nuclei: segment_nuclei, "GFP": dark_only}, name="segment", group_by=GroupBy.CHANNEL,
        variable_components=[VariableComponents.SITE],
    )
    number = FunctionStep(func=measure, variable_components=[VariableComponents.CHANNEL])
    return Pipeline([project, segment, number])

def mean_image(sample):
    with open(os.environ["TRIAL_FITS"], "a") as log:
        log.write("fitted\\n")
    return np.mean([np.asarray(image, float) for image in sample], axis=0)

@special_inputs("field")
def darker(stack, field, share: float = 0.5):
    return stack * share

fitted = Pipeline([
    PlateStep(mean_image, name="field", sample=Sample(images=8, minimum=2, per_channel=False)), FunctionStep(darker),
])
flat = Pipeline([FunctionStep(func=subtract_background, name="flat", variable_components=[VariableComponents.Z_INDEX])])
"""
MAP = "Well,Role\nA01,negative\nB01,negative\nA03,positive\nB03,positive\nA02,sample\nB02,empty\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with pipelines, a plate of two channels, and its map."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "trial_lab.py").write_text(LAB)
    (folder / "map.csv").write_text(MAP)
    spec = SyntheticPlate(name="plate", rows=2, columns=3, sites=2, z=2, shape=(128, 128), objects_per_megapixel=400)
    write_imagexpress(folder / "plate", spec)
    yield folder
    sys.modules.pop("trial_lab", None)


@pytest.fixture
def scratch(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for what is temporary; the lab's folder is the current one."""
    monkeypatch.chdir(lab)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _try(*arguments: str, pipeline: str = "nuclei") -> Result:
    return CliRunner().invoke(openhcs.app, ["try", "plate", "--pipeline", f"trial_lab:{pipeline}", *arguments])


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_compares_all_combinations_on_one_page_and_publishes_nothing(lab: Path, scratch: Path) -> None:
    """Two varied settings make every combination of them; the page is all that is new, and it names no other file."""
    before = _files(lab)
    ran = _try(
        "--wells", "A01,A03", "--vary", "segment_nuclei.threshold=otsu,800", "--vary",
        "segment_nuclei.maximum_area_px=20,900", "--page", str(scratch / "page.html"),
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert _files(lab) == before
    assert [path.name for path in scratch.iterdir()] == ["page.html"]
    page = (scratch / "page.html").read_text()
    for threshold in ("otsu", "800"):
        for area in ("20", "900"):
            assert f"segment_nuclei.threshold={threshold}, segment_nuclei.maximum_area_px={area}" in page
    assert not re.search(r"(src|href)=|<script|url\((?!data:)", page)
    assert page.count("class='over ") == 2 * 4  # outlines over raw, a well and combination each
    assert page.count("image/jpeg") == 2  # each raw plane once, however often it is shown
    assert "Median_Nuclei_AreaShape_Area" in page


def test_the_numbers_are_those_of_a_run(lab: Path, scratch: Path) -> None:
    """What a combination counts is what ``openhcs run`` with the same settings counts."""
    import polars

    page = scratch / "page.html"
    assert _try("--wells", "A03", "--vary", "segment_nuclei.minimum_area_px=5,75", "--page", str(page)).exit_code == 0
    shown = [int(count) for count in re.findall(r"<p class=count>.*?<b>(\d+)</b> nuclei", page.read_text())]
    counted = []
    for area in ("5", "75"):
        output = scratch / area
        ran = CliRunner().invoke(
            openhcs.app,
            ["run", "plate", "--pipeline", "trial_lab:nuclei", "--wells", "A03", "--output", str(output), "--runner",
             "threads", "--set", f"segment_nuclei.minimum_area_px={area}"],
        )  # fmt: skip
        assert ran.exit_code == 0, ran.output
        counted.append(polars.read_parquet(output / "plate" / "tables" / "nuclei" / "A03.parquet").height)
    assert shown == counted
    assert counted[0] > counted[1]


def test_default_wells_are_a_negative_a_positive_and_another_by_the_plate_map(scratch: Path) -> None:
    """The choice is said, does not fall on empty wells, and is the same for the same seed."""
    for seed in ("0", "1", "2"):
        page = str(scratch / "page.html")
        ran = [_try("--plate-map", "map.csv", "--seed", seed, "--page", page, pipeline="flat") for _ in range(2)]
        chosen = re.search(r"wells: (.*?) \((.*); seed (\d)\)", ran[0].output)
        assert chosen, ran[0].output
        assert ran[0].output.splitlines()[0] == ran[1].output.splitlines()[0]
        wells = set(chosen[1].split(", "))
        assert len(wells) == 3
        assert len(wells & {"A01", "B01"}) in (1, 2)
        assert len(wells & {"A03", "B03"}) in (1, 2)
        assert "B02" not in wells
        assert "a negative control" in chosen[2]
        assert "at random" in chosen[2]


def test_without_a_plate_map_the_wells_are_random_and_it_says_so(scratch: Path) -> None:
    """Nobody says which are controls: three wells at random."""
    ran = _try("--page", str(scratch / "page.html"), pipeline="flat")
    assert len(ran.output.partition("wells: ")[2].partition(" (")[0].split(", ")) == 3
    assert "no plate map says which are controls" in ran.output


def test_wrong_settings_are_refused_all_together_before_a_pixel_is_read(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown functions, parameters and values of another type: one refusal with those there are, no page."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pixel was read")

    monkeypatch.setattr("openhcs_engine.execution.stacks.loading.read_plane", refuse)
    ran = _try(
        "--vary", "segment_nuclei.treshold=otsu,800", "--vary", "segment_nuclei.diameter_px=abc,20", "--vary",
        "segment.split=yes,true,maybe", "--vary", "nowhere.x=1", "--page", str(scratch / "page.html"),
    )  # fmt: skip
    assert ran.exit_code == 2
    for said in (
        "'treshold' (there are: threshold, ", "did you mean 'threshold'", "--vary segment_nuclei.diameter_px=abc",
        "--vary segment.split=maybe", "no function or step 'nowhere' (functions with parameters: ",
    ):  # fmt: skip
        assert said in ran.output
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        (["a.x=1,2,3,4,5", "b.y=1,2,3,4,5"], "5 × 5 = 25 combinations, but a page shows at most 24"),
        (["a.x=" + ",".join(map(str, range(25)))], "makes 25 combinations"),
        (["a.x"], "write --vary NAME=VALUE,VALUE"),
        (["a.x=1,,2"], "write --vary NAME=VALUE,VALUE"),
        (["a.x=1", "a.x=2"], "a.x is given twice"),
        (["a.x=1,1"], "has the value 1 twice"),
        (["nuclei=DAPI,GFP"], "nuclei is given with --set and with --vary"),
    ],
)
def test_what_cannot_be_varied_is_refused(scratch: Path, vary: list[str], said: str) -> None:
    """Too many combinations, with their number; no values; one setting twice."""
    ran = _try(*(part for each in vary for part in ("--vary", each)), "--set", "nuclei=DAPI")
    assert ran.exit_code == 2
    assert said in ran.output
    assert list(scratch.iterdir()) == []


def test_an_error_of_one_combination_stands_in_its_cells_alone(scratch: Path) -> None:
    """One combination fails in a function, one is refused at compile, one is fine; the exit code is not 0."""
    page = scratch / "page.html"
    ran = _try(
        "--wells", "A01", "--vary", "dark_only.limit=1,1e9", "--vary",
        "segment_nuclei.minimum_area_px=20,-3", "--page", str(page),
    )  # fmt: skip
    assert ran.exit_code == 1
    errors = re.findall(r"<p class=error>(.*?)</p>", page.read_text())
    assert len(errors) == 3
    assert "brighter than 1 (stack site 1 to 2, channel 2" in errors[0]
    assert "Well A01, step 2" in errors[0]
    assert all("minimum_area_px" in error for error in errors[1:])
    assert page.read_text().count("class='over ") == 1


def test_a_well_that_cannot_be_read_fails_in_its_cell(lab: Path, scratch: Path, tmp_path: Path) -> None:
    """The other well is shown; the raw picture says why there is none."""
    import shutil

    plate = tmp_path / "damaged" / "plate"
    shutil.copytree(lab / "plate", plate)
    for file in plate.rglob("*A01*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:300])
    page = tmp_path / "page.html"
    arguments = ["--pipeline", "trial_lab:flat", "--wells", "A01,A02", "--page", str(page)]
    ran = CliRunner().invoke(openhcs.app, ["try", str(plate), *arguments])
    assert ran.exit_code == 1
    assert page.read_text().count("<p class=error>Well A01") == 1
    assert "<div class=absent>No picture: " in page.read_text()


def test_a_pipeline_that_no_combination_lets_run_is_refused(scratch: Path) -> None:
    """Nothing could be shown: all reasons, exit code 2, no page."""
    ran = _try("--vary", "segment_nuclei.minimum_area_px=-1,-2")
    assert ran.exit_code == 2
    assert "-1" in ran.output
    assert "-2" in ran.output
    assert list(scratch.iterdir()) == []


def test_without_labels_the_last_steps_image_is_shown_beside_the_raw_one(scratch: Path) -> None:
    """Raw and result of each channel, without outlines."""
    page = scratch / "page.html"
    assert _try("--wells", "A01", "--vary", "flat.radius=5,20", "--page", str(page), pipeline="flat").exit_code == 0
    text = page.read_text()
    assert text.count("<figcaption>DAPI, last step") == 2
    assert text.count("<figcaption>DAPI</figcaption>") == 1
    assert "class='over " not in text


def test_a_site_that_the_plate_does_not_have_is_refused(scratch: Path) -> None:
    """With those it has."""
    ran = _try("--site", "7", pipeline="flat")
    assert ran.exit_code == 2
    assert "no such site (it has: 1, 2)" in ran.output


def test_a_fit_that_all_combinations_share_is_made_once(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They differ in what uses it, not in what is fitted; nothing is left of it either."""
    monkeypatch.setenv("TRIAL_FITS", str(scratch / "log"))
    ran = _try(
        "--wells", "A01", "--vary", "darker.share=0.2,0.5,1", "--page", str(scratch / "a.html"), pipeline="fitted"
    )
    assert ran.exit_code == 0, ran.output
    assert (scratch / "log").read_text() == "fitted\n"
    assert sorted(path.name for path in scratch.iterdir()) == ["a.html", "log"]
