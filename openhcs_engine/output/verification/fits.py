"""The fits in an output: what their records list, which are damaged, and which are missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from openhcs_engine.errors import ManifestError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.system_errors import explained
from openhcs_engine.output.fits.record import RECORD, FitRecord, fit_folder, fit_of_path, record_from_json
from openhcs_engine.output.listing import OutputFiles, PresentFile
from openhcs_engine.output.manifest import WellManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentFits:
    """What lies in ``fits/``; iterating gives each folder, with what is wrong with its record."""

    records: Mapping[str, FitRecord]
    """By folder, relative to the output."""
    broken: Mapping[str, str]
    """Why a record cannot be read, by folder."""

    @classmethod
    def read(cls, files: OutputFiles, present: Collection[str] | Mapping[str, PresentFile]) -> PresentFits:
        """Read the records among an output's files."""
        paths = sorted(path for path in present if path.endswith(f"/{RECORD}") and fit_of_path(path) is not None)
        records, broken = dict[str, FitRecord](), dict[str, str]()
        for path, content in files.read_all(paths):
            folder = path.rpartition("/")[0]
            if isinstance(content, FileNotFoundError):
                continue  # another run replaces the fit
            if isinstance(content, OSError):
                broken[folder] = f"{path} cannot be read: {explained(content)}"
                continue
            try:
                records[folder] = record_from_json(content, path)
            except ManifestError as error:
                broken[folder] = str(error).rstrip(".")
        return cls(records=records, broken=broken)

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        yield from ((folder, []) for folder in self.records)
        yield from ((folder, [reason]) for folder, reason in self.broken.items())

    def files(self, folder: str) -> tuple[StoredFile, ...]:
        """What the record in a folder lists."""
        return self.records[folder].files if folder in self.records else ()

    @property
    def listed(self) -> frozenset[str]:
        """Every file that belongs to a fit."""
        own = {f"{folder}/{RECORD}" for folder, _ in self}
        return frozenset(own.union(file.path for record in self.records.values() for file in record.files))

    def missing(self, manifests: Iterable[WellManifest]) -> tuple[str, ...]:
        """Folders of fits that wells name and of which there is nothing."""
        present = {folder for folder, _ in self}
        named = {folder for manifest in manifests for folder in fits_named(manifest)}
        return tuple(sorted(named - present))


def fits_named(manifest: WellManifest) -> Iterator[str]:
    """Folders of the fits that a well was made with."""
    fits = manifest.provenance.get("fits")
    if isinstance(fits, FrozenMap):
        yield from (fit_folder(name, str(fingerprint)) for name, fingerprint in fits.items())


__all__ = ["PresentFits", "fits_named"]
