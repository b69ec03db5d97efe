"""The Dagster UI with its daemon, on this machine only: three servers, each started again if it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NoReturn

from openhcs_dagster.settings import Settings
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.files.atomic import write_whole

HOST: Final = "127.0.0.1"
"""Dagster's UI asks nobody who he is: it must not be reachable from other machines."""
GRACE_S: Final = 15.0
"""Seconds that servers, and the runs that they started, get to end after an interruption, before they are killed."""
_POLL_S: Final = 0.2
_ENDS: Final = 3
_WITHIN_S: Final = 60.0
"""A server that ends so often within so many seconds is not started again."""


class PortTakenError(OpenHCSError, OSError):
    """Somebody else listens on the port."""

    port: int


class ServerError(OpenHCSError, RuntimeError):
    """A server of the UI ends whenever it is started."""


def serve(settings: Settings, port: int) -> int:
    """Serve until Ctrl-C, to this host and the names that the settings allow; return the exit code.

    Raises
    ------
    PortTakenError
        If the port is in use.
    ServerError
        If one of the servers cannot be kept running.
    """
    _check_free(port)
    write_whole(settings.address_file, f"{HOST}:{port}\n".encode())
    print(f"The Dagster UI opens on http://{HOST}:{port} (home: {settings.home}); Ctrl-C ends it.", flush=True)
    # A default SIGTERM would leave the servers behind, and a background shell may have told us to ignore SIGINT.
    _on_interruption(signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="openhcs-ui-") as folder:
        reached = Path(folder) / "workspace.yaml"
        code = Server("code server", ["code", str(settings.home / "workspace.yaml"), str(reached)])
        others = [
            Server("web server", ["web", str(reached), str(port), ",".join(settings.ui_hosts)]),
            Server("daemon", ["daemon", str(reached)]),
        ]
        try:
            _keep_running(code, others, reached)
        except KeyboardInterrupt:
            return 0
        finally:
            _on_interruption(signal.SIG_IGN)  # a second Ctrl-C would leave servers behind
            _end(others)  # before the code server, which they would report as lost
            _end([code])
            settings.address_file.unlink(missing_ok=True)


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the servers, from that of the command."""
    # Else every server would look for modules in the folder that this was started in, before all others.
    environment = {**environ, "PYTHONSAFEPATH": "1"}
    if path := environ.get("PYTHONPATH"):
        # Dagster takes the first folder of Python's path for that one, and leaves it out while it loads a location.
        environment["PYTHONPATH"] = os.pathsep.join((os.devnull, path))
    return environment


class Server:
    """One server of the UI, in a process group of its own: what it starts can be ended with it."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        self.groups: list[int] = []
        """Process groups of this server and of those before it, whose runs may go on."""
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._ends: list[float] = []

    @property
    def is_running(self) -> bool:
        """True from its start until it is seen to have ended."""
        return self._process is not None

    def start(self) -> None:
        """Start it, or start it again."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "openhcs_dagster.ui.servers", *self._arguments],
            env=server_environment(os.environ),
            # Its other end closes with this process, however that ends, and then the server ends itself.
            stdin=subprocess.PIPE,
            process_group=0,
        )
        self.groups.append(self._process.pid)

    def has_ended(self) -> bool:
        """Whether it ended by itself since the last look, which is said.

        Raises
        ------
        ServerError
            If it has done so too often to be started again.
        """
        if self._process is None or (code := self._process.poll()) is None:
            return False
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self._forget()
        now = time.monotonic()
        self._ends = [*(end for end in self._ends if end > now - _WITHIN_S), now]
        if len(self._ends) >= _ENDS:
            raise ServerError(
                f"The {self.name} of the UI ended {len(self._ends)} times within {_WITHIN_S:.0f} s ({how}), so it is "
                "not started again; what it printed above says why."
            )
        print(f"The {self.name} ended ({how}); it is started again.", file=sys.stderr, flush=True)
        return True

    def interrupt(self) -> None:
        """Ask it, and all that it started, to end."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End it, and all that it started, at once."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._forget()

    def is_left(self) -> bool:
        """True while it, or anything that it started, runs."""
        if self._process is not None and self._process.poll() is not None:
            self._forget()
        self._signal(0)
        return bool(self.groups)

    def _signal(self, number: int) -> None:
        for group in list(self.groups):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                self.groups.remove(group)  # nobody is left in it, and its number may become another's

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


def _keep_running(code: Server, others: Sequence[Server], reached: Path) -> NoReturn:
    """Start all servers, and again whichever ends, until interrupted."""
    for server in (code, *others):
        server.start()
    while True:
        if code.has_ended():
            _end(others)  # they wait for the new one's addresses
            reached.unlink(missing_ok=True)
            code.start()
        for server in others:
            if server.has_ended() or not server.is_running:
                server.start()
        time.sleep(_POLL_S)


def _end(servers: Iterable[Server]) -> None:
    """Let servers end what they started; kill what does not end."""
    servers = list(servers)
    for server in servers:
        server.interrupt()
    deadline = time.monotonic() + GRACE_S
    while (left := [server for server in servers if server.is_left()]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for server in left:
        server.kill()


def _on_interruption(handler: signal.Handlers | object) -> None:
    for interruption in (signal.SIGTERM, signal.SIGINT):
        signal.signal(interruption, handler)  # type: ignore[arg-type] # what signal takes has no public name


def _check_free(port: int) -> None:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTakenError(
                f"Port {port} on {HOST} is in use ({error.strerror}); give another one with --port.", port=port
            ) from error
