"""What the servers of ``openhcs-dagster ui`` are started with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openhcs_dagster.ui import serving
from openhcs_dagster.ui.serving import Server, ServerError, server_environment

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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One whose program ends at once with exit code 1, whatever it is asked for."""
    monkeypatch.setattr(serving.sys, "executable", "/bin/false")
    made = Server("daemon", ["daemon"])
    yield made
    made.kill()


def ended(server: Server) -> bool:
    """Wait until a server is seen to have ended."""
    while not server.has_ended():
        time.sleep(0.01)
    return True


def test_a_server_that_ends_whenever_it_is_started_is_given_up(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is started again twice, each time with a line; the third end within a minute is a sentence."""
    for _ in range(2):
        server.start()
        assert ended(server) and not server.is_running
    server.start()

    with pytest.raises(ServerError, match=r"The daemon of the UI ended 3 times within 60 s \(exit code 1\)"):
        ended(server)
    assert capsys.readouterr().err == 2 * "The daemon ended (exit code 1); it is started again.\n"


def test_what_a_server_started_ends_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also after the server itself was killed: what it left behind is of its process group."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nsleep 600 &\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(serving.sys, "executable", str(program))
    server = Server("code server", [])
    server.start()

    server.interrupt()
    server.kill()

    deadline = time.monotonic() + 60
    while server.is_left():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_ends_once_nobody_holds_its_standard_input() -> None:
    """So it does when the command that started it was killed."""
    program = "import time; from openhcs_dagster.ui.servers import end_with_parent; end_with_parent(); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )

    _, said = process.communicate(timeout=240)

    assert b"KeyboardInterrupt" in said
