"""Values that vanish or saturate when a result is brought to its pixel type: measured, counted where it pays, told."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.cli.run import RunScreen
from openhcs_engine.execution import WellResult, WellStatus
from openhcs_engine.execution.messages import receive_result
from openhcs_engine.execution.messages import send as send_message
from openhcs_engine.functions import create_composite, stack_percentile_normalize
from openhcs_engine.memory import numpy as numpy_function
from openhcs_engine.memory.conversion import dtype as dtype_module
from openhcs_engine.memory.conversion.aligned import copy_aligned
from openhcs_engine.memory.conversion.cast_loss import CAST_LOSS_LIMIT, Cast, CastResult
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.libraries import library, library_of
from openhcs_engine.memory.loading import load_opencl_drivers
from openhcs_engine.memory.stack import Array
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.output.reading.losses import losses_of
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.route_runs import call, planes, send

Z = VariableComponents.Z_INDEX


@dataclass(frozen=True, slots=True)
class Row:
    """Values of one dtype, and how many of them a cast to another loses."""

    name: str
    source: str
    values: tuple[float, ...]
    wanted: str
    clipped: int = 0
    flattened: int = 0


ROWS = (
    Row("nothing is lost", "float64", (0.4, 20.6, 65535.4), "uint16"),
    Row("0 to 1 becomes 0", "float64", (0.003, 0.1, 0.31), "uint16", flattened=3),
    Row("0 to 1 becomes 0 and 1", "float32", (0, 0.25, 0.75, 1), "uint16", flattened=2),
    Row("-1 to 1 keeps three values", "float64", (-1, -0.5, 0.25, 1), "int16", flattened=2),
    Row("-1 to 1 without a sign", "float64", (-1, -0.5, 0.25, 1), "uint16", clipped=1, flattened=2),
    Row("a ratio becomes one number", "float64", (1.6, 2.0, 2.4), "uint16", flattened=2),
    Row("a ratio becomes two numbers", "float64", (0.7, 1.3, 1.6, 2.4, 1.4), "uint16", flattened=5),
    Row("multiples of a percentile", "float32", (0.1, 0.2, 0.3, 0.4, 0, 0, 1.6), "uint16", flattened=5),
    Row("spots of an empty well", "float32", (0, 0, 0, 0, 9.4, 7.7), "uint16"),
    Row("a few counts", "float64", (0.3, 2.2, 5.1, 7.8, 11.6, 13.9), "uint16"),
    Row("labels as floats", "float32", (0, 1, 2, 3), "uint16"),
    Row("one small number becomes nothing", "float64", (0.25, 0.25), "uint8", flattened=2),
    Row("a dark image stays dark", "float64", (100.1, 100.2, 100.4), "uint16"),
    Row("a mask of floats is one of integers", "float32", (0, 1, 1), "uint16"),
    Row("nothing at all", "float64", (0, 0, 0), "uint16"),
    Row("above and below", "float64", (-3, 5, 65535.6, 1e9), "uint16", clipped=3),
    Row("rounded into the range", "float64", (-0.5, 65535.4), "uint16"),
    Row("infinities", "float32", (-math.inf, 7, math.inf), "int16", clipped=2),
    Row("integers", "int32", (-1, 300, 255, 0), "uint8", clipped=2),
    Row("integers that fit", "int32", (0, 255), "uint8"),
    Row("unsigned of 64 bits", "uint64", (2**64 - 1, 5), "int64", clipped=1),
    Row("64-bit limits that floats lack", "float64", (2.0**63, -(2.0**63)), "int64", clipped=1),
    Row("32-bit limits that float32 lacks", "float32", (2.0**31, -(2.0**31)), "int32", clipped=1),
    Row("labels as a mask", "int32", (0, 1, 7, 9), "bool", clipped=2),
    Row("floats beyond a narrower float", "float64", (1e300, -1e300, 3, math.inf, math.nan), "float32", clipped=2),
    Row("integers beyond half precision", "uint32", (70000, 3), "float16", clipped=1),
    Row("below a narrower float", "float64", (0, 1e-60, 1e-50), "float32", flattened=2),
    Row("small beside large is no loss", "float64", (1e-60, 1), "float32"),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_a_cast_loses(row: Row) -> None:
    """The range before, and the values that the new dtype cannot hold or that rounding left nothing of."""
    stack = np.array(row.values, row.source).reshape(1, 1, -1)
    noted: list[Cast] = []

    restore_dtype(stack, np.dtype(row.wanted), noted.append)

    (cast,) = noted
    assert (cast.clipped, cast.flattened, cast.values) == (row.clipped, row.flattened, len(row.values))
    if row.clipped or row.flattened:
        numbers = [float(value) for value in row.values if not math.isnan(value)]
        assert (cast.low, cast.high) == pytest.approx((min(numbers), max(numbers)))


@pytest.mark.parametrize(("source", "wanted"), [("uint8", "uint16"), ("bool", "uint8"), ("uint16", "float32"),
                                                ("float32", "float64"), ("uint16", "uint16")])  # fmt: skip
def test_dtypes_that_lose_nothing_are_not_measured(source: str, wanted: str) -> None:
    """A wider dtype holds every value: there is nothing to tell, and no value is looked at for it."""
    noted: list[Cast] = []

    restore_dtype(np.ones((1, 2, 2), source), np.dtype(wanted), noted.append)

    assert not noted


def test_values_are_counted_only_where_the_range_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result within its range is gone through once, as before; the one beyond it once more."""
    counted: list[int] = []
    count = dtype_module._count_clipped
    monkeypatch.setattr(dtype_module, "_count_clipped", lambda *bands: counted.append(1) or count(*bands))
    monkeypatch.setattr(dtype_module, "_extent", lambda band: pytest.fail("the range was at hand"))
    stack = np.linspace(0, 60000, 2 * 300 * 400).reshape(2, 300, 400)

    restore_dtype(stack, np.dtype("uint16"), lambda cast: None)
    within = len(counted)
    monkeypatch.undo()
    monkeypatch.setattr(dtype_module, "_count_clipped", lambda *bands: counted.append(1) or count(*bands))
    restore_dtype(stack * 2, np.dtype("uint16"), lambda cast: None)

    assert within == 0 and counted


