"""``openhcs compile`` as a scientist reads it, and ``openhcs diff``: what changed, and which wells go stale."""

from __future__ import annotations

import io
import json
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine.cli import commands as cli
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

LAB = """
from openhcs_engine import FunctionStep, GroupBy, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection, stack_percentile_normalize
from openhcs_engine.memory import numpy, special_inputs, special_outputs

Z, SITE = VariableComponents.Z_INDEX, VariableComponents.SITE

def bright(stack, amount=1, offset=0):
    return stack + amount

@special_outputs("positions")
@numpy
def find_positions(stack):
    return stack, [(0.0, 0.0)] * len(stack)

@numpy
@special_inputs("positions")
def use_positions(stack, positions):
    return stack

def steps(amount=1, name="Brighten", wells=None):
    return [
        FunctionStep(create_max_projection, name="Project", variable_components=[Z]),
        FunctionStep((bright, {"amount": amount}), name=name, wells=wells),
    ]

first = Pipeline(steps(), name="First")
brighter = Pipeline(steps(5), name="First")
renamed = Pipeline(steps(name="Shine"), name="Second")
some_brighter = Pipeline([*steps(), FunctionStep((bright, {"amount": 2}), name="More", wells="row:B")], name="First")
linked = Pipeline([
    FunctionStep(
        {"DAPI": [(stack_percentile_normalize, {"low_percentile": 0.5, "high_percentile": 99.5}), bright],
         "GFP": stack_percentile_normalize},
        name="Normalise the illumination", group_by=GroupBy.CHANNEL, variable_components=[Z]),
    FunctionStep(find_positions, name="Find positions", variable_components=[SITE]),
    FunctionStep(use_positions, name="Use them", variable_components=[SITE]),
])
"""


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six wells, two sites, two channels, two z."""
    spec = SyntheticPlate(name="P1", rows=2, columns=3, sites=2, z=2, shape=(32, 32), thumbnails=False)
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "P1", spec)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, plate: Path) -> Path:
    """A folder with pipelines, their plans as files, and the results of the first of them for three wells."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "plans_lab.py").write_text(LAB)
    for name in ("first", "brighter", "renamed", "some_brighter"):
        (folder / f"{name}.json").write_text(
            openhcs(folder, "compile", plate, "--pipeline", f"plans_lab:{name}", "--json").out
        )
    ended = openhcs(
        folder,
        "run",
        plate,
        "--pipeline",
        "plans_lab:first",
        "--output",
        "out",
        "--runner",
        "threads",
        "--wells",
        "A01,row:B",
    )
    assert ended.code == 0, ended.err
    return folder


@dataclass(frozen=True)
class Ended:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What was printed, whatever the width of the screen."""
        return " ".join(self.out.split())

    @property
    def json(self) -> Any:
        """What was printed, as a value."""
        return json.loads(self.out)


def openhcs(folder: Path, *arguments: object, columns: int = 200) -> Ended:
    """Run the command in a folder, on a screen of some width, as the entry point does."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        patch.chdir(folder)
        patch.setenv("COLUMNS", str(columns))
        cli.openhcs([str(argument) for argument in arguments])
    return Ended(int(end.value.code or 0), out.getvalue(), err.getvalue())


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_plan_is_readable_on_every_screen(lab: Path, plate: Path, columns: int) -> None:
    """No line is longer than the screen but sentences, no word is broken, and nothing is left out."""
    told = openhcs(lab, "compile", plate, "--pipeline", "plans_lab:linked", columns=columns)

    assert all(len(line) <= columns for line in told.out.splitlines() if line.startswith(" "))
    for word in (
        "stack_percentile_normalize(high_percentile=99.5,", "low_percentile=0.5)", "DAPI:", "GFP:", "memory types",
        "site", "z_index", "positions (positions)", "the plate,", "memory,", "kB", "not measured yet",
    ):  # fmt: skip
        assert word in told.words, f"{word!r} is broken at {columns} columns"
    assert "→ step 3" in told.words and "positions ← step 2" in told.words


def test_a_plan_tells_what_it_moves_and_how_long_it_will_take(lab: Path, plate: Path) -> None:
    """Bytes of a well and of the plate; seconds only where earlier runs into the output measured them."""
    known = openhcs(lab, "compile", plate, "--pipeline", "plans_lab:first", "--output", "out", "--json").json[
        "explained"
    ]
    unknown = openhcs(lab, "compile", plate, "--pipeline", "plans_lab:first", "--json").json["explained"]
    told = openhcs(lab, "compile", plate, "--pipeline", "plans_lab:brighter", "--output", "out")

    plane = 32 * 32 * 2
    assert known["bytes"]["a_well"]["read"] == 8 * plane and known["bytes"]["plate"]["read"] == 6 * 8 * plane
    assert [step["bytes"] for step in known["steps"]] == [
        {"read": 8 * plane, "left": 4 * plane}, {"read": 4 * plane, "left": 4 * plane},
    ]  # fmt: skip
    assert [step["seconds"]["wells_measured"] for step in known["steps"]] == [4, 4]
    assert known["seconds"]["a_well"] > 0 and known["seconds"]["plate"] > known["seconds"]["a_well"]
    assert unknown["seconds"]["a_well"] is None and "holds no results" in unknown["seconds"]["told"]
    assert "4 wells measured, with other parameters or sources" in told.words
    assert "6 wells (A01–B03)" in told.words and "for the plate with one worker" in told.words


def test_equal_plans_say_so(lab: Path) -> None:
    """Exit code 0."""
    ended = openhcs(lab, "diff", "first.json", "first.json")

    assert ended.code == 0 and "The plans are equal" in ended.words
    assert openhcs(lab, "diff", "first.json", "first.json", "--json").json["equal"] is True


