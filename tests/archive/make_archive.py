"""Make an archive of what the installed version leaves: a home, its catalogue, an inbox, raw plates and their outputs.

``python -m tests.archive.make_archive ARCHIVE.tar.xz`` is run once with a version, and the archive is kept: later
versions must open it, list it, verify it, report on it, and compute nothing again. The lab lies in ``LAB`` while it is
made.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

import msgspec

LAB: Final = Path("/srv/archived-lab")
"""Where the lab lies while it is made; whoever unpacks the archive writes its own folder over it."""
HERE: Final = Path(__file__).resolve().parent
SECONDS: Final = 1_700_000_000
"""Time of the raw files: whole seconds, which every archive keeps exactly."""
PLATES: Final = {
    "screen_zarr": ("imagexpress", "images", "zarr"),
    "screen_disk": ("imagexpress", "tables", "disk"),
    "screen_tables": ("cellvoyager", "tables", "zarr"),
    "screen_omezarr": ("omezarr", "images", "zarr"),
}
"""Plates of the catalogue: the form of the raw plate, the pipeline, and the form of the output."""


def make_lab() -> None:
    """Write the raw plates, register them, and run each plate's whole graph."""
    LAB.mkdir(parents=True)
    for module in ("archived_lab.py", "archived_helpers.py"):
        shutil.copy(HERE / module, LAB / module)
    for name, (layout, _, _) in PLATES.items():
        _command("openhcs", "synth", f"raw/{name}", "--layout", layout, *_SMALL)
    _command("openhcs", "synth", "inbox/late_plate", "--layout", "imagexpress", *_SMALL)
    for path in sorted((*LAB.glob("raw/**/*"), *LAB.glob("inbox/**/*")), reverse=True):
        os.utime(path, (SECONDS, SECONDS))
    for name, (_, pipeline, backend) in PLATES.items():
        raw = next(path for path in (LAB / "raw" / name, LAB / "raw" / f"{name}.zarr") if path.is_dir())
        options = ("--output", "out", "--backend", backend, "--id", name)
        _command("openhcs-dagster", "add", str(raw), "--pipeline", f"archived_lab:{pipeline}", *options)
        _command("openhcs-dagster", "materialize", name)
    inbox = {
        "folder": str(LAB / "inbox"),
        "pipeline": "archived_lab:images",
        "search_path": [str(LAB)],
        "output": str(LAB / "out"),
        "backend": "disk",
        "workers": 1,
    }
    (LAB / "home" / "inbox.json").write_bytes(msgspec.json.format(msgspec.json.encode(inbox), indent=2))


_SMALL: Final = ("--rows", "1", "--columns", "2", "--sites", "1", "--z", "2", "--size", "32")


def _command(program: str, *arguments: str) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(LAB / "home"), "DAGSTER_DISABLE_TELEMETRY": "1"}
    subprocess.run([Path(sys.executable).with_name(program), *arguments], cwd=LAB, env=environment, check=True)


def pack(archive: Path) -> None:
    """Write the lab as a tar file in which no name of this machine is left."""
    with tarfile.open(archive, "w:xz", preset=9, format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(LAB.rglob("*")):
            if "__pycache__" in path.parts or path.name == ".telemetry" or not (path.is_file() or path.is_dir()):
                continue
            _add(tar, path)


def _add(tar: tarfile.TarFile, path: Path) -> None:
    about = tar.gettarinfo(path, str(path.relative_to(LAB)))
    about.uid = about.gid = 0
    about.uname = about.gname = ""
    about.mtime = int(about.mtime)
    content = path.read_bytes() if path.is_file() else b""
    host = socket.gethostname().encode()
    content = content.replace(host, b"archived-lab".ljust(len(host), b"-")[: len(host)])  # as long: offsets of SQLite
    tar.addfile(about, io.BytesIO(content) if path.is_file() else None)


if __name__ == "__main__":
    make_lab()
    pack(Path(sys.argv[1]))
    shutil.rmtree(LAB)
