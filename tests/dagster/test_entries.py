"""Whatever Dagster calls of ours meets a failing drive with a sentence; the list is that of the definitions."""

from __future__ import annotations

import errno
import inspect
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn

import dagster as dg
import pytest

from openhcs_dagster.definitions import build_definitions, build_resources
from openhcs_dagster.failures import HomeError, as_sentence
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.plate import assets as graph
from openhcs_dagster.storage.io_manager import VfsIOManager
from openhcs_engine.errors import OpenHCSError, OutputPlaceError
from openhcs_engine.model.system_errors import REMEDIES
from tests.dagster.deployments import Deployment
from tests.engine.files.failing_drive import failing_drive

NUMBER: Final = errno.ESTALE
REMEDY: Final = REMEDIES[NUMBER]
Entry = Callable[..., Any]


class Broken:
    """An argument whose every use is an error of the system, as of a resource or a lazy input on a failing drive."""

    def _fail(self, *_: object) -> NoReturn:
        raise OSError(NUMBER, os.strerror(NUMBER), "/data/x")

    __getattr__ = __call__ = __iter__ = __len__ = __getitem__ = __contains__ = __bool__ = __fspath__ = __str__ = _fail


def entries(definitions: dg.Definitions) -> dict[str, Entry]:
    """All functions of ours that Dagster calls, as its definitions have them."""
    repository = definitions.get_repository_def()
    ops = {
        node.name: node.compute_fn.decorated_fn
        for job in repository.get_all_jobs()
        for node in job.all_node_defs
        if isinstance(node, dg.OpDefinition)
    }
    assets = {asset.op.name for asset in repository.assets_defs_by_key.values()}
    checks = {check.op.name for check in repository.asset_checks_defs_by_key.values()}
    assert assets | checks <= ops.keys(), "no asset and no check is without its op"
    sensors = {
        sensor.name: sensor._run_status_sensor_fn
        if isinstance(sensor, dg.RunStatusSensorDefinition)
        else sensor._raw_fn
        for sensor in repository.sensor_defs
    }
    schedules = {schedule.name: schedule._execution_fn.decorated_fn for schedule in repository.schedule_defs}
    return {**ops, **sensors, **schedules}


def outcome(entry: Entry) -> str:
    """What a person reads when everything that an entry uses fails; empty if it used nothing that does."""
    arguments = {name: Broken() for name in inspect.signature(entry).parameters}
    try:
        returned = entry(**arguments)
        if inspect.isgenerator(returned):
            list(returned)
    except dg.Failure as failure:
        return failure.description or ""
    return returned.skip_message or "" if isinstance(returned, dg.SkipReason) else ""


def test_each_entry_of_the_definitions_fails_with_a_sentence(deployment: Deployment) -> None:
    """Assets, checks, ops of jobs, sensors, schedules: none lets a raw error out, and none is passed over."""
    deployment.add(deployment.plate(rows=1, columns=1), deployment.pipeline("lab"))
    inbox = {"folder": str(deployment.root), "pipeline": "lab:pipeline", "output": str(deployment.root / "out")}
    deployment.settings.inbox_file.write_text(json.dumps(inbox))
    found = entries(build_definitions(deployment.settings))

    told = {name: outcome(entry) for name, entry in found.items()}
    with failing_drive(NUMBER, deployment.root):
        away = {name: outcome(entry) for name, entry in found.items()}

    assert len(found) >= 12
    for name in found:
        sentences = [said for said in (told[name], away[name]) if said]
        assert sentences, f"{name} used none of its arguments and no file"
        for said in sentences:
            assert REMEDY in said and "Errno" not in said, (name, said)


