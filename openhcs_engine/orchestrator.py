"""The face of the engine: initialise a plate, compile a pipeline, execute the contexts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, ParamSpec, Self

from openhcs_engine.compiler import Compilation, FunctionTable, compile_plate, pipeline_digest
from openhcs_engine.errors import OptionError, PipelineError, PipelineMismatchError, PlateError
from openhcs_engine.execution import execute_wells
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.results import WellResult
from openhcs_engine.execution.runners.well_watch import Notice
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.memory.devices import DevicePolicy, find_inventory
from openhcs_engine.memory.packages import cpu_builds
from openhcs_engine.microscopes import DetectedMicroscope, MicroscopeHandler, detect_microscope
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.artifacts import PLATE_VALUES, PlateValue
from openhcs_engine.model.components import Component, GroupBy
from openhcs_engine.model.image_index import ImageIndex, OnMissing, Projections
from openhcs_engine.model.plate import Plate, grid_of
from openhcs_engine.model.well_filter import WellFilter
from openhcs_engine.model.wells import plate_order, validate_plate_id
from openhcs_engine.model.wording import options_of, unknown_options
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.output.opening import open_output
from openhcs_engine.pipeline.pipeline import PipelineStep
from openhcs_engine.pipeline.settings import PipelineMaker, configured
from openhcs_engine.plan.context import ProcessingContext, steps_digest
from openhcs_engine.plan.run_options import RunOptions
from openhcs_engine.raw.array_listing import ArrayListing
from openhcs_engine.raw.stamps import stamp

P = ParamSpec("P")
DEFAULT_OUTPUT = Path("openhcs_output")
"""Below the current folder: results never go into or beside the raw plate unasked."""

_RUNNING: Final = {words.keyword or name: name for name, (_, words) in options_of(RunOptions, "run").items()}
"""Keyword → option."""
_READING: Final = {name: name for name in options_of(ReadOptions)}


def _with_options(function: Callable[P, None]) -> Callable[P, None]:
    """Let a function's signature show the options that it takes as ``**named``, for editors and ``help()``."""
    *own, _ = inspect.signature(function).parameters.values()
    defaults = {name: default for kind in (RunOptions, ReadOptions) for name, (default, _) in options_of(kind).items()}
    named = [
        inspect.Parameter(keyword, inspect.Parameter.KEYWORD_ONLY, default=defaults[name])
        for keyword, name in (_RUNNING | _READING).items()
    ]
    function.__signature__ = inspect.Signature([*own, *named])  # type: ignore[attr-defined] # any function may
    return function


