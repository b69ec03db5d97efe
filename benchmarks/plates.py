"""Plates of any size for the benchmarks: ImageXpress layout, camera-like pixels, always the same for one shape.

Not the demo's plates: those have known truth, these have only realistic noise, and are written fast.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

ROWS, COLUMNS = 8, 12
NAME = "bench"
DONE = "complete"
"""Written last; a plate without it was interrupted and is written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateShape:
    """How much there is on a plate."""

    wells: int
    sites: int
    channels: int
    z_planes: int
    size: int = 1080
    """Edge of a plane in pixels."""

    @classmethod
    def parse(cls, text: str, size: int) -> PlateShape:
        """Read ``wells x sites x channels x z``, e.g. ``8x4x2x5``."""
        wells, sites, channels, z_planes = (int(part) for part in text.split("x"))
        if not 1 <= wells <= ROWS * COLUMNS:
            raise ValueError(f"{text}: a plate has 1 to {ROWS * COLUMNS} wells.")
        return cls(wells=wells, sites=sites, channels=channels, z_planes=z_planes, size=size)

    @property
    def label(self) -> str:
        """The folder's name."""
        return f"{self.wells}x{self.sites}x{self.channels}x{self.z_planes}-{self.size}"

    @property
    def planes(self) -> int:
        """Files of the plate."""
        return self.wells * self.sites * self.channels * self.z_planes

    @property
    def megabytes(self) -> float:
        """Pixels of the plate, 2 bytes each."""
        return self.planes * self.size**2 * 2 / 1e6

    def well_names(self) -> list[str]:
        """The first wells, row by row."""
        names = (f"{row}{column:02d}" for row in string.ascii_uppercase[:ROWS] for column in range(1, COLUMNS + 1))
        return list(itertools.islice(names, self.wells))


def write_plate(folder: Path, shape: PlateShape) -> Iterator[int]:
    """Write the plate unless it is there already; yields the number of planes written so far."""
    plate, done = folder / NAME, folder / DONE
    if done.exists():
        yield shape.planes
        return
    for z in range(1, shape.z_planes + 1):
        (plate / "TimePoint_1" / f"ZStep_{z}").mkdir(parents=True, exist_ok=True)
    (plate / f"{NAME}.HTD").write_text(_htd(shape), encoding="latin-1")
    random = np.random.default_rng(20_24)
    sites, channels = range(1, shape.sites + 1), range(1, shape.channels + 1)
    fields = itertools.product(shape.well_names(), sites, channels)
    for count, (well, site, channel) in enumerate(fields, start=1):
        for z, plane in enumerate(_camera_planes(random, shape), start=1):
            path = plate / "TimePoint_1" / f"ZStep_{z}" / f"{NAME}_{well}_s{site}_w{channel}.TIF"
            tifffile.imwrite(path, plane)
        yield count * shape.z_planes
    done.touch()


def _camera_planes(random: np.random.Generator, shape: PlateShape) -> Iterator[NDArray[np.uint16]]:
    """One site of one channel: some cells that go in and out of focus, over offset and noise."""
    cells = _cells(random, shape.size)
    for z in range(shape.z_planes):
        focus = 1 / (1 + (z - shape.z_planes // 2) ** 2)
        noise = random.standard_normal((shape.size, shape.size), dtype=np.float32)
        yield np.clip(400 + 20 * noise + 6000 * focus * cells, 0, 65535).astype(np.uint16)


def _cells(random: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Round spots of brightness up to about 1."""
    field = np.zeros((size, size), np.float32)
    radius = min(24, size // 4)
    axis = np.arange(-radius, radius, dtype=np.float32)
    spot = np.exp(-(axis[:, np.newaxis] ** 2 + axis**2) / (radius**2 / 4))
    for top, left in random.integers(0, size - 2 * radius, (80, 2)):
        field[top : top + 2 * radius, left : left + 2 * radius] += spot
    return field


def _htd(shape: PlateShape) -> str:
    """The MetaXpress description of the plate."""
    wells = set(shape.well_names())
    columns = 2 if shape.sites % 2 == 0 else 1
    rows = shape.sites // columns
    lines = [
        '"HTSInfoFile", Version 1.0', '"Description", "benchmark"', '"PlateType", 2', '"TimePoints", 1',
        f'"ZSeries", {_flag(shape.z_planes > 1)}', f'"ZSteps", {shape.z_planes}', '"ZProjection", FALSE',
        f'"XWells", {COLUMNS}', f'"YWells", {ROWS}',
    ]  # fmt: skip
    for number, row in enumerate(string.ascii_uppercase[:ROWS], start=1):
        selected = ", ".join(_flag(f"{row}{column:02d}" in wells) for column in range(1, COLUMNS + 1))
        lines.append(f'"WellsSelection{number}", {selected}')
    lines += ['"Sites", TRUE', f'"XSites", {columns}', f'"YSites", {rows}']
    lines += [f'"SiteSelection{row}", {", ".join(["TRUE"] * columns)}' for row in range(1, rows + 1)]
    lines += ['"Waves", TRUE', f'"NWavelengths", {shape.channels}']
    lines += [f'"WaveName{channel}", "W{channel}"' for channel in range(1, shape.channels + 1)]
    lines += [f'"WaveCollect{channel}", 1' for channel in range(1, shape.channels + 1)]
    return "\n".join([*lines, '"EndFile"', ""])


def _flag(value: bool) -> str:
    return "TRUE" if value else "FALSE"
