"""What the founding document shows, block by block, with plates and functions of our own.

Two things are written differently here: names come from ``openhcs_engine``, and a function that is given ``percentile``
takes it.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from openhcs_engine import FunctionStep, GroupBy, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import CompilationError
from openhcs_engine.execution import WellResult
from openhcs_engine.functions import (
    create_composite,
    create_max_projection,
    denoise_images,
    enhance_contrast,
    generate_positions,
    stack_percentile_normalize,
)
from openhcs_engine.memory import MemoryType, cupy, jax, numpy, pyclesperanto, tensorflow, torch
from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.packages import cpu_builds
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

Pixels = NDArray[Any]
Stack = Any  # an array of the function's own library
REPO = Path(__file__).resolve().parents[2]
CHANNELS = {"DAPI": 1, "GFP": 2, "BF": 3}


@pytest.fixture(scope="module")
def plate_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wells A01 and B01: two sites, two z planes, the channels DAPI, GFP and BF; read only."""
    plate = SyntheticPlate(
        name="founding", rows=2, columns=1, sites=2, z=2, channels=tuple(CHANNELS), shape=(40, 48),
        objects_per_megapixel=2000,
    )  # fmt: skip
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "founding", plate)


@pytest.fixture(autouse=True)
def _work_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results lie below the current folder unless asked otherwise."""
    monkeypatch.chdir(tmp_path)


# The functions of the document.


@numpy
def normalize_images(image_stack: Pixels, percentile: float = 99) -> Pixels:
    """Takes the parameter that it is given."""
    return stack_percentile_normalize(image_stack, high_percentile=percentile)


@numpy
def process_nuclei(image_stack: Pixels) -> Pixels:
    """For DAPI."""
    return image_stack + np.uint16(1)


@numpy
def process_proteins(image_stack: Pixels) -> Pixels:
    """For GFP."""
    return image_stack + np.uint16(2)


@numpy
def process_brightfield(image_stack: Pixels) -> Pixels:
    """For BF."""
    return image_stack + np.uint16(3)


@cupy
def normalize_on_cupy(image_stack: Stack) -> Stack:
    """A built-in called with CuPy's array."""
    return stack_percentile_normalize(image_stack)


@torch
def normalize_on_torch(image_stack: Stack) -> Stack:
    """A built-in called with a tensor."""
    return stack_percentile_normalize(image_stack)


@tensorflow
def normalize_on_tensorflow(image_stack: Stack) -> Stack:
    """A built-in called with TensorFlow's tensor."""
    return stack_percentile_normalize(image_stack)


@jax
def normalize_on_jax(image_stack: Stack) -> Stack:
    """A built-in called with JAX's array."""
    return stack_percentile_normalize(image_stack)


@pyclesperanto
def normalize_on_pyclesperanto(image_stack: Stack) -> Stack:
    """A built-in called with an OpenCL array."""
    return stack_percentile_normalize(image_stack)


@cupy
def cupy_processing(image_stack: Stack) -> Stack:
    """The brightest value of all planes."""
    import cupy as cp

    return cp.max(image_stack, axis=0, keepdims=True)


@torch
def torch_processing(image_tensor: Stack) -> Stack:
    """The brightest value of all planes."""
    import torch

    return torch.max(image_tensor, dim=0, keepdim=True)[0]


@tensorflow
def tf_processing(image_tensor: Stack) -> Stack:
    """The brightest value of all planes."""
    import tensorflow as tf

    return tf.reduce_max(image_tensor, axis=0, keepdims=True)


@jax
def jax_processing(image_array: Stack) -> Stack:
    """The brightest value of all planes."""
    import jax.numpy as jnp

    return jnp.max(image_array, axis=0, keepdims=True)


# Helpers.


def run(plate_path: Path, pipeline: Pipeline, **options: Any) -> dict[str, WellResult]:
    """The two phases, for well A01."""
    orchestrator = PipelineOrchestrator(plate_path=plate_path, **options)
    orchestrator.initialize()
    contexts = orchestrator.compile_pipelines(pipeline_definition=pipeline, well_filter=["A01"])
    return orchestrator.execute_compiled_plate(pipeline_definition=pipeline, compiled_contexts=contexts, max_workers=1)


