"""Planes divided by a field of light, given as a fit, an array or a file; called directly and in pipelines."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from openhcs_engine import FunctionStep, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import CompilationError, PipelineMismatchError, PlaneReadError
from openhcs_engine.execution.run import execute_wells
from openhcs_engine.functions import correct_illumination, flat_field
from openhcs_engine.memory import contract_of, side_data_of
from openhcs_engine.memory.conversion.cast_loss import Cast, listening
from openhcs_engine.plan.diff import compare_plans
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.lit_images import Light

LIGHT = Light(images=12, shape=(40, 48), covered=0.05)
FIELD = LIGHT.field
STACK = np.stack(list(LIGHT))[:3]
DTYPES = ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


def by_hand(
    stack: NDArray[Any], field: NDArray[Any], offset: float = 0.0, pedestal: float = 0.0
) -> NDArray[np.float64]:
    """The definition in double precision."""
    return np.asarray((stack.astype(np.float64) - offset) / field.astype(np.float64) + pedestal)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_result_is_the_formula_in_the_stacks_pixel_type(dtype: str) -> None:
    """Integers are rounded and clipped, floats are equal but for rounding; the stack stays as it was."""
    stack = (STACK // 8 if dtype == "uint8" else STACK).astype(dtype)
    before = stack.copy()

    corrected = correct_illumination(stack, FIELD, offset=15.0, pedestal=7.0)

    wanted = by_hand(stack, FIELD, 15.0, 7.0)
    assert (corrected.dtype, corrected.shape) == (stack.dtype, stack.shape)
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(corrected, wanted, rtol=1e-5)
    else:
        limits = np.iinfo(dtype)
        error = np.abs(corrected - np.clip(wanted, limits.min, limits.max))
        assert error.max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(stack, before)


def test_large_integers_keep_their_last_digit() -> None:
    """Counts beyond float32: a field of 1 changes nothing."""
    stack = np.full((1, 16, 16), 2**31 + 1, np.uint32)

    np.testing.assert_array_equal(correct_illumination(stack, np.ones((16, 16))), stack)


def test_a_fit_brings_its_offset() -> None:
    """An evenly lit sample becomes even; an offset that is given stands above the fitted one."""
    light = Light(images=24, covered=0.0, variation=0.2)
    images = np.stack(list(light))
    fit = flat_field(images)

    corrected = correct_illumination(images, fit)

    means = corrected.mean(axis=0)
    assert means.std() / means.mean() < 0.01 < images.mean(axis=0).std() / images.mean()
    np.testing.assert_array_equal(corrected, correct_illumination(images, fit.field, offset=fit.offset))
    np.testing.assert_array_equal(
        correct_illumination(images, fit, offset=3), correct_illumination(images, fit.field, 3)
    )


def write_npy(path: Path, field: NDArray[Any]) -> Path:
    """As JUMP publishes its fields, one file a channel."""
    np.save(path.with_suffix(".npy"), field)
    return path.with_suffix(".npy")


def write_tiff(path: Path, field: NDArray[Any]) -> Path:
    """A float TIFF."""
    tifffile.imwrite(path.with_suffix(".tif"), field)
    return path.with_suffix(".tif")


@pytest.mark.parametrize("write", [write_npy, write_tiff])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_field_may_lie_in_a_file(tmp_path: Path, write: Callable[[Path, NDArray[Any]], Path], dtype: str) -> None:
    """Pixels are divided by the numbers in it, whatever their mean; a file that changed is read anew."""
    field = (2 * FIELD).astype(dtype)
    path = write(tmp_path / "IllumDNA", field)

    np.testing.assert_array_equal(correct_illumination(STACK, path), correct_illumination(STACK, field))
    write(tmp_path / "IllumDNA", FIELD[::-1].astype(dtype))
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(
        correct_illumination(STACK, str(path)), correct_illumination(STACK, FIELD[::-1].astype(dtype))
    )


def test_what_is_clipped_is_told() -> None:
    """Backgrounds at the offset: half of their noise lies below 0; a pedestal lifts it."""
    noise = np.random.default_rng(3).normal(100, 3, (1, 64, 64)).astype(np.uint16)
    casts: list[Cast] = []

    with listening(casts.append):
        dark = correct_illumination(noise, np.ones((64, 64)), offset=100)
        lifted = correct_illumination(noise, np.ones((64, 64)), offset=100, pedestal=50)

    assert (
        casts[0].clipped
        == np.count_nonzero(noise < 100)
        == np.count_nonzero(dark == 0) - np.count_nonzero(noise == 100)
    )
    assert sum(cast.clipped for cast in casts[1:]) == 0
    assert abs(float(lifted.mean()) - 50) < 1


def test_nan_stays_where_it_is() -> None:
    """Beside right pixels."""
    stack = STACK.astype(np.float32)
    stack[0, 2, 3] = np.nan

    corrected = correct_illumination(stack, FIELD)

    assert np.argwhere(np.isnan(corrected)).tolist() == [[0, 2, 3]]


@dataclass(frozen=True)
class Refusal:
    """A call that is refused, and the sentence."""

    call: Callable[[Path], object]
    words: str
    kind: type[Exception] = ValueError


def written(path: Path, content: bytes) -> Path:
    """A file with that content."""
    path.write_bytes(content)
    return path


def archive(path: Path) -> Path:
    """Several arrays in a file that calls itself one."""
    np.savez(path, a=FIELD, b=FIELD)
    Path(f"{path}.npz").rename(path)
    return path


REFUSALS = {
    "shape": Refusal(
        lambda _: correct_illumination(STACK, FIELD.T), r"shape \(48, 40\), but the planes have .*\(40, 48\)"
    ),
    "zero": Refusal(lambda _: correct_illumination(STACK, FIELD - FIELD.min()), "finite and above 0 at each pixel"),
    "NaN": Refusal(lambda _: correct_illumination(STACK, FIELD * np.nan), "its lowest value is nan"),
    "text": Refusal(lambda _: correct_illumination(STACK, FIELD.astype(str)), "the field is a <U"),
    "offset": Refusal(lambda _: correct_illumination(STACK, FIELD, float("inf")), "offset=inf must be a finite number"),
    "pedestal": Refusal(lambda _: correct_illumination(STACK, FIELD, pedestal=float("nan")), "pedestal=nan must be"),
    "mask": Refusal(lambda _: correct_illumination(STACK > 500, FIELD), "the stack is a mask"),
    "missing": Refusal(
        lambda folder: correct_illumination(STACK, folder / "no.npy"),
        r"no\.npy cannot be opened: No such",
        PlaneReadError,
    ),
    "pickle": Refusal(
        lambda folder: correct_illumination(STACK, written(folder / "a.npy", b"\x80\x04N.")),
        r"a\.npy is no NumPy array, or damaged",
        PlaneReadError,
    ),
    "cut off": Refusal(
        lambda folder: correct_illumination(
            STACK, written(folder / "b.npy", write_npy(folder / "c", FIELD).read_bytes()[:900])
        ),
        r"b\.npy is no NumPy array, or damaged",
        PlaneReadError,
    ),
    "archive": Refusal(
        lambda folder: correct_illumination(STACK, archive(folder / "d.npy")), "archive of arrays", PlaneReadError
    ),
    "stack": Refusal(
        lambda folder: correct_illumination(STACK, write_npy(folder / "e", np.stack([FIELD] * 2))),
        r"float32 array of shape \(2, 40, 48\), but a field is one plane",
        PlaneReadError,
    ),
    "no image": Refusal(
        lambda folder: correct_illumination(STACK, written(folder / "f.tif", b"text")), r"f\.tif", PlaneReadError
    ),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_what_is_no_field_is_refused(case: Refusal, tmp_path: Path) -> None:
    """In a sentence that says what is wrong with it."""
    with pytest.raises(case.kind, match=case.words):
        case.call(tmp_path)


def test_its_contract_is_declared() -> None:
    """Planes may come in batches; the fit is a special input; a path is a file."""
    assert contract_of(correct_illumination).slice_by_slice
    assert contract_of(correct_illumination).dtype == "preserve"
    assert side_data_of(correct_illumination).inputs == side_data_of(correct_illumination).files == ("flat_field",)


@pytest.fixture
def plate(tmp_path: Path) -> PipelineOrchestrator:
    """Two wells of 40 x 48 pixels."""
    spec = SyntheticPlate(name="P", rows=1, columns=2, sites=1, z=1, channels=("DAPI", "GFP"), shape=FIELD.shape)
    folder = write_imagexpress(tmp_path / "raw" / "P", spec)
    return PipelineOrchestrator(folder, output=tmp_path / "out", runner="threads").initialize()


def steps(dapi: str, gfp: str) -> list[FunctionStep]:
    """A field a channel."""
    functions = {
        "DAPI": (correct_illumination, {"flat_field": dapi}),
        "GFP": (correct_illumination, {"flat_field": gfp}),
    }
    return [FunctionStep(functions, variable_components=[VariableComponents.Z_INDEX])]


def test_a_pipeline_takes_a_file_a_channel(plate: PipelineOrchestrator, tmp_path: Path) -> None:
    """Each channel is divided by its own; a changed file makes wells stale, and is named by the plans' difference."""
    dapi, gfp = write_npy(tmp_path / "IllumDAPI", FIELD), write_npy(tmp_path / "IllumGFP", 4 * FIELD)
    pipeline = steps(str(dapi), str(gfp))
    before = plate.compile_pipelines(pipeline)
    assert all(result.get("success") for result in plate.execute_compiled_plate(pipeline, before).values())

    write_npy(gfp, 2 * FIELD)
    os.utime(gfp, ns=(1, 1))
    after = plate.compile_pipelines(pipeline)

    difference = compare_plans(before, after)
    assert difference.unchanged == ()
    assert [change.what for group in difference.stale for change in group.reasons] == [
        "GFP: the file IllumGFP.npy, which correct_illumination reads, or its modules while they are imported, changed"
    ]


