"""The processes of ``openhcs-dagster ui``: ``python -m openhcs_dagster.ui.servers code|web|daemon``.

Each is Dagster's own, but for the guard in front of the web server, and each ends when the process that started it is
gone, however that ended.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import dagster as dg
import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

from openhcs_dagster.internals import (
    DagsterGrpcClient,
    DagsterUserCodeUnreachableError,
    ProxyServerManager,
    WorkspaceFileTarget,
    WorkspaceProcessContext,
    configure_loggers,
)
from openhcs_dagster.ui.hosts import LOOPBACK
from openhcs_dagster.ui.serving import HOST
from openhcs_engine.files.atomic import write_whole

_WAIT_S: Final = 0.1
_LOOK_S: Final = 5.0
"""Seconds between two looks at the code servers, as Dagster's own manager looks."""
_SILENT: Final = 3
"""Looks in a row that a code server may leave unanswered; it answers while it loads, and a busy one may be late."""


def serve_code(workspace: Path, served: Path) -> None:
    """Run the code servers of a workspace until interrupted; write ``served``, the workspace that reaches them.

    Dagster's manager starts a code server again whose outer process ended. One whose inner process ended, which has
    loaded the definitions, stays without an answer for ever: it is asked to load them again.
    """
    with (
        dg.DagsterInstance.get() as instance,
        ProxyServerManager(instance, WorkspaceFileTarget([str(workspace)]), code_server_log_level="warning") as manager,
    ):
        specs = [spec["grpc_server"] for spec in manager.get_code_server_specs()]
        write_whole(served, yaml.dump({"load_from": [{"grpc_server": dict(spec)} for spec in specs]}).encode())
        silent = dict.fromkeys(range(len(specs)), 0)
        while True:
            time.sleep(_LOOK_S)
            for number, spec in enumerate(specs):
                if _answers(spec):
                    silent[number] = 0
                elif number in silent:  # one that was told to load again and never answered would not now
                    silent[number] += 1
                if silent.get(number) == _SILENT:
                    del silent[number]
                    _load_again(spec)


def serve_ui(workspace: Path, port: int, hosts: frozenset[str]) -> None:
    """Run the web server with its guard until interrupted."""
    import uvicorn

    from openhcs_dagster.internals import (
        DEFAULT_DB_STATEMENT_TIMEOUT,
        DEFAULT_POOL_MAX_OVERFLOW,
        DEFAULT_POOL_RECYCLE,
        create_app_from_workspace_process_context,
    )
    from openhcs_dagster.ui.request_guard import RequestGuard

    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        with WorkspaceProcessContext(
            instance, workspace_load_target=WorkspaceFileTarget([str(workspace)]), version=version("dagster-webserver")
        ) as process:
            dagster_app = create_app_from_workspace_process_context(
                process, live_data_poll_rate=2000, lifespan=_until_cancelled
            )
            uvicorn.run(
                RequestGuard(dagster_app, hosts), host=HOST, port=port, log_level="warning", proxy_headers=False
            )


def run_daemon(workspace: Path) -> None:
    """Run Dagster's daemon until interrupted."""
    from openhcs_dagster.internals import run_command

    run_command.main(["--workspace", str(workspace)], standalone_mode=False)


def end_with_parent() -> None:
    """Interrupt this process, and what it started, once its standard input ends: whoever started it is gone."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        # Started by hand, it shares the group of its shell.
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGINT)
        else:
            os.kill(os.getpid(), signal.SIGINT)

    # A background shell told us to ignore it, perhaps, and so would all that this process starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _answers(spec: Mapping[str, object]) -> bool:
    try:
        _client(spec).ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


def _load_again(spec: Mapping[str, object]) -> None:
    logging.getLogger("dagster").warning(
        "The code server %s does not answer; it is started again.", spec["location_name"]
    )
    with suppress(DagsterUserCodeUnreachableError):  # the outer process is gone, too, and the manager starts it
        _client(spec).reload_code(timeout=300)


def _client(spec: Mapping[str, object]) -> DagsterGrpcClient:
    port, socket = spec.get("port"), spec.get("socket")
    return DagsterGrpcClient(
        port=port if isinstance(port, int) else None,
        socket=str(socket) if socket else None,
        host=str(spec.get("host") or "localhost"),
    )


@asynccontextmanager
async def _until_cancelled(app: object) -> AsyncIterator[None]:
    with suppress(asyncio.CancelledError):  # uvicorn's way to end on Ctrl-C, with a traceback otherwise
        yield


def main(role: str, *arguments: str) -> None:
    """Run one of the processes: ``code WORKSPACE SERVED``, ``web WORKSPACE PORT HOSTS`` or ``daemon WORKSPACE``."""
    end_with_parent()
    configure_loggers(formatter="colored", log_level="INFO")
    workspace, *more = arguments
    with suppress(KeyboardInterrupt):
        while not Path(workspace).exists():  # until the code servers can be reached
            time.sleep(_WAIT_S)
        if role == "code":
            serve_code(Path(workspace), Path(more[0]))
        elif role == "web":
            serve_ui(Path(workspace), int(more[0]), LOOPBACK.union(filter(None, more[1].split(","))))
        else:
            run_daemon(Path(workspace))


if __name__ == "__main__":
    main(*sys.argv[1:])