class PipelineOrchestrator:
    """Runs pipelines on one plate, in two phases.

    Parameters
    ----------
    plate_path
        The plate's folder, or its fsspec URL (``s3://bucket/plate``); only ever read.
    output
        Directory, or URL of an object store (``s3://bucket/results``), that gets ``<plate_id>/`` with the results;
        default ``./openhcs_output``.
    plate_id
        Default: the folder's name, other characters than letters, digits, ``_ . -`` replaced by ``_``.
    images
        How OME-Zarr images are stored: compression, chunks and resolutions, as in ``ImageOptions(levels=1)``; default:
        as the option ``ngff`` says.
    microscopes
        The formats to choose from; ``[*default_handlers(), MyHandler()]`` adds one.
    plate_values
        What functions may be given of the plate, by the name of their special input; ``PLATE_VALUES | {"name": f}``
        adds one, where ``f`` takes the plate.
    options
        How the plate is run.
    reading
        How its folder is read, where detection is not enough.
    **named
        Fields of ``options`` and ``reading`` by their names, as ``runner="threads", plate_map="layout.csv"``;
        ``settings={"nuclei": "DAPI"}`` is the field ``set``.

    Raises
    ------
    OptionError
        If a name is no option, or a value none that it can have; the message lists those, and names the nearest.
    """

    @_with_options
    def __init__(
        self,
        plate_path: str | Path,
        *,
        output: str | Path | None = None,
        plate_id: str | None = None,
        images: ImageOptions | None = None,
        microscopes: Sequence[MicroscopeHandler] | None = None,
        plate_values: Mapping[str, PlateValue] = PLATE_VALUES,
        options: RunOptions | None = None,
        reading: ReadOptions | None = None,
        **named: Any,  # each option has its own type
    ) -> None:
        address = _address(plate_path)
        self.plate_path = address if is_remote(address) else str(local_folder(address).absolute())
        self.output = _resolved_output(output)
        if unknown := unknown_options(named, tuple(inspect.signature(PipelineOrchestrator).parameters)):
            raise OptionError(f"{unknown}.", option=next(name for name in named if name not in _RUNNING | _READING))
        self.options = RunOptions.of(
            asdict(options or RunOptions()) | {_RUNNING[name]: named[name] for name in named.keys() & _RUNNING.keys()}
        )
        self.images = ImageOptions(ngff=self.options.ngff) if images is None else images
        if "ngff" in named and self.images.ngff != self.options.ngff:
            raise OptionError(f"ngff={self.options.ngff!r} contradicts {self.images}; give one of them.", option="ngff")
        self.plate_values = plate_values
        self._plate_id = None if plate_id is None else validate_plate_id(plate_id)
        self.reading = ReadOptions.of(
            asdict(reading or ReadOptions()) | {name: named[name] for name in named.keys() & _READING.keys()}
        )
        self._handlers = self.reading.handlers(microscopes)
        self._microscope: DetectedMicroscope | None = None
        self._read: tuple[Plate, ImageIndex] | None = None

    def initialize(self) -> Self:
        """Read the plate's metadata and list its planes, once."""
        if self._read is None:
            self._microscope = detect_microscope(self.plate_path, self._handlers)
            plate, index = self._microscope.read_plate(plate_id=self._plate_id)
            self._read = self.reading.describe(plate), index
        return self

    @property
    def read(self) -> tuple[Plate, ImageIndex]:
        """Plate and planes, as they were read."""
        return self._initialized()

    def locate(self) -> tuple[Plate, ImageIndex]:
        """Plate and planes with stage positions and heights; with some formats this opens every image file."""
        plate, index = self._initialized()
        assert self._microscope is not None
        located = self._microscope.locate(index)
        return replace(plate, grid=plate.grid or grid_of(located.site_positions())), located

    @property
    def plate(self) -> Plate:
        """What the microscope says it acquired."""
        return self._initialized()[0]

    @property
    def index(self) -> ImageIndex:
        """Which planes exist, and where."""
        return self._initialized()[1]

    def unstored_parts(self) -> tuple[str, ...]:
        """Say of which of the plate's arrays a part is not stored; of a folder this lists their chunks.

        Raises
        ------
        PlateError
            If an array is gone since the plate was read.
        """
        plate, index = self._initialized()
        arrays = ArrayListing(plate.root)
        stamp(ImageIndex(tuple(plane for plane in index if plane.chunks is None)), plate.root, arrays)
        return arrays.unstored_parts()

    def get_component_keys(self, component: GroupBy | Component | str) -> list[str]:
        """Values that a component has on this plate, as text, in order: wells by name, the others by number."""
        wanted = Component(one_of("component", str(component), Component))
        if wanted is Component.WELL:
            return list(self.plate.wells)
        values = {value for plane in self.index if (value := plane.key.get(wanted)) is not None}
        return [str(value) for value in sorted(values)]

    def compile_pipelines(
        self, pipeline_definition: Sequence[PipelineStep] | PipelineMaker, well_filter: WellFilter = None
    ) -> dict[str, ProcessingContext]:
        """Freeze what will happen to each well. Reads no pixel and does not change the pipeline.

        Parameters
        ----------
        pipeline_definition
            The steps, or a function that returns them, whose keyword parameters the option ``settings`` gives.
        well_filter
            Which wells; None: all.

        Raises
        ------
        CompilationError
            If the pipeline cannot run on this plate; ``.violations`` lists every reason.
        """
        return self.compile(pipeline_definition, well_filter).contexts

    def compile(
        self, pipeline_definition: Sequence[PipelineStep] | PipelineMaker, well_filter: WellFilter = None
    ) -> Compilation:
        """As ``compile_pipelines``, but also says what a person should know of the plan: ``.contexts``, ``.notes``."""
        plate, index = self._initialized()
        pipeline = configured(pipeline_definition, self.options.set, [channel.label for channel in plate.channels])
        return compile_plate(
            plate,
            index,
            pipeline,
            output=self.options.output_plan(
                str(self.output),
                plate.plate_id,
                pipeline=str(getattr(pipeline, "name", "")),
                images=self.images,
            ),
            well_filter=well_filter,
            projections=Projections(self.options.projections),
            on_missing=OnMissing(self.options.on_missing),
            devices=find_inventory(),
            device_policy=DevicePolicy(self.options.device),
            cpu_builds=cpu_builds,
            plate_values=self.plate_values,
            locate=lambda: self.locate()[1],
        )

    def execute_compiled_plate(
        self,
        pipeline_definition: Sequence[PipelineStep] | PipelineMaker,
        compiled_contexts: Mapping[str, ProcessingContext],
        max_workers: int | None = None,
    ) -> dict[str, WellResult]:
        """Run the wells and return each one's result; a failing well never stops another.

        Parameters
        ----------
        pipeline_definition
            The pipeline that made the contexts; another is refused.
        compiled_contexts
            What ``compile_pipelines`` returned, or a part of it.
        max_workers
            Wells at the same time; default: the option ``workers``, else the number of cores.
        """
        results = self.execute(pipeline_definition, compiled_contexts, max_workers)
        return {result.well: result for result in sorted(results, key=lambda result: plate_order(result.well))}

    def execute(
        self,
        pipeline_definition: Sequence[PipelineStep] | PipelineMaker,
        compiled_contexts: Mapping[str, ProcessingContext],
        max_workers: int | None = None,
        on_notice: Notice | None = None,
    ) -> Iterator[WellResult]:
        """As ``execute_compiled_plate``, but yields each well as it finishes; closing the iterator stops the run.

        A well that the output does not hold any more when the run ends, because somebody removed or replaced it, is
        yielded a second time, as ``failed``: the last result of a well counts. ``on_notice`` is called, from any
        thread, with what a person should know meanwhile: wells that take long.
        """
        _refuse_no_contexts(compiled_contexts)
        if max_workers is not None and (isinstance(max_workers, bool) or not isinstance(max_workers, int)):
            raise OptionError(f"max_workers={max_workers!r} is no whole number of workers.", option="max_workers")
        self._refuse_other_plate(compiled_contexts)
        table = self._functions_of(configured(pipeline_definition, self.options.set), compiled_contexts)
        return execute_wells(
            compiled_contexts,
            runner=self.options.runner,
            policy=DevicePolicy(self.options.device),
            workers=max_workers if max_workers is not None else self.options.workers or None,
            functions=FunctionSource(local=table.functions),
            well_timeout=self.options.well_timeout,
            on_notice=on_notice,
            renew=self.options.renew,
        )

    def _refuse_other_plate(self, contexts: Mapping[str, ProcessingContext]) -> None:
        first = next(iter(contexts.values()))
        both = first.plate.root, first.output.address
        if strangers := [well for well, each in contexts.items() if (each.plate.root, each.output.address) != both]:
            raise PipelineMismatchError(
                f"The contexts are those of several plates or outputs: well {first.well} is of {both[0]}, well "
                f"{strangers[0]} of {contexts[strangers[0]].plate.root}; execute those of each compilation by "
                "themselves."
            )
        if self._read is not None and self.plate.root != first.plate.root:
            raise PipelineMismatchError(
                f"The contexts were compiled for the plate in {first.plate.root}, but this orchestrator reads the one "
                f"in {self.plate.root}; execute them with an orchestrator of their plate, or compile for this one."
            )

    def _functions_of(
        self, pipeline: Sequence[PipelineStep], contexts: Mapping[str, ProcessingContext]
    ) -> FunctionTable:
        """The functions of the pipeline; PipelineMismatchError if it did not make the contexts."""
        first, table = next(iter(contexts.values())), FunctionTable()
        made_by = pipeline_digest(
            first.plate, pipeline, backend=first.output.backend, plate_values=self.plate_values, table=table
        )
        # What the contexts name, not what they say of themselves: another function must not slip in.
        named = {id(context.steps): _digest_of(context) for context in contexts.values()}
        strangers = [well for well, context in contexts.items() if named[id(context.steps)] != made_by]
        if strangers:
            raise PipelineMismatchError(
                f"The contexts of well {strangers[0]}{' and others' if len(strangers) > 1 else ''} were compiled from "
                "another pipeline than the one given, or a file that its functions read has changed since; compile "
                "this pipeline, or give the one that made them."
            )
        return table

    def _initialized(self) -> tuple[Plate, ImageIndex]:
        if self._read is None:
            raise PlateError("The orchestrator has not read its plate yet; call initialize() first.")
        return self._read


