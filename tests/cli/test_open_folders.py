"""Folders that everybody may write to: both command lines warn of them, once, and go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openhcs_dagster.cli.commands import main
from openhcs_engine.cli.app import CommandLine
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

PIPELINE = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection
pipeline = Pipeline([FunctionStep(func=create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a pipeline, a plate of one well and a home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENHCS_CATALOGUE", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / f"open_{tmp_path.name}.py").write_text(PIPELINE)
    write_imagexpress(tmp_path / "plate", SyntheticPlate(rows=1, columns=1, sites=1, z=2, shape=(32, 32)))
    return tmp_path


def dagster(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The warnings of a command that succeeds."""
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == 0
    return warnings(capsys.readouterr().err)


def warnings(said: str) -> list[str]:
    return [line for line in said.splitlines() if "warning: everybody on this host may write" in line]


def add(lab: Path, plate_id: str) -> list[str]:
    return ["add", str(lab / "plate"), "--pipeline", f"open_{lab.name}:pipeline", "--id", plate_id]


def test_openhcs_warns_once_of_an_open_pipeline_folder(lab: Path) -> None:
    """The folder that the pipeline is imported from; the plan is made nevertheless."""
    command = [sys.executable, "-m", "openhcs_engine.cli", "compile", str(lab / "plate")]

    def said(folder: Path) -> list[str]:
        folder.chmod(0o777)
        done = subprocess.run(
            [*command, "--pipeline", f"open_{lab.name}:pipeline"],
            cwd=lab / "lab", capture_output=True, text=True, check=True,
        )  # fmt: skip
        folder.chmod(0o755)
        return warnings(done.stderr)

    (warning,) = said(lab / "lab")
    assert f"to the pipeline folder {lab / 'lab'}, and so run code as you" in warning
    assert warning.endswith(f"chmod o-w {lab / 'lab'}")
    assert said(lab / "plate") == []


def test_openhcs_dagster_warns_of_an_open_home_and_of_open_pipeline_folders(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each folder once a command, wherever it is used: adding, listing, running."""
    monkeypatch.chdir(lab / "lab")
    assert dagster(capsys, *add(lab, "closed")) == []
    (lab / "home").chmod(0o777)
    (lab / "lab").chmod(0o777)
    monkeypatch.setenv("PYTHONPATH", str(lab / "lab"))

    home, pipelines = dagster(capsys, *add(lab, "opened"))
    ran = dagster(capsys, "materialize", "opened")

    assert f"to the home {lab / 'home'}, and" in home and f"to the pipeline folder {lab / 'lab'}, and" in pipelines
    assert ran == [home, pipelines]
    assert dagster(capsys, "list") == [home]


def test_a_folder_that_everybody_may_replace_counts_as_open(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may write to the folder above may rename it; in a sticky one, such as /tmp, he may not."""
    command = CommandLine("tool", "")
    above = lab / "home"
    (above / "inner").mkdir()

    above.chmod(0o1777)
    command.warn_of_open_folders("the home", [above / "inner", above / "absent"])
    assert warnings(capsys.readouterr().err) == []
    above.chmod(0o777)
    command.warn_of_open_folders("the home", [above / "inner", above / "inner"])

    (warning,) = warnings(capsys.readouterr().err)
    assert f"to the home {above}, which holds {above / 'inner'}, and" in warning