def published(site: int, well: str = "A01") -> Pixels:
    """The pixels of one site, ``(channel, z, y, x)``."""
    stored = open_plate(Path("openhcs_output/founding/images.zarr"))[well][site]
    pixels: Pixels = np.asarray(stored.array())
    return pixels.squeeze(0)


def raw(plate_path: Path, site: int, channel: int) -> Pixels:
    """The z planes of one channel of well A01, read by other means than ours."""
    files = sorted(plate_path.rglob(f"*_A01_s{site}_w{channel}.*"))
    return np.stack([tifffile.imread(file) for file in files if "thumb" not in file.name])


def raw_site(plate_path: Path, site: int) -> Pixels:
    """``(channel, z, y, x)``."""
    return np.stack([raw(plate_path, site, channel) for channel in CHANNELS.values()])


def skip_without(*memory_types: MemoryType) -> None:
    """Skip, in the library's own words, where it cannot work."""
    for memory_type in memory_types:
        if (reason := library(memory_type).why_not()) is not None:
            pytest.skip(reason)


def gpu_or_skip(memory_type: MemoryType) -> None:
    """Skip in the inventory's own words where there is no GPU, or none that the library can use."""
    if (reason := find_inventory().why_no_gpu() or cpu_builds().get(memory_type)) is not None:
        pytest.skip(reason)
    skip_without(memory_type)


def no_gpu_or_skip() -> str:
    """The inventory's sentence; skips where there is a GPU."""
    reason = find_inventory().why_no_gpu()
    if reason is None:
        pytest.skip("this host has a GPU")
    return reason


# Two-phase execution.


