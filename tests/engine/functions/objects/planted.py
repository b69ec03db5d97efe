"""Images of planted ellipses, and how far a segmentation agrees with what was planted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.uint16]
Numbers = NDArray[Any]
BACKGROUND = 200


@dataclass(frozen=True, slots=True)
class Planted:
    """An image and its truth."""

    image: Image
    labels: NDArray[np.int32]
    """``(y, x)``: numbers of the objects from 1; of a pair, the numbers are neighbours."""

    def split_pairs(self, found: Numbers) -> float:
        """Share of pairs whose halves lie mostly in two different objects."""
        halves = [_mostly(found[self.labels == number]) for number in range(1, int(self.labels.max()) + 1)]
        pairs = list(zip(halves[::2], halves[1::2], strict=True))
        return sum(one != other and 0 not in (one, other) for one, other in pairs) / len(pairs)

    def cut(self, found: Numbers) -> float:
        """Share of objects of which two found ones hold a twentieth or more each."""
        count, several = int(self.labels.max()), 0
        for number in range(1, count + 1):
            inside = np.bincount(found[self.labels == number])[1:]
            several += int((inside >= max(3, 0.05 * inside.sum())).sum() > 1)
        return several / count


def ellipses(
    diameter: float,
    *,
    distance: float | None = None,
    axes: float = 1.3,
    count: int = 64,
    seed: int = 1,
    noise: float = 20,
) -> Planted:
    """Ellipses on a grid that do not reach the border; with ``distance``, pairs, so many mean radii apart.

    Radii vary by 15 %, ratios of axes between 1 and ``axes``, brightness from 600 to 1400 above the background; all is
    blurred a little, with noise.
    """
    random = np.random.default_rng(seed)
    cell = int(np.ceil((2.4 if distance is None else 4.2) * diameter + 6))
    side = int(np.ceil(np.sqrt(count)))
    labels, light = np.zeros((side * cell,) * 2, np.int32), np.zeros((side * cell,) * 2, np.float32)
    for position in range(count):
        corner = np.array(divmod(position, side)) * cell
        radii = random.uniform(0.85, 1.15, 1 if distance is None else 2) * diameter / 2
        apart = 0.0 if distance is None else distance * radii.mean()
        angle, middle = random.uniform(0, 2 * np.pi), corner + cell / 2 + random.uniform(-0.5, 0.5, 2)
        for sign, radius in zip((-1, 1), radii, strict=False):
            centre = middle + sign * apart / 2 * np.array([np.sin(angle), np.cos(angle)])
            _plant(labels, light, centre, radius, random.uniform(1, axes), random)
    blurred = ndimage.gaussian_filter(light, 0.5 + 0.03 * diameter)
    return Planted(camera(blurred + BACKGROUND, noise, random), labels)


def camera(light: Numbers, noise: float, random: np.random.Generator) -> Image:
    """An image as a camera gives it."""
    return np.clip(np.rint(light + random.normal(0, noise, light.shape)), 0, 65535).astype(np.uint16)


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    """True inside."""
    y, x = np.indices(shape)
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2)


def dice(one: Numbers, other: Numbers) -> float:
    """Overlap of two foregrounds, from 0 to 1."""
    a, b = one > 0, other > 0
    return float(2 * np.sum(a & b) / (a.sum() + b.sum()))


def _plant(
    labels: NDArray[np.int32],
    light: NDArray[np.float32],
    centre: NDArray[np.float64],
    radius: float,
    ratio: float,
    random: np.random.Generator,
) -> None:
    reach = int(np.ceil(radius * np.sqrt(ratio))) + 1
    box = tuple(slice(max(0, int(at) - reach), int(at) + reach + 2) for at in centre)
    y, x = np.mgrid[box]
    turn, number = random.uniform(0, np.pi), int(labels.max()) + 1
    along = (y - centre[0]) * np.cos(turn) + (x - centre[1]) * np.sin(turn)
    across = (x - centre[1]) * np.cos(turn) - (y - centre[0]) * np.sin(turn)
    inside = (along / np.sqrt(ratio)) ** 2 + (across * np.sqrt(ratio)) ** 2 <= radius**2
    labels[box][inside & (labels[box] == 0)] = number
    light[box][inside] = np.maximum(light[box][inside], random.uniform(600, 1400))


def _mostly(numbers: Numbers) -> int:
    counts = np.bincount(numbers[numbers > 0], minlength=1)
    return int(counts.argmax()) if counts.any() else 0
