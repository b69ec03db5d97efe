"""Which device each step of each well is planned for."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openhcs_engine import FunctionStep, InputSource, Pipeline, PipelineOrchestrator, orchestrator
from openhcs_engine.compiler import Compilation, compile_plate
from openhcs_engine.compiler.devices import DeviceOffer, assign_devices
from openhcs_engine.errors import CompilationError, OptionError
from openhcs_engine.memory import MemoryType, cupy, jax, numpy, pyclesperanto, tensorflow, torch
from openhcs_engine.memory.devices import Device, DevicePolicy, Inventory
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageIndex, Stack
from openhcs_engine.model.plate import Plate
from openhcs_engine.plan.context import StepPlan
from openhcs_engine.plan.flow import WORKING_COPIES, StepStacks, flows_through
from tests.engine.plates import double, make_plate, output_plan

pytest.importorskip("torch")  # the plate of all these tests is compiled once, for functions of all libraries

PIXELS = 8 * 6
"""Of a plane of the small plate."""
GIB = 2**30


def stacks_of_steps(plate: Plate, steps: Sequence[StepPlan], index: ImageIndex) -> tuple[StepStacks, ...]:
    """The stacks of each step of one well."""
    return tuple(step.stacks for step in flows_through(plate, steps, {"A01": index})["A01"])


def gpu(index: int, memory_bytes: int = 16 * GIB) -> Device:
    """A GPU that exists on paper only."""
    return Device(kind="gpu", index=index, name="Paper GPU", uuid=f"GPU-paper-{index}", memory_bytes=memory_bytes)


def cpu(memory_bytes: int = 16 * GIB) -> Device:
    """A host with one CPU slot."""
    return Device(kind="cpu", index=0, name="CPU slot 0", uuid="cpu-0", memory_bytes=memory_bytes)


@dataclass
class FakeInventory:
    """Devices on paper; counts how often it was asked."""

    held: tuple[Device, ...]
    asked: int = 0

    def devices(self) -> tuple[Device, ...]:
        """All of them."""
        self.asked += 1
        return self.held

    def why_no_gpu(self) -> str | None:
        """A reason if there is none."""
        return None if any(device.kind == "gpu" for device in self.held) else "No GPU: the paper is blank."


@numpy
def host_function(stack: Array) -> Array:
    """Speaks NumPy."""
    return stack


@torch(dtype="float32")
def torch_function(stack: Array) -> Array:
    """Speaks torch; 4 bytes a pixel."""
    return stack


@torch
def torch_preserving(stack: Array) -> Array:
    """Speaks torch, and leaves the pixel type."""
    return stack


@torch(dtype="float32", slice_by_slice=True)
def torch_by_slice(stack: Array) -> Array:
    """Speaks torch, plane by plane."""
    return stack


@torch(dtype="float32", collapses=True)
def torch_projection(stack: Array) -> Array:
    """Leaves one plane."""
    return stack


@jax(dtype="float32")
def jax_function(stack: Array) -> Array:
    """Speaks jax."""
    return stack


@tensorflow
def tensorflow_function(stack: Array) -> Array:
    """Speaks TensorFlow."""
    return stack


@pyclesperanto
def pyclesperanto_function(stack: Array) -> Array:
    """Speaks pyclesperanto."""
    return stack


@cupy(dtype="float32")
def cupy_function(stack: Array) -> Array:
    """Speaks CuPy."""
    return stack


@cupy(dtype="float32", cpu=double)
def cupy_with_twin(stack: Array) -> Array:
    """Speaks CuPy, and NumPy if need be."""
    return stack


MIXED = Pipeline([FunctionStep(host_function), FunctionStep(torch_function), FunctionStep(jax_function)])
TORCH = Pipeline([FunctionStep(torch_function, variable_components=["z_index"])])
"""Stacks of three planes."""
TORCH_NEEDS = 3 * PIXELS * 4 * WORKING_COPIES


def compiled(
    pipeline: Sequence[FunctionStep],
    devices: Sequence[Device] | Inventory | None,
    policy: DevicePolicy = DevicePolicy.AUTO,
    wells: Sequence[str] = ("A01", "A02", "B01"),
    cpu_builds: dict[MemoryType, str] | None = None,
) -> Compilation:
    """The small plate, compiled for some devices."""
    plate, index = make_plate(wells)
    return compile_plate(
        plate,
        index,
        pipeline,
        output=output_plan(),
        devices=devices,
        device_policy=policy,
        cpu_builds=lambda: cpu_builds or {},
    )


def devices_of(compilation: Compilation) -> dict[str, tuple[str, ...]]:
    """Devices of each well's steps."""
    return {well: context.devices for well, context in compilation.contexts.items()}


