"""What importing loads: workers and small tools pay for nothing they do not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import openhcs_engine

ARRAY_LIBRARIES = ["torch", "tensorflow", "jax", "cupy", "pyclesperanto", "numba"]


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh process after a statement."""
    code = f"{statement}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_alone_is_light() -> None:
    """No array library, no storage, no Dagster: NumPy at most."""
    heavy = {*ARRAY_LIBRARIES, "zarr", "scipy", "skimage", "tifffile", "dagster", "polars", "matplotlib", "typer"}

    assert not heavy & loaded_after("import openhcs_engine")


@pytest.mark.parametrize(
    "statement",
    [
        "from openhcs_engine import PipelineOrchestrator, Pipeline, FunctionStep, VariableComponents, GroupBy",
        "import openhcs_engine.execution.worker, openhcs_engine.output.writing.well_writer",
        "import openhcs_engine.functions, openhcs_engine.cli",
    ],
)
def test_nothing_loads_an_array_library_or_dagster_unasked(statement: str) -> None:
    """The whole engine runs without them."""
    assert not {*ARRAY_LIBRARIES, "dagster", "openhcs_dagster"} & loaded_after(statement)


def test_public_names_are_a_promise() -> None:
    """Exactly these, each importable; an unknown one is an AttributeError."""
    assert openhcs_engine.__all__ == sorted(openhcs_engine.__all__)
    assert set(openhcs_engine.__all__) == {
        "ArtifactKind", "FunctionStep", "GroupBy", "InputSource", "Materialize", "Pipeline", "PipelineOrchestrator",
        "PlateStep", "Sample", "VariableComponents", "special_inputs", "special_outputs",
    }  # fmt: skip
    assert all(getattr(openhcs_engine, name).__name__ == name for name in openhcs_engine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        openhcs_engine.nonsense  # noqa: B018 # that it is asked for is the point
