"""The contracts that the package ships: for whoever installs pytest beside it, and for nobody else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from openhcs_engine import testing

REPOSITORY = Path(__file__).resolve().parents[2]
BROKEN = """
import pytest
from openhcs_engine.testing import StorageContract
from openhcs_engine.vfs.memory import MemoryBackend


class Forgetful(MemoryBackend):
    def list(self, prefix=""):
        return super().list(prefix)[1:]


class TestForgetful(StorageContract):
    @pytest.fixture
    def backend(self):
        return Forgetful()
"""


def test_without_pytest_a_sentence_says_what_to_install() -> None:
    """No traceback into a package that the user does not know."""
    code = "import sys; sys.modules['pytest'] = None; import openhcs_engine.testing"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 1 and "install it with: pip install 'openhcs-dagster[testing]'" in done.stderr


def test_nothing_of_the_product_imports_the_contracts() -> None:
    """So that the product needs no pytest."""
    files = [
        file
        for product in ("openhcs_engine", "openhcs_dagster")
        for file in (REPOSITORY / product).rglob("*.py")
        if "testing" not in file.relative_to(REPOSITORY).parts
    ]
    importing = [
        file
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
        if name.startswith("openhcs_engine.testing") or name.partition(".")[0] == "pytest"
    ]

    assert len(files) > 100 and importing == []


def test_what_breaks_a_contract_fails_with_the_values(tmp_path: Path) -> None:
    """A backend that forgets a key fails, and pytest shows what it listed: the contracts' assertions are rewritten."""
    (tmp_path / "test_forgetful.py").write_text(BROKEN, encoding="utf-8")
    only = "TestForgetful::test_list_goes_by_folders"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_forgetful.py::{only}"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 1
    assert "At index 0 diff: 's1/b' != 's1/a'" in done.stdout, done.stdout


@pytest.mark.parametrize("name", testing.__all__)
def test_a_contract_asks_for_what_it_tests(name: str) -> None:
    """Inherited without an implementation, it says what a subclass has to give."""
    contract = getattr(testing, name)
    givers = [each for each in vars(contract).values() if _refuses(each)]

    assert contract.__doc__.startswith("Inherited by the test class of each") and givers


def _refuses(giver: object) -> bool:
    """Whether a fixture or method does nothing but refuse."""
    function = getattr(giver, "_fixture_function", giver)
    return any(
        "a subclass gives" in str(each) for each in getattr(getattr(function, "__code__", None), "co_consts", ())
    )
