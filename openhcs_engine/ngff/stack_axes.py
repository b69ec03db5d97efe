"""What the indexes of a field's arrays stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

import numpy as np

from openhcs_engine.model.image_index import ImageKey

LABEL_TYPE: Final = np.dtype(np.uint32)
"""Of all labels: 65,535 objects are too few for a stitched well, and zeros cost nothing once compressed."""

Coordinate: TypeAlias = tuple[int | None, ...]
"""Values of a plane on the leading axes; None: the axis was collapsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAxes:
    """Values of the three outer axes of a field's array, in its order. None: the axis was collapsed and has size 1."""

    names: ClassVar[str] = "tczyx"

    timepoints: tuple[int | None, ...]
    channels: tuple[int | None, ...]
    z_indexes: tuple[int | None, ...]

    @classmethod
    def of(cls, keys: Sequence[ImageKey]) -> StackAxes:
        """The axes that hold all of the keys; collapsed values come first."""
        return cls(
            timepoints=_ordered(key.timepoint for key in keys),
            channels=_ordered(key.channel for key in keys),
            z_indexes=_ordered(key.z_index for key in keys),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(t, c, z)."""
        return len(self.timepoints), len(self.channels), len(self.z_indexes)

    def coordinates(self) -> list[Coordinate]:
        """(timepoint, channel, z_index) of every plane in C order."""
        return [(t, c, z) for t in self.timepoints for c in self.channels for z in self.z_indexes]

    @staticmethod
    def coordinate(key: ImageKey) -> Coordinate:
        """Coordinate of a plane."""
        return key.timepoint, key.channel, key.z_index

    def keys(self, well: str, site: int | None) -> list[ImageKey]:
        """Every plane of a field, in C order."""
        return [ImageKey(well, site, c, z, t) for t, c, z in self.coordinates()]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAxes:
    """The same of a label's array, which has no channel axis: its objects belong to the whole image."""

    names: ClassVar[str] = "tzyx"

    timepoints: tuple[int | None, ...]
    z_indexes: tuple[int | None, ...]
    channel: int | None = None
    """In which the objects were found; None: in several, or nobody said."""

    @classmethod
    def of(cls, keys: Sequence[ImageKey], image: StackAxes) -> LabelAxes:
        """The axes that hold all of the keys: the image's, so that both lie on each other; others if they differ."""
        timepoints, z_indexes = _ordered(key.timepoint for key in keys), _ordered(key.z_index for key in keys)
        return cls(
            timepoints=image.timepoints if set(timepoints) <= set(image.timepoints) else timepoints,
            z_indexes=image.z_indexes if set(z_indexes) <= set(image.z_indexes) else z_indexes,
            channel=next((key.channel for key in keys), None),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(t, z)."""
        return len(self.timepoints), len(self.z_indexes)

    def coordinates(self) -> list[Coordinate]:
        """(timepoint, z_index) of every plane in C order."""
        return [(t, z) for t in self.timepoints for z in self.z_indexes]

    @staticmethod
    def coordinate(key: ImageKey) -> Coordinate:
        """Coordinate of a plane."""
        return key.timepoint, key.z_index

    def keys(self, well: str, site: int | None) -> list[ImageKey]:
        """Every plane of a field, in C order."""
        return [ImageKey(well, site, self.channel, z, t) for t, z in self.coordinates()]


def _ordered(values: Iterable[int | None]) -> tuple[int | None, ...]:
    return tuple(sorted(set(values), key=lambda value: -1 if value is None else value))


__all__ = ["LABEL_TYPE", "Coordinate", "LabelAxes", "StackAxes"]