def lose(stack: Any, unit: float) -> Any:
    """A stack of any library with values in a unit of its own."""
    adapter = library_of(stack)
    assert adapter is not None
    return adapter.from_host(copy_aligned(adapter.to_host(stack).astype(np.float32) / np.float32(unit)), "cpu")


@pytest.mark.parametrize("unit", [60_000, 25_000], ids=["0 to 1", "0 to 2.4"])
@pytest.mark.parametrize("memory_type", [kind.value for kind in MemoryType])
def test_all_array_libraries_tell_the_same(memory_type: str, unit: float) -> None:
    """Whichever library made the result: one law, one record, for all stacks together."""
    load_opencl_drivers()
    if (reason := library(MemoryType(memory_type)).why_not()) is not None:
        pytest.skip(reason)
    stack = planes()

    result, record = send(stack, [(call(library=memory_type), partial(lose, unit=unit))])

    (cast,) = record.casts.values()
    expected = int(np.count_nonzero(np.rint(stack / np.float32(unit)) != stack / np.float32(unit)))
    assert (cast.function, cast.source, cast.wanted) == ("tests:function", "float32", "uint16")
    assert (cast.clipped, cast.flattened, cast.values) == (0, expected, stack.size)
    assert set(np.unique(result)) <= {0, 1, 2}


def test_batches_and_calls_of_one_step_are_one_record() -> None:
    """The record is of all values; another function has its own."""
    stack = planes()
    twice, less = call("twice"), call("less", dtype="uint8")

    _, record = send(stack, [(twice, lambda got: got * 2.0), (less, lambda got: got / 600)])

    assert set(record.casts) == {("tests:twice", "float64", "uint16"), ("tests:less", "float64", "uint8")}
    doubled = record.casts["tests:twice", "float64", "uint16"]
    assert doubled.clipped == np.count_nonzero(stack * 2.0 > 65535)
    assert doubled.joined(doubled) == replace(doubled, values=2 * doubled.values, clipped=2 * doubled.clipped)


