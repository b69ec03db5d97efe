"""Where the objects of a scene lie, and what they are like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.model.wells import row_and_column
from openhcs_engine.synthetic.plate import POSITIVE, SyntheticPlate
from openhcs_engine.synthetic.scene import BODY, RADIUS_RANGE, SyntheticScene

PEAK: Final = 4000.0
"""Counts of an ordinary object above the background, in focus."""
RATIOS: Final = {True: (1.6, 2.4), False: (0.5, 0.9)}
"""Mean nuclear over mean cytoplasmic brightness of a cell's second channel: in positive controls, and elsewhere."""
_SPARE: Final = 1.3
"""Areas for each group, where there is room for so many."""
_SPOTS: Final = (3, 9)
"""Spots of a cell: from, and below."""
_SPOT_RING: Final = (1.2, 1.45)
"""Where spots lie, in the nucleus' size: outside it, inside the body."""
_SPOT_DISTANCE: Final = 5.0
"""Least distance of two spots of a cell, in pixels."""
_SPOT_TRIES: Final = 60

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipse:
    """A nucleus' outline: all points where ``radius_at`` is 1 or less."""

    y: float
    """Centre, in pixels from the middle of the scene's first pixel."""
    x: float
    semi_major: float
    semi_minor: float
    angle: float
    """Of the major axis, from the x axis towards y, in radians."""

    @property
    def mean_radius(self) -> float:
        """Radius of the circle of the same area."""
        return math.sqrt(self.semi_major * self.semi_minor)

    def radius_at(self, y: Floats, x: Floats) -> Floats:
        """Distance from the centre in the nucleus' own size."""
        down, across = y - self.y, x - self.x
        along = across * math.cos(self.angle) + down * math.sin(self.angle)
        aside = down * math.cos(self.angle) - across * math.sin(self.angle)
        radius: Floats = np.hypot(along / self.semi_major, aside / self.semi_minor)
        return radius


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A bright point in a cell's cytoplasm."""

    y: float
    x: float
    peak: float
    """Counts above what lies below it, in focus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedObject:
    """One nucleus, and what belongs to it."""

    number: int
    """In its scene, from 1; a label image has it."""
    group: int
    """Objects that touch one another have the same."""
    outline: Ellipse
    z_index: float
    """Plane in which it is in focus, counted from 1."""
    peaks: tuple[float, ...]
    """Counts above the background in focus, one a channel: of the nucleus, or of the body where the channel has one."""
    ratio: float | None
    """Brightness of the nucleus in the second channel, in the body's; None without cells."""
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Which pixels of a scene a site shows."""

    height: float
    """Of the scene, in pixels."""
    width: float
    top: float
    """Of the site's first pixel in the scene."""
    left: float
    nominal_top: float
    """Where the stage says that it is."""
    nominal_left: float


def frame(spec: SyntheticPlate, scene: SyntheticScene, well: str, site: int) -> Frame:
    """Where a site lies in its scene, and where the stage says that it does."""
    height, width = spec.shape
    if scene.overlap is None:
        return Frame(height=height, width=width, top=0, left=0, nominal_top=0, nominal_left=0)
    rows, columns = spec.site_grid
    row, column = divmod(site - 1, columns)
    down, across = height * (1 - scene.overlap), width * (1 - scene.overlap)
    margin = scene.jitter_px
    off_y, off_x = _generator(spec, 3, well, site).uniform(-margin, margin, 2)
    return Frame(
        height=(rows - 1) * down + height + 2 * margin,
        width=(columns - 1) * across + width + 2 * margin,
        top=margin + row * down + off_y,
        left=margin + column * across + off_x,
        nominal_top=margin + row * down,
        nominal_left=margin + column * across,
    )


