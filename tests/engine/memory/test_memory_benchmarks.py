"""The benchmarks of conversions and imports measure what they say; workers import what their plan names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import conversion, imports
from openhcs_engine.memory import MemoryType
from openhcs_engine.memory.libraries import LIBRARIES
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

ROW = conversion.Measured(
    source="numpy",
    target="torch",
    planes=10,
    megabytes=84.0,
    route="DLPack",
    zero_copy=True,
    seconds=0.0001,
    memcpy=0.02,
    copied=None,
)


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One well of two small planes."""
    spec = SyntheticPlate(name="tiny", rows=1, columns=1, sites=1, channels=("DAPI",), z=2, shape=(32, 32))
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "tiny", spec)


def needs(library: str) -> None:
    """Skip where a library is not installed."""
    if not LIBRARIES[MemoryType(library)].installed():
        pytest.skip(f"{library} is not installed")


def test_pairs_are_measured_both_ways_and_numpys_layouts_one_by_one() -> None:
    """What torch may write to is copied if it is read-only, and shared however it is aligned."""
    needs("torch")

    rows = {
        (row.source, row.target): row
        for row in conversion.measure([MemoryType.NUMPY, MemoryType.TORCH], (2, 16, 16), repeat=1)
    }

    assert {pair: row.copied for pair, row in rows.items()} == {
        ("numpy", "torch"): None,
        ("numpy, not aligned", "torch"): None,
        ("numpy, read-only", "torch"): "it is read-only",
        ("torch", "numpy"): None,
    }
    assert all(row.seconds > 0 and row.memcpy > 0 and row.megabytes == 0.001024 for row in rows.values())


def test_stacks_that_are_not_aligned_are_copied_for_jax() -> None:
    """So the benchmark's unaligned stack really is one."""
    needs("jax")

    rows = conversion.measure([MemoryType.NUMPY, MemoryType.JAX], (2, 16, 16), repeat=1)

    (row,) = (row for row in rows if row.source == "numpy, not aligned")
    assert not row.zero_copy and "multiple of 64 bytes" in str(row.copied)


def test_only_sharing_must_be_quick() -> None:
    """A slow copy is no complaint; slow sharing is one sentence."""
    slow = replace(ROW, seconds=0.002)

    assert conversion.too_slow([ROW, replace(slow, zero_copy=False)]) == []
    assert conversion.too_slow([slow]) == ["numpy -> torch shares 10 planes, but takes 2.00 ms, more than 1 ms."]


def test_growth_is_told_for_sharing_and_copying_apart() -> None:
    """From the smallest to the largest stack, of pairs that have both."""
    copied = replace(ROW, target="jax", zero_copy=False)
    rows = [
        ROW,
        copied,
        replace(ROW, planes=100),
        replace(copied, planes=100, seconds=0.001),
        replace(ROW, target="tensorflow"),
    ]

    assert conversion.growths(rows) == [
        "Without a copy, 10 times the planes take 1.00 times as long (median of 1 pairs).",
        "With a copy, 10 times the planes take 10.00 times as long (median of 1 pairs).",
    ]
    assert conversion.growths([ROW]) == []


@pytest.mark.parametrize("name", imports.STATEMENTS)
def test_imports_load_numpy_at_most(name: str) -> None:
    """What users and workers import first brings no other array library; the package alone not even NumPy."""
    start = imports.of_statement(imports.STATEMENTS[name])

    assert start.loaded == (() if name in ("import nothing", "import openhcs_engine") else ("numpy",))
    assert start.mb > 5


@pytest.mark.parametrize(
    ("library", "loaded"), [("numpy", ("numpy",)), ("torch", ("numpy", "torch")), ("jax", ("numpy", "jax"))]
)
def test_a_worker_imports_what_its_plan_names(
    tmp_path: Path, plate: Path, library: str, loaded: tuple[str, ...]
) -> None:
    """Asked inside a real worker process, when its first function is called."""
    needs(library)

    start = imports.of_worker(library, plate, tmp_path / "out")

    assert start.loaded == loaded
    assert start.seconds > 0
