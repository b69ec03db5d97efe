"""Compression of real planes: ratio, and megabytes of pixels a second that one thread encodes and decodes.

    python benchmarks/codecs.py [--data ../shared/data] [--planes 6] [--repeat 3] [--json FILE]

Planes of each plate below the folder are cut into the chunks that the engine would write (equal, at most 512 px), and
every codec, level and shuffle encodes the same chunks, in turns, so that a busy minute of the machine hits all of them.
The fastest of the repeats counts. Printed for each plate, and for all plates together with
equal shares (harmonic means: an even plane may shrink a thousandfold); the engine's default is marked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import harmonic_mean
from typing import Any, Final

from numpy.typing import NDArray

from openhcs_engine.errors import OpenHCSError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageIndex, ImagePlane
from openhcs_engine.model.plate import Plate
from openhcs_engine.ngff.options import Compression, ImageOptions
from openhcs_engine.ngff.tiles import PlaneForm
from openhcs_engine.raw.array_plane import read_array_plane
from openhcs_engine.raw.plane import read_plane

CANDIDATES: Final = (
    Compression(codec="none", level=0, shuffle="none"),
    *(Compression(codec="lz4", level=level, shuffle=shuffle) for level in (1, 5) for shuffle in ("byte", "bit")),
    *(
        Compression(codec="zstd", level=level, shuffle=shuffle)
        for level in (1, 3)
        for shuffle in ("none", "byte", "bit")
    ),
    Compression(codec="zlib", level=1, shuffle="byte"),
)
DEFAULT: Final = ImageOptions().compression


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one compression does to the planes of one plate."""

    plate: str
    compression: Compression
    ratio: float
    encode_mb_s: float
    decode_mb_s: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--planes", type=int, default=6, help="planes of each plate")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    speeds = [
        speed
        for name, planes in sorted(read_plates(chosen.data, chosen.planes).items())
        for speed in measure(name, planes, chosen.repeat)
    ]
    if not speeds:
        sys.exit(f"No plate with readable images of 16 bits below {chosen.data}.")
    print_table(speeds)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(speed) for speed in speeds], indent=1))


def read_plates(data: Path, count: int) -> dict[str, list[NDArray[Any]]]:
    """Some planes of every plate below a folder; what is no plate is left out, and said."""
    found = {}
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        try:
            plate, index = detect_microscope(folder).read_plate()
            planes = read_planes(plate, index, count)
        except OpenHCSError as error:
            print(f"{folder.name}: left out ({str(error)[:100]})", file=sys.stderr)
            continue
        if planes:
            found[folder.name] = planes
    return found


def read_planes(plate: Plate, index: ImageIndex, count: int) -> list[NDArray[Any]]:
    """Planes spread over the plate."""
    there = index.present().planes
    step = max(1, len(there) // count)
    return [_read(plate.root, plane) for plane in there[::step][:count]]


def _read(root: str, plane: ImagePlane) -> NDArray[Any]:
    if plane.array_index is None:
        return read_plane(root, str(plane.path))
    return read_array_plane(root, str(plane.path), plane.array_index)


def measure(name: str, planes: Sequence[NDArray[Any]], repeat: int) -> list[Speed]:
    """Every candidate on the planes of one plate."""
    size = sum(plane.nbytes for plane in planes) / 1e6
    encode: dict[Compression, list[float]] = {candidate: [] for candidate in CANDIDATES}
    decode: dict[Compression, list[float]] = {candidate: [] for candidate in CANDIDATES}
    stored = {}
    for _ in range(repeat):
        for candidate in CANDIDATES:
            forms = [_form(plane, candidate) for plane in planes]
            started = time.perf_counter()
            chunks = [form.encode(plane) for form, plane in zip(forms, planes, strict=True)]
            encoded = time.perf_counter()
            for form, parts in zip(forms, chunks, strict=True):
                form.assemble(enumerate(parts))
            decode[candidate].append(time.perf_counter() - encoded)
            encode[candidate].append(encoded - started)
            stored[candidate] = sum(len(part) for parts in chunks for part in parts) / 1e6
    return [
        Speed(
            plate=name,
            compression=candidate,
            ratio=size / stored[candidate],
            encode_mb_s=size / min(encode[candidate]),
            decode_mb_s=size / min(decode[candidate]),
        )
        for candidate in CANDIDATES
    ]


def _form(plane: NDArray[Any], compression: Compression) -> PlaneForm:
    return PlaneForm.of((plane.shape[0], plane.shape[1]), plane.dtype, ImageOptions(compression=compression))


def print_table(speeds: Sequence[Speed]) -> None:
    """A line for each plate and compression, then the means."""
    print(f"{'plate':34}{'compression':16}{'ratio':>7}{'encode':>9}{'decode':>9}  MB/s")
    plates = dict.fromkeys(speed.plate for speed in speeds)
    for plate in plates:
        for speed in (speed for speed in speeds if speed.plate == plate):
            _print_line(plate, speed.compression, [speed])
    for candidate in CANDIDATES:
        _print_line(f"all {len(plates)}, equal shares", candidate, [s for s in speeds if s.compression == candidate])


def _print_line(plate: str, compression: Compression, speeds: Iterable[Speed]) -> None:
    found = list(speeds)
    called = f"{compression.codec}-{compression.level} {compression.shuffle}"
    ratio, encode, decode = (
        harmonic_mean([getattr(speed, figure) for speed in found]) for figure in ("ratio", "encode_mb_s", "decode_mb_s")
    )
    mark = " <- default" if compression == DEFAULT else ""
    print(f"{plate[:33]:34}{called:16}{ratio:7.2f}{encode:9.0f}{decode:9.0f}{mark}")


if __name__ == "__main__":
    main()