def refusal(
    pipeline: Sequence[FunctionStep],
    devices: Sequence[Device] | Inventory | None,
    policy: DevicePolicy = DevicePolicy.AUTO,
    cpu_builds: dict[MemoryType, str] | None = None,
) -> CompilationError:
    """Why a plan is refused."""
    with pytest.raises(CompilationError) as caught:
        compiled(pipeline, devices, policy, cpu_builds=cpu_builds)
    return caught.value


def test_steps_of_gpu_libraries_go_to_the_gpu_and_numpy_stays_on_the_cpu() -> None:
    """A mixed pipeline: each step where its library can work."""
    contexts = compiled(MIXED, [gpu(0), cpu()]).contexts

    assert contexts["A01"].devices == ("cpu", "gpu:0", "gpu:0")
    assert [contexts["A01"].device_of(step) for step in contexts["A01"].steps] == ["cpu", "gpu:0", "gpu:0"]


@pytest.mark.parametrize(
    "function", [torch_function, jax_function, tensorflow_function, pyclesperanto_function, cupy_function]
)
def test_five_libraries_can_use_a_gpu(function: object) -> None:
    """Alone, or in a chain behind a NumPy function."""
    pipeline = [FunctionStep(function), FunctionStep([host_function, function])]  # type: ignore[arg-type, list-item]

    assert set(devices_of(compiled(pipeline, [gpu(0)])).values()) == {("gpu:0", "gpu:0")}


@pytest.mark.parametrize(
    ("pipeline", "devices", "policy"),
    [
        (MIXED, None, DevicePolicy.AUTO),
        (MIXED, [cpu()], DevicePolicy.AUTO),
        (MIXED, [gpu(0), cpu()], DevicePolicy.CPU),
        ([FunctionStep(host_function)], [gpu(0), cpu()], DevicePolicy.AUTO),
    ],
    ids=["nothing said", "no gpu", "cpu wanted", "numpy only"],
)
def test_a_plan_on_the_cpu_names_no_devices(
    pipeline: Sequence[FunctionStep], devices: Sequence[Device] | None, policy: DevicePolicy
) -> None:
    """Every step on the CPU is the empty tuple, and device_of says cpu."""
    context = compiled(pipeline, devices, policy).contexts["A01"]

    assert context.devices == ()
    assert {context.device_of(step) for step in context.steps} == {"cpu"}


def test_devices_are_not_in_the_fingerprint() -> None:
    """The same wells are up to date wherever they run."""
    here, there = compiled(MIXED, None).contexts["A01"], compiled(MIXED, [gpu(0)]).contexts["A01"]

    assert here.devices != there.devices
    assert here.fingerprint == there.fingerprint


def test_wells_are_spread_over_gpus() -> None:
    """Equal wells alternate, beginning with the first GPU; all GPU steps of a well share one."""
    found = devices_of(compiled(MIXED, [gpu(0), gpu(1)], wells=("A01", "A02", "B01", "B02")))

    assert [found[well][1:] for well in ("A01", "A02", "B01", "B02")] == [
        ("gpu:0", "gpu:0"), ("gpu:1", "gpu:1"), ("gpu:0", "gpu:0"), ("gpu:1", "gpu:1"),
    ]  # fmt: skip


def test_a_gpu_with_too_little_memory_is_passed_over() -> None:
    """All wells go to the GPU that their largest stack fits into, to the byte."""
    small, large = gpu(0, TORCH_NEEDS - 1), gpu(1, TORCH_NEEDS)

    assert set(devices_of(compiled(TORCH, [small, large])).values()) == {("gpu:1",)}


