"""``openhcs-dagster ui`` as a person has it: in a browser, asked by other sites, with servers that die, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.catalogue.registration import register
from openhcs_dagster.home import prepare_home
from openhcs_engine.plan.run_options import RunOptions
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.dagster.browser import Page, browser
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PIPELINE = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents

def speaking(stack):
    print("seen by a person")
    return stack

pipeline = Pipeline([FunctionStep(speaking, variable_components=[VariableComponents.Z_INDEX])])
"""
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""
LOCATION = """
{ workspaceOrError { ... on Workspace { locationEntries {
    locationOrLoadError { ... on RepositoryLocation { repositories { assetNodes { assetKey { path } } } } }
} } } }
"""
LOGS = """
query Logs($run: ID!) { logsForRun(runId: $run) { ... on EventConnection {
    events { __typename ... on LogsCapturedEvent { fileKey } }
} } }
"""
INNER = "api"
"""The process that has loaded the definitions, below the code server."""
HARMLESS = "mutation { setNuxSeen }"
EVENTS = ("RUN_ENQUEUED", "RUN_START", "STEP_SUCCESS", "RUN_SUCCESS")


@dataclass(frozen=True)
class Ui:
    """A served UI."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: object) -> Any:  # Any: GraphQL's JSON
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=240).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def plates(self) -> set[str] | None:
        """The plates that the code location has; None while nobody answers."""
        try:
            (entry,) = self.ask(LOCATION)["workspaceOrError"]["locationEntries"]
        except (requests.RequestException, ValueError, AssertionError):
            return None
        repositories = (entry["locationOrLoadError"] or {}).get("repositories", [])
        keys = [node["assetKey"]["path"] for each in repositories for node in each["assetNodes"]]
        return {key[0] for key in keys} or None

    def server(self, role: str) -> psutil.Process | None:
        """The process of a server; None while there is none."""
        wanted = ["-m", *(["dagster", "api", "grpc"] if role == INNER else ["openhcs_dagster.ui.servers", role])]
        found = [each for each, command in processes_of(self.home) if command[1 : len(wanted) + 1] == wanted]
        return found[0] if found else None

    def said(self) -> str:
        return self.log.read_text()


def processes_of(home: Path) -> list[tuple[psutil.Process, list[str]]]:
    """All processes of a home's UI with their commands, whoever started them; not those that only wait to be buried."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("DAGSTER_HOME") == str(home):
                found.append((process, process.cmdline()))
    return found


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first answer that is true; a failure that says what did not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.3)
    pytest.fail(f"{what} within {seconds:g} s")


def add(folder: Path, plate_id: str) -> None:
    """Register the plate, once more under another id."""
    register(
        Catalogue(folder / "home" / "plates"), folder / "raw", plate_id=plate_id,
        pipeline="served_pipeline:pipeline", output=folder / "out", search_path=[folder],
        options=RunOptions(runner="threads", workers=1),
    )  # fmt: skip


def start(folder: Path) -> Ui:
    """The UI of a new home with one plate of two wells; returns before it answers."""
    home = folder / "home"
    prepare_home(home)
    (folder / "served_pipeline.py").write_text(PIPELINE)
    write_imagexpress(folder / "raw", SyntheticPlate(rows=1, columns=2, sites=1, z=1, shape=(32, 32)))
    add(folder, "P001")
    port = free_port()
    log = folder / "ui.log"
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PYTHONWARNINGS": "ignore",
        "OPENHCS_UI_HOSTS": "lab.example",
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "openhcs_dagster.cli", "ui", "--port", str(port)],
            env=environment, stdout=file, stderr=file, cwd=folder,
        )  # fmt: skip
    return Ui(home, port, process, log)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """A UI that answers; ended with the module."""
    served = start(tmp_path_factory.mktemp("served"))
    try:
        wait_for(served.plates, 300, f"no answer from the UI\n{served.said()}")
        yield served
    finally:
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(60) == 0


def test_live_log_reload_and_downloads_work_in_a_browser(ui: Ui, tmp_path: Path) -> None:
    """The page's log grows by itself while a run goes on, Reload finds a new plate, log and debug file arrive."""
    with browser(tmp_path) as page:
        run = launch(ui)
        page.open(f"{ui.url}/runs/{run}")
        wait_for(lambda: "RUN_SUCCESS" in streamed(page), 300, "the run's end came to no page")
        assert [event for event in EVENTS if event in streamed(page)] == list(EVENTS)
        assert len(log_messages(page)) > 1  # in several messages: the log was live
        wait_for(lambda: "Success" in page.text(), 30, "the page did not show the run's end")

        add(ui.home.parent, "P002")
        page.open(f"{ui.url}/locations")
        wait_for(lambda: page.click("Reload"), 60, "there was no button Reload")
        assert "P002" in wait_for(lambda: (ui.plates() or set()) & {"P002"}, 60, "Reload did not find the new plate")

        (key,) = {event["fileKey"] for event in ui.ask(LOGS, run=run)["logsForRun"]["events"] if "fileKey" in event}
        page.open(f"{ui.url}/logs/{run}/compute_logs/{key}/out")
        wait_for(lambda: "seen by a person" in downloaded(page, "*.out"), 60, "the log was not downloaded")
        page.open(f"{ui.url}/download_debug/{run}")
        wait_for(lambda: downloaded(page, "*.gz"), 60, "the debug file was not downloaded")


