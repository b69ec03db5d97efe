"""Dropping damaged wells, so that the next run makes them again and leaves the others alone."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from openhcs_engine.output.opening import open_output
from openhcs_engine.output.verification.verify import PLATE, VerifyReport, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was done to an output, and how it stands now."""

    dropped: tuple[str, ...]
    """Wells that were damaged and are gone; the next run makes them again."""
    dropped_fits: tuple[str, ...] = ()
    """Folders of fits that were damaged and are gone; the next run makes them again."""
    report: VerifyReport
    """Of the output after it."""

    @property
    def ok(self) -> bool:
        """True if nothing damaged is left; wells may be missing."""
        return not self.report.damaged


def repair(folder: str | PathLike[str], report: VerifyReport) -> Repair:
    """Drop the wells and the fits that a report calls damaged.

    Wells that were made with such a fit stay. Whole wells, foreign files, and files of the whole plate are left alone;
    every run writes the latter again.

    Raises
    ------
    OutputPlaceError
        If the file system refuses.
    """
    dropped = tuple(damage.well for damage in report.damaged if damage.well != PLATE)
    output = open_output(folder)
    output.drop(*dropped)
    for path in report.damaged_fits:
        _, name, fingerprint = path.split("/")
        output.fits.drop(name, fingerprint)
    return Repair(dropped=dropped, dropped_fits=report.damaged_fits, report=verify(folder))


__all__ = ["Repair", "repair"]
