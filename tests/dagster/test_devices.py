"""Devices of a plate's wells: what the plan may count on, what a run holds, and what is told of it."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry
from openhcs_dagster.cli.in_process import materialize_plate
from openhcs_dagster.definitions import build_definitions, build_resources
from openhcs_dagster.keys import PlateKeys, range_tags
from openhcs_dagster.plate import assets
from openhcs_dagster.plate.assets import plate_graph
from openhcs_dagster.report.outcomes import OutcomeLog
from openhcs_dagster.resources import DevicePool
from openhcs_engine import FunctionStep
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import DeviceUnavailableError
from openhcs_engine.execution.run import execute_wells
from openhcs_engine.memory.devices import CPU, CpuInventory, DevicePolicy, HostInventory, Inventory
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import packed, unpacked
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment
from tests.engine.plates import add, make_plate, output_plan
from tests.paper_gpus import PaperGpus

TORCH = """
from openhcs_engine import FunctionStep, Pipeline
from openhcs_engine.memory import torch

@torch
def brighter(stack):
    return stack + 1

pipeline = Pipeline([FunctionStep(brighter, name="Brighter")])
"""


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Give every pool of this process so many GPUs and two CPU slots."""

    def inventory(_: DevicePool) -> Inventory:
        return HostInventory(gpus=PaperGpus(count), cpus=CpuInventory(2))

    monkeypatch.setattr(DevicePool, "inventory", inventory)


def contexts(device: str) -> dict[str, ProcessingContext]:
    """Three wells of one step, planned on a device by hand."""
    plate, index = make_plate()
    compiled = compile_plate(plate, index, [FunctionStep(add)], output=output_plan()).contexts
    return {well: replace(context, devices=(device,)) for well, context in compiled.items()}


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What a run asks for, and the devices that it holds."""

    name: str
    gpus: int
    planned: str
    policy: DevicePolicy
    workers: int = 0
    held: tuple[str, ...]


LEASES = (
    Lease(name="a GPU a well", gpus=2, planned="gpu:0", policy=DevicePolicy.AUTO, held=("gpu:0", "gpu:1")),
    Lease(name="fewer workers", gpus=2, planned="gpu:0", policy=DevicePolicy.GPU_REQUIRED, workers=1, held=("gpu:0",)),
    Lease(name="no step on a GPU", gpus=2, planned="cpu", policy=DevicePolicy.AUTO, held=("cpu:0", "cpu:1")),
    Lease(name="needed by no step", gpus=2, planned="cpu", policy=DevicePolicy.GPU_REQUIRED, held=("cpu:0", "cpu:1")),
    Lease(name="the host has none", gpus=0, planned="gpu:0", policy=DevicePolicy.AUTO, held=("cpu:0", "cpu:1")),
    Lease(name="the CPU alone", gpus=2, planned="gpu:0", policy=DevicePolicy.CPU, workers=1, held=("cpu:0",)),
)  # fmt: skip


@pytest.mark.parametrize("case", LEASES, ids=lambda case: case.name)
def test_a_run_holds_what_its_plan_needs(case: Lease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs where the plan has steps on them, else CPU slots; as many as workers, and never more than wells."""
    with_gpus(monkeypatch, case.gpus)
    pool = DevicePool(lease_folder=str(tmp_path), cpu_slots=2)

    with pool.lease(contexts(case.planned), case.policy, case.workers) as leased:
        assert tuple(device.label for device in leased) == case.held
    one_well = dict(list(contexts(case.planned).items())[:1])
    with pool.lease(one_well, case.policy, case.workers) as leased:
        assert len(leased) == 1


def test_a_required_gpu_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inventory's own words, and no waiting."""
    with_gpus(monkeypatch, 0)
    pool = DevicePool(lease_folder=str(tmp_path))

    with pytest.raises(DeviceUnavailableError, match="the paper is blank"):
        pool.lease(contexts("gpu:0"), DevicePolicy.GPU_REQUIRED, 0).__enter__()


