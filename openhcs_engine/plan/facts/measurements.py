"""What earlier runs measured, as values."""

from __future__ import annotations

from dataclasses import dataclass

from openhcs_engine.plan.context import ProcessingContext


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStep:
    """One step of a well that was run."""

    number: int
    seconds: float
    device: str
    """Where it ran, e.g. ``cpu:0`` or ``gpu:1, cpu:0``."""

    @property
    def kind(self) -> str:
        """``gpu`` if any of it ran on one, else ``cpu``."""
        return "gpu" if "gpu" in self.device else "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredWell:
    """A well that was run, and what it was planned to do."""

    context: ProcessingContext
    seconds: float
    """Of the whole well, reading, writing and publishing included."""
    steps: tuple[MeasuredStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What an output folder holds of earlier runs."""

    output: str = ""
    """The folder; empty: none was looked at."""
    wells: tuple[MeasuredWell, ...] = ()
    """Those written last first."""
    published: int = 0
    """Manifests that are there, those that were not read included."""
    why_none: str = ""
    """Why nothing was looked up, as a clause; empty if it was."""


__all__ = ["MeasuredStep", "MeasuredWell", "Measurements"]
