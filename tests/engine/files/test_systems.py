"""Systems that are not tested are named at the first import, in a sentence."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from openhcs_engine.files.systems import check_system

FIRST_IMPORT = """
import sys
sys.platform = {platform!r}
sys.argv = [{command!r}]
import {package}
"""


def first_import(platform: str, command: str, package: str) -> subprocess.CompletedProcess[str]:
    """Import a package in a process that takes its system for another one."""
    code = FIRST_IMPORT.format(platform=platform, command=command, package=package)
    return subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (r"C:\lab\Scripts\openhcs.exe", "openhcs_engine.cli"),
        ("/usr/bin/openhcs-dagster", "openhcs_dagster.cli"),
    ],
)
def test_on_windows_the_commands_end_with_a_sentence(command: str, package: str) -> None:
    """Not a traceback about fcntl; it says where the product runs."""
    done = first_import("win32", command, package)
    assert done.returncode == 1
    assert done.stderr.startswith("openhcs-dagster does not run on Windows")
    assert "WSL 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_on_windows_another_program_can_catch_it() -> None:
    """A library that is imported does not end the program."""
    done = first_import("win32", "lab.py", "openhcs_engine")
    assert done.stderr.strip().splitlines()[-1].startswith("ImportError: openhcs-dagster does not run on Windows")


def test_macos_is_named_once_for_a_program_and_its_workers() -> None:
    """A warning that says what differs there; processes that get the environment do not repeat it."""
    environment: dict[str, str] = {}
    with pytest.warns(RuntimeWarning, match=r"tested on Linux alone\. On macOS"):
        check_system("darwin", "openhcs", environment)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_system("darwin", "openhcs", environment)


def test_linux_says_nothing() -> None:
    """Neither a word nor a change of the environment."""
    environment: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_system("linux", "openhcs", environment)
    assert environment == {}
