"""Wells that take long, and devices that are held, are named in Dagster's log; limits are options of a plate."""

from __future__ import annotations

import json
import os
import threading
from functools import partial
from pathlib import Path

import pytest

from openhcs_dagster.catalogue.catalogue import CatalogueError
from openhcs_dagster.catalogue.inbox_file import Inbox
from openhcs_dagster.cli.in_process import materialize_plate
from openhcs_engine.execution import execute_wells
from openhcs_engine.memory.devices import CpuInventory, DevicePool
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment

PIPELINE = """
from openhcs_engine import FunctionStep, Pipeline
from tests.engine.slow_functions import wait_for

pipeline = Pipeline([FunctionStep((wait_for, {"file": "FILE"}))])
"""


def test_a_well_that_works_long_is_named_in_dagsters_log(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning, on the terminal, too; here the run goes on only because of it."""
    gate = tmp_path / "gate"
    monkeypatch.setattr("openhcs_engine.execution.run.execute_wells", partial(execute_wells, remind_s=0.05))
    entry = deployment.add(
        deployment.plate(), deployment.pipeline("long_wells", text=PIPELINE.replace("FILE", str(gate)))
    )
    notes: list[str] = []

    def open_gate(note: str) -> None:
        notes.append(note)
        gate.touch()

    run = materialize_plate(entry, deployment.settings, deployment.instance, wells=entry.wells[:1], on_note=open_gate)

    assert not run.failed and notes[0].startswith(f"Well {entry.wells[0]} has been in work for ")
    logged = [
        log.user_message for run in deployment.instance.get_runs() for log in deployment.instance.all_logs(run.run_id)
    ]
    assert notes[0] in logged


def test_who_waits_for_a_device_says_who_holds_it(tmp_path: Path) -> None:
    """With its process and since when; then it gets it."""
    pool = DevicePool(CpuInventory(1), tmp_path)
    told: list[str] = []
    release = threading.Event()
    held = threading.Event()

    def hold() -> None:
        with pool.lease():
            held.set()
            release.wait(30)

    def note(sentence: str) -> None:
        told.append(sentence)
        release.set()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    with pool.lease(timeout_s=30, on_wait=note) as devices:
        assert len(devices) == 1
    holder.join()

    (sentence,) = told
    assert f"all 1 of kind cpu are held by the processes {os.getpid()} (since 20" in sentence


def test_a_limit_for_wells_is_an_option_of_a_plate_and_of_an_inbox(deployment: Deployment) -> None:
    """Under the same name; entries of before have none."""
    options = RunOptions(well_timeout="10m")
    assert options.complaint() is None and RunOptions().well_timeout is None
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"), options=options)
    assert deployment.catalogue.read(entry.id).options.well_timeout == "10m"

    file = deployment.root / "inbox.json"
    document = {"folder": "in", "pipeline": "lab:pipeline", "output": "out"}
    file.write_text(json.dumps({**document, "well_timeout": 90}))
    inbox = Inbox.read(file)
    assert isinstance(inbox, Inbox) and inbox.options.well_timeout == 90
    for wrong in ("soon", 0, -1, True):
        file.write_text(json.dumps({**document, "well_timeout": wrong}))
        said = Inbox.read(file)
        assert isinstance(said, str) and "well_timeout" in said


def test_a_limit_with_threads_is_refused_when_the_plate_is_added(deployment: Deployment) -> None:
    """Nothing of it enters the catalogue."""
    with pytest.raises(CatalogueError, match=r"ended only with its process.*--runner processes"):
        deployment.add(
            deployment.plate(), deployment.pipeline("lab"), options=RunOptions(runner="threads", well_timeout=60)
        )
    assert not deployment.catalogue.list().entries
