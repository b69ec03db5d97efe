"""A real web server and a real daemon: a backfill launched as the UI launches it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.catalogue.registration import register
from openhcs_dagster.home import prepare_home
from openhcs_dagster.settings import Settings
from openhcs_engine.plan.run_options import RunOptions
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.servers import free_port

REPO = Path(__file__).resolve().parent.parent.parent
PIPELINE = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection
pipeline = Pipeline([FunctionStep(func=create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
"""
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { ... on PythonError { message } } } } } }
"""
BACKFILL = """
query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }
"""
WELLS = """
query Wells($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      staleStatus(partition: "A01")
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses { materializedPartitions failedPartitions unmaterializedPartitions }
      }
    }
  }
}
"""
REPORT = """
query Report($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { assetMaterializations(limit: 1) { runId } } }
}
"""


class Server:
    """GraphQL of a running web server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: object) -> Any:  # Any: GraphQL's JSON
        answer = requests.post(self.url, json={"query": query, "variables": variables}, timeout=240).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def is_ready(self) -> bool:
        try:
            workspace = self.ask(LOCATIONS)["workspaceOrError"]
        except (requests.ConnectionError, requests.Timeout):
            return False
        wrong = [entry for entry in workspace["locationEntries"] if "message" in entry["locationOrLoadError"]]
        assert not wrong, wrong
        return True


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with one plate of six wells, one of them damaged."""
    home = tmp_path / "home"
    prepare_home(home)
    (tmp_path / "live_pipeline.py").write_text(PIPELINE)
    spec = SyntheticPlate(rows=2, columns=3, sites=1, z=2, shape=(64, 64), truncated_wells=("A02",))
    register(
        Catalogue(home / "plates"),
        write_imagexpress(tmp_path / "P001", spec),
        pipeline="live_pipeline:pipeline",
        output=tmp_path / "out",
        search_path=[tmp_path],
        options=RunOptions(workers=1),
    )
    return Settings(home=home, catalogue=home / "plates")


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    """A web server and a daemon on that home; both end with the test."""
    port = free_port()
    environment = {**os.environ, "DAGSTER_HOME": str(settings.home), "PYTHONWARNINGS": "ignore"}
    workspace = ["-w", str(settings.home / "workspace.yaml")]
    commands = (
        ["dagster_webserver", *workspace, "-h", "127.0.0.1", "-p", str(port)],
        ["dagster._daemon", "run", *workspace],
    )
    log = (tmp_path / "servers.log").open("wb")
    processes = [
        subprocess.Popen([sys.executable, "-m", *command], env=environment, cwd=REPO, stdout=log, stderr=log)
        for command in commands
    ]

    def answers() -> bool:
        ended = {command[0]: process.poll() for command, process in zip(commands, processes, strict=True)}
        assert not any(code is not None for code in ended.values()), (ended, (tmp_path / "servers.log").read_text())
        return started.is_ready()

    try:
        started = Server(port)
        wait_for(answers, 300, lambda: (tmp_path / "servers.log").read_text())
        yield started
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.close()


def wait_for(condition: Callable[[], Any], seconds: float, said: Callable[[], str] = str) -> Any:
    """Ask again and again until something true comes back; fail after so many seconds with what was said meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(1.0)
    pytest.fail(f"nothing came within {seconds:g} s\n{said()}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_backfill_from_the_ui_fails_one_well_and_makes_the_report(server: Server, settings: Settings) -> None:
    """Four wells asked for, one damaged: it alone is Failed, the others are green and fresh, the report appears."""

    def key(name: str) -> dict[str, list[str]]:
        return {"path": ["P001", name]}

    launched = server.ask(
        LAUNCH,
        params={
            "assetSelection": [key("plate_index"), key("compiled_contexts"), key("processed_wells")],
            "partitionNames": ["A01", "A02", "A03", "B01"],
            "fromFailure": False,
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def ended() -> str | None:
        backfill = server.ask(BACKFILL, id=launched["backfillId"])["partitionBackfillOrError"]
        return backfill["status"] if backfill["status"].startswith("COMPLETED") else None

    def report() -> Any:
        return server.ask(REPORT, key=key("plate_report"))["assetNodeOrError"]["assetMaterializations"]

    assert wait_for(ended, 240) == "COMPLETED_FAILED"
    wells = server.ask(WELLS, key=key("processed_wells"))["assetNodeOrError"]
    assert wells["assetPartitionStatuses"]["failedPartitions"] == ["A02"]
    assert wells["assetPartitionStatuses"]["materializedPartitions"] == ["A01", "A03", "B01"]
    assert wells["assetPartitionStatuses"]["unmaterializedPartitions"] == ["A02", "B02", "B03"]
    assert wells["staleStatus"] == "FRESH"
    assert wait_for(report, 300)
    assert (settings.home.parent / "out" / "P001" / "report" / "index.html").is_file()
