"""Where planes wait between steps, as the users of the command lines say it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.catalogue.inbox_file import Inbox
from openhcs_dagster.cli.commands import openhcs_dagster
from openhcs_engine.cli.commands import openhcs
from openhcs_engine.plan.run_options import RunOptions
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from openhcs_engine.vfs.intermediates import ScratchPlan

PIPELINES = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection, stack_percentile_normalize

project = Pipeline([
    FunctionStep(stack_percentile_normalize, variable_components=[VariableComponents.Z_INDEX]),
    FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX]),
])
"""


@dataclass(frozen=True)
class Bench:
    """A folder with a plate and a file of pipelines, in which the user stands."""

    folder: Path

    def openhcs(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and all that was printed in one line."""
        ended = CliRunner().invoke(openhcs.app, list(arguments), env={"COLUMNS": "250"})
        return ended.exit_code, " ".join(ended.output.split())

    def plan(self, *options: str) -> tuple[int, str]:
        """``openhcs compile`` of the plate."""
        return self.openhcs("compile", "plate", "--pipeline", "lab_places:project", *options)

    def run(self, *options: str) -> tuple[int, str]:
        """``openhcs run`` of a well of the plate."""
        own = ["--pipeline", "lab_places:project", "--output", "out", "--runner", "threads", "--wells", "A01"]
        return self.openhcs("run", "plate", *own, *options)

    def add(self, *options: str) -> tuple[int, str]:
        """``openhcs-dagster add`` of the plate."""
        own = ["add", "plate", "--pipeline", "lab_places:project", "--output", "out"]
        environment = {"DAGSTER_HOME": str(self.folder / "home"), "COLUMNS": "250"}
        ended = CliRunner().invoke(openhcs_dagster.app, [*own, *options], env=environment)
        return ended.exit_code, " ".join(ended.output.split())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Where the user stands."""
    write_imagexpress(tmp_path / "plate", SyntheticPlate(name="plate", rows=1, columns=2, sites=1, z=2, shape=(32, 32)))
    (tmp_path / "lab_places.py").write_text(PIPELINES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield Bench(tmp_path)
    sys.modules.pop("lab_places", None)


def test_compile_shows_where_planes_wait(bench: Bench) -> None:
    """In what steps read and write, in a sentence with the folder, and in the JSON of the plan."""
    code, told = bench.plan("--intermediates", "disk", "--scratch", "fast")
    _, in_memory = bench.plan("--memory-budget", "1.5GiB")
    document = json.loads(bench.plan("--intermediates", "zarr", "--json")[1])

    assert code == 0
    assert f"planes between steps: disk, in {bench.folder}/fast/openhcs-scratch" in told
    assert "writes disk" in told and "from disk" in told
    assert "planes between steps: memory, at most 1.6 GB a well" in in_memory and "from memory" in in_memory
    assert document["output"]["scratch"]["backend"] == "zarr"


def test_run_keeps_planes_where_it_is_told_to(bench: Bench) -> None:
    """The well's manifest says where; nothing is left there."""
    code, told = bench.run("--intermediates", "disk", "--scratch", "fast")
    manifest = json.loads((bench.folder / "out" / "plate" / "wells" / "A01.json").read_text())

    assert code == 0, told
    assert manifest["provenance"]["intermediates"] == f"disk, in {bench.folder}/fast/openhcs-scratch"
    assert os.listdir(bench.folder / "fast") == []  # noqa: PTH208 # names are all that counts


def test_a_budget_that_is_too_small_fails_the_wells(bench: Bench) -> None:
    """Exit code 1, and the remedy."""
    code, told = bench.run("--memory-budget", "1kB")

    assert code == 1 and "memory budget of 1.0 kB" in told and "intermediates=disk" in told


WRONG = [
    (("--intermediates", "tape"), "'tape' is unknown (choose from memory, disk, zarr, or module:Class"),
    (("--memory-budget", "2G"), "'2G' is no size; write bytes, or a number with kB, MB, GB, TB"),
    (("--memory-budget", "-1GB"), "is no size"),
    (("--memory-budget", "0"), "must be positive"),
    (("--scratch", "fast"), "no meaning for intermediates in memory"),
    (("--intermediates", "zarr", "--memory-budget", "1GB"), "no meaning for intermediates in 'zarr'"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG, ids=lambda value: " ".join(value) if value[0] == "--" else "")
def test_wrong_options_are_refused_by_every_command(bench: Bench, options: tuple[str, ...], sentence: str) -> None:
    """Exit code 2, those that can be, nothing written."""
    for command in (bench.plan, bench.run, bench.add):
        code, told = command(*options)
        assert code == 2 and sentence in told
    assert not (bench.folder / "out").exists() and not list(Catalogue(bench.folder / "home" / "plates").list())


def test_what_cannot_be_imported_is_a_violation(bench: Bench) -> None:
    """Of the plan, beside all others."""
    code, told = bench.run("--intermediates", "lab_places:Tape")

    assert code == 2 and "the pipeline cannot run on this plate" in told
    assert "'lab_places:Tape' is no storage backend" in told and not (bench.folder / "out").exists()


def test_a_registered_plate_remembers_the_place(bench: Bench) -> None:
    """By its full name: Dagster stands elsewhere."""
    code, told = bench.add("--intermediates", "disk", "--scratch", "fast")
    (entry,) = Catalogue(bench.folder / "home" / "plates").list()

    assert code == 0, told
    assert entry.output_plan.scratch == ScratchPlan(backend="disk", root=str(bench.folder / "fast"))


def test_an_inbox_says_the_same(bench: Bench) -> None:
    """Under the same names; a relative folder is beside the file, a wrong option is told."""
    document = {"folder": "in", "pipeline": "lab_places:project", "output": "out", "intermediates": "zarr"}
    file = bench.folder / "home" / "inbox.json"
    file.parent.mkdir()

    file.write_text(json.dumps({**document, "scratch": "fast"}))
    inbox = Inbox.read(file)
    assert isinstance(inbox, Inbox) and inbox.options.scratch == str(file.parent / "fast")
    file.write_text(json.dumps({**document, "memory_budget": 5}))
    assert "no meaning for intermediates in 'zarr'" in str(Inbox.read(file))


def test_a_budget_may_be_bytes_or_a_size() -> None:
    """In an entry, too."""
    for budget in (2_000_000_000, "2GB"):
        assert RunOptions(memory_budget=budget).scratch_plan() == ScratchPlan(budget_bytes=2_000_000_000)
