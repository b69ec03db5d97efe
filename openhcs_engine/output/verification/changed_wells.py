"""Which wells must be read to know that they are whole, and which were read since they last changed.

Reading a plate again after each of its runs may cost more than the run. A well whose files are the very ones that were
read before is known by their sizes and times; what changes neither, as a failing disk may, is found by a check by hand.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from openhcs_engine.errors import ManifestError
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.files.links import refuse_links
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.layout import REPORT, manifest_path
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.output.verification.verify import VerifyReport, verify

Stamps = dict[str, int]
"""By well, a number that changes with the times of its files."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found, and how closely it was looked for."""

    report: VerifyReport
    read: tuple[str, ...]
    """Wells whose every file was read and compared with its checksum; of the others sizes and times."""

    @property
    def description(self) -> str:
        """How closely, as a phrase."""
        rest = len(self.report.expected) - len(self.report.missing) - len(self.read)
        if rest <= 0:
            return "every file was read"
        return f"{len(self.read)} wells were read; {rest} that were read before have the same sizes and times"


def inspect(folder: Path, *, thoroughly: bool) -> Inspection:
    """Verify a plate's output, and remember which wells were found whole.

    Parameters
    ----------
    folder
        ``<output>/<plate_id>``.
    thoroughly
        Read every well; else only those that were published or changed since they were last read.

    Raises
    ------
    NotAnOutputError
        If the folder was not written by the engine.
    """
    refuse_links(folder.parent, [f"{folder.name}/{REPORT}/verified.json"])
    memory = folder / REPORT / "verified.json"
    now = _stamps(folder)  # before anything is read, so that what changes meanwhile is read the next time
    known = {} if thoroughly else _remembered(memory)
    read = {well for well, stamp in now.items() if stamp != known.get(well)}
    report = verify(folder, checksums=thoroughly or read)
    with suppress(OSError):  # a full disk: all is read again
        write_whole(memory, msgspec.json.encode({well: now[well] for well in report.whole if well in now}))
    return Inspection(report, tuple(well for well in report.expected if well in read))


def _stamps(folder: Path) -> Stamps:
    """Of all published wells; those with a damaged manifest or without a file have none."""
    stamps = {}
    for well in PlateFolder(folder, "zarr").wells():
        with suppress(ManifestError, OSError):
            stamps[well] = _stamp(folder, well)
    return stamps


def _stamp(folder: Path, well: str) -> int:
    import google_crc32c

    manifest = read_manifest(manifest_path(folder, well))
    files = [folder / file.path for file in manifest.files] if manifest is not None else []
    # The inode's own time: any program may set the other one as it likes.
    times = [path.stat().st_ctime_ns for path in (manifest_path(folder, well), *files)]
    return int(google_crc32c.value(msgspec.json.encode(times)))


def _remembered(memory: Path) -> Stamps:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=Stamps)
    except (OSError, msgspec.MsgspecError):
        return {}


__all__ = ["Inspection", "inspect"]
