"""The options of a run: declared once, taken by both command lines, the orchestrator, the catalogue and the inbox."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.catalogue.inbox_file import Inbox
from openhcs_dagster.cli.commands import openhcs_dagster
from openhcs_dagster.plate.compilation import compile_entry
from openhcs_engine import FunctionStep, PipelineOrchestrator
from openhcs_engine.cli.app import CommandLine
from openhcs_engine.cli.commands import openhcs
from openhcs_engine.errors import OptionError
from openhcs_engine.functions import create_max_projection
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.microscopes.plate_listing import read_listing
from openhcs_engine.model.image_index import OnMissing
from openhcs_engine.model.wording import options_of
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.plan.run_options import RunOptions
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

PAGE = Path(__file__).parents[2] / "docs" / "source" / "dagster.rst"
NEEDED = {"folder": "inbox", "pipeline": "lab:plain", "output": "results"}
OTHERS = {
    "workers": 3, "runner": "threads", "backend": "disk", "on_missing": "skip", "projections": "only", "device": "cpu",
    "intermediates": "zarr", "scratch": "/fast", "memory_budget": "2GB", "well_timeout": "10m", "fsync": True,
    "ngff": "0.4", "renew": True, "overview_channel": "GFP", "set": {"nuclei": "DAPI"},
}  # fmt: skip
"""A value of each option that is not its default."""
TOGETHER = {"memory_budget": {}, "scratch": {"intermediates": "disk"}}
"""What an option needs beside it."""

ADDING = """
import importlib, pathlib, sys, types
import openhcs_engine.plan as plan

file = pathlib.Path(plan.__file__).parent / "run_options.py"
text = file.read_text(encoding="utf-8")
head, field, tail = text.partition("    overview_channel: str = option(")
assert field
module = types.ModuleType("openhcs_engine.plan.run_options")
sys.modules[module.__name__] = plan.run_options = module
new = '    gain: int = option(1, "Gain of the camera.", kind=int)\\n'
exec(compile(head + new + field + tail, str(file), "exec"), module.__dict__)

import inspect, msgspec
from typer.testing import CliRunner
from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.catalogue.inbox_file import Inbox
from openhcs_dagster.cli.commands import openhcs_dagster
from openhcs_dagster.plate.compilation import compile_entry
from openhcs_engine import PipelineOrchestrator
from openhcs_engine.cli.commands import openhcs

for program, command in ((openhcs, "run"), (openhcs_dagster, "add")):
    shown = CliRunner().invoke(program.app, [command, "--help"]).output
    assert "--gain" in shown and "Gain of the camera." in shown, shown
