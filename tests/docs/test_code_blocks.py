"""Every block of code in the documentation runs, and every command line in it exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import polars
import pytest
import typer
from PIL import Image

from openhcs_dagster.cli.commands import openhcs_dagster
from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.cli.commands import openhcs
from openhcs_engine.functions import create_max_projection
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.docs.pages import PAGES, REPO, SOURCE, Block, all_commands, blocks_of
from tests.docs.run_page import promised_output

NOT_EXECUTED: Final[dict[str, int]] = {}
"""How many blocks of a page carry a reason why they do not run; every other page has none."""
WITH_PYTHON: Final = [
    page
    for page in PAGES
    if page.name != "tutorial.rst" and any(block.language == "python" for block in blocks_of(page))
]
"""The tutorial has tests of its own."""
WITH_COMMANDS: Final = [page for page in PAGES if all_commands(page)]
RUN_COMMANDS: Final = ("trying.rst", "tutorial.rst")
"""Pages whose command lines are not only looked at, but run."""
APPS: Final = {"openhcs": openhcs, "openhcs-dagster": openhcs_dagster}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``/data`` stands for: ``plates/P0042``, six wells of two sites, and results.

    The results are the plate's maximum projections, and a table ``cells``.
    """
    folder = tmp_path_factory.mktemp("data")
    spec = SyntheticPlate(name="P0042", rows=2, columns=3, sites=2, z=3, shape=(64, 64), objects_per_megapixel=2000)
    plate = write_imagexpress(folder / "plates" / "P0042", spec)
    pipeline = Pipeline([FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
    orchestrator = PipelineOrchestrator(plate, output=folder / "results", runner="threads").initialize()
    results = orchestrator.execute_compiled_plate(pipeline, orchestrator.compile_pipelines(pipeline))
    assert [result.error for result in results.values()] == [None] * 6
    tables = folder / "results" / "P0042" / "tables" / "cells"
    tables.mkdir(parents=True)
    for well in results:
        polars.DataFrame({"well": [well, well], "area": [410.0, 388.0]}).write_parquet(tables / f"{well}.parquet")
    polars.read_parquet(tables / "*.parquet").write_parquet(tables.with_suffix(".parquet"))
    return folder


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(REPO)))
def test_every_block_of_a_page_runs(page: Path, world: Path, tmp_path: Path) -> None:
    """In order, as one program, in a folder of its own, with a plate that is only read."""
    run_page(page, world, tmp_path)


def run_page(page: Path, world: Path, tmp_path: Path, practice: Path | None = None) -> str:
    """What a page prints when it runs; ``practice`` is a plate of the reader's own for the tutorial's main path."""
    blocks = blocks_of(page)
    data = shutil.copytree(world, tmp_path / "data")
    engine = changed_engine(blocks, tmp_path / "engine")
    here = tmp_path / "work"
    here.mkdir()
    if practice is not None:
        shutil.copytree(practice, here / "plates" / "practice")
    commands = "yes" if page.name in RUN_COMMANDS else "no"
    arguments = [str(page), str(data / "plates" / "P0042"), str(data / "results"), commands]

    ended = subprocess.run(
        [sys.executable, "-m", "tests.docs.run_page", *arguments],
        cwd=here,
        env=os.environ | {"PYTHONPATH": f"{engine}:{REPO}", "DAGSTER_HOME": str(tmp_path / "dagster")},
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-6000:]}"
    return ended.stdout


def counted_in(printed: str) -> int:
    """The number that the tutorial's main path ends with."""
    (number,) = re.findall(r"^(\d+) nuclei in \d+ wells$", printed, re.MULTILINE)
    return int(number)


def test_the_tutorial_ends_with_the_planted_number_and_a_picture(world: Path, tmp_path: Path) -> None:
    """Of the plate that it lets ``openhcs synth`` write: within 2 % of the truth beside it."""
    number = counted_in(run_page(SOURCE / "tutorial.rst", world, tmp_path))

    work = tmp_path / "work"
    wells = json.loads((work / "plates" / "practice.truth.json").read_text(encoding="utf-8"))["wells"]
    planted = sum(len(spots) for well in wells.values() for spots in well["sites"].values())
    assert abs(number - planted) <= 0.02 * planted
    assert outlined(work / "nuclei.png")


