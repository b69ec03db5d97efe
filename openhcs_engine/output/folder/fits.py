"""Fits in a folder: each is made beside its folder and goes in by one rename."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from openhcs_engine.files.atomic import remove_empty_parents, write_new
from openhcs_engine.files.links import refuse_links
from openhcs_engine.files.locks import locked
from openhcs_engine.files.present import find
from openhcs_engine.files.unfinished import is_unfinished, remove, replace_path, unfinished_folder
from openhcs_engine.output.fits.contract import OutputFits
from openhcs_engine.output.fits.record import RECORD, FitRecord, fit_folder, record_to_json
from openhcs_engine.output.folder.fsync import flush_names, flush_tree
from openhcs_engine.output.layout import FITS
from openhcs_engine.output.preflight import output_errors


@dataclass(frozen=True)
class FolderFits(OutputFits):
    """``<output>/<plate_id>/fits/``."""

    folder: Path
    """The output."""
    fsync: bool = False
    """True: a fit is on the disk before it counts as published."""

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of the folder of a name; it ends with this process."""
        with output_errors(self.folder, f"fitting {name}"):
            refuse_links(self.folder, [f"{FITS}/{name}"])
            (self.folder / FITS / name).mkdir(parents=True, exist_ok=True)
        with locked(self.folder / FITS / name):
            yield

    def publish(self, record: FitRecord, contents: Mapping[str, bytes]) -> FitRecord:
        """Put a fit in place of what was there; see OutputFits."""
        target = self.folder / record.folder
        with output_errors(self.folder, f"publishing the fit {record.name}"):
            refuse_links(self.folder, [record.folder])
            with unfinished_folder(target) as made:
                files = [write_new(made, name, content) for name, content in contents.items()]
                record = replace(
                    record, files=tuple(replace(file, path=f"{record.folder}/{file.path}") for file in files)
                )
                write_new(made, RECORD, record_to_json(record))
                if self.fsync:
                    flush_tree(made)
                replace_path(made, target)
                if self.fsync:
                    flush_names([target], self.folder)
        return record

    def fingerprints(self, name: str) -> tuple[str, ...]:
        """Of all fits of a name; those that are being written have none."""
        return tuple(path.name for path in find(self.folder / FITS / name, "*") if not is_unfinished(path.name))

    def read(self, path: str) -> bytes:
        """Content of a file."""
        return (self.folder / path).read_bytes()

    def size(self, path: str) -> int | None:
        """Bytes of a file."""
        try:
            return (self.folder / path).stat().st_size
        except OSError:
            return None

    def drop(self, name: str, fingerprint: str) -> None:
        """Remove a fit: it vanishes whole."""
        folder = self.folder / fit_folder(name, fingerprint)
        with output_errors(self.folder, f"dropping the fit {name}"):
            refuse_links(self.folder, [fit_folder(name, fingerprint)])
            if folder.exists():
                with unfinished_folder(folder) as removed:
                    replace_path(folder, removed)
            remove(folder)
            remove_empty_parents(folder, self.folder)


__all__ = ["FolderFits"]
