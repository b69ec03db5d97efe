"""Build the wheel, install it into an empty environment, and use it from there: ``check_wheel.py PYTHON``.

Nothing of the repository can be imported where the wheel is used: not the folder that it was built in, nor the packages
of the environment that runs this. Ends with 1 at the first thing that does not hold.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
NO_CODE: Final = ("py.typed", ".j2", ".css", ".svg", ".js", ".txt")
"""Endings of files of the packages that are no modules, and that a build leaves out unless it is told of them."""
BUILT: Final = ("openhcs_dagster/report/charts/vega.js",)
"""What the build writes itself, and no repository has."""
PIPELINE: Final = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection

pipeline = Pipeline([FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
"""
CONTRACTS: Final = """
import pytest
from openhcs_engine.output.opening import open_output
from openhcs_engine.testing import PlateOutputContract, StorageContract
from openhcs_engine.vfs.disk import DiskBackend


class TestDisk(StorageContract):
    @pytest.fixture
    def backend(self, tmp_path):
        return DiskBackend(str(tmp_path))


class TestFolder(PlateOutputContract):
    @pytest.fixture
    def output(self, tmp_path):
        return open_output(tmp_path / "results" / "plate")
"""


def files_without_code() -> set[str]:
    """Files of the packages that are in the repository and are no modules, by their names in a wheel."""
    listed = subprocess.run(
        ["git", "ls-files", "openhcs_engine", "openhcs_dagster"], cwd=REPOSITORY, capture_output=True, text=True
    )
    if listed.returncode:
        return {
            path.relative_to(REPOSITORY).as_posix()
            for package in ("openhcs_engine", "openhcs_dagster")
            for path in (REPOSITORY / package).rglob("*")
            if path.name.endswith(NO_CODE)
        }
    return {name for name in listed.stdout.split() if not name.endswith(".py")}


def _ignore(folder: str, names: list[str]) -> list[str]:
    """What an earlier build left in the packages."""
    return [name for name in names if name == "__pycache__" or f"{folder}/{name}".endswith(BUILT)]


def build(python: str, folder: Path) -> Path:
    """The wheel; built from a copy, so that nothing of an earlier build can get into it."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for package in ("openhcs_engine", "openhcs_dagster"):
        shutil.copytree(REPOSITORY / package, source / package, ignore=_ignore)
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), "."]
    subprocess.run([python, *command], cwd=source, check=True)
    return next(folder.glob("*.whl"))


def missing_in(wheel: Path) -> list[str]:
    """What a wheel should hold and does not."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    wanted = sorted({*files_without_code(), *BUILT})
    license_file = [] if any(name.endswith("/licenses/LICENSE") for name in names) else ["LICENSE"]
    return [name for name in wanted if name not in names] + license_file


def use(scripts: Path, folder: Path) -> None:
    """Both commands and the demo, far from the repository."""
    (folder / "flat.py").write_text(PIPELINE)
    for command in (
        ["openhcs", "--version"],
        ["openhcs-dagster", "--version"],
        ["openhcs", "synth", "plate", "--rows", "1", "--columns", "2"],
        ["openhcs", "run", "plate", "--pipeline", "flat:pipeline", "--output", "results"],
        ["openhcs", "verify", "results/plate"],
        ["openhcs-dagster", "demo"],
    ):
        run(scripts, command, folder)


def hold_to_contracts(scripts: Path, wheel: Path, folder: Path) -> None:
    """Install the extra with the shipped contracts' pytest, and inherit two of them, far from the repository."""
    extra = [f"{wheel}[testing]", f"pytest=={metadata.version('pytest')}"]
    run(scripts, ["python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *extra], folder)
    (folder / "test_contracts.py").write_text(CONTRACTS)
    run(scripts, ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_contracts.py"], folder)


def run(scripts: Path, command: list[str], folder: Path) -> None:
    """A command of the environment, which knows nothing of the one that runs this."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DAGSTER_"))}
    environment |= {"DAGSTER_HOME": str(folder / "home"), "OPENHCS_INBOX": str(folder / "inbox")}
    print("$", *command, flush=True)
    subprocess.run([str(scripts / command[0]), *command[1:]], cwd=folder, env=environment, check=True)


def main(python: str) -> int:
    """Build, look into it, install, use."""
    with tempfile.TemporaryDirectory(prefix="openhcs-wheel-") as name:
        folder = Path(name)
        wheel = build(python, folder)
        if missing := missing_in(wheel):
            print(f"{wheel.name} lacks {', '.join(missing)}: see package-data in pyproject.toml, and setup.py.")
            return 1
        subprocess.run([python, "-m", "venv", str(folder / "environment")], check=True)
        installed = folder / "environment" / "bin"
        install = [str(installed / "python"), str(REPOSITORY / "requirements" / "install.py"), "--wheel", str(wheel)]
        subprocess.run(install, check=True)
        work = folder / "work"
        work.mkdir()
        use(installed, work)
        hold_to_contracts(installed, wheel, work)
    print("The wheel works by itself.")
    return 0


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1]).absolute())))
