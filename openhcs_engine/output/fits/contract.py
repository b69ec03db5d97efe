"""The contract of the fits in a plate's output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager

from openhcs_engine.errors import ManifestError
from openhcs_engine.output.fits.record import FitRecord, record_from_json, record_path


class OutputFits(ABC):
    """``fits/`` of one plate's output. A fit goes in whole; readers see all of it or nothing."""

    @abstractmethod
    def lock(self, name: str) -> AbstractContextManager[None]:
        """Keep others from fitting the same name; waits. Stores have no locks: there both fit, and one's is kept."""

    @abstractmethod
    def publish(self, record: FitRecord, contents: Mapping[str, bytes]) -> FitRecord:
        """Keep a fit, ``fit.json`` last; ``contents`` are its files by their names in its folder.

        Returns
        -------
        FitRecord
            The one that is there now, with its ``files``.

        Raises
        ------
        OutputPlaceError
            If the place refuses.
        """

    @abstractmethod
    def fingerprints(self, name: str) -> tuple[str, ...]:
        """Of all fits of a name, damaged ones included."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Content of a file, by its path relative to the output; FileNotFoundError if it is missing."""

    @abstractmethod
    def size(self, path: str) -> int | None:
        """Bytes of a file; None if it is missing."""

    @abstractmethod
    def drop(self, name: str, fingerprint: str) -> None:
        """Remove a fit, so that the next run makes it again; nothing there is fine."""

    def find(self, name: str, fingerprint: str) -> FitRecord | None:
        """The record of a fit whose files are all there with the right sizes; None otherwise."""
        path = record_path(name, fingerprint)
        try:
            record = record_from_json(self.read(path), path)
        except (OSError, ManifestError):
            return None
        return record if all(self.size(file.path) == file.size for file in record.files) else None

    def partial(self, name: str, sample_fingerprint: str) -> FitRecord | None:
        """A whole record of a fit of this sample that lacks some of its images; of several, the one with the most."""
        records = [self.find(name, each) for each in self.fingerprints(name)]
        able = [
            record
            for record in records
            if record is not None and record.missing and record.sample_fingerprint == sample_fingerprint
        ]
        return max(able, key=lambda record: len(record.used), default=None)


__all__ = ["OutputFits"]
