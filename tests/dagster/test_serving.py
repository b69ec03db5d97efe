"""What the servers of ``openhcs-dagster ui`` are started with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from openhcs_dagster.serving import server_environment

LOADS_AS_DAGSTER_DOES = """
import sys
from dagster._core.code_pointer import load_python_module
print(load_python_module("found_on_the_path", working_directory=None).__file__)
"""


def test_every_folder_of_pythonpath_is_searched_when_the_location_is_loaded(tmp_path: Path) -> None:
    """Dagster leaves out the first folder of the path, which it takes for the script's; it must not be the lab's."""
    (tmp_path / "found_on_the_path.py").write_text("")
    environment = server_environment({**os.environ, "PYTHONPATH": str(tmp_path)})

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADS_AS_DAGSTER_DOES],
        env=environment, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.strip() == str(tmp_path / "found_on_the_path.py"), done.stderr


def test_without_pythonpath_none_is_made() -> None:
    """The servers' environment is that of the command, but for the folder in which it was started."""
    assert server_environment({"HOME": "/home/lab"}) == {"HOME": "/home/lab", "PYTHONSAFEPATH": "1"}
