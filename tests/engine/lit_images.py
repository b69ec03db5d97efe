"""Images of cells under a light whose field is known, and that no polynomial fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_STAMP = 24
"""Half the edge of a cell's patch in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """What the images are made of."""

    images: int = 48
    shape: tuple[int, int] = (128, 128)
    covered: float = 0.07
    """Share of the pixels that lie in cells, on average; from 0.6 to 1.4 of it in one image."""
    offset: float = 150.0
    background: float = 500.0
    """Counts above the offset, on average."""
    variation: float = 0.15
    """Standard deviation of the images' backgrounds over their mean."""
    even: bool = False
    """True: the field is 1 everywhere."""
    seed: int = 1

    @property
    def field(self) -> Floats:
        """``(y, x)``, mean 1: a slope, a vignette and the shadow of a ring of dust."""
        height, width = self.shape
        if self.even:
            return np.ones(self.shape, np.float32)
        y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
        field = (1 + 0.08 * x - 0.05 * y) / (1 + 0.3 * ((x - 0.1) ** 2 + (y + 0.15) ** 2)) ** 2
        distance = np.hypot((y - 0.3) * height / 2, (x + 0.25) * width / 2)
        field *= 1 - 0.05 * np.exp(-0.5 * ((distance - height / 12) / (height / 120)) ** 2)
        return (field / field.mean()).astype(np.float32)

    def __iter__(self) -> Iterator[NDArray[np.uint16]]:
        """One image after the other, the same each time."""
        generator, field = np.random.default_rng(self.seed), self.field
        for _ in range(self.images):
            level = self.background * np.exp(generator.normal(0, self.variation))
            light = field * (level + self.background * self.cells(generator))
            noise = np.sqrt(light / 2 + 25) * generator.standard_normal(self.shape, dtype=np.float32)
            yield np.clip(np.rint(self.offset + light + noise), 0, 65535).astype(np.uint16)

    def cells(self, generator: np.random.Generator) -> Floats:
        """Light of one image's cells, in units of the background: ellipses with soft rims, some over others."""
        height, width = self.shape
        margin = _STAMP
        plane = np.zeros((height + 2 * margin, width + 2 * margin), np.float32)
        covered = np.zeros(plane.shape, np.bool_)
        inner = (slice(margin, margin + height), slice(margin, margin + width))
        wanted = self.covered * generator.uniform(0.6, 1.4)
        rows, columns = np.ogrid[-margin : margin + 1, -margin : margin + 1]
        while self.covered and np.count_nonzero(covered[inner]) < wanted * height * width:
            for _ in range(max(1, height * width // 20000)):
                radius, angle, longer = generator.uniform(7, 14), generator.uniform(0, np.pi), generator.uniform(1, 1.6)
                top, left = (int(generator.integers(0, size)) for size in (height, width))
                along, across = (
                    np.cos(angle) * columns + np.sin(angle) * rows,
                    np.cos(angle) * rows - np.sin(angle) * columns,
                )
                distance = np.hypot(along / longer, across * longer) / radius
                patch = (slice(top, top + 2 * margin + 1), slice(left, left + 2 * margin + 1))
                plane[patch] += np.exp(generator.uniform(0, 1.8)) / (1 + np.exp((distance - 1) * radius / 1.2))
                covered[patch] |= distance < 1
        return plane[inner]


def rms_percent(field: Floats, truth: Floats) -> float:
    """RMS error of a field relative to the true one, in percent."""
    return float(100 * np.sqrt(np.square(field / truth - 1).mean()))