assert PipelineOrchestrator(".", gain=7).options.gain == 7
assert inspect.signature(PipelineOrchestrator).parameters["gain"].default == 1
entry = CatalogueEntry(
    id="P", folder="/p", microscope="m", pipeline="a:b", output="/o", wells=("A01",), listing_digest="", added="",
    options=module.RunOptions(gain=7),
)
assert msgspec.json.decode(msgspec.json.encode(entry), type=CatalogueEntry).options.gain == 7
inbox = pathlib.Path("inbox.json")
inbox.write_text('{"folder": "i", "pipeline": "a:b", "output": "o", "gain": 7}')
assert Inbox.read(inbox).options.gain == 7
"""


def words_of(program: CommandLine, command: str) -> str:
    """The help of a command, in one line."""
    return " ".join(CliRunner().invoke(program.app, [command, "--help"]).output.split())


def test_an_option_that_is_added_in_one_place_is_seen_everywhere(tmp_path: Path) -> None:
    """A field of ``RunOptions`` more: both helps, the orchestrator, the catalogue and the inbox have it."""
    (tmp_path / "adding.py").write_text(ADDING, encoding="utf-8")

    done = subprocess.run([sys.executable, "adding.py"], cwd=tmp_path, env=None, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_commands_take_the_options_with_their_words() -> None:
    """``add`` takes all, ``run`` those of a run, ``compile`` those of the plan; each shows the words of its own."""
    for program, command in ((openhcs, "run"), (openhcs, "compile"), (openhcs_dagster, "add")):
        shown = words_of(program, command)
        taken = options_of(RunOptions, command) | options_of(ReadOptions)
        for name, (_, words) in taken.items():
            about = words.register_help if command == "add" and words.register_help else words.help
            assert f"--{name.replace('_', '-')} " in shown and about in shown, (command, name)
        left_out = set(options_of(RunOptions)) - set(taken)
        assert not any(f"--{name.replace('_', '-')} " in shown for name in left_out)
    assert set(options_of(RunOptions, "add")) == set(options_of(RunOptions)) == set(OTHERS)
    assert set(options_of(RunOptions)) - set(options_of(RunOptions, "run")) == {"overview_channel"}


@pytest.mark.parametrize("name", OTHERS)
def test_the_inbox_and_the_catalogue_know_an_option_by_its_name(name: str, tmp_path: Path) -> None:
    """As everywhere, with the value that was written."""
    given = {name: OTHERS[name]} | TOGETHER.get(name, {})
    file = tmp_path / "inbox.json"
    file.write_bytes(msgspec.json.encode(NEEDED | given))

    inbox = Inbox.read(file)

    assert isinstance(inbox, Inbox), inbox
    assert inbox.options == RunOptions(**given)
    assert msgspec.json.decode(msgspec.json.encode(inbox.options), type=RunOptions) == inbox.options


@pytest.mark.parametrize("name", options_of(RunOptions, "run"))
def test_the_orchestrator_takes_an_option_by_its_name_or_in_one_value(name: str, tmp_path: Path) -> None:
    """Both mean the same; a name beside the value counts more. ``set`` is ``settings`` there."""
    given = {name: OTHERS[name]} | TOGETHER.get(name, {})
    keyword = "settings" if name == "set" else name
    named = {keyword: OTHERS[name]} | TOGETHER.get(name, {})

    by_name = PipelineOrchestrator(tmp_path, **named).options
    beside = PipelineOrchestrator(tmp_path, options=RunOptions(fsync=True), **named).options

    assert by_name == PipelineOrchestrator(tmp_path, options=RunOptions(**given)).options == RunOptions(**given)
    assert asdict(beside) == asdict(by_name) | {"fsync": True}
    assert inspect.signature(PipelineOrchestrator).parameters[keyword].default == getattr(RunOptions(), name)


def test_enumerations_and_paths_stand_for_their_texts(tmp_path: Path) -> None:
    """So that equal options are equal, and can be written down."""
    given = PipelineOrchestrator(tmp_path, on_missing=OnMissing.SKIP, intermediates="disk", scratch=tmp_path).options

    assert given == RunOptions(on_missing="skip", intermediates="disk", scratch=str(tmp_path))
    assert type(given.on_missing) is str


@pytest.mark.parametrize(
    ("misspelt", "nearest"), [("wel_timeout", "well_timeout"), ("onmissing", "on_missing"), ("platemap", "plate_map")]
)
def test_a_misspelt_option_is_refused_with_the_nearest(misspelt: str, nearest: str, tmp_path: Path) -> None:
    """By the orchestrator and by the inbox, with the same words."""
    file = tmp_path / "inbox.json"
    file.write_bytes(msgspec.json.encode(NEEDED | {misspelt: "x"}))

    with pytest.raises(OptionError, match=rf"'{misspelt}' is not an option .*; the nearest is '{nearest}'") as caught:
        PipelineOrchestrator(tmp_path, **{"workers": 1, misspelt: "x"})

    assert caught.value.option == misspelt
    assert f"; the nearest is '{nearest}'" in str(Inbox.read(file))


def test_what_is_like_no_option_is_refused_with_all(tmp_path: Path) -> None:
    """Nothing is guessed; what only a registered plate can have is none of a run's."""
    for name in ("colour", "overview_channel"):
        with pytest.raises(OptionError, match=f"'{name}' is not an option .choose from plate_path, output"):
            PipelineOrchestrator(tmp_path, **{name: "x"})