def test_wells_may_share_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two slots a GPU a run of three wells holds one GPU twice and the other once, and none is left over."""
    with_gpus(monkeypatch, 2)
    pool = DevicePool(lease_folder=str(tmp_path), gpu_slots=2, patience_s=0)

    with pool.lease(contexts("gpu:0"), DevicePolicy.AUTO, 0) as leased:
        assert sorted(device.label for device in leased) == ["gpu:0", "gpu:0", "gpu:1"]
        with pool.lease(contexts("gpu:0"), DevicePolicy.AUTO, 0) as others:
            assert [device.label for device in others] == ["gpu:1"]


def facts_of(deployment: Deployment, key: dg.AssetKey, well: str | None = None) -> Mapping[str, Any]:
    """What the UI shows of the latest materialization."""
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[well] if well else None)
    (record,) = deployment.instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def materialize(deployment: Deployment, entry: CatalogueEntry, *selection: dg.AssetKey) -> bool:
    """Run assets of a plate, wells A01 and A02 of them."""
    defs = dg.Definitions(
        assets=plate_graph(entry).assets,
        resources=build_resources(deployment.settings),
        executor=dg.in_process_executor,
    )
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=deployment.instance,
        asset_selection=list(selection),
        tags=range_tags(["A01", "A02"]),
        raise_on_error=False,
    )
    return result.success


def test_wells_planned_on_gpus_run_on_leased_ones(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose stored plan has a step on a GPU holds one and hands it to the engine, with the plate's policy."""
    with_gpus(monkeypatch, 1)
    entry = deployment.add(deployment.plate(), deployment.pipeline("on_gpus"))
    keys = PlateKeys("P001")
    materialize(deployment, entry, keys.index, keys.contexts)
    kept = next(deployment.settings.values.rglob("compiled_contexts.plan.json.gz"))
    plan = msgspec.json.decode(unpacked(kept.read_bytes()))
    for well in plan["wells"].values():
        well["devices"] = ["gpu:0"]
    kept.write_bytes(packed(msgspec.json.encode(plan)))
    handed: list[tuple[str, ...]] = []

    def execute(contexts: Any, **options: Any) -> Any:
        handed.append((*(device.label for device in options["devices"]), options["policy"]))
        return execute_wells(contexts, **options)

    monkeypatch.setattr("openhcs_engine.execution.run.execute_wells", execute)

    assert materialize(deployment, entry, keys.wells)

    assert handed == [("gpu:0", "auto")]
    assert facts_of(deployment, keys.wells, "A02")["status"] == "done"


