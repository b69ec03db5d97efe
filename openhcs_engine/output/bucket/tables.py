"""The plate's tables of an output in an object store: the wells' are fetched, joined on this host, and sent."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

from openhcs_engine.errors import ManifestError, OutputPlaceError
from openhcs_engine.files.present import find
from openhcs_engine.output.bucket.listing import read_well
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.layout import TABLES, WELLS, manifest_name
from openhcs_engine.output.manifest import WellManifest, manifest_to_json
from openhcs_engine.output.tables.plate import make_plate_tables

_ATTEMPTS: Final = 5
"""Each fails only if another run replaces a well between its manifest and its table."""


def make_bucket_tables(bucket: Bucket, wells: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Make the plate's tables of published wells; the caller holds the plate's mark.

    Returns
    -------
    dict
        For each table, the wells that it is without; see ``plate_tables.make_plate_tables`` for what is raised.
    """
    for _ in range(_ATTEMPTS):
        try:
            return _make(bucket, wells)
        except FileNotFoundError:
            continue
    raise OutputPlaceError(
        f"{bucket.url}: wells were replaced by another run again and again while the plate's tables were made; the "
        "wells are published, and the next run makes the tables.",
        path=bucket.url,
    )


def _make(bucket: Bucket, wells: Collection[str]) -> dict[str, tuple[str, ...]]:
    with tempfile.TemporaryDirectory(prefix="openhcs-tables-") as temporary:
        here = Path(temporary)
        before = _fetch(bucket, wells, here)
        tables = make_plate_tables(here)
        after = _plate_tables(here)
        bucket.put_all({path: content for path, content in after.items() if before.get(path) != content})
        bucket.remove(sorted(before.keys() - after.keys()))
        return {table.name: table.left_out for table in tables}


def _fetch(bucket: Bucket, wells: Collection[str], here: Path) -> dict[str, bytes]:
    """Manifests and tables of the wells as in a folder; returns the plate's tables as they are now."""
    (here / TABLES).mkdir()
    (here / WELLS).mkdir()
    for well in wells:
        manifest = _readable(bucket, well)
        if manifest is None:
            continue
        (here / manifest_name(well)).write_bytes(manifest_to_json(manifest))
        for file in manifest.files:
            if file.path.startswith(f"{TABLES}/"):
                _write(here / file.path, bucket.read(file.path))
    for name in bucket.names(TABLES):
        if name.endswith(".parquet"):
            _write(here / TABLES / name, bucket.read(f"{TABLES}/{name}"))
    return _plate_tables(here)


def _plate_tables(here: Path) -> dict[str, bytes]:
    return {path.relative_to(here).as_posix(): path.read_bytes() for path in find(here / TABLES, "*.parquet")}


def _readable(bucket: Bucket, well: str) -> WellManifest | None:
    """``verify`` names a damaged manifest; its well's rows are in no table."""
    try:
        return read_well(bucket, well)
    except ManifestError:
        return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


__all__ = ["make_bucket_tables"]