def test_the_version_of_ome_zarr_is_said_once(tmp_path: Path) -> None:
    """By ``ngff`` or by ``images``; two that differ are refused."""
    assert PipelineOrchestrator(tmp_path, ngff="0.4").images == ImageOptions(ngff="0.4")
    assert PipelineOrchestrator(tmp_path, images=ImageOptions(ngff="0.4")).images.ngff == "0.4"
    with pytest.raises(OptionError, match=r"ngff='0\.4' contradicts"):
        PipelineOrchestrator(tmp_path, ngff="0.4", images=ImageOptions(levels=1))


@pytest.mark.parametrize("workers", [-1, 1.5, True, "2"])
def test_workers_are_a_whole_number(workers: object, tmp_path: Path) -> None:
    """Refused before a plate is read."""
    with pytest.raises(OptionError, match="is not a number of workers"):
        PipelineOrchestrator(tmp_path, workers=workers)


def test_workers_of_the_options_are_those_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the call gives others; 0 leaves them to the run."""
    seen = list[object]()
    monkeypatch.setattr("openhcs_engine.orchestrator.execute_wells", lambda _, **given: seen.append(given["workers"]))
    plate = write_imagexpress(tmp_path / "plate", SyntheticPlate(name="plate", rows=1, columns=1, sites=1, z=1))
    steps = [FunctionStep(create_max_projection)]
    for options, asked in (({"workers": 3}, None), ({"workers": 3}, 2), ({}, None)):
        orchestrator = PipelineOrchestrator(plate, output=tmp_path / "out", **options).initialize()
        orchestrator.execute(steps, orchestrator.compile_pipelines(steps), asked)

    assert seen == [3, 2, None]


def test_the_documentation_names_every_option() -> None:
    """Those that the inbox may hold."""
    text = PAGE.read_text(encoding="utf-8")

    assert [
        each.name for kind in (RunOptions, ReadOptions) for each in fields(kind) if f"``{each.name}``" not in text
    ] == []


def test_settings_reach_the_pipeline_from_every_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--set`` of compile and run, ``"set"`` of the catalogue's entry; all that is wrong is said at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    plate = write_imagexpress(tmp_path / "P1", SyntheticPlate(rows=1, columns=1, sites=1, z=1, shape=(32, 32)))
    (tmp_path / "lab_doors.py").write_text(
        "from openhcs_engine import FunctionStep, Pipeline\n"
        "from openhcs_engine.functions import stack_percentile_normalize as stretch\n"
        "def stretched(channel: str, low: float = 1.0) -> Pipeline:\n"
        "    calls = {channel: (stretch, {'low_percentile': low})}\n"
        "    return Pipeline([FunctionStep(calls, uncovered='pass')])\n"
    )
    named = [str(plate), "--pipeline", "lab_doors:stretched"]
    given = ["--set", "channel=DAPI", "--set", "low=2.5"]
    function = "stack_percentile_normalize"

    def answer(program: CommandLine, *words: str, code: int = 0) -> str:
        ended = CliRunner().invoke(program.app, list(words))
        assert ended.exit_code == code, ended.output
        return " ".join(ended.output.split())

    plan = answer(openhcs, "compile", *named, *given)
    assert "stretched (channel=DAPI, low=2.5)" in plan and "low_percentile=2.5" in plan
    assert "high_percentile=98.0" in answer(
        openhcs, "compile", *named, *given, "--set", f"{function}.high_percentile=98"
    )
    answer(openhcs, "run", *named, *given, "--output", "out", "--runner", "threads")

    refused = answer(openhcs, "compile", *named, "--set", "low=x", "--set", f"{function}.gain=1", code=2)
    assert "needs 'channel'" in refused and "'low' is a number" in refused

    answer(openhcs_dagster, "add", *named, *given, "--output", "out")
    entry = Catalogue(tmp_path / "home" / "plates").read("P1")
    assert entry.options.set == {"channel": "DAPI", "low": "2.5"}
    compiled = compile_entry(entry, read_listing(entry.folder, entry.id, entry.reading))
    assert compiled.contexts["A01"].output.pipeline == "stretched (channel=DAPI, low=2.5)"
