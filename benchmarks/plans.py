"""Compiling a large plate, and the plan document it leaves: CPU, memory, bytes on disk, seconds to write and read it.

    python benchmarks/plans.py [--wells 32x48] [--repeat 3] [--names template guid ...] [--no-files] [--json FILE]

1,536 wells x 36 planes (9 sites, 2 channels, 2 z) x 10 steps, in a process of its own for each measurement. The files
exist, are empty or sparse, and each has a time of its own, as an instrument leaves them; the compiler asks each for
size and time, on a warm file cache (``--no-files`` leaves that out). Peak memory is the process's, all imports and the
plate's index included.

What is compared are the names, for they decide about the document's size:

- *template*: ``TimePoint_1/ZStep_1/bench_A01_s1_w1.tif``, all files of one size;
- *sizes*: the same names, each file of another size, as compressed ones are;
- *guid*: ``TimePoint_1/ZStep_1/A01_s1_w1<GUID>.tif``, as ImageXpress' database writes them, sizes differ;
- *bare*: nothing but a GUID, sizes differ.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.functions import denoise_images
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.model.plate import Channel, Plate
from openhcs_engine.model.wells import well_name
from openhcs_engine.plan.context import OutputPlan
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json, packed

SITES, CHANNELS, Z_PLANES, STEPS = 9, 2, 2, 10
PLANES_PER_WELL = SITES * CHANNELS * Z_PLANES
FILE_BYTES = 9_338_880
"""A plane of 2160 x 2160 pixels of 16 bits, with its header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One plate, compiled in one process."""

    names: str
    planes: int
    compile_cpu_s: float
    peak_mb: float
    """Of the process when the plate was compiled."""
    document_bytes: int
    encode_cpu_s: float
    """Fingerprints and compression included."""
    decode_cpu_s: float
    """All checks included."""
    one_well_bytes: float
    """Mean of what a worker is sent for a well."""
    one_well_cpu_s: float
    """To write the documents of all wells one by one."""

    @property
    def bytes_a_plane(self) -> float:
        """All of the document, steps and wells included."""
        return self.document_bytes / self.planes


Name = Callable[[ImageKey, str], str]
NAMES: dict[str, Name] = {
    "template": lambda key, _: f"TimePoint_1/ZStep_{key.z_index}/bench_{key.well}_s{key.site}_w{key.channel}.tif",
    "sizes": lambda key, _: f"TimePoint_1/ZStep_{key.z_index}/bench_{key.well}_s{key.site}_w{key.channel}.tif",
    "guid": lambda key, guid: f"TimePoint_1/ZStep_{key.z_index}/{key.well}_s{key.site}_w{key.channel}{guid}.tif",
    "bare": lambda _, guid: f"TimePoint_1/{guid}.tif",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each kind of names in processes of its own, print."""
    options = _parse(arguments)
    if options.one:
        with tempfile.TemporaryDirectory(prefix="openhcs-benchmark-") as folder:
            print(json.dumps(asdict(measure(options.one, options.wells, Path(folder) if options.files else None))))
        return 0
    given = ["--wells", "x".join(map(str, options.wells)), "--files" if options.files else "--no-files"]
    runs = [median([_in_own_process(names, given) for _ in range(options.repeat)]) for names in options.names]
    (Console() if sys.stdout.isatty() else Console(width=120)).print(_table(runs))
    if options.json:
        options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of compiling a large plate, and of its plan document.")
    parser.add_argument("--names", nargs="+", choices=tuple(NAMES), default=list(NAMES))
    parser.add_argument("--wells", type=_rows_and_columns, default=(32, 48), help="rows x columns, e.g. 16x24")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--files", action=argparse.BooleanOptionalAction, default=True, help="make the plate's files")
    parser.add_argument("--json", type=Path, help="write the medians to this file")
    parser.add_argument("--one", choices=tuple(NAMES), help=argparse.SUPPRESS)  # what a process of its own is told
    return parser.parse_args(arguments)


def _rows_and_columns(text: str) -> tuple[int, int]:
    rows, columns = text.split("x")
    return int(rows), int(columns)


