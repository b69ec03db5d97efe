"""One well from its context to its published images. The only place where every exception is caught."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from openhcs_engine.context import ProcessingContext
from openhcs_engine.errors import OpenHCSError, PlateError
from openhcs_engine.execution.functions import FunctionSource
from openhcs_engine.execution.results import StepResult, WellResult, WellStatus
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.image_index import ImageIndex, ImageKey
from openhcs_engine.vfs.memory import MemoryBackend


def run_well(context: ProcessingContext, *, functions: FunctionSource, staging: Path, device: str) -> WellResult:
    """Run all steps of one well and publish what the last one made; a failure publishes nothing.

    Parameters
    ----------
    context
        What to do.
    functions
        Where the functions of the plan are found.
    staging
        The run's folder for unfinished wells, on the file system of the output.
    device
        Name of the device the caller holds for this well.
    """
    started = perf_counter()
    done: list[StepResult] = []
    try:
        published = _run_and_publish(context, functions, staging, device, done, started)
    except Exception as error:  # whatever a user's function raises must not reach the other wells
        return WellResult(
            well=context.well,
            status=WellStatus.FAILED,
            fingerprint=context.fingerprint,
            error=_sentence(context.well, error),
            error_type=type(error.__cause__ or error).__name__,
            traceback="".join(traceback.format_exception(error)),
            seconds=perf_counter() - started,
            device=device,
            steps=tuple(done),
        )
    return published


def _run_and_publish(
    context: ProcessingContext,
    functions: FunctionSource,
    staging: Path,
    device: str,
    done: list[StepResult],
    started: float,
) -> WellResult:
    raise AssertionError


def _sentence(well: str, error: Exception) -> str:
    """What a person reads; every sentence names the well."""
    text = str(error) if isinstance(error, OpenHCSError) else f"{type(error).__name__}: {error}"
    return text if text.startswith(f"Well {well}") else f"Well {well}: {text}"


def refuse_missing_planes(context: ProcessingContext) -> None:
    """A well with declared planes that have no file fails as a whole: a shorter stack would be another result."""
    missing = context.index.missing().planes
    if missing:
        shown = "; ".join(_place(plane.key) for plane in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise PlateError(
            f"Well {context.well}: {len(missing)} of {len(context.index)} declared planes have no file ({shown}{more})."
        )


def _place(key: ImageKey) -> str:
    return f"site {key.site}, channel {key.channel}, z {key.z_index}, time {key.timepoint}"


def take_images(index: ImageIndex, intermediates: MemoryBackend) -> Iterator[tuple[ImageKey, Array]]:
    """Planes of the last step, one after another, each leaving memory as it is handed over."""
    for plane in index:
        yield plane.key, intermediates.take(str(plane.path))


__all__ = ["refuse_missing_planes", "run_well", "take_images"]
