"""The pixels and the truth of synthetic plates, whatever their layout."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import row_and_column, well_name
from openhcs_engine.synthetic.drawing import draw
from openhcs_engine.synthetic.plate import CELL, POSITIVE, SyntheticPlate

_BACKGROUND, _READ_NOISE, _PEAK = 200.0, 6.0, 4000.0
"""Counts of a 16-bit camera: offset, standard deviation, peak of an ordinary object."""
_SIGMA, _REACH = 3.0, 10
"""Radius of an object (standard deviation) and where it ends, in pixels."""
_JITTER = 3.0
"""Pixels by which an object may lie off the middle of its area; with _REACH it stays inside (28 / 2 - 3 > 10)."""
_FOCUS_DEPTH = 1.5
"""z steps after which an object has lost 20 % of its peak."""

Plane = NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticObject:
    """One planted object: a Gaussian spot, or the nucleus of a scene."""

    y: float
    """Centre, in pixels from the middle of the top left pixel."""
    x: float
    z_index: float
    """Plane in which it is in focus, counted from 1."""
    intensities: tuple[float, ...]
    """Peak above the background in focus, in counts, one a channel."""


class SyntheticImages:
    """The pixels and the truth of a spec, plane by plane."""

    def __init__(self, spec: SyntheticPlate) -> None:
        self.spec = spec
        self._last_site: tuple[tuple[str, int], _Spots] | None = None

    @cached_property
    def _noise(self) -> Plane:
        """Background with camera noise, taller and wider than a plane; each plane takes its own window of it.

        Drawing fresh noise for each plane would take most of the time of writing a plate.
        """
        generator = np.random.default_rng([self.spec.seed, 0])
        height, width = (edge + 256 for edge in self.spec.shape)
        noise = generator.standard_normal((height, width), dtype=np.float32) * _READ_NOISE + _BACKGROUND
        return noise.round().astype(np.uint16)

    def objects(self, well: str, site: int) -> tuple[SyntheticObject, ...]:
        """Objects of one site; of spots, none touches another or the border. Those of a scene are its nuclei."""
        spec = self.spec
        if spec.scene is not None:
            return tuple(
                SyntheticObject(y=seen.y, x=seen.x, z_index=seen.planted.z_index, intensities=seen.planted.peaks)
                for seen in draw(spec, well, site).nuclei_seen()
            )
        row, column = row_and_column(well)
        generator = np.random.default_rng([spec.seed, 1, row, column, site])
        cells_y, cells_x = (edge // CELL for edge in spec.shape)
        is_positive = spec.role(well) == POSITIVE
        count = round(spec.objects_per_megapixel * spec.shape[0] * spec.shape[1] / 1e6) * (2 if is_positive else 1)
        chosen = generator.permutation(cells_y * cells_x)[: max(1, count)]
        return tuple(self._object(generator, divmod(int(cell), cells_x), is_positive) for cell in chosen)

    def labels(self, well: str, site: int) -> NDArray[np.uint32]:
        """Which pixels ``(y, x)`` belong to which nucleus of a scene, by its number in the truth; 0 is background.

        Raises
        ------
        ValueError
            If the spec has no scene: spots have no outline.
        """
        return draw(self.spec, well, site).nuclei

    def cell_labels(self, well: str, site: int) -> NDArray[np.uint32]:
        """The same of whole cells, nucleus and body; all background where the scene has no cells."""
        return draw(self.spec, well, site).bodies

    def _spots(self, well: str, site: int) -> _Spots:
        """The same as arrays, kept for the other planes of the site."""
        kept = self._last_site
        if kept is None or kept[0] != (well, site):
            kept = self._last_site = ((well, site), _Spots.of(self.objects(well, site)))
        return kept[1]

    def _object(self, generator: np.random.Generator, cell: tuple[int, int], is_positive: bool) -> SyntheticObject:
        y, x = (float(index * CELL + CELL / 2 + generator.uniform(-_JITTER, _JITTER)) for index in cell)
        middle = (self.spec.z + 1) / 2
        peaks = _PEAK * generator.uniform(0.8, 1.2, len(self.spec.channels))
        peaks[1:] *= 3.0 if is_positive else 1.0
        return SyntheticObject(
            y=y,
            x=x,
            z_index=float(np.clip(middle + generator.uniform(-0.5, 0.5), 1, self.spec.z)),
            intensities=tuple(float(peak) for peak in peaks.round(1)),
        )

    def plane(self, key: ImageKey) -> Plane:
        """One plane ``(y, x)`` of uint16; ``z_index`` None gives the maximum projection."""
        if key.z_index is None:
            return self._projection(key)
        if self.spec.scene is not None:
            return draw(self.spec, key.well, key.site or 1).plane(key)
        row, column = row_and_column(key.well)
        site, channel, timepoint = (1 if value is None else value for value in (key.site, key.channel, key.timepoint))
        generator = np.random.default_rng([self.spec.seed, 2, row, column, site, channel, key.z_index, timepoint])
        top, left = (int(offset) for offset in generator.integers(0, 257, 2))
        height, width = self.spec.shape
        image = self._noise[top : top + height, left : left + width].copy()
        _stamp(image, self._spots(key.well, site), channel - 1, key.z_index, generator)
        return image

    def _projection(self, key: ImageKey) -> Plane:
        planes = (
            self.plane(ImageKey(key.well, key.site, key.channel, z_index, key.timepoint))
            for z_index in range(1, self.spec.z + 1)
        )
        projected: Plane = np.maximum.reduce(list(planes))
        return projected

    def truth(self) -> dict[str, object]:
        """Everything that is known: the spec, the role of each column and well, and all objects, JSON-able."""
        spec = self.spec
        wells = {
            well: {
                "role": spec.role(well),
                "sites": {
                    str(site): [asdict(spot) for spot in self.objects(well, site)] for site in range(1, spec.sites + 1)
                },
            }
            for well in spec.wells
        }
        columns = {str(column + 1): spec.role(well_name(0, column)) for column in range(spec.columns)}
        stated = msgspec.to_builtins(spec)
        if spec.scene is None:
            del stated["scene"]
        return {"seed": spec.seed, "spec": stated, "control_roles": columns, "wells": wells}


@dataclass(frozen=True, slots=True)
class _Spots:
    """The objects of one site as arrays, one entry an object."""

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    z_index: NDArray[np.float64]
    peaks: NDArray[np.float64]
    """(object, channel)"""

    @classmethod
    def of(cls, objects: tuple[SyntheticObject, ...]) -> _Spots:
        y, x, z_index = np.array([(spot.y, spot.x, spot.z_index) for spot in objects]).T
        return cls(y, x, z_index, np.array([spot.intensities for spot in objects]))


def _stamp(image: Plane, spots: _Spots, channel: int, z_index: int, generator: np.random.Generator) -> None:
    """Add all spots with their photon noise, in place."""
    offsets = np.arange(-_REACH, _REACH + 1)
    rows, columns = (np.rint(centre).astype(np.intp)[:, None] + offsets for centre in (spots.y, spots.x))
    profile_y = np.exp(-0.5 * ((rows - spots.y[:, None]) / _SIGMA) ** 2)
    profile_x = np.exp(-0.5 * ((columns - spots.x[:, None]) / _SIGMA) ** 2)
    peaks = spots.peaks[:, channel] * np.exp(-0.5 * ((z_index - spots.z_index) / _FOCUS_DEPTH) ** 2)
    signal = peaks[:, None, None] * profile_y[:, :, None] * profile_x[:, None, :]
    signal += np.sqrt(signal) * generator.standard_normal(signal.shape)
    places = rows[:, :, None], columns[:, None, :]
    # No two objects share a pixel, so one indexed assignment adds them all.
    image[places] = np.clip(image[places] + signal, 0, 65535).round().astype(np.uint16)