def test_a_parameter_makes_all_wells_stale(lab: Path) -> None:
    """Old and new value, the wells as a block, exit code 1."""
    ended = openhcs(lab, "diff", "first.json", "brighter.json")

    assert ended.code == 1
    assert 'step 2 "Brighten": bright: amount 1 → 5 [A01–B03]' in ended.words
    assert "stale A01–B03 (6 wells)" in ended.words and "6 of 6 wells stale" in ended.words


def test_names_make_nothing_stale(lab: Path) -> None:
    """Neither a step's nor the pipeline's; exit code 0."""
    ended = openhcs(lab, "diff", "first.json", "renamed.json")

    assert ended.code == 0 and "No well goes stale." in ended.words
    assert 'step 2 "Shine": renamed from "Brighten"' in ended.words
    assert "output: pipeline: First → Second" in ended.words


def test_json_carries_the_same(lab: Path) -> None:
    """Changes with their kinds, wells in full, reasons by their place in the list."""
    ended = openhcs(lab, "diff", "first.json", "some_brighter.json", "--json")
    found = ended.json

    assert ended.code == 1
    (change,) = found["changes"]
    assert (change["kind"], change["after"], change["stale"]) == ("step added", "More", 3)
    assert found["stale"] == [{"wells": ["B01", "B02", "B03"], "reasons": [0]}]
    assert found["wells"]["unchanged"] == ["A01", "A02", "A03"]
    assert found["published"] is None and found["after"]["wells"] == 6


def test_an_output_folder_stands_for_its_newest_plan(lab: Path) -> None:
    """And then it is said which of its wells are as the later plan makes them."""
    same = openhcs(lab, "diff", "out/P1", "first.json")
    other = openhcs(lab, "diff", "out/P1", "brighter.json")
    itself = openhcs(lab, "diff", "first.json", "out/P1", "--json").json

    assert same.code == 0 and "new A02–A03 (2 wells)" in same.words
    assert "out/P1: 4 of 6 wells published as the later plan makes them (A01, B01–B03); not A02–A03" in same.words
    assert other.code == 1 and "0 of 6 wells published as the later plan makes them" in other.words
    assert itself["published"] == ["A01", "B01", "B02", "B03"]


def test_a_later_plan_for_fewer_wells_is_not_mistaken_for_the_whole(lab: Path, plate: Path, tmp_path: Path) -> None:
    """The newest plan counts, and a note says which wells only older ones have."""
    output = tmp_path / "out"
    shutil.copytree(lab / "out", output)
    again = ["run", plate, "--pipeline", "plans_lab:first", "--output", output, "--runner", "threads", "--wells", "A01"]
    assert openhcs(lab, *again).code == 0

    ended = openhcs(lab, "diff", output / "P1", "first.json")

    assert "is for 1 well only; older plans beside it have B01–B03, too" in ended.words


def test_raw_files_that_changed_are_counted_by_well(lab: Path, plate: Path, tmp_path: Path) -> None:
    """A file that was copied again, one that is gone, and a new well."""
    copy = tmp_path / "P1"
    shutil.copytree(plate, copy)
    images = sorted(copy.rglob("*_A02_*.[tT][iI][fF]"))
    images[0].unlink()
    os.utime(images[1], ns=(5, 5))
    after = tmp_path / "after.json"
    arguments = ["--pipeline", "plans_lab:first", "--on-missing", "skip", "--json"]
    after.write_text(openhcs(lab, "compile", copy, *arguments).out)
    before = tmp_path / "before.json"
    before.write_text(openhcs(lab, "compile", plate, *arguments).out)

    ended = openhcs(lab, "diff", before, after)

    assert ended.code == 1
    assert "raw files: 1 file gone in 1 well" in ended.words
    assert "raw files: 1 file written again (same size, other time) in 1 well" in ended.words
    assert "stale A02 (1 well)" in ended.words and "1 of 6 wells stale" in ended.words


def _damaged(folder: Path) -> str:
    document = json.loads((folder / "first.json").read_text())
    document["steps"][1]["name"] = "Other"
    (folder / "damaged.json").write_text(json.dumps(document))
    return "damaged.json"


def _file(folder: Path, content: bytes) -> str:
    (folder / "odd.json").write_bytes(content)
    return "odd.json"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: "nowhere.json", "nowhere.json cannot be read as a plan: there is no such file or folder"),
        (lambda folder: "plans_lab.py", "plans_lab.py: This is not a plan document"),
        (lambda folder: _file(folder, b""), "odd.json: This is not a plan document"),
        (lambda folder: _file(folder, b"\xff\xfe"), "odd.json: This is not a plan document"),
        (lambda folder: _file(folder, b"[1, 2]"), "odd.json: This is not a plan document"),
        (lambda folder: _file(folder, b'{"format": 99}'), "has format 99"),
        (lambda folder: _damaged(folder), "damaged.json: The plan document"),
        (lambda folder: ".", "holds no plan (contexts/*.json.gz)"),
        (lambda folder: "out", "holds no plan (contexts/*.json.gz)"),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused_in_a_sentence(lab: Path, tmp_path: Path, make: Any, sentence: str) -> None:
    """On either side, with exit code 2."""
    here = tmp_path / "lab"
    shutil.copytree(lab, here)
    odd = make(here)

    for ended in (openhcs(here, "diff", odd, "first.json"), openhcs(here, "diff", "first.json", odd)):
        assert ended.code == 2 and sentence in " ".join(ended.err.split())


def test_the_table_does_not_change_what_the_json_is(lab: Path) -> None:
    """The document that compile prints is a plan that diff reads, explanation included."""
    assert "explained" in json.loads((lab / "first.json").read_text())