def test_the_tutorial_counts_the_nuclei_of_a_real_plate(world: Path, tmp_path: Path, data_dir: Path) -> None:
    """The same page on nf1_cytation: within a tenth of the 28 and 27 nuclei that CellProfiler found."""
    number = counted_in(run_page(SOURCE / "tutorial.rst", world, tmp_path, data_dir / "nf1_cytation"))

    assert abs(number - 55) <= 5
    assert outlined(tmp_path / "work" / "nuclei.png")


def outlined(picture: Path) -> bool:
    """Whether a picture is grey but for outlines."""
    pixels = np.asarray(Image.open(picture)).astype(int)
    coloured = (np.ptp(pixels, axis=2) > 0).mean()
    return bool(0.001 < coloured < 0.2)


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    """A reason stands above it, and this file lists its page."""
    counts: dict[str, int] = {}
    for page in PAGES:
        reasons = [block.reason for block in blocks_of(page) if block.language == "python" and block.reason]
        if reasons:
            counts[page.relative_to(REPO).as_posix()] = len(reasons)

    assert counts == NOT_EXECUTED


def test_the_pages_are_found() -> None:
    """A parser that finds nothing would let everything pass."""
    (quick,) = (block for block in blocks_of(REPO / "README.md") if block.language == "python")
    assert "PipelineOrchestrator" in quick.text and quick.text.startswith("from openhcs_engine")
    assert len(blocks_of(SOURCE / "concepts" / "memory_optimization.rst")) >= 5
    assert ("openhcs", "verify", " /data/results/P0042") in all_commands(SOURCE / "getting_started.rst")


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(REPO)))
def test_every_command_and_option_exists(page: Path) -> None:
    """Those in blocks and those in sentences."""
    for program, command, rest in all_commands(page):
        known = options_of(program)
        assert command in known, f"{page.name}: {program} has no command {command!r}"
        asked = {word.strip("[],.`|").partition("=")[0] for word in rest.split() if word.lstrip("[").startswith("--")}
        assert asked <= known[command], f"{page.name}: {program} {command} lacks {sorted(asked - known[command])}"


@pytest.mark.parametrize("program", APPS)
def test_every_command_and_option_is_described(program: str) -> None:
    """On the page of the command line: the commands as such, their options somewhere."""
    page = SOURCE / "command_line.rst"
    shown = {command for name, command, _ in all_commands(page) if name == program}
    named = set(re.findall(r"--[a-z0-9][a-z0-9-]*", page.read_text(encoding="utf-8"))) | {"--help", "--positions"}
    options = options_of(program)

    assert set(options) - shown == set()
    undescribed = {f"{command} {option}" for command in options for option in options[command] - named}
    assert {text for text in undescribed if " --" in text} == set()


def test_what_a_block_says_it_prints_is_found() -> None:
    """Behind a print, and below one, over several lines."""
    text = 'print(1)  # 1\nfor line in lines:\n    print(line)\n    # a\n    # b\n\n# no output\nprint("x")\n'

    assert promised_output(text) == ["1", "a", "b"]


def test_a_misspelt_option_would_be_found() -> None:
    """The options are those of the programs themselves."""
    assert "--wells" in options_of("openhcs")["run"] and "--well" not in options_of("openhcs")["run"]
    assert "--id" in options_of("openhcs-dagster")["add"]


@cache
def options_of(program: str) -> dict[str, frozenset[str]]:
    """The options of each command of a program."""
    group = typer.main.get_command(APPS[program].app)
    return {
        name: frozenset(
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        )
        | {"--help"}
        for name, command in group.commands.items()  # type: ignore[attr-defined] # a group
    }


def changed_engine(blocks: tuple[Block, ...], folder: Path) -> Path:
    """A folder with the engine as it is after the changes that a page shows; without it, if it shows none."""
    changes = [block for block in blocks if block.language == "diff"]
    added = [block for block in blocks if (block.caption or "").startswith("openhcs_engine/")]
    folder.mkdir()
    if changes:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPO / "openhcs_engine", folder / "openhcs_engine", ignore=ignored)
    for block in changes:
        apply_change(block, folder)
    for block in added:
        if block.language != "diff":
            (folder / str(block.caption)).write_text(block.text, encoding="utf-8")
    return folder


def apply_change(block: Block, folder: Path) -> None:
    """Change the file that the caption names; what a change takes away or leaves must stand there exactly once."""
    file = folder / str(block.caption)
    text = file.read_text(encoding="utf-8")
    for hunk in block.text.split("...\n"):
        lines = hunk.strip("\n").splitlines()
        before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(before) == 1, f"{block.page}, line {block.line}: {block.caption} has no single\n{before}"
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")