def test_a_file_that_changes_after_compiling_stops_the_run(plate: PipelineOrchestrator, tmp_path: Path) -> None:
    """Pixels must not come from another field than the plan says; the second of two files is looked at, too."""
    dapi, gfp = write_npy(tmp_path / "IllumDAPI", FIELD), write_npy(tmp_path / "IllumGFP", FIELD)
    pipeline = steps(str(dapi), str(gfp))
    contexts = plate.compile_pipelines(pipeline)

    os.utime(gfp, ns=(1, 1))

    with pytest.raises(PipelineMismatchError, match="a file that its functions read has changed since; compile"):
        plate.execute_compiled_plate(pipeline, contexts)
    results = list(execute_wells(contexts, runner="threads"))  # as a run does that has the contexts alone
    assert [result.get("success") for result in results] == [False, False]
    assert all("IllumGFP.npy" in str(result.get("error")) for result in results)


def test_files_that_are_none_are_refused_together(plate: PipelineOrchestrator, tmp_path: Path) -> None:
    """At compile: a relative path, a file that is missing, a folder; and no field at all."""
    with pytest.raises(CompilationError) as refused:
        plate.compile_pipelines([*steps("Illum.npy", str(tmp_path / "none.npy")), *steps(str(tmp_path), str(tmp_path))])
    violations = " ".join(map(str, refused.value.violations))
    assert (
        "flat_field='Illum.npy' is no absolute path; give one, as in str(Path(__file__).parent / 'Illum.npy')"
        in violations
    )
    assert "none.npy' cannot be opened: No such file or directory" in violations
    assert "is no file; give the file itself" in violations

    with pytest.raises(CompilationError, match="flat_field"):
        plate.compile_pipelines([FunctionStep(correct_illumination, variable_components=[VariableComponents.Z_INDEX])])