def launch(ui: Ui) -> str:
    """Run both wells, as the UI does; return the run's id."""
    selection = [{"path": ["P001", name]} for name in ("plate_index", "compiled_contexts", "processed_wells")]
    tags = [
        {"key": f"dagster/asset_partition_range_{end}", "value": well}
        for end, well in (("start", "A01"), ("end", "A02"))
    ]
    selector = {
        "repositoryLocationName": "openhcs", "repositoryName": "__repository__", "pipelineName": "__ASSET_JOB",
        "assetSelection": selection, "assetCheckSelection": [],
    }  # fmt: skip
    params = {"selector": selector, "mode": "default", "runConfigData": {}, "executionMetadata": {"tags": tags}}
    return str(ui.ask(LAUNCH, params=params)["launchPipelineExecution"]["run"]["runId"])


def log_messages(page: Page) -> list[str]:
    """Messages of the subscription to the run's log that the page got through its websocket."""
    frames = [frame["response"]["payloadData"] for frame in page.told("Network.webSocketFrameReceived")]
    return [frame for frame in frames if '"pipelineRunLogs"' in frame]


def streamed(page: Page) -> str:
    return "\n".join(log_messages(page))


def downloaded(page: Page, pattern: str) -> str:
    """Content of a download that is complete; empty until then."""
    return "".join(path.read_bytes().decode("latin-1") for path in page.downloads.glob(pattern))


def test_other_sites_are_refused_by_what_is_served(ui: Ui) -> None:
    """The guard stands in front of Dagster: names, mutations in addresses, handshake and messages of the websocket."""
    asked = {"query": "{ version }"}

    def status(method: str, path: str, **more: Any) -> int:
        return requests.request(method, f"{ui.url}{path}", timeout=30, **more).status_code

    assert status("GET", "/server_info") == status("GET", "/server_info", headers={"Host": "lab.example:80"}) == 200
    assert status("GET", "/server_info", headers={"Host": "other.example"}) == 403
    assert status("POST", "/graphql", json=asked, headers={"Origin": ui.url}) == 200
    assert status("POST", "/graphql", json=asked, headers={"Origin": "http://other.example"}) == 403
    assert status("GET", "/graphql", params=asked) == 200
    assert status("GET", "/graphql", params={"query": HARMLESS}) == 405
    assert status("POST", "/graphql", params={"query": HARMLESS}) == 415
    assert status("POST", "/graphql", json={"query": HARMLESS}) == 200

    address = f"ws://127.0.0.1:{ui.port}/graphql"
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, subprotocols=["graphql-ws"], origin="http://other.example")  # type: ignore[arg-type,list-item]
    with connect(address, subprotocols=["graphql-ws"], origin=ui.url) as held:  # type: ignore[arg-type,list-item]
        held.send('{"type": "connection_init", "payload": {}}')
        assert "connection_ack" in str(held.recv(30))
        held.send('{"type": "start", "id": "1", "payload": {"query": "%s"}}' % HARMLESS)  # noqa: UP031 # braces of JSON
        with pytest.raises(ConnectionClosed, match="Only subscriptions run here"):
            held.recv(30)


def test_servers_that_are_killed_are_started_again(ui: Ui) -> None:
    """Web server and daemon at once, which the command says, and the process with the definitions, below the third."""
    roles = {"web": "web server", "daemon": "daemon", INNER: ""}
    killed_and_back(ui, *roles)

    for name in filter(None, roles.values()):
        assert f"The {name} ended (killed by signal 9); it is started again." in ui.said()
    wait_for(ui.plates, 300, f"no answer from the UI\n{ui.said()}")


def test_a_code_server_that_is_killed_is_started_again(ui: Ui) -> None:
    """With those that asked it, since the new one is reached elsewhere; the UI serves as before."""
    killed_and_back(ui, "code")

    assert "The code server ended (killed by signal 9); it is started again." in ui.said()
    wait_for(lambda: ui.server("web") and ui.server("daemon"), 60, "the others did not come again")
    wait_for(ui.plates, 300, f"no answer from the UI\n{ui.said()}")


def killed_and_back(ui: Ui, *roles: str) -> None:
    """Kill servers and wait for others in their place."""
    victims = {role: wait_for(lambda role=role: ui.server(role), 60, f"no {role}") for role in roles}
    for victim in victims.values():
        victim.kill()
    for role, victim in victims.items():
        wait_for(
            lambda role=role, victim=victim: (after := ui.server(role)) is not None and after.pid != victim.pid,
            300,
            f"no {role} came again\n{ui.said()}",
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    """Whether it is told to end or killed, also while it starts, no process of it stays."""
    served = start(tmp_path)
    everything = {"code", "web", "daemon"}
    wait_for(lambda: all(served.server(role) for role in everything), 60, "not all servers were started")

    served.process.send_signal(number)

    assert served.process.wait(60) == (-number if number == signal.SIGKILL else 0)
    wait_for(lambda: not processes_of(served.home), 60, "some processes were left")
    assert number == signal.SIGKILL or not (served.home / "webserver.address").exists()
