"""The Dagster UI with its daemon, on this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing

from openhcs_dagster.settings import Settings
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.vfs.files import write_whole

HOST = "127.0.0.1"
"""Dagster's UI asks nobody who he is: it must not be reachable from other machines."""

GRACE_S = 3.0
"""Seconds a server that was interrupted gets before it is told to end."""


class PortTakenError(OpenHCSError, OSError):
    """Somebody else listens on the port."""

    port: int


def serve(settings: Settings, port: int) -> int:
    """Serve until Ctrl-C; return the server's exit code. PortTakenError if the port is in use."""
    _check_free(port)
    write_whole(settings.address_file, f"{HOST}:{port}\n".encode())
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(settings.home / "workspace.yaml")]
    print(f"The Dagster UI opens on http://{HOST}:{port} (home: {settings.home}); Ctrl-C ends it.", flush=True)
    # A default SIGTERM would end this process and leave the servers behind. A SIGINT that a background shell told us
    # to ignore would be ignored by the servers, too, and Dagster ends them by it.
    for interruption in (signal.SIGTERM, signal.SIGINT):
        signal.signal(interruption, signal.default_int_handler)
    server = subprocess.Popen([*command, "-h", HOST, "-p", str(port)], env=server_environment(os.environ))
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(server)
        settings.address_file.unlink(missing_ok=True)


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the servers, from that of the command."""
    # Else every server would look for modules in the folder that this was started in, before all others.
    environment = {**environ, "PYTHONSAFEPATH": "1"}
    if path := environ.get("PYTHONPATH"):
        # Dagster takes the first folder of Python's path for that one, and leaves it out while it loads a location.
        environment["PYTHONPATH"] = os.pathsep.join((os.devnull, path))
    return environment


def _end(server: subprocess.Popen[bytes]) -> None:
    """Let the server end its daemon and its code server; a terminal's Ctrl-C has reached it already."""
    try:
        server.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        server.terminate()
        server.wait()


def _check_free(port: int) -> None:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTakenError(
                f"Port {port} on {HOST} is in use ({error.strerror}); give another one with --port.", port=port
            ) from error