def test_one_large_step_takes_its_well_to_the_large_gpu() -> None:
    """Affinity: a small step does not hop away from the GPU that the large one needs."""
    pipeline = [FunctionStep(torch_function, variable_components=["site"]), *TORCH]

    found = devices_of(compiled(pipeline, [gpu(0, TORCH_NEEDS - 1), gpu(1, TORCH_NEEDS)]))

    assert set(found.values()) == {("gpu:1", "gpu:1")}


def test_stacks_that_fit_no_gpu_run_on_the_cpu_and_the_plan_says_so() -> None:
    """The note names the step, the numbers and the remedy; the other steps stay on the GPU."""
    pipeline = [FunctionStep(torch_function, variable_components=["site"], name="small"), *TORCH]

    plan = compiled(pipeline, [gpu(0, TORCH_NEEDS - 1), cpu()])

    assert set(devices_of(plan).values()) == {("gpu:0", "cpu")}
    assert plan.notes == (
        'Step 2 "torch_function" runs on the CPU: torch_function needs 1.7 KiB for a stack of 3 planes 8 x 6 float32 '
        "(×3 working copies), the largest GPU (gpu:0, Paper GPU) has 1.7 KiB. Let its stacks run along fewer planes, "
        "or declare slice_by_slice=True if it treats each plane alone.",
    )


def test_functions_plane_by_plane_need_room_for_one_plane() -> None:
    """slice_by_slice: a stack that does not fit may be cut into batches; one plane must fit."""
    pipeline = [FunctionStep(torch_by_slice, variable_components=["z_index"])]
    one_plane = TORCH_NEEDS // 3

    assert set(devices_of(compiled(pipeline, [gpu(0, one_plane)])).values()) == {("gpu:0",)}
    assert set(devices_of(compiled(pipeline, [gpu(0, one_plane - 1), cpu()])).values()) == {()}


def test_pixel_types_are_counted_as_the_function_gets_and_gives_them() -> None:
    """torch computes uint16 in int32, so that a stack needs twice its size; the sentence says so."""
    pipeline = [FunctionStep(torch_preserving, variable_components=["z_index"])]

    assert set(devices_of(compiled(pipeline, [gpu(0, TORCH_NEEDS)])).values()) == {("gpu:0",)}
    sentence = str(refusal(pipeline, [gpu(0, TORCH_NEEDS - 1)], DevicePolicy.GPU_REQUIRED))
    assert "3 planes 8 x 6 uint16 (×3 working copies, counted as int32)" in sentence


def test_a_collapsed_axis_makes_small_stacks() -> None:
    """What a projection leaves is one plane a site: the step after it needs no more than that."""
    pipeline = [
        FunctionStep(host_function, variable_components=["z_index"]),
        FunctionStep(torch_projection, variable_components=["z_index"]),
        FunctionStep(jax_function, variable_components=["channel"]),
        FunctionStep(jax_function, variable_components=["z_index"], input_source=InputSource.PIPELINE_START),
    ]
    plate, index = make_plate(["A01"])
    steps = compiled(pipeline, None, wells=["A01"]).contexts["A01"].steps

    stacks = stacks_of_steps(plate, steps, index)

    seen = [{(facts.planes, facts.dtypes): count for facts, count in of_step.items()} for of_step in stacks]
    assert seen == [
        {(3, ("uint16", "uint16")): 4},
        {(3, ("uint16", "float32")): 4},
        {(2, ("float32", "float32")): 2},
        {(3, ("uint16", "float32")): 4},
    ]


def test_cupy_needs_a_gpu() -> None:
    """Without one the step is refused in the inventory's own words; so is a run that may use the CPU only."""
    pipeline = [FunctionStep(host_function), FunctionStep(cupy_function)]

    (violation,) = refusal(pipeline, FakeInventory((cpu(),))).violations

    assert (violation.step, violation.step_number, violation.key) == ("cupy_function", 2, "cupy_function")
    assert violation.message == (
        "cupy_function works on GPUs only, and no cpu=… function is declared (give it one, or run where there is a GPU "
        "for it). No GPU: the paper is blank."
    )
    assert "may use the CPU only (device=cpu)" in str(refusal(pipeline, [gpu(0), cpu()], DevicePolicy.CPU))
    assert "No GPU: this inventory holds CPU slots only." in str(refusal(pipeline, None))