def _digest_of(context: ProcessingContext) -> str:
    return steps_digest(context.steps, fits=[plan.step for plan in context.fits])


def _address(plate_path: object) -> str:
    """A plate's folder or URL as text."""
    if not isinstance(plate_path, str | os.PathLike) or not str(plate_path).strip():
        raise OptionError(
            f"plate_path={plate_path!r} names no folder; give the plate's folder, as text or Path, or its URL.",
            option="plate_path",
        )
    return str(plate_path)


def _refuse_no_contexts(contexts: Mapping[str, ProcessingContext]) -> None:
    """PipelineError unless they are contexts by the names of their wells."""
    if not contexts:
        raise PipelineError("There are no contexts to execute; compile_pipelines makes them.")
    if not isinstance(contexts, Mapping):
        raise PipelineError(
            f"Contexts are a dict of wells, as compile_pipelines returns it, but got a {type(contexts).__name__}; give "
            "{context.well: context, …}."
        )
    for well, context in contexts.items():
        if well != context.well:
            raise PipelineError(
                f"The context under {well!r} is that of well {context.well}; give each under its own name, once."
            )


def _resolved_output(output: str | Path | None) -> Path | str:
    """The folder for results, or its URL; OutputPlaceError if the URL is none of an object store."""
    if output is not None and is_remote(str(output)):
        return open_output(str(output)).address
    # A link that leads there is followed once: should it change meanwhile, the wells of one run stay together.
    return (DEFAULT_OUTPUT if output is None else local_folder(str(output))).resolve()


def one_of(option: str, value: str, allowed: Iterable[str]) -> str:
    """An option's value, if it is one of those allowed; otherwise an OptionError that lists them."""
    names = [str(name) for name in allowed]
    if str(value) not in names:
        raise OptionError(f"{option}={str(value)!r} is unknown (choose from {', '.join(names)}).", option=option)
    return str(value)
