"""What a trial shows: a cell for each combination of settings and each well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from openhcs_engine.model.plate import Plate
from openhcs_engine.output.tables.numbers import WellNumber
from openhcs_engine.trials.combinations import Combination
from openhcs_engine.trials.pictures import Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Outlines of the objects of one name."""

    labels: str
    picture: str
    """Key of its picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture: a plane, and what is drawn over it."""

    title: str
    picture: str | None
    """Key of its picture; None: there is none, and ``note`` says why."""
    layers: tuple[Layer, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one combination made of one well."""

    views: tuple[View, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    """Objects of each name in the whole well."""
    numbers: tuple[WellNumber, ...] = ()
    error: str | None = None
    """Why there is nothing; None: there is."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """All that the page shows."""

    plate: Plate
    pipeline: str
    """``module:attribute``."""
    fixed: tuple[tuple[str, str], ...]
    """Settings that all combinations have."""
    wells: tuple[str, ...]
    why_wells: str
    site: int | None
    combinations: tuple[Combination, ...]
    raw: Mapping[str, tuple[View, ...]]
    """By well."""
    cells: Mapping[tuple[int, str], Cell]
    """By the position of the combination, and the well."""
    pictures: Mapping[str, bytes]
    """JPEG and PNG images by key."""
    scales: Mapping[str, tuple[float, float]]
    """Title of a view → pixel values that are black and white."""
    colours: Mapping[str, Colour]
    """Of the outlines, by the name of their labels."""
    seconds: float

    @property
    def failed(self) -> int:
        """Cells that show an error."""
        return sum(cell.error is not None for cell in self.cells.values())

    @property
    def failures(self) -> tuple[str, ...]:
        """What they show, each once."""
        cells = self.cells.items()
        said = [f"{self.combinations[number].title}: {cell.error}" for (number, _), cell in cells if cell.error]
        return tuple(dict.fromkeys(said))


__all__ = ["Cell", "Layer", "Trial", "View"]
