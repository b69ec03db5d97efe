"""The page on pipelines: every block of code on it runs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine import Pipeline, PipelineOrchestrator

PAGE = Path(__file__).resolve().parents[3] / "docs" / "source" / "pipelines.rst"


def blocks() -> list[str]:
    """The page's code, block by block."""
    found = re.findall(
        r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [textwrap.dedent(block) for block in found]


def test_every_block_runs_on_a_plate(small_plate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In order, in one program, with folders of this machine; each step shown compiles and runs."""
    program: dict[str, Any] = {"__name__": "page"}  # Any: the names of a program
    for block in blocks():
        here = block.replace("/data/plates/P0042", str(small_plate)).replace("/data/results", str(tmp_path))
        exec(compile(here, str(PAGE), "exec"), program)

    shown = capsys.readouterr().out
    assert "A01 done" in shown and "B01 done" in shown
    assert "channel 'Cy5' is not on this plate" in shown and "'row:Q' of the well filter" in shown
    measured = PipelineOrchestrator(small_plate, output=tmp_path / "measured").initialize()
    results = measured.execute_compiled_plate(
        program["measured"], measured.compile_pipelines(program["measured"], "A01"), max_workers=1
    )
    assert [result.error for result in results.values()] == [None]
    assert {path.name for path in (tmp_path / "measured" / "small" / "tables").iterdir()} >= {"cells", "intensities"}
    steps = ("by_channel", "by_site", "only_controls", "kept_of_some", "kept", "along_two_axes")
    for name in steps:
        pipeline = Pipeline([program[name]])
        orchestrator = PipelineOrchestrator(small_plate, output=tmp_path / name).initialize()
        wells = "A01" if name != "only_controls" else "B01"
        results = orchestrator.execute_compiled_plate(pipeline, orchestrator.compile_pipelines(pipeline, wells))
        assert [result.error for result in results.values()] == [None]