def test_how_a_loss_is_told() -> None:
    """Range, share and remedy; a share that rounds to nothing or to all is not told so."""
    cast = CastResult(
        function="lab:f", source="float64", wanted="uint16", low=-2, high=1e9, values=100_000, clipped=1, flattened=0
    )

    assert cast.told.startswith(
        "lab:f returned float64 from -2 to 1e+09; as uint16, less than 0.1 % of it was clipped. Declare dtype="
    )
    assert "99.9 % of it was clipped" in replace(cast, clipped=99_999).told
    assert "all of it was clipped" in replace(cast, clipped=100_000).told
    fractions = replace(cast, low=0.1, high=0.9, clipped=0, flattened=100_000)
    assert "all of it was rounded to 0 or 1" in fractions.told
    assert "rounded to 0." in replace(fractions, high=0.4).told
    assert "rounded to 0, 1 … 12." in replace(fractions, high=12.2).told
    assert "rounded to next to nothing." in replace(fractions, high=900).told
    assert "rounded to 0 or 1." in replace(fractions, low=-1.0).told, "uint16 has no -1"
    assert "Give it other parameters" in replace(fractions, function="openhcs_engine.functions.normalize:f").told
    assert not replace(cast, clipped=0).loses
    assert not replace(cast, clipped=int(CAST_LOSS_LIMIT * 100_000)).warns
    assert replace(cast, clipped=int(CAST_LOSS_LIMIT * 100_000) + 1).warns


@numpy_function
def as_fractions(stack: Array) -> Array:
    """What scikit-image makes of integers: values from 0 to 1."""
    return stack / np.float64(65535)


@numpy_function
def with_one_hot_pixel(stack: Array) -> Array:
    """One pixel of each stack beyond the range: less than the limit."""
    hot = stack.astype(np.float64)
    hot[0, 0, 0] = 1e6
    return hot


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_a_built_in_that_rounds_to_nothing_tells_it(dtype: str) -> None:
    """It casts its result itself, for who calls it by hand; the step is told all the same."""
    stack = planes(dtype=dtype)
    stack[0, 0, 0] = 70_000 if dtype == "int32" else 0  # beyond what is normalised by a table
    to_one, to_all = call("to_one"), call("to_all")

    result, record = send(stack, [(to_one, partial(stack_percentile_normalize, target_max=1.0))])
    _, silent = send(stack, [(to_all, stack_percentile_normalize)])

    (cast,) = record.casts.values()
    low, high = np.percentile(stack, (1, 99))
    between = int(np.count_nonzero((stack > low) & (stack < high)))
    assert (cast.function, cast.wanted, cast.low, cast.high) == ("tests:to_one", dtype, 0, 1)
    assert (cast.flattened, cast.clipped, cast.values) == (between, 0, stack.size)
    assert set(np.unique(result)) == {0, 1} and not silent.casts


def test_a_built_in_that_clips_tells_it() -> None:
    """Weights below 0 lead out of the dtype; a mean does not, and dark bands of it are no loss."""
    stack = np.zeros((2, 600, 400), "uint16")
    stack[0, :300], stack[1, :300], stack[:, 300:] = 0, 1, 500  # bands of halves below bands of hundreds
    stack[1, 0, :40] = 900

    _, mixed = send(stack, [(call("mixed"), partial(create_composite, weights=(2, -1)))])
    _, mean = send(stack, [(call("mean"), create_composite)])

    (cast,) = mixed.casts.values()
    assert (cast.clipped, cast.flattened, cast.low) == (300 * 400, 0, -900)
    assert cast.values == 600 * 400, "pixels of the one plane that comes out"
    assert not any(found.loses for found in mean.casts.values())


def test_nobody_is_told_of_what_is_called_by_hand() -> None:
    """A built-in outside a step is a plain function, also after a step."""
    stack = planes()
    _, record = send(stack, [(call("half"), lambda got: got * 0.5)])
    before = dict(record.casts)

    stack_percentile_normalize(stack, target_max=1.0)

    assert record.casts == before


def orchestrator(folder: Path) -> PipelineOrchestrator:
    """Two wells of uint16 images."""
    if not (folder / "P1").is_dir():
        write_imagexpress(folder / "P1", SyntheticPlate(rows=1, columns=2, sites=1, z=1, shape=(32, 32)))
    return PipelineOrchestrator(folder / "P1", output=folder / "out", runner="threads").initialize()