@pytest.mark.parametrize(("devices", "why"), [([cpu()], "No GPU"), ([gpu(0, 100), cpu()], "needs 1.7 KiB")])
def test_a_cpu_function_stands_in_where_there_is_no_room_on_a_gpu(devices: list[Device], why: str) -> None:
    """Declared by the user, and said by the plan; never where a GPU is required."""
    pipeline = [FunctionStep(cupy_with_twin, variable_components=["z_index"])]

    plan = compiled(pipeline, devices)

    assert set(devices_of(plan).values()) == {()}
    assert why in plan.notes[0] and plan.notes[0].endswith("double stands in.")
    assert "required" in str(refusal(pipeline, devices, DevicePolicy.GPU_REQUIRED))


def test_cupy_that_fits_no_gpu_is_refused_with_the_numbers() -> None:
    """There is no CPU to fall back to."""
    pipeline = [FunctionStep(cupy_function, variable_components=["z_index"])]

    sentence = str(refusal(pipeline, [gpu(0, 100), gpu(1, 1000), cpu()]))

    assert "cupy_function needs 1.7 KiB for a stack of 3 planes 8 x 6 uint16 (×3 working copies" in sentence
    assert "the largest GPU (gpu:1, Paper GPU) has 1000 bytes" in sentence
    assert "fewer planes, or declare slice_by_slice=True" in sentence


def test_a_required_gpu_that_is_not_there_is_one_violation() -> None:
    """In the inventory's own words, and once for the plan."""
    (violation,) = refusal(MIXED, FakeInventory((cpu(),)), DevicePolicy.GPU_REQUIRED).violations

    assert (violation.key, violation.step) == ("device", None)
    assert "A GPU is required, and there is none. No GPU: the paper is blank." in violation.message


def test_a_required_gpu_refuses_what_would_run_on_the_cpu() -> None:
    """A stack that does not fit is refused, not moved."""
    (violation,) = refusal(TORCH, [gpu(0, TORCH_NEEDS - 1), cpu()], DevicePolicy.GPU_REQUIRED).violations

    assert violation.message.startswith("a GPU is required. torch_function needs 1.7 KiB")


def test_a_required_gpu_for_numpy_alone_is_remarked() -> None:
    """Nothing is wrong, but nothing uses the GPU either."""
    plan = compiled([FunctionStep(host_function)], [gpu(0)], DevicePolicy.GPU_REQUIRED)

    assert set(devices_of(plan).values()) == {()}
    assert plan.notes == ("A GPU is required, but no function of this pipeline can use one.",)


def test_libraries_built_without_gpu_support_stay_on_the_cpu() -> None:
    """Said in a note; refused where a GPU is required."""
    builds = {MemoryType.TORCH: "torch==2.9+cpu is built without GPU support"}

    plan = compiled(MIXED, [gpu(0)], cpu_builds=builds)

    assert set(devices_of(plan).values()) == {("cpu", "cpu", "gpu:0")}
    assert plan.notes == (
        'Step 2 "torch_function" runs on the CPU: torch==2.9+cpu is built without GPU support. '
        "Install a build for GPUs.",
    )
    required = refusal(MIXED, [gpu(0)], DevicePolicy.GPU_REQUIRED, cpu_builds=builds)
    assert "a GPU is required. torch==2.9+cpu is built" in str(required)