def test_two_phases(plate_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compile freezes a context a well; execute runs them in parallel and tells each well's success or error."""
    orchestrator = PipelineOrchestrator(plate_path=plate_path)
    orchestrator.initialize()
    pipeline = Pipeline(steps=[FunctionStep(func=normalize_images, name="Process Images")], name="My Pipeline")

    compiled_contexts = orchestrator.compile_pipelines(pipeline_definition=pipeline, well_filter=["A01", "B01"])
    results = orchestrator.execute_compiled_plate(
        pipeline_definition=pipeline,
        compiled_contexts=compiled_contexts,
        max_workers=4,
    )
    for well_id, result in results.items():
        if result.get("success"):
            print(f"Well {well_id}: Processing completed")
        else:
            print(f"Well {well_id}: Error - {result.get('error')}")

    assert list(compiled_contexts) == ["A01", "B01"]
    assert capsys.readouterr().out == "Well A01: Processing completed\nWell B01: Processing completed\n"
    assert published(1, "B01").shape == (3, 2, 40, 48)


def test_a_failed_well_tells_its_error(plate_path: Path) -> None:
    """``result.get('success')`` is False then, and ``result.get('error')`` names well and step."""
    step = FunctionStep(func=(stack_percentile_normalize, {"target_max": 70000}), name="Too bright")

    result = run(plate_path, Pipeline(steps=[step]))["A01"]

    assert result.get("success") is False
    assert 'Well A01, step 1 "Too bright"' in result.get("error")
    assert "do not fit into uint16" in result.get("error")


# The four patterns.


def test_the_single_function_pattern(plate_path: Path) -> None:
    """One function for all data: a stack of the sites of each channel and plane."""
    run(plate_path, Pipeline(steps=[FunctionStep(func=normalize_images, name="Normalize Images")]))

    for channel, z in np.ndindex(3, 2):
        stack = np.stack([raw_site(plate_path, site)[channel, z] for site in (1, 2)])
        expected = stack_percentile_normalize(stack)
        np.testing.assert_array_equal([published(site)[channel, z] for site in (1, 2)], expected)


def test_the_parameterised_function_pattern(plate_path: Path) -> None:
    """A function with its parameters."""
    step = FunctionStep(func=(normalize_images, {"percentile": 80}), name="Custom Normalization")

    run(plate_path, Pipeline(steps=[step]))

    stack = np.stack([raw(plate_path, site, 2)[1] for site in (1, 2)])
    assert np.array_equal(published(2)[1, 1], stack_percentile_normalize(stack, 1, 80)[1])
    assert not np.array_equal(published(2)[1, 1], stack_percentile_normalize(stack)[1])


def test_a_parameter_that_a_function_does_not_take_is_refused_at_compile(plate_path: Path) -> None:
    """As the document writes it, with a function of the stack alone: the sentence names function and parameter."""
    step = FunctionStep(func=(process_nuclei, {"percentile": 99}), name="Custom Normalization")

    with pytest.raises(CompilationError, match=r"Custom Normalization.*process_nuclei.*percentile"):
        run(plate_path, Pipeline(steps=[step]))


def test_the_sequential_function_pattern(plate_path: Path) -> None:
    """A chain: each function takes what the one before returned."""
    step = FunctionStep(
        func=[
            denoise_images,
            (enhance_contrast, {"clip_limit": 0.03}),
            normalize_images,
        ],
        name="Multi-Step Enhancement",
    )

    run(plate_path, Pipeline(steps=[step]))

    stack = np.stack([raw(plate_path, site, 1)[0] for site in (1, 2)])
    expected = normalize_images(enhance_contrast(denoise_images(stack), clip_limit=0.03))
    np.testing.assert_array_equal([published(site)[0, 0] for site in (1, 2)], expected)


@pytest.mark.parametrize("by_number", [False, True], ids=["names", "numbers"])
def test_the_component_specific_function_pattern(plate_path: Path, by_number: bool) -> None:
    """Each channel its own function, by its name or its number."""
    by_name = {"DAPI": process_nuclei, "GFP": process_proteins, "BF": process_brightfield}
    functions: Mapping[str | int, Callable[..., Any]] = {
        str(CHANNELS[name]) if by_number else name: function for name, function in by_name.items()
    }
    step = FunctionStep(func=functions, group_by=GroupBy.CHANNEL, name="Channel-Specific Processing")

    run(plate_path, Pipeline(steps=[step]))

    expected = raw_site(plate_path, 1) + np.array([1, 2, 3], np.uint16).reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(published(1), expected)


# Variable components and grouping.


def test_a_stack_runs_along_the_variable_component(plate_path: Path) -> None:
    """z stacks are flattened, channels composed, and the sites' positions computed."""
    pipeline = Pipeline(
        steps=[
            FunctionStep(
                func=create_max_projection,
                variable_components=[VariableComponents.Z_INDEX],
                name="Z-Stack Flattening",
            ),
            FunctionStep(
                func=create_composite,
                variable_components=[VariableComponents.CHANNEL],
                name="Channel Compositing",
            ),
            FunctionStep(
                func=generate_positions,
                variable_components=[VariableComponents.SITE],
                name="Position Generation",
            ),
        ]
    )

    result = run(plate_path, pipeline)["A01"]

    # Two sites, three channels, two planes: 6 stacks of planes, then 2 of channels, then 1 of sites.
    assert [(step.stacks, step.planes_read, step.planes_written) for step in result.steps] == [
        (6, 12, 6), (2, 6, 2), (1, 2, 2),
    ]  # fmt: skip
    for site in (1, 2):
        projections = raw_site(plate_path, site).max(axis=1)
        np.testing.assert_array_equal(published(site)[0], create_composite(projections))


# Memory types.


NORMALIZED = {
    MemoryType.TORCH: normalize_on_torch,
    MemoryType.TENSORFLOW: normalize_on_tensorflow,
    MemoryType.JAX: normalize_on_jax,
    MemoryType.PYCLESPERANTO: normalize_on_pyclesperanto,
}


@pytest.mark.parametrize("memory_type", NORMALIZED, ids=str)
def test_a_users_function_may_call_a_built_in_with_its_own_librarys_array(
    plate_path: Path, memory_type: MemoryType
) -> None:
    """The pixels are those of the built-in as a step of its own, whatever the library makes of uint16."""
    skip_without(memory_type)

    result = run(plate_path, Pipeline(steps=[FunctionStep(func=NORMALIZED[memory_type])]), runner="threads")["A01"]

    assert result.get("success"), result.get("error")
    stack = np.stack([raw(plate_path, site, 3)[0] for site in (1, 2)])
    expected = stack_percentile_normalize(stack)
    np.testing.assert_array_equal([published(site)[2, 0] for site in (1, 2)], expected)


@pytest.mark.parametrize("function", [normalize_on_cupy, cupy_processing], ids=lambda function: function.__name__)
def test_cupy_steps_are_refused_without_a_gpu(plate_path: Path, function: Callable[..., Any]) -> None:
    """At compile, with the inventory's own sentence; nothing has been read or written then."""
    reason = no_gpu_or_skip()

    with pytest.raises(CompilationError) as caught:
        run(plate_path, Pipeline(steps=[FunctionStep(func=function, name="CuPy Step")]))

    assert [violation.step for violation in caught.value.violations] == ["CuPy Step"]
    assert library("cupy").installed() is False or (
        f"{function.__name__} works on GPUs only" in str(caught.value) and reason in str(caught.value)
    )
    assert not Path("openhcs_output").exists()


PROJECTIONS = {
    MemoryType.CUPY: cupy_processing,
    MemoryType.TORCH: torch_processing,
    MemoryType.TENSORFLOW: tf_processing,
    MemoryType.JAX: jax_processing,
}


@pytest.mark.gpu
@pytest.mark.parametrize("memory_type", PROJECTIONS, ids=str)
def test_each_library_projects_on_the_gpu(plate_path: Path, memory_type: MemoryType) -> None:
    """As the document shows them; the result names the GPU."""
    gpu_or_skip(memory_type)
    step = FunctionStep(func=PROJECTIONS[memory_type], variable_components=["z_index"])

    result = run(plate_path, Pipeline(steps=[step]))["A01"]

    assert result.get("success"), result.get("error")
    assert result.steps[0].device.startswith("gpu:")
    np.testing.assert_array_equal(published(1)[:, 0], raw_site(plate_path, 1).max(axis=1))


MIXED = Pipeline(
    steps=[
        FunctionStep(func=cupy_processing, name="CuPy Step"),
        FunctionStep(func=torch_processing, name="PyTorch Step"),
        FunctionStep(func=tf_processing, name="TensorFlow Step"),
    ]
)
MIXED_ON_THE_CPU = Pipeline(
    steps=[
        FunctionStep(func=[torch_processing, tf_processing], name="PyTorch and TensorFlow Step"),
        FunctionStep(func=jax_processing, name="JAX Step"),
    ]
)


def test_a_mixed_pipeline_converts_between_libraries(plate_path: Path) -> None:
    """Each function gets its own library's array; the result names the way that the pixels took."""
    skip_without(MemoryType.TORCH, MemoryType.TENSORFLOW, MemoryType.JAX)

    result = run(plate_path, MIXED_ON_THE_CPU)["A01"]

    assert result.get("success"), result.get("error")
    expected = np.maximum(raw_site(plate_path, 1), raw_site(plate_path, 2))
    np.testing.assert_array_equal(published_of_all_sites(), expected)
    first, second = (" ".join(step.routes) for step in result.steps)
    assert "numpy -> torch: DLPack" in first and "torch -> tensorflow: DLPack, zero copy" in first
    assert "numpy -> jax: DLPack" in second


def test_the_mixed_pipeline_is_refused_without_a_gpu(plate_path: Path) -> None:
    """Its CuPy step is; the others could run in the host's memory."""
    reason = no_gpu_or_skip()

    with pytest.raises(CompilationError) as caught:
        run(plate_path, MIXED)

    assert [violation.step for violation in caught.value.violations] == ["CuPy Step"], str(caught.value)
    assert not library("cupy").installed() or reason in str(caught.value)


@pytest.mark.gpu
def test_the_mixed_pipeline_runs_on_a_gpu(plate_path: Path) -> None:
    """All three steps, from CuPy on; compiling assigned the GPU."""
    gpu_or_skip(MemoryType.CUPY)
    skip_without(MemoryType.TORCH, MemoryType.TENSORFLOW)
    orchestrator = PipelineOrchestrator(plate_path=plate_path).initialize()

    compiled_contexts = orchestrator.compile_pipelines(MIXED)
    result = run(plate_path, MIXED)["A01"]

    assert [context.devices[0] for context in compiled_contexts.values()] == ["gpu:0", "gpu:0"]
    assert result.get("success"), result.get("error")
    expected = np.maximum(raw_site(plate_path, 1), raw_site(plate_path, 2))
    np.testing.assert_array_equal(published_of_all_sites(), expected)


def published_of_all_sites() -> Pixels:
    """The pixels of the one image that stands for all sites, ``(channel, z, y, x)``."""
    well = open_plate(Path("openhcs_output/founding/images.zarr"))["A01"]
    (site,) = well
    pixels: Pixels = np.asarray(well[site].array())
    return pixels.squeeze(0)


# The pipeline is a list.


def test_a_pipeline_is_a_list_of_steps() -> None:
    """It appends, slices, iterates, adds and copies as lists do: slices and sums are plain lists of the steps."""
    first, second, third = (FunctionStep(func=normalize_images, name=name) for name in ("one", "two", "three"))
    pipeline = Pipeline(steps=[first], name="My Pipeline", description="For the document")

    pipeline.append(second)
    pipeline += [third]

    assert isinstance(pipeline, Pipeline) and isinstance(pipeline, list) and len(pipeline) == 3
    assert [step.name for step in pipeline] == ["one", "two", "three"]
    assert pipeline[0] is first and pipeline[-1] is third
    assert pipeline[1:] == [second, third] and pipeline[::-1] == [third, second, first]
    assert pipeline + pipeline[:1] == [first, second, third, first]
    assert (pipeline.name, pipeline.description) == ("My Pipeline", "For the document")
    assert datetime.fromisoformat(pipeline.created_at).utcoffset() is not None


@pytest.mark.parametrize("duplicate", [Pipeline.clone, copy.copy, copy.deepcopy], ids=["clone", "copy", "deepcopy"])
def test_a_copied_pipeline_keeps_its_name_and_gets_a_list_of_its_own(
    duplicate: Callable[[Pipeline], Pipeline],
) -> None:
    """What is appended to one is not in the other."""
    pipeline = Pipeline([FunctionStep(func=normalize_images)], name="My Pipeline", description="For the document")

    twin = duplicate(pipeline)
    twin.append(FunctionStep(func=process_nuclei))

    assert (len(pipeline), len(twin)) == (1, 2) and isinstance(twin, Pipeline)
    assert (twin.name, twin.description, twin.created_at) == (
        pipeline.name, pipeline.description, pipeline.created_at,
    )  # fmt: skip


def test_a_slice_of_a_pipeline_compiles(plate_path: Path) -> None:
    """A list of steps is all that compiling needs; the pipeline itself stays as it was."""
    pipeline = Pipeline([FunctionStep(func=process_nuclei, name=name) for name in ("one", "two", "three")])
    before = list(pipeline)
    orchestrator = PipelineOrchestrator(plate_path=plate_path).initialize()

    contexts = orchestrator.compile_pipelines(pipeline[1:])

    assert [step.name for step in contexts["A01"].steps] == ["two", "three"]
    assert pipeline == before


# A plain script.


NO_DAGSTER = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith("dagster"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""
LAB = """
from openhcs_engine.memory import numpy

@numpy
def only_without_dagster(image_stack):
    try:
        import dagster
    except ModuleNotFoundError:
        return image_stack
    raise AssertionError("Dagster can be imported in this worker")
"""
SCRIPT = """
import sys
from pathlib import Path

from lab import only_without_dagster
from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator

print("The script begins")
orchestrator = PipelineOrchestrator(plate_path=Path(sys.argv[1]))
orchestrator.initialize()
pipeline = Pipeline(steps=[FunctionStep(func=only_without_dagster, name="Process Images")], name="My Pipeline")
compiled_contexts = orchestrator.compile_pipelines(pipeline_definition=pipeline, well_filter=["A01", "B01"])
results = orchestrator.execute_compiled_plate(
    pipeline_definition=pipeline, compiled_contexts=compiled_contexts, max_workers=2
)
for well_id, result in results.items():
    if result.get('success'):
        print(f"Well {well_id}: Processing completed")
    else:
        print(f"Well {well_id}: Error - {result.get('error')}")
"""


def test_a_plain_script_needs_neither_dagster_nor_a_main_guard(tmp_path: Path, plate_path: Path) -> None:
    """Neither it nor its worker processes can import Dagster, and it runs from top to bottom once."""
    (tmp_path / "sitecustomize.py").write_text(NO_DAGSTER)
    (tmp_path / "lab.py").write_text(dedent(LAB))
    (tmp_path / "script.py").write_text(dedent(SCRIPT))

    done = subprocess.run(
        [sys.executable, "script.py", str(plate_path)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPO}"},
    )

    assert done.stdout.splitlines() == [
        "The script begins", "Well A01: Processing completed", "Well B01: Processing completed",
    ], done.stderr  # fmt: skip
    assert (tmp_path / "openhcs_output" / "founding" / "wells" / "B01.json").is_file()
