"""``make audit``: what it says of each end that pip-audit can have."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).resolve().parent.parent.parent
SCRIPT = REPO / "tools" / "audit.py"
UNREACHABLE = """\
Traceback (most recent call last):
  File "requests/adapters.py", line 729, in send
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.osv.dev', port=443): Max retries exceeded
"""
"""As pip-audit 2.10.1 ends without a network, with exit code 1."""


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(*vulnerabilities: dict[str, object]) -> str:
    packages = [
        {"name": "numpy", "version": "2.0", "vulns": list(vulnerabilities)},
        {"name": "local", "skip_reason": "Dependency not found on PyPI"},
    ]
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    "last",
    [
        UNREACHABLE,
        "requests.exceptions.ReadTimeout: timed out",
        "requests.exceptions.ProxyError: refused",
        "pip_audit._service.interface.ServiceError",
    ],
)
def test_without_a_service_nothing_is_called_audited(audit: ModuleType, last: str) -> None:
    """The sentence says so, and a host without Internet does not fail for it."""
    code, said = audit.judge("", last)

    assert code == 0
    assert said.startswith("No advisory service can be reached from here, so nothing was audited (")


def test_what_is_known_is_named_with_its_remedy(audit: ModuleType) -> None:
    """Package, version, advisory, and the versions without it; what could not be asked for is named, too."""
    known = audit.judge(report({"id": "PYSEC-1", "fix_versions": ["2.1"]}, {"id": "PYSEC-2", "fix_versions": []}), "")
    none = audit.judge(report(), "")

    assert known[0] == 1
    assert "numpy 2.0: PYSEC-1, repaired in 2.1" in known[1]
    assert "numpy 2.0: PYSEC-2, repaired in no version yet" in known[1]
    assert none == (0, "local was not audited: Dependency not found on PyPI\nNo published vulnerability in 1 package.")


def test_another_failure_is_one(audit: ModuleType) -> None:
    """A tool that breaks is no proof of anything."""
    assert audit.judge("", "ModuleNotFoundError: No module named 'pip_audit'")[0] == 2
    assert audit.judge("{}", "")[0] == 2


def test_the_script_asks_about_the_packages_of_the_interpreter_it_is_given(tmp_path: Path) -> None:
    """From the command line: it runs the tool that it is given on that environment, and prints the sentence."""
    tool = tmp_path / "pip-audit"
    tool.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stderr.write('x.ConnectionError: ' + sys.argv[-1])\nsys.exit(1)\n"
    )
    tool.chmod(0o755)

    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tool), sys.executable], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert done.stdout.startswith("No advisory service can be reached") and "site-packages" in done.stdout