def test_a_well_that_missed_its_gpu_says_so(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned on a GPU that is gone when the wells run: the CPU stands in, and the table of steps has the reason."""
    pytest.importorskip("torch")
    entry = deployment.add(deployment.plate(), deployment.pipeline("missed", text=TORCH))
    keys = PlateKeys("P001")
    monkeypatch.setattr("openhcs_engine.memory.packages.cpu_builds", dict)
    with_gpus(monkeypatch, 1)
    materialize(deployment, entry, keys.index, keys.contexts)
    with_gpus(monkeypatch, 0)

    assert materialize(deployment, entry, keys.wells)

    assert "gpu:0" in facts_of(deployment, keys.contexts)["plan"]
    steps = facts_of(deployment, keys.wells, "A01")["steps"]
    assert "| 1. Brighter | cpu:" in steps
    assert "numpy -> torch" in steps.replace("&gt;", ">")
    assert "because there was no GPU (No GPU: the paper is blank)" in steps


def test_a_plate_that_requires_a_gpu_is_refused_without_one(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan fails with the reason, before a pixel is read."""
    pytest.importorskip("torch")
    with_gpus(monkeypatch, 0)
    options = RunOptions(runner="threads", device="gpu_required")
    entry = deployment.add(deployment.plate(), deployment.pipeline("required", text=TORCH), options=options)

    run = deployment.run(entry)

    assert run.refusal is not None
    assert "the paper is blank" in run.refusal


@pytest.mark.parametrize(
    ("written", "gpus", "device", "pools", "kinds"),
    [
        ("cpu", 1, "cpu", {"openhcs_cpu"}, {"cpu"}),
        ("gpu", 1, "gpu_required", {"openhcs_gpu"}, {"gpu"}),
        ("gpu_required", 0, "gpu_required", {"openhcs_gpu"}, {"gpu"}),
        ("auto", 0, "auto", {"openhcs_cpu"}, set()),
        (None, 0, "auto", {"openhcs_cpu"}, set()),
        ("auto", 1, "auto", set(), set()),
    ],
)
def test_entries_of_all_versions_say_what_their_wells_may_use(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    written: str | None,
    gpus: int,
    device: str,
    pools: set[str],
    kinds: set[str],
) -> None:
    """``gpu`` of earlier versions means that one is needed. No plate that may need none waits in the GPU's pool."""
    with_gpus(monkeypatch, gpus)
    entry = deployment.add(deployment.plate(), deployment.pipeline("entries"))
    file = deployment.settings.catalogue / "P001.json"
    document = msgspec.json.decode(file.read_bytes())
    del document["options"]["device"]
    file.write_bytes(msgspec.json.encode({**document, "options": {"device": written} if written else {}}))

    assert Catalogue(deployment.settings.catalogue).read(entry.id).options.device == device
    wells = build_definitions(deployment.settings).resolve_asset_graph().get(PlateKeys("P001").wells)
    assert wells.pools == pools
    assert wells.kinds == kinds | {"zarr"}


def test_a_plate_without_a_step_on_a_gpu_runs_beside_one_that_holds_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both may use GPUs; the plan of one needs none, so it leases CPU slots while the other keeps the only GPU."""
    with_gpus(monkeypatch, 1)
    pool = DevicePool(lease_folder=str(deployment.root / "leases"), patience_s=0)
    entry = deployment.add(deployment.plate(), deployment.pipeline("beside"))

    wells = build_definitions(deployment.settings).resolve_asset_graph().get(PlateKeys(entry.id).wells)

    assert wells.pools == set()
    with (
        pool.lease(contexts("gpu:0"), DevicePolicy.AUTO, 0) as busy,
        pool.lease(contexts("cpu"), DevicePolicy.AUTO, 0) as free,
    ):
        assert ([device.kind for device in busy], {device.kind for device in free}) == (["gpu"], {"cpu"})


def test_a_device_that_does_not_exist_is_refused(deployment: Deployment) -> None:
    """The sentence names those that do."""
    with pytest.raises(ValueError, match="'tpu' is not a device; choose one of auto, cpu, gpu_required"):
        deployment.add(deployment.plate(), "a:b", options=RunOptions(device="tpu"))


@pytest.mark.parametrize("when", ["while a well is recorded", "before a well is recorded"])
def test_an_interrupted_run_gives_its_devices_back_at_once(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """In the same process, as a notebook's: no collection of garbage is waited for, and what was done is kept."""
    entry = deployment.add(
        deployment.plate(), deployment.pipeline("lab"), options=RunOptions(runner="threads", workers=2)
    )

    def interrupt(*_: object) -> dict[str, dg.MetadataValue[object]]:
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    early = when.startswith("before")
    gc.collect()
    gc.disable()
    try:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            if early:
                patched.setattr(assets.records, "well_conditions", interrupt)
            materialize_plate(entry, deployment.settings, deployment.instance, on_well=None if early else interrupt)
        pool = DevicePool(cpu_slots=2).pool(DevicePolicy.CPU)
        with pool.lease(2, CPU, 0) as leased:
            assert len(leased) == 2
        assert len(OutcomeLog(entry.output_plan.folder).latest()) >= 1
    finally:
        gc.enable()
