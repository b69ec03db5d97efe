"""Fits in an object store: files under names that nobody else uses, then ``fit.json``, one request, names them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from openhcs_engine.output.bucket.object_names import stored
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.bucket.write_lock import PATIENCE_S
from openhcs_engine.output.fits.contract import OutputFits
from openhcs_engine.output.fits.record import RECORD, FitRecord, fit_folder, fit_of_path, record_path, record_to_json
from openhcs_engine.output.layout import FITS


@dataclass(frozen=True)
class BucketFits(OutputFits):
    """``<url>/fits/``."""

    bucket: Bucket

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Nothing: of two that fit at once both are whole, and the first one's is kept."""
        yield

    def publish(self, record: FitRecord, contents: Mapping[str, bytes]) -> FitRecord:
        """Put a fit, unless another run was faster; see OutputFits."""
        token = f"v{secrets.token_hex(5)}f"
        named = {f"{record.folder}/{token}.{name}": content for name, content in contents.items()}
        values = {name: f"{record.folder}/{token}.{name.rpartition('/')[2]}" for name in self._paths(record)}
        record = replace(
            record,
            files=tuple(stored(path, content) for path, content in named.items()),
            picture=values.get(record.picture, ""),
            parts=tuple(
                replace(part, values=tuple(replace(value, path=values.get(value.path, "")) for value in part.values))
                for part in record.parts
            ),
        )
        self.bucket.put_all(named)
        if (first := self.find(record.name, record.fingerprint)) is not None:
            self.bucket.remove(list(named))
            return first
        self.bucket.put(record_path(record.name, record.fingerprint), record_to_json(record))
        return record

    def fingerprints(self, name: str) -> tuple[str, ...]:
        """Of all fits of a name."""
        return tuple(self.bucket.names(f"{FITS}/{name}"))

    def read(self, path: str) -> bytes:
        """Content of an object."""
        return self.bucket.read(path)

    def size(self, path: str) -> int | None:
        """Bytes of an object."""
        folder, _, _ = path.rpartition("/")
        about = self.bucket.objects(folder).get(path)
        return None if about is None else about.size

    def drop(self, name: str, fingerprint: str) -> None:
        """Remove a fit, its record first."""
        self.bucket.remove([record_path(name, fingerprint)])
        self.bucket.remove(list(self.bucket.objects(fit_folder(name, fingerprint))))

    def sweep(self) -> None:
        """Remove what no record lists and nobody is putting now, as a killed run or the slower of two left it."""
        objects = self.bucket.objects(FITS)
        folders = {path.rpartition("/")[0] for path in objects}
        listed = set[str]()
        for folder in folders:
            if (fit := fit_of_path(f"{folder}/{RECORD}")) is not None and (record := self.find(*fit)) is not None:
                listed |= {f"{folder}/{RECORD}", *(file.path for file in record.files)}
        left = (path for path in objects.keys() - listed if not path.endswith(f"/{RECORD}"))
        old = [path for path in left if (time.time_ns() - objects[path].changed_ns) / 1e9 > PATIENCE_S]
        self.bucket.remove(old)

    @staticmethod
    def _paths(record: FitRecord) -> list[str]:
        values = [value.path for part in record.parts for value in part.values if value.path]
        return [*values, *([record.picture] if record.picture else [])]


__all__ = ["BucketFits"]
