"""How a plate is run: one value for the catalogue and the inbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from openhcs_engine.errors import OptionError
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.memory.devices import CPU, GPU, DevicePolicy
from openhcs_engine.model.image_index import OnMissing, Projections
from openhcs_engine.model.quantities.durations import parse_seconds
from openhcs_engine.ngff.options import NGFF_VERSIONS
from openhcs_engine.vfs.intermediates import MEMORY, ScratchPlan

BACKENDS: Final = ("zarr", "disk")

THREADS: Final = "threads"

RUNNERS: Final = ("processes", THREADS)

GPU_BEFORE: Final = "gpu"
"""What entries of earlier versions call ``gpu_required``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a plate is run."""

    backend: str = "zarr"
    """``zarr``: one OME-Zarr plate; ``disk``: OME-TIFF files."""
    runner: str = "processes"
    """``processes`` or ``threads``."""
    workers: int = 0
    """Wells at a time; 0: as many as the machine has processors."""
    device: str = DevicePolicy.AUTO.value
    """``auto``: GPUs for what can use them, where there are some; ``cpu``; ``gpu_required``: never the CPU instead."""
    on_missing: str = "error"
    """Declared planes without a file: ``error`` (their well fails), ``skip`` or ``blank``."""
    ngff: str = "0.5"
    """Version of OME-Zarr that is written: ``0.5`` or ``0.4``."""
    projections: str = "fallback"
    """The instrument's own projections: ``fallback``, ``ignore`` or ``only``."""
    well_timeout: int | float | str | None = None
    """Seconds, or a text such as ``10m``, after which a well fails and its worker is replaced; None: never."""
    fsync: bool = False
    """True: a well is on the disk, not only in the computer's memory, before it counts as done."""
    intermediates: str = MEMORY
    """Where planes wait between the steps of a well: ``memory``, ``disk``, ``zarr``, or ``module:Class``."""
    scratch: str | None = None
    """Folder or URL for intermediates that are not in memory; None: in the output."""
    memory_budget: int | str | None = None
    """The most that a well's intermediates take in memory: bytes, or a size such as ``2GB``; None: no limit."""
    renew: bool = False
    """True: wells that were made before an update of this program are computed again, by the next night, too."""
    overview_channel: str = ""
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

    def complaint(self) -> str | None:
        """What is wrong with the options, as a sentence; None if nothing is."""
        for name, value, known in (
            ("backend", self.backend, BACKENDS),
            ("runner", self.runner, RUNNERS),
            ("device", self.device, tuple(DevicePolicy)),
            ("way with missing planes", self.on_missing, tuple(OnMissing)),
            ("version of OME-Zarr", self.ngff, NGFF_VERSIONS),
            ("use of projections", self.projections, tuple(Projections)),
        ):
            if value not in known:
                return f"{value!r} is not a {name}; choose one of {', '.join(known)}."
        try:
            self.scratch_plan()
            limit_s = well_limit(self.well_timeout)
        except OptionError as error:
            return str(error)
        if limit_s is not None and self.runner == THREADS:
            return refused_limit()
        return None if self.workers >= 0 else f"{self.workers} is not a number of workers; use 1 or more, or 0 for all."


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


__all__ = ["refused_limit", "well_limit"]