def run(folder: Path, function: Any) -> dict[str, Any]:
    """Run a pipeline of one step on both wells."""
    pipeline = Pipeline(steps=[FunctionStep(function, name="step", variable_components=[Z])])
    found = orchestrator(folder)
    return found.execute_compiled_plate(pipeline, found.compile_pipelines(pipeline), max_workers=1)


def test_a_vanished_result_is_a_warning_at_its_well(tmp_path: Path) -> None:
    """In result, manifest and log, with the step and the remedy; a well that is not made again keeps its warning."""
    first = run(tmp_path, as_fractions)
    again = run(tmp_path, as_fractions)

    result = first["A01"]
    (warning,) = result.warnings
    assert result.status is WellStatus.DONE and result["warnings"] == result.get("warnings") == result.warnings
    assert warning.startswith(
        'step 1 "step": tests.engine.memory.conversion.test_cast_loss:as_fractions returned float64 from '
    )
    assert "all of it was rounded to 0. Declare dtype" in warning
    (cast,) = result.steps[0].lossy_casts
    assert cast.flattened == cast.values == 2 * 32 * 32 and 0 < cast.low < cast.high < 0.5
    assert again["A01"].status is WellStatus.UNCHANGED and again["A01"].warnings == result.warnings
    manifest = read_manifest(tmp_path / "out" / "P1" / "wells" / "A01.json")
    assert manifest is not None and manifest.warnings == result.warnings
    (kept,) = manifest.steps[0]["lossy_casts"]
    assert (kept["flattened"], kept["values"], kept["warns"], kept["told"]) == (2048, 2048, True, cast.told)
    logs = [path.read_text() for path in sorted((tmp_path / "out" / "P1" / "logs").glob("*.log"))]
    assert all(f"warning: {warning}" in log for log in logs) and len(logs) == 2


def test_a_hot_pixel_is_told_and_no_warning(tmp_path: Path) -> None:
    """Below the limit the loss stands in result, manifest and log, and the well carries no warning."""
    result = run(tmp_path, with_one_hot_pixel)["A02"]

    assert result.warnings == ()
    (cast,) = result.steps[0].lossy_casts
    assert cast.clipped == 2 and cast.high == 1e6
    manifest = read_manifest(tmp_path / "out" / "P1" / "wells" / "A02.json")
    assert manifest is not None and manifest.warnings == ()
    assert manifest.steps[0]["lossy_casts"][0]["clipped"] == 2
    (log,) = (tmp_path / "out" / "P1" / "logs").glob("*.log")
    assert f"    lost: {cast.told}" in log.read_text() and "warning:" not in log.read_text()


@dataclass(frozen=True, slots=True)
class Odd:
    """A result with values that are no numbers."""

    name: str
    make: Callable[[Array], Array]
    told: str
    """In the error, or in the warning where the well is done."""
    low: float = math.nan
    """Of the range in the manifest, where the well is done."""
    high: float = math.nan


def _quietly_divided(stack: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.divide(stack, 0.0)


ODD = (
    Odd("one NaN", lambda stack: np.where(_first(stack), np.nan, stack), "replace NaN in the function"),
    Odd("only NaN", lambda stack: np.full(stack.shape, np.nan), "replace NaN in the function"),
    Odd("0 / 0", lambda stack: _quietly_divided(stack * 0.0), "replace NaN in the function"),
    Odd("NaN and infinity", lambda stack: np.where(_first(stack), np.nan, np.inf), "replace NaN in the function"),
    Odd("some infinite", lambda stack: np.where(stack > np.median(stack), np.inf, 5.0), "was clipped", 5.0, math.inf),
    Odd("both ends", lambda stack: np.where(stack > np.median(stack), np.inf, -np.inf), "was clipped",
        -math.inf, math.inf),
    Odd("only infinite", lambda stack: np.full(stack.shape, np.inf), "all of it was clipped", math.inf, math.inf),
    Odd("only minus infinite", lambda stack: np.full(stack.shape, -np.inf), "all of it was clipped",
        -math.inf, -math.inf),
    Odd("masked floats", lambda stack: np.ma.masked_greater(stack * 1.0, 200), "its mask would be lost"),
    Odd("masked integers", lambda stack: np.ma.masked_greater(stack, 200), "its mask would be lost"),
    Odd("nothing masked", lambda stack: np.ma.masked_array(stack * 1.0), "its mask would be lost"),
    Odd("everything masked", lambda stack: np.ma.masked_all(stack.shape, "float64"), "its mask would be lost"),
)  # fmt: skip


def _first(stack: Array) -> Array:
    first = np.zeros(stack.shape, bool)
    first[0, 0, 0] = True
    return first


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_what_is_no_number_is_refused_or_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: Odd) -> None:
    """NaN and masks fail the well with the remedy; infinities are clipped, warned of, and read back as they were."""
    monkeypatch.setattr(f"{__name__}.make_odd", odd.make)

    result = run(tmp_path, odd_result)["A01"]

    assert result.success is not math.isnan(odd.low)
    if not result.success:
        assert odd.told in str(result.error) and str(result.error).startswith("Well A01, step 1 ")
        return
    (warning,) = result.warnings
    assert odd.told in warning
    manifest = read_manifest(tmp_path / "out" / "P1" / "wells" / "A01.json")
    assert manifest is not None
    (loss,) = losses_of({"A01": manifest})
    assert (loss.cast.low, loss.cast.high, loss.cast.told) == (odd.low, odd.high, result.steps[0].casts[0].told)