def _in_own_process(names: str, given: Sequence[str]) -> Measured:
    command = [sys.executable, __file__, "--one", names, *given]
    return Measured(**json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def median(runs: Sequence[Measured]) -> Measured:
    """The median of each number."""
    numbers = (field.name for field in fields(Measured) if field.name != "names")
    values = {name: statistics.median(getattr(run, name) for run in runs) for name in numbers}
    return Measured(names=runs[0].names, **values)


def measure(names: str, wells: tuple[int, int], folder: Path | None) -> Measured:
    """Compile a plate and write its document, in this process; without a folder, no file exists and none is asked."""
    plate, index = make_plate(names, wells, folder)
    start = time.process_time()
    contexts = compile_plate(plate, index, pipeline(), output=output_plan()).contexts
    compiled = time.process_time()
    peak = _peak_mb()
    encoding = time.process_time()
    document = packed(contexts_to_json(contexts))
    encoded = time.process_time()
    again = contexts_from_json(document)
    decoded = time.process_time()
    assert again == contexts, "what was read back differs"
    alone = time.process_time()
    of_wells = sum(len(contexts_to_json({well: context})) for well, context in contexts.items())
    return Measured(
        names=names,
        planes=len(index),
        compile_cpu_s=compiled - start,
        peak_mb=peak,
        document_bytes=len(document),
        encode_cpu_s=encoded - encoding,
        decode_cpu_s=decoded - encoded,
        one_well_bytes=of_wells / len(contexts),
        one_well_cpu_s=time.process_time() - alone,
    )


def make_plate(names: str, wells: tuple[int, int], folder: Path | None) -> tuple[Plate, ImageIndex]:
    """The plate as a microscope's handler gives it; its files are made in ``folder``, if one is given."""
    planes = list(_planes(names, [well_name(row, column) for row in range(wells[0]) for column in range(wells[1])]))
    if folder is not None:
        for plane in planes:
            _make_file(folder / str(plane.path), *plane.stamp)
        planes = [plane.replace(size=None, mtime_ns=None) for plane in planes]
    plate = Plate(
        plate_id="bench",
        name="bench",
        microscope="imagexpress",
        root=str(folder or "/raw/bench"),
        wells=tuple(dict.fromkeys(plane.key.well for plane in planes)),
        sites=tuple(range(1, SITES + 1)),
        channels=tuple(Channel(index=c, name=f"W{c}", shape=(2160, 2160), dtype="uint16") for c in (1, 2)),
        z_indexes=tuple(range(1, Z_PLANES + 1)),
        timepoints=(1,),
        rows=wells[0],
        columns=wells[1],
        shape=(2160, 2160),
        dtype="uint16",
    )
    return plate, ImageIndex.of(planes)


def _planes(names: str, wells: Sequence[str]) -> Iterator[ImagePlane]:
    chance, now = random.Random(36), 1_700_000_000_000_000_000
    for well in wells:
        for site in range(1, SITES + 1):
            for channel in range(1, CHANNELS + 1):
                for z_index in range(1, Z_PLANES + 1):
                    now += chance.randrange(200_000_000, 1_200_000_000)  # a plane in 0.2 to 1.2 s
                    key = ImageKey(well, site, channel, z_index, 1)
                    guid = str(uuid.UUID(int=chance.getrandbits(128))).upper()
                    size = FILE_BYTES - (0 if names == "template" else chance.randrange(2_000_000))
                    yield ImagePlane(key=key, path=NAMES[names](key, guid), size=size, mtime_ns=now)


def _make_file(path: Path, size: int, mtime_ns: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)  # sparse: no block is written
    os.utime(path, ns=(mtime_ns, mtime_ns))


def pipeline() -> Pipeline:
    """Ten steps with parameters of their own."""
    along = [VariableComponents.Z_INDEX]
    return Pipeline(
        [
            FunctionStep((denoise_images, {"method": "gaussian", "sigma": sigma / 2}), variable_components=along)
            for sigma in range(1, STEPS + 1)
        ]
    )


def output_plan() -> OutputPlan:
    """Where results would go."""
    return OutputPlan(root="/results", plate_id="bench", backend="zarr")


def _peak_mb() -> float:
    """Highest resident memory of this process. Not by getrusage, which also counts the parent it was started from."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status does not tell the peak memory; this benchmark runs on Linux.")


def _table(runs: Sequence[Measured]) -> Table:
    planes = runs[0].planes
    table = Table(
        title=f"{planes // PLANES_PER_WELL:,} wells x {PLANES_PER_WELL} planes x {STEPS} steps; CPU seconds, medians",
        caption="write: with fingerprints and compression; read: with all checks; a well: what a worker is sent",
    )
    headings = (
        "names",
        "compile s",
        "peak MB",
        "document kB",
        "bytes/plane",
        "write s",
        "read s",
        "a well B",
        "all wells s",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "names" else "right", no_wrap=True)
    for run in runs:
        table.add_row(
            run.names,
            f"{run.compile_cpu_s:.2f}",
            f"{run.peak_mb:.0f}",
            f"{run.document_bytes / 1000:,.0f}",
            f"{run.bytes_a_plane:.1f}",
            f"{run.encode_cpu_s:.2f}",
            f"{run.decode_cpu_s:.2f}",
            f"{run.one_well_bytes:,.0f}",
            f"{run.one_well_cpu_s:.2f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
