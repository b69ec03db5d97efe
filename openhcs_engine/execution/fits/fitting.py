"""One fit, from its frozen sample to its published result. It runs where wells run: in a worker, or in a thread."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from openhcs_engine.errors import ExecutionError, OpenHCSError
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.fits.images import FitImages
from openhcs_engine.execution.placement import libraries_of
from openhcs_engine.execution.stacks.loading import read_raw_stack
from openhcs_engine.memory.conversion.convert import convert
from openhcs_engine.memory.libraries import library_of
from openhcs_engine.memory.stack import Array
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.image_index import ImageKey, ImagePlane, Stack
from openhcs_engine.model.wording import listed_first
from openhcs_engine.output.fits.contract import OutputFits
from openhcs_engine.output.fits.record import FitImage, FitRecord, FittedPart, UnreadImage, fit_folder
from openhcs_engine.output.fits.values import PICTURE, UnfitValueError, encode, picture
from openhcs_engine.output.opening import open_output
from openhcs_engine.plan.context import CPU, FitPlan, FunctionCall, ProcessingContext
from openhcs_engine.plan.fit import FitPart


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """What became of one fit."""

    name: str
    made: bool = False
    """True: it was fitted now; False: it is there since before, or it failed."""
    unread: tuple[ImageKey, ...] = ()
    """Images of its sample that cannot be read, so that it is another one than was planned."""
    remarks: tuple[str, ...] = ()
    """What is to be known of it."""
    seconds: float = 0.0
    error: str | None = None
    """Why there is none, as a sentence."""
    error_type: str | None = None
    traceback: str | None = None


def make_fit(context: ProcessingContext, name: str, functions: FunctionSource) -> FitResult:
    """Fit one plate step, unless its output holds the result; a failure publishes nothing and raises nothing.

    A partial fit of the same sample is kept as long as none of its missing images can be read.
    """
    started = perf_counter()
    plan = next(each for each in context.fits if each.name == name)
    try:
        fits = open_output(context.output.address, context.output.backend, context.output.fsync).fits
        with fits.lock(name):
            record, made = _fitted(context, plan, functions, fits)
    except (Exception, SystemExit) as error:  # whatever a user's function raises must not end the run
        sentence = str(error) if isinstance(error, OpenHCSError) else f"{type(error).__name__}: {error}"
        return FitResult(
            name=name,
            error=sentence.encode("utf-8", "backslashreplace").decode(),
            error_type=type(error.__cause__ or error).__name__,
            traceback="".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace").decode(),
            seconds=perf_counter() - started,
        )
    return FitResult(
        name=name,
        made=made,
        unread=tuple(each.key for each in record.missing),
        remarks=record.remarks,
        seconds=perf_counter() - started,
    )


def _fitted(
    context: ProcessingContext, plan: FitPlan, functions: FunctionSource, fits: OutputFits
) -> tuple[FitRecord, bool]:
    """The record of the fit, and whether it was made now."""
    if (whole := fits.find(plan.name, plan.fingerprint)) is not None:
        return whole, False
    before = fits.partial(plan.name, plan.fingerprint)
    if before is not None and not can_be_completed(context, plan, before):
        return before, False
    functions.verify([plan.step.call])
    started = perf_counter()
    fit = _Fit(context, plan, functions.get(plan.step.call))
    fit.run()
    return fits.publish(*fit.published(perf_counter() - started)), True


def can_be_completed(context: ProcessingContext, plan: FitPlan, record: FitRecord) -> bool:
    """Whether an image that a partial fit lacks can be read now."""
    missing = {each.key for each in record.missing}
    return any(_can_be_read(context, plane, plan.step.call) for plane in plan.planes if plane.key in missing)


def _can_be_read(context: ProcessingContext, plane: ImagePlane, call: FunctionCall) -> bool:
    unread: dict[ImageKey, Exception] = {}
    FitImages([plane], _reader(context), call, unread).look_at_all()
    return not unread


def _reader(context: ProcessingContext) -> Callable[[ImagePlane], Array]:
    return lambda plane: read_raw_stack(Stack(planes=(plane,), variable=()), context)


class _Fit:
    """The function's results on the parts of a sample, of which some images may turn out not to be readable."""

    def __init__(self, context: ProcessingContext, plan: FitPlan, function: Callable[..., Any]) -> None:
        self._context = context
        self._sample = plan
        self._plan = plan
        self._function = function
        self._unread: dict[ImageKey, Exception] = {}
        self._results: dict[FitPart, object] = {}
        self._warnings: dict[str, list[str]] = {}

    def run(self) -> None:
        """Fit all parts on what can be read of them.

        Raises
        ------
        ExecutionError
            If too few images can be read, or the function fails or returns what cannot be kept.
        """
        while not self._run_once():
            for part in self._plan.parts:  # so that a part is fitted twice at most
                self._images(part).look_at_all()
            self._plan = self._sample.without(self._unread)

    def published(self, seconds: float) -> tuple[FitRecord, dict[str, bytes]]:
        """The record and the contents of the files, by their names in its folder."""
        plan, call = self._plan, self._plan.step.call
        folder = fit_folder(plan.name, plan.fingerprint)
        contents, parts = dict[str, bytes](), list[FittedPart]()
        for part, result in self._results.items():
            encoded = self._encoded(part, result)
            contents |= encoded.contents
            parts.append(
                FittedPart(
                    channel=part.channel,
                    label=self._label(part),
                    images=len(part.planes),
                    values=tuple(value.at(folder) for value in encoded.values),
                )
            )
        if (image := picture({_title(part): result for part, result in self._results.items()})) is not None:
            contents[PICTURE] = image
        planes = {plane.key: plane for plane in self._sample.planes}
        return (
            FitRecord(
                name=plan.name,
                fingerprint=plan.fingerprint,
                sample_fingerprint=self._sample.fingerprint,
                plate=self._context.plate.plate_id,
                function=call.reference,
                version=call.version,
                source_sha256=call.source_sha256,
                parameters=call.kwargs,
                versions=plan.versions,
                asked=plan.step.images,
                minimum=plan.step.minimum,
                used=tuple(FitImage.of(plane) for plane in plan.planes.present()),
                missing=tuple(
                    UnreadImage(key=key, path=str(planes[key].path), reason=str(error))
                    for key, error in self._unread.items()
                ),
                parts=tuple(parts),
                warnings=tuple(_of_channels(message, labels) for message, labels in self._warnings.items()),
                picture=f"{folder}/{PICTURE}" if image is not None else "",
                files=(),
                finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
                seconds=seconds,
            ),
            contents,
        )

    def _run_once(self) -> bool:
        """Fit all parts; False as soon as an image turns out not to be readable."""
        self._results.clear()
        self._warnings.clear()
        known = len(self._unread)
        for part in self._plan.parts:
            self._refuse_too_few(part)
            try:
                self._results[part] = self._call(part)
            except (Exception, SystemExit) as error:
                if len(self._unread) == known:
                    reason = str(error) if isinstance(error, OpenHCSError) else f"{type(error).__name__}: {error}"
                    raise self._error(f"{self._plan.step.call.reference} raised {reason}", part) from error
            if len(self._unread) > known:  # also where the function caught the error
                return False
        return True

    def _call(self, part: FitPart) -> object:
        call = self._plan.step.call
        with ExitStack() as scopes, warnings.catch_warnings(record=True) as said:
            for adapter in libraries_of(call):
                scopes.enter_context(adapter.scope(CPU))
            warnings.simplefilter("always", UserWarning)
            result = self._function(self._images(part), **call.kwargs.thaw())
        for message in dict.fromkeys(str(each.message) for each in said if each.category is UserWarning):
            self._warnings.setdefault(message, []).append(self._label(part))
        return {key: _host(value) for key, value in result.items()} if isinstance(result, Mapping) else _host(result)

    def _images(self, part: FitPart) -> FitImages:
        return FitImages(part.planes, _reader(self._context), self._plan.step.call, self._unread)

    def _encoded(self, part: FitPart, result: object) -> Any:  # Any: values.Encoded
        try:
            return encode(_title(part), result)
        except UnfitValueError as error:
            raise self._error(f"{self._plan.step.call.reference} returned {error}", part) from error

    def _refuse_too_few(self, part: FitPart) -> None:
        if len(part.planes) >= self._plan.step.minimum:
            return
        planes = {plane.key: plane.path for plane in self._sample.planes}
        reasons = listed_first((f"{planes[key]}: {error}" for key, error in self._unread.items()), 2, "; ")
        raise self._error(
            f"only {len(part.planes)} images of its sample can be read, and it takes at least "
            f"{self._plan.step.minimum} ({reasons}). Copy the others again, or choose another sample.",
            part,
        )

    def _error(self, reason: str, part: FitPart) -> ExecutionError:
        of = f", channel {self._label(part)}" if part.channel is not None else ""
        return ExecutionError(f"plate step {self._plan.name!r}{of}: {reason}")

    def _label(self, part: FitPart) -> str:
        return "" if part.channel is None else self._context.plate.channel(part.channel).label


def _title(part: FitPart) -> str:
    """What the files of a part are called."""
    return "all" if part.channel is None else f"w{part.channel}"


def _of_channels(warning: str, labels: Sequence[str]) -> str:
    """A warning with the channels on which it was given; without, if the fit is of all together."""
    return f"{warning} (channel {', '.join(labels)})" if any(labels) else warning


def _host(value: Any) -> Any:  # Any: whatever a function returned
    """Arrays of other libraries as NumPy's."""
    adapter = library_of(value)
    if adapter is None or adapter.memory_type is MemoryType.NUMPY:
        return value
    return convert(value, MemoryType.NUMPY).array


__all__ = ["FitResult", "can_be_completed", "make_fit"]