def plant(spec: SyntheticPlate, scene: SyntheticScene, well: str, site: int) -> tuple[PlantedObject, ...]:
    """Objects of the scene that a site shows; only those of one group touch, and none lies at the scene's border.

    There are as many as the spec asks for, or as fit: the number of areas that an object, or a pair, has to itself.
    """
    size = frame(spec, scene, well, site)
    generator = _generator(spec, 4, well, site if scene.overlap is None else 0)
    is_positive = spec.role(well) == POSITIVE
    asked = max(1, round(spec.objects_per_megapixel * size.height * size.width / 1e6)) * (2 if is_positive else 1)
    each = 1 if scene.touching is None else 2
    # Areas as large as the number of groups allows, with some that stay empty: no lattice that stitching could follow.
    edge = max(scene.area_edge_px, math.sqrt(size.height * size.width / (_SPARE * math.ceil(asked / each))))
    rows, columns = int(size.height // edge), int(size.width // edge)
    if rows * columns < math.ceil(asked / each):
        rows, columns = int(size.height // scene.area_edge_px), int(size.width // scene.area_edge_px)
    area = np.array([size.height / rows, size.width / columns])
    slack = (area - scene.area_edge_px) / 2 + scene.slack_px
    groups = min(math.ceil(asked / each), rows * columns)
    planted: list[PlantedObject] = []
    for group, index in enumerate(generator.permutation(rows * columns)[:groups].tolist(), 1):
        middle = (np.array(divmod(index, columns)) + 0.5) * area - 0.5 + generator.uniform(-slack, slack)
        outlines = _outlines(generator, scene, middle, min(each, asked - len(planted)))
        for outline in outlines:
            others = [other for other in outlines if other is not outline]
            planted.append(_object(generator, spec, scene, outline, others, len(planted) + 1, group, is_positive))
    return tuple(planted)


def _outlines(generator: np.random.Generator, scene: SyntheticScene, middle: Floats, count: int) -> list[Ellipse]:
    """One nucleus in the middle, or two that touch there."""
    radii = scene.radius_px * generator.uniform(*RADIUS_RANGE, count)
    stretches = np.sqrt(generator.uniform(1, scene.largest_axis_ratio, count))
    angles = generator.uniform(0, math.pi, count)
    centres = middle[None]
    if count == 2:
        distance, direction = (scene.touching or 0) * radii.mean(), generator.uniform(0, 2 * math.pi)
        half = distance / 2 * np.array([math.sin(direction), math.cos(direction)])
        centres = np.stack([middle - half, middle + half])
    return [
        Ellipse(
            y=float(y), x=float(x), semi_major=float(radius * stretch), semi_minor=float(radius / stretch), angle=angle
        )
        for (y, x), radius, stretch, angle in zip(centres, radii, stretches, angles.tolist(), strict=True)
    ]


def _object(
    generator: np.random.Generator,
    spec: SyntheticPlate,
    scene: SyntheticScene,
    outline: Ellipse,
    others: list[Ellipse],
    number: int,
    group: int,
    is_positive: bool,
) -> PlantedObject:
    middle = (spec.z + 1) / 2
    peaks = PEAK * generator.uniform(0.8, 1.2, len(spec.channels))
    peaks[1:] *= 3.0 if is_positive else 1.0
    z_index = float(np.clip(middle + generator.uniform(-0.5, 0.5), 1, spec.z))
    ratio = round(float(generator.uniform(*RATIOS[is_positive])), 3) if scene.cells else None
    spots = _spots(generator, outline, others, peaks[-1]) if scene.cells else ()
    return PlantedObject(
        number=number,
        group=group,
        outline=outline,
        z_index=z_index,
        peaks=tuple(peaks.round(1).tolist()),
        ratio=ratio,
        spots=spots,
    )


def _spots(generator: np.random.Generator, nucleus: Ellipse, others: list[Ellipse], peak: float) -> tuple[Spot, ...]:
    """Spots in the cytoplasm, apart from one another and from neighbours; as many of some tries as fit."""
    wanted = int(generator.integers(*_SPOTS))
    chosen: list[Spot] = []
    for turn, radius, height in zip(
        generator.uniform(0, 2 * math.pi, _SPOT_TRIES),
        generator.uniform(*_SPOT_RING, _SPOT_TRIES),
        generator.uniform(0.8, 1.2, _SPOT_TRIES),
        strict=True,
    ):
        along = radius * nucleus.semi_major * math.cos(turn)
        aside = radius * nucleus.semi_minor * math.sin(turn)
        y = nucleus.y + along * math.sin(nucleus.angle) + aside * math.cos(nucleus.angle)
        x = nucleus.x + along * math.cos(nucleus.angle) - aside * math.sin(nucleus.angle)
        is_free = all(math.hypot(y - spot.y, x - spot.x) >= _SPOT_DISTANCE for spot in chosen)
        is_own = all(other.radius_at(np.array(y), np.array(x)) > BODY for other in others)
        if is_free and is_own:
            chosen.append(Spot(y=y, x=x, peak=round(float(1.5 * peak * height), 1)))
        if len(chosen) == wanted:
            break
    return tuple(chosen)


def _generator(spec: SyntheticPlate, purpose: int, well: str, site: int) -> np.random.Generator:
    """Random numbers that depend on nothing that was made before."""
    return np.random.default_rng([spec.seed, purpose, *row_and_column(well), site])