def test_a_plan_that_exceeds_the_hosts_memory_is_refused_with_the_numbers() -> None:
    """All CPU slots together are the host."""
    pipeline = [FunctionStep(host_function, variable_components=["z_index"], name="heavy")]
    needs = 3 * PIXELS * 2 * WORKING_COPIES
    slots = [cpu(needs // 2), replace(cpu(needs // 2), index=1)]

    assert set(devices_of(compiled(pipeline, slots)).values()) == {()}
    (violation,) = refusal(pipeline, slots[:1]).violations
    assert (violation.step, violation.step_number) == ("heavy", 1)
    assert "host_function needs 864 bytes for a stack of 3 planes 8 x 6 uint16" in violation.message
    assert "this host has 432 bytes" in violation.message


def test_the_inventory_is_asked_only_if_its_answer_matters() -> None:
    """NumPy pipelines, and runs on the CPU, ask no driver."""
    inventory = FakeInventory((gpu(0), cpu()))

    compiled([FunctionStep(host_function)], inventory)
    compiled(MIXED, inventory, DevicePolicy.CPU)
    assert inventory.asked == 0

    assert set(devices_of(compiled(MIXED, inventory)).values()) == {("cpu", "gpu:0", "gpu:0")}
    assert inventory.asked == 1


def test_compiling_for_gpus_loads_no_array_library() -> None:
    """A plan knows the libraries by their packages' metadata alone."""
    before = set(sys.modules)

    compiled(MIXED, [gpu(0)])

    assert not {"torch", "jax", "tensorflow", "cupy", "pyclesperanto"} & (set(sys.modules) - before)


def test_wells_of_a_part_of_the_plate_get_devices_too() -> None:
    """Wells with fewer planes weigh less; a well whose planes are missing takes no part of the load."""
    plate, index = make_plate(("A01", "A02", "A03"))
    thin = ImageIndex(tuple(plane for plane in index if plane.key.well != "A01" or plane.key.site == 1))

    found = devices_of(compile_plate(plate, thin, TORCH, output=output_plan(), devices=[gpu(0), gpu(1)]))

    # A01 weighs half: after A01 on gpu:0 and A02 on gpu:1, gpu:0 has still the lesser load.
    assert found == {"A01": ("gpu:0",), "A02": ("gpu:1",), "A03": ("gpu:0",)}


WELLS = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]


@st.composite
def offers(draw: st.DrawFn) -> DeviceOffer:
    """One to four GPUs of different memory."""
    sizes = draw(st.lists(st.integers(1, 4 * TORCH_NEEDS), min_size=1, max_size=4))
    return DeviceOffer(devices=tuple(gpu(index, memory) for index, memory in enumerate(sizes)))


def plans() -> tuple[Plate, tuple[StepPlan, ...]]:
    """A plan of four steps with stacks of different sizes."""
    pipeline = [
        FunctionStep(torch_function, variable_components=["site"]),
        FunctionStep(host_function),
        FunctionStep(jax_function, variable_components=["site", "z_index"]),
        FunctionStep(torch_by_slice, variable_components=["z_index"]),
    ]
    context = compiled(pipeline, None).contexts["A01"]
    return context.plate, context.steps


PLATE, STEPS = plans()


@st.composite
def wells_of_different_size(draw: st.DrawFn) -> dict[str, tuple[StepStacks, ...]]:
    """Stacks of up to twelve wells, each with a part of its planes."""
    _, index = make_plate(["A01"])
    names = draw(st.lists(st.sampled_from(WELLS), min_size=1, max_size=12, unique=True))
    kept = [draw(st.integers(1, len(index))) for _ in names]
    shared = {count: stacks_of_steps(PLATE, STEPS, ImageIndex(index.planes[:count])) for count in set(kept)}
    return {name: shared[count] for name, count in zip(names, kept, strict=True)}


def needed(stacks: StepStacks) -> int:
    """Bytes that a step's largest stack needs on a device, counted apart from the compiler."""
    return max(
        (
            (1 if facts.route.calls[0].slice_by_slice else facts.planes) * PIXELS * 4 * WORKING_COPIES
            for facts in stacks
        ),
        default=0,
    )


def entering(stacks: StepStacks) -> int:
    """Bytes of all stacks of a step."""
    itemsize = {"uint16": 2, "float32": 4}
    return sum(count * facts.planes * PIXELS * itemsize[facts.dtypes[0] or ""] for facts, count in stacks.items())


@settings(max_examples=60)
@given(wells_of_different_size(), offers(), st.randoms(use_true_random=False))
def test_no_plan_exceeds_a_gpu_and_wells_are_balanced(
    wells: dict[str, tuple[StepStacks, ...]], offer: DeviceOffer, shuffle: random.Random
) -> None:
    """Laws of every assignment: memory, affinity, balance within one well's load, and no matter in which order."""
    memory = {device.label: device.memory_bytes for device in offer.devices}

    assignment = assign_devices(STEPS, wells, offer)

    load: Counter[str] = Counter(dict.fromkeys(memory, 0))
    heaviest = 0
    for well, devices in assignment.devices.items():
        chosen = {device for device in devices if device != "cpu"}
        on_gpu = [position for position, device in enumerate(devices) if device in memory]
        assert len(chosen) <= 1
        assert all(needed(wells[well][position]) <= memory[devices[position]] for position in on_gpu)
        fits = [position for position in (0, 2, 3) if needed(wells[well][position]) <= max(memory.values())]
        assert on_gpu == fits
        weight = sum(entering(wells[well][position]) for position in on_gpu)
        load.update(dict.fromkeys(chosen, weight))
        heaviest = max(heaviest, weight)
    if min(memory.values()) >= max(needed(step) for stacks in wells.values() for step in stacks):
        assert max(load.values()) - min(load.values()) <= heaviest
    order = list(wells)
    shuffle.shuffle(order)
    assert assign_devices(STEPS, {well: wells[well] for well in order}, offer) == assignment


def test_compiling_twice_gives_the_same_devices() -> None:
    """Same plate, same pipeline, same inventory: the same plan."""
    inventory = [gpu(0, 2 * GIB), gpu(1), cpu()]

    assert compiled(MIXED, inventory, wells=WELLS).contexts == compiled(MIXED, inventory, wells=WELLS).contexts


def test_a_plate_of_1536_wells_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wells with the same planes share one look at their stacks, so that large plates compile quickly."""
    wells = [f"{row}{column:02d}" for row in [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB", "AC", "AD", "AE", "AF"]
             for column in range(1, 49)]  # fmt: skip
    looked: list[int] = []
    group_stacks = ImageIndex.group_stacks

    def counted(index: ImageIndex, variable: Sequence[Component]) -> tuple[Stack, ...]:
        looked.append(len(index))
        return group_stacks(index, variable)

    monkeypatch.setattr(ImageIndex, "group_stacks", counted)
    found = devices_of(compiled(MIXED, [gpu(0), gpu(1)], wells=wells))

    assert looked == [12] * len(MIXED)
    assert Counter(devices[1] for devices in found.values()) == {"gpu:0": 768, "gpu:1": 768}


def test_a_plain_function_in_a_gpu_pipeline_stays_on_the_cpu() -> None:
    """It counts as NumPy, and the plan says so."""
    plan = compiled([FunctionStep(double), FunctionStep(torch_function)], [gpu(0)])

    assert set(devices_of(plan).values()) == {("cpu", "gpu:0")}
    assert plan.notes == (
        "tests.engine.plates:double has no decorator and counts as a NumPy function; "
        "put @numpy from openhcs_engine.memory on it.",
    )


def test_the_orchestrator_offers_the_hosts_devices(monkeypatch: pytest.MonkeyPatch, small_plate: Path) -> None:
    """What the inventory and the packages say decides; device="cpu" asks neither."""
    inventory = FakeInventory((gpu(0), cpu()))
    builds = {MemoryType.JAX: "jax==0 is built without GPU support"}
    monkeypatch.setattr(orchestrator, "find_inventory", lambda: inventory)
    monkeypatch.setattr(orchestrator, "cpu_builds", lambda: builds)

    automatic = PipelineOrchestrator(small_plate).initialize().compile(MIXED, "A01")
    on_cpu = PipelineOrchestrator(small_plate, device="cpu").initialize().compile_pipelines(MIXED, "A01")

    assert devices_of(automatic) == {"A01": ("cpu", "gpu:0", "cpu")}
    assert automatic.notes == (
        'Step 3 "jax_function" runs on the CPU: jax==0 is built without GPU support. Install a build for GPUs.',
    )
    assert on_cpu["A01"].devices == ()
    assert inventory.asked == 1


def test_an_unknown_device_policy_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """Before the plate is looked at."""
    with pytest.raises(OptionError, match=r"device='gpu' is unknown \(choose from auto, cpu, gpu_required\)"):
        PipelineOrchestrator(tmp_path, device="gpu")