def make_odd(stack: Array) -> Array:
    """Set by the test above."""
    return stack


@numpy_function
def odd_result(stack: Array) -> Array:
    """What the test above asks for."""
    return sys.modules[__name__].make_odd(stack)  # not followed by name: the fingerprint is no matter here


def test_the_misses_that_the_documentation_names() -> None:
    """Sparse spots divided by a percentile, and integers that a function itself made narrow, are not told."""
    random = np.random.default_rng(0)
    spots = np.clip(random.normal(0, 5, (1, 200, 200)), 0, None)
    spots[0, ::20, ::20] = 3000
    narrow = random.integers(100, 4000, (1, 200, 200)) * 3 // 4000
    noted: list[Cast] = []

    for result in (spots / np.percentile(spots, 99.5), narrow):
        restore_dtype(result, np.dtype("uint16"), noted.append)

    assert [(cast.clipped, cast.flattened) for cast in noted] == [(0, 0), (0, 0)]


def test_a_step_that_loses_nothing_says_nothing(tmp_path: Path) -> None:
    """No line, no key: silence is for success."""
    result = run(tmp_path, numpy_function(_half))["A01"]

    assert result.warnings == () and not result.steps[0].lossy_casts
    assert [(cast.source, cast.wanted, cast.loses) for cast in result.steps[0].casts] == [("float64", "uint16", False)]
    assert "lossy_casts" not in (tmp_path / "out" / "P1" / "wells" / "A01.json").read_text()


def _half(stack: Array) -> Array:
    return stack * 0.5


def test_a_worker_s_result_brings_its_casts(tmp_path: Path) -> None:
    """Over the pipe between processes, infinite ranges too."""
    result = run(tmp_path, as_fractions)["A01"]
    cast = replace(result.steps[0].casts[0], low=-math.inf, high=math.inf)
    sent = replace(result, steps=(replace(result.steps[0], casts=(cast,)),))
    pipe = io.BytesIO()

    send_message(pipe, sent)
    pipe.seek(0)

    assert receive_result(pipe, lambda: None, WellResult) == sent


def test_the_command_tells_of_the_first_well_at_once_and_of_all_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a step and function, however many wells; then what all of them lost together; again for kept wells."""
    pipeline = Pipeline(steps=[FunctionStep(as_fractions, name="step", variable_components=[Z])])
    for told in (
        "2 wells: tests.engine.memory.conversion.test_cast_loss:as_fractions returned float64 from ",
        "A01, A02; see wells/*.json",
    ):
        found = orchestrator(tmp_path)
        compilation = found.compile(pipeline)
        results = found.execute_compiled_plate(pipeline, compilation.contexts, max_workers=1)
        with RunScreen(compilation) as screen:
            for result in results.values():
                screen.add(result)
        ended = capsys.readouterr()

        assert sum(line.startswith("warning:") and told in line for line in ended.out.splitlines()) == 1
        first = [line for line in ended.err.splitlines() if line.startswith("warning: well A01, step 1 step: ")]
        assert len(first) == (1 if "2 wells" in told else 0)