def test_an_entry_without_a_guard_would_be_found() -> None:
    """The look above can fail: an entry as one would write it first raises the system's error."""

    @dg.sensor(name="bare", asset_selection=dg.AssetSelection.all())
    def bare(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(str(context.cursor))

    with pytest.raises(OSError, match="Errno"):
        outcome(entries(dg.Definitions(sensors=[bare]))["bare"])


def failures(deployment: Deployment) -> Iterator[str]:
    """What the UI says of each failed step: the outermost sentence of ours."""
    for record in deployment.instance.get_runs():
        for event in deployment.instance.all_logs(record.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            assert event.dagster_event is not None
            data = event.dagster_event.step_failure_data
            if data.user_failure_data is not None:
                yield data.user_failure_data.description or ""
                continue
            error, said = data.error, "raw"
            while error is not None:
                if error.message.startswith("openhcs_"):
                    said = error.message.partition(": ")[2]
                    break
                said, error = error.message, error.cause
            yield said


MOMENTS: Final = [
    *(("raw", n) for n in (0, 2)),
    *(("home/values", n) for n in (0, 1, 4)),
    *(("out", n) for n in (0, 9, 30)),
]


@pytest.mark.parametrize(("folder", "after"), MOMENTS)
def test_a_drive_that_fails_in_the_middle_of_a_plate_is_a_sentence(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, folder: str, after: int
) -> None:
    """Whichever drive and in whichever moment: the steps of a plate say what to do, and none of them lets it out."""
    monkeypatch.setattr(graph, "RETRY_AFTER_S", 0.01)
    entry = deployment.add(deployment.plate(rows=1, columns=1), deployment.pipeline("lab"))

    with failing_drive(errno.EIO, deployment.root / folder, after=after) as drive, suppress(OSError):
        deployment.run(entry)  # the command has a guard of its own for what it reads in the end

    told = list(failures(deployment))
    assert drive.failed and told, drive.asked
    assert all(REMEDIES[errno.EIO] in said and "Errno" not in said for said in told), told


def test_a_check_that_meets_a_failing_drive_fails_with_a_sentence(deployment: Deployment) -> None:
    """Executed by hand on a published plate: no well is called damaged, and the check says what to do."""
    entry = deployment.add(deployment.plate(rows=1, columns=1), deployment.pipeline("lab"))
    assert deployment.run(entry).refusal is None
    key = dg.AssetCheckKey(PlateKeys(entry.id).report, "wells_are_whole")
    definitions = build_definitions(deployment.settings)
    by_hand = dg.Definitions(
        assets=definitions.assets,
        asset_checks=definitions.asset_checks,
        jobs=[dg.define_asset_job("by_hand", dg.AssetSelection.checks(key))],
        resources=build_resources(deployment.settings),
        executor=dg.in_process_executor,
    )

    with failing_drive(errno.EIO, entry.output_plan.folder):
        result = by_hand.resolve_job_def("by_hand").execute_in_process(
            instance=deployment.instance, raise_on_error=False
        )

    (said,) = failures(deployment)
    assert not result.success and not result.get_asset_check_evaluations()
    assert "while checking the files of plate P001: Input/output error" in said and REMEDIES[errno.EIO] in said


def test_the_code_location_says_what_is_wrong_with_its_catalogue(deployment: Deployment) -> None:
    """A drive that fails makes no empty code location, in which all plates would seem to be removed."""
    deployment.add(deployment.plate(rows=1, columns=1), deployment.pipeline("lab"))

    with failing_drive(errno.EIO, deployment.settings.catalogue), pytest.raises(HomeError) as caught:
        build_definitions(deployment.settings)

    assert "while loading the plates of the catalogue: Input/output error" in str(caught.value)


def test_what_resources_and_the_io_manager_meet_is_a_sentence(deployment: Deployment) -> None:
    """Each resource of the definitions: leases, the reload, and values that are stored, found and loaded."""
    resources = build_resources(deployment.settings)
    assert resources.keys() == {"io_manager", "catalogue", "code_location", "device_pool"}, "give a new one its case"
    manager = resources["io_manager"]
    assert isinstance(manager, VfsIOManager)
    store = dg.build_output_context(asset_key=dg.AssetKey("a"))
    load = dg.build_input_context(asset_key=dg.AssetKey("a"))
    manager.handle_output(store, 1)
    deployment.settings.address_file.write_text("127.0.0.1:1")

    def lease() -> None:
        pool = resources["device_pool"].model_copy(update={"lease_folder": str(deployment.settings.home / "leases")})
        with pool.lease({}, "cpu", 1):
            raise AssertionError

    uses: list[Callable[[], object]] = [
        lambda: manager.handle_output(store, 2),
        lambda: manager.load_input(load),
        lease,
    ]
    with failing_drive(errno.EIO, deployment.settings.home):
        for use in uses:
            with pytest.raises(OpenHCSError) as caught:
                use()
            assert REMEDIES[errno.EIO] in str(caught.value) and "Errno" not in str(caught.value)
        told = resources["code_location"].reload()
    assert "Nothing was reloaded" in told and REMEDIES[errno.EIO] in told and "Errno" not in told
    assert manager.load_input(load) == 1


def test_a_sentence_of_ours_stays_as_it_is() -> None:
    """Only what the system says is put into words."""
    with pytest.raises(OutputPlaceError, match=r"^It is full\.$"), as_sentence("storing"):
        raise OutputPlaceError("It is full.", path="x")
