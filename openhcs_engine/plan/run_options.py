"""How a plate is run: one value for both command lines, the orchestrator, the catalogue and the inbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from openhcs_engine.errors import OptionError
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.memory.devices import CPU, GPU, DevicePolicy
from openhcs_engine.model.image_index import OnMissing, Projections
from openhcs_engine.model.quantities.durations import parse_seconds
from openhcs_engine.model.wording import option, options_of
from openhcs_engine.ngff.options import NGFF_VERSIONS, ImageOptions
from openhcs_engine.plan.context import OutputPlan
from openhcs_engine.vfs.intermediates import MEMORY, ScratchPlan

BACKENDS: Final = ("zarr", "disk")

THREADS: Final = "threads"

RUNNERS: Final = ("processes", THREADS)

GPU_BEFORE: Final = "gpu"
"""What entries of earlier versions call ``gpu_required``."""

_RUN: Final = ("run", "add")
_PLANNED: Final = ("compile", "try", *_RUN)
"""Commands that take options which change the plan."""


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """Settings as a command line has them, ``["nuclei=DAPI", …]``.

    Raises
    ------
    OptionError
        If one has no name or no ``=``, or a name is given twice.
    """
    settings: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not (name and equals):
            raise OptionError(f"--set {text} names no setting and its value; write --set NAME=VALUE.", option="set")
        if name in settings:
            raise OptionError(f"--set {name} is given twice, as {settings[name]!r} and {value!r}.", option="set")
        settings[name] = value
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a plate is run.

    A field is an option of ``openhcs`` and ``openhcs-dagster add``, a keyword of ``PipelineOrchestrator``, and a key of
    the catalogue and of ``inbox.json``.
    """

    set: dict[str, Any] = option(  # noqa: RUF009 # each gets a dict of its own
        {},
        "A parameter of the pipeline (nuclei=DAPI), or of a function in it (segment.minimum_area_px=30); repeatable.",
        register_help="A parameter of the pipeline, or FUNCTION.PARAMETER of one in it; repeatable.",
        kind=list[str],
        metavar="NAME=VALUE",
        keyword="settings",
        parse=parse_settings,
        commands=_PLANNED,
    )
    """Values of the pipeline's parameters, and of those of its functions as ``function.parameter``; texts stand for
    what they say."""
    workers: int = option(
        0,
        "Wells at a time; default: the cores.",
        register_help="Wells at a time; 0: all free devices.",
        kind=int,
        least=0,
        commands=("try", *_RUN),
    )
    """Wells at a time; 0: as many as the machine has processors."""
    runner: str = option(
        "processes",
        "Who runs the wells.",
        register_help="processes or threads.",
        choices=RUNNERS,
        noun="runner",
        commands=_RUN,
    )
    """``processes``: worker processes; ``threads``: threads of this process."""
    backend: str = option(
        "zarr",
        "OME-Zarr plate, or OME-TIFF files.",
        register_help="zarr (OME-Zarr plate) or disk (OME-TIFF files).",
        choices=BACKENDS,
        noun="backend",
        commands=_RUN,
    )
    """``zarr``: one OME-Zarr plate; ``disk``: OME-TIFF files."""
    on_missing: str = option(
        OnMissing.ERROR.value,
        "Wells with missing planes fail, go on without them, or with zeros.",
        register_help="Missing planes: error, skip or blank.",
        choices=tuple(OnMissing),
        noun="way with missing planes",
        commands=_PLANNED,
    )
    """Wells with declared planes that have no file fail (``error``), or go on without them (``skip``) or with zeros
    (``blank``), recorded either way."""
    projections: str = option(
        Projections.FALLBACK.value,
        "The instrument's projections enter where there is no plane, never, or only they.",
        register_help="The instrument's projections: fallback, ignore or only.",
        choices=tuple(Projections),
        noun="use of projections",
        commands=_PLANNED,
    )
    """The instrument's own projections stand in where there is no plane (``fallback``), never (``ignore``), or are all
    that enters (``only``)."""
    device: str = option(
        DevicePolicy.AUTO.value,
        "A GPU where functions can use one, the CPU only, or no run without the GPU.",
        register_help="What wells may use: auto, cpu or gpu_required.",
        choices=tuple(DevicePolicy),
        noun="device",
        commands=_PLANNED,
    )
    """``auto``: GPUs for what can use them, where there are some; ``cpu``; ``gpu_required``: never the CPU instead."""
    intermediates: str = option(
        MEMORY,
        "Where planes wait between the steps of a well; changes no pixel.",
        register_help="Where planes wait between steps: memory, disk, zarr or MODULE:CLASS.",
        metavar="memory|disk|zarr|MODULE:CLASS",
        commands=_PLANNED,
    )
    """Where planes wait between the steps of a well: ``memory``, ``disk`` (TIFF), ``zarr``, or ``module:Class`` of a
    backend of your own. It changes no pixel."""
    scratch: str | None = option(
        None,
        "For intermediates not in memory, e.g. a fast disk; default: the output.",
        register_help="For intermediates that are not in memory.",
        metavar="DIR_OR_URL",
        commands=_PLANNED,
    )
    """Folder, such as one on a fast local disk, or fsspec URL for intermediates that are not in memory; None: beside
    the unfinished wells of the run."""
    memory_budget: int | float | str | None = option(
        None,
        "Most that a well's intermediates take in memory, e.g. 2GB.",
        register_help="Most that a well's intermediates take: 2GB.",
        metavar="SIZE",
        commands=_PLANNED,
    )
    """The most that a well's intermediates take in memory: bytes, or a size such as ``2GB``; None: no limit."""
    well_timeout: int | float | str | None = option(
        None,
        "A well that takes longer, e.g. 10m, fails; default: never.",
        register_help="A well that takes longer, e.g. 10m, fails.",
        metavar="TIME",
        commands=_RUN,
    )
    """Seconds, or a text such as ``10m``, after which a well fails and the worker process that holds it is ended and
    replaced; the others go on. None: never. Refused with ``threads``, which cannot be ended."""
    fsync: bool = option(
        False,
        "Each well is on the disk before it counts as done, should the power fail.",
        kind=bool,
        commands=_RUN,
    )
    """True: a well is on the disk, not only in the computer's memory, before it counts as done."""
    ngff: str = option(
        "0.5",
        "Version of OME-Zarr: 0.5 (zarr v3), or 0.4 (zarr v2) for older readers.",
        register_help="Version of OME-Zarr: 0.5 or 0.4.",
        choices=NGFF_VERSIONS,
        noun="version of OME-Zarr",
        commands=_RUN,
    )
    """Version of OME-Zarr that is written: ``0.5`` or ``0.4``."""
    renew: bool = option(
        False,
        "Compute wells again that were made before an update of this program, too.",
        register_help="The next run, or night, computes wells made before an update again.",
        kind=bool,
        commands=_RUN,
    )
    """True: wells that were made before an update of this program are computed again, although their files, steps,
    parameters, sources and packages are the same; by the next night, too."""
    overview_channel: str = option(
        "",
        "Shown by the overview image; default: the first.",
        metavar="NAME",
        commands=("add",),
    )
    """Label of the channel that the report's overview image shows; empty: the images' first."""

    def __post_init__(self) -> None:
        if self.device == GPU_BEFORE:
            object.__setattr__(self, "device", DevicePolicy.GPU_REQUIRED.value)

    @property
    def badges(self) -> tuple[str, ...]:
        """What the UI shows on the wells: their backend, and their device where the options settle it."""
        settled = {DevicePolicy.CPU: CPU, DevicePolicy.GPU_REQUIRED: GPU}.get(DevicePolicy(self.device))
        return (self.backend,) if settled is None else (self.backend, settled)

    def pool(self, *, host_has_gpus: bool) -> str | None:
        """The Dagster pool in which the wells wait; None where the plan alone decides what they lease.

        A pool is chosen before there is a plan. Plates that may use a GPU and have no step on one would wait for those
        that hold it, so they wait for their lease only, which knows the plan.
        """
        if self.device == DevicePolicy.GPU_REQUIRED:
            return f"openhcs_{GPU}"
        return None if self.device == DevicePolicy.AUTO and host_has_gpus else f"openhcs_{CPU}"

    def beside(self, folder: Path) -> RunOptions:
        """The options with the full name of the scratch folder; a relative one is meant as below ``folder``."""
        if self.scratch is None or is_remote(self.scratch):
            return self
        return replace(self, scratch=str(folder.absolute() / local_folder(self.scratch)))

    def scratch_plan(self) -> ScratchPlan:
        """Where intermediates go. OptionError if they cannot; what has to be imported is left to compile."""
        return ScratchPlan.of(self.intermediates, self.scratch, self.memory_budget)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:  # Any: each field has its own type
        """The options that keywords mean; enumerations and paths may stand for their texts.

        Raises
        ------
        OptionError
            If a value cannot be, or has no meaning beside the others; the message says what can.
        """
        plain: dict[str, Any] = {
            name: str(value) if isinstance(value, str | Path) else value for name, value in given.items()
        }
        for name, (default, words) in options_of(cls).items():
            value = plain.get(name, default)
            if words.choices and value not in words.choices:
                raise OptionError(
                    f"{name}={str(value)!r} is unknown (choose from {', '.join(words.choices)}).", option=name
                )
        options = cls(**plain)
        options.check()
        return options

    def check(self) -> None:
        """Raise an OptionError if the options contradict each other, or a number, time or size is none."""
        self.scratch_plan()
        if not isinstance(self.set, dict) or not all(isinstance(name, str) for name in self.set):
            raise OptionError(
                f"settings={self.set!r} is no dict of values by name, as {{'nuclei': 'DAPI'}}.", option="set"
            )
        if well_limit(self.well_timeout) is not None and self.runner == THREADS:
            raise OptionError(refused_limit(), option="well_timeout")
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 0:
            raise OptionError(
                f"{self.workers} is not a number of workers; use 1 or more, or 0 for all.", option="workers"
            )

    def complaint(self) -> str | None:
        """What is wrong with the options, as a sentence; None if nothing is."""
        for name, (_, words) in options_of(type(self)).items():
            if words.choices and (value := getattr(self, name)) not in words.choices:
                return f"{value!r} is not a {words.noun}; choose one of {', '.join(words.choices)}."
        try:
            self.check()
        except OptionError as error:
            return str(error)
        return None

    def output_plan(
        self, root: str, plate_id: str, *, pipeline: str = "", images: ImageOptions | None = None
    ) -> OutputPlan:
        """Where results go, and in which form; ``images`` default to those of the version of OME-Zarr."""
        return OutputPlan(
            root=root,
            plate_id=plate_id,
            backend=self.backend,
            fsync=self.fsync,
            images=images or ImageOptions(ngff=self.ngff),
            scratch=self.scratch_plan(),
            pipeline=pipeline,
        )


def well_limit(well_timeout: int | float | str | None) -> float | None:
    """Seconds that a well may take; None: as long as it likes. OptionError if it is no length of time."""
    if well_timeout is None:
        return None
    try:
        return parse_seconds(well_timeout)
    except ValueError as error:
        raise OptionError(f"well_timeout={error}", option="well_timeout") from None


def refused_limit(notes: Sequence[str] = ()) -> str:
    """Why there is no limit for wells that threads run; ``notes`` say why threads run them, if not as asked."""
    why = f"; this run {' and '.join(notes)}" if notes else ""
    return (
        "A well that takes too long can be ended only with its process, and threads have none of their own: run with "
        f"processes (--runner processes), or without a limit for wells (--well-timeout){why}."
    )


__all__ = ["RunOptions", "parse_settings", "refused_limit", "well_limit"]
