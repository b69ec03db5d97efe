"""Results of fits as wells' functions are given them; each is read once a process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import google_crc32c

from openhcs_engine.errors import ExecutionError, StorageError
from openhcs_engine.output.fits.contract import OutputFits
from openhcs_engine.output.fits.record import FitRecord, fit_folder
from openhcs_engine.output.fits.values import decode
from openhcs_engine.output.opening import open_output
from openhcs_engine.plan.context import FitPlan, ProcessingContext


@dataclass(frozen=True, slots=True)
class LoadedFit:
    """One fit."""

    record: FitRecord
    values: Mapping[int | None, object]
    """By channel; under None what was fitted on all."""

    def value(self, channel: int | None, taker: str) -> object:
        """What a function is given that works on stacks of a channel; None: of no single one.

        Raises
        ------
        ExecutionError
            If that channel was not fitted.
        """
        key = None if None in self.values else channel
        if key not in self.values:
            labels = ", ".join(part.label for part in self.record.parts)
            of = "a stack of several channels" if channel is None else f"channel {channel}"
            raise ExecutionError(
                f"{taker} takes {self.record.name!r}, which is fitted for channels {labels}, but not for {of}; give "
                "the sample that channel, or fit all together with Sample(per_channel=False)."
            )
        value = self.values[key]
        return dict(value) if isinstance(value, dict) else value


@dataclass(slots=True)
class FitSource:
    """Reads fits of outputs, each once."""

    loaded: dict[tuple[str, str, str], LoadedFit] = field(default_factory=dict)
    """By output, name and fingerprint."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, context: ProcessingContext) -> Mapping[str, LoadedFit]:
        """The fits that a well's functions are given, by name.

        Raises
        ------
        StorageError
            If one is missing or damaged.
        """
        with self.lock:
            return {plan.name: self._of(context, plan) for plan in context.own_fits}

    def _of(self, context: ProcessingContext, plan: FitPlan) -> LoadedFit:
        key = context.output.address, plan.name, plan.fingerprint
        if key not in self.loaded:
            self.loaded[key] = _read(open_output(context.output.address, context.output.backend).fits, plan)
        return self.loaded[key]


def _read(fits: OutputFits, plan: FitPlan) -> LoadedFit:
    record = fits.find(plan.name, plan.fingerprint)
    if record is None:
        raise StorageError(
            f"The fit {fit_folder(plan.name, plan.fingerprint)} is missing from the output, or incomplete; run the "
            "plate again, which makes it anew."
        )
    checksums = {file.path: file.crc32c for file in record.files}

    def read(path: str) -> bytes:
        content = fits.read(path)
        if google_crc32c.value(content) != checksums.get(path):
            raise StorageError(
                f"{path} was changed after it was written (checksum); remove it with verify --repair, and run the "
                "plate again."
            )
        return content

    return LoadedFit(record, {part.channel: decode(part, read) for part in record.parts})


__all__ = ["FitSource", "LoadedFit"]
