"""Which planes exist, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from types import MappingProxyType
from typing import Any

from msgspec import Struct, structs

from openhcs_engine.model.components import Component
from openhcs_engine.model.plate import SitePosition
from openhcs_engine.model.wells import plate_order

AXES = (Component.TIMEPOINT, Component.SITE, Component.CHANNEL, Component.Z_INDEX)
"""Coordinates of a plane inside its well, slowest first."""


class PlaneKind(StrEnum):
    """What a file shows."""

    PLANE = "plane"
    PROJECTION = "projection"


class Projections(StrEnum):
    """What a pipeline does with the instrument's own projections. They never enter a stack beside their planes."""

    FALLBACK = "fallback"
    """They stand in where a (well, site, channel, time) has no plane at all."""
    IGNORE = "ignore"
    """They never enter."""
    ONLY = "only"
    """They enter, and planes do not."""


class OnMissing(StrEnum):
    """What a run does with planes that were declared and have no file."""

    ERROR = "error"
    """Their well fails."""
    SKIP = "skip"
    """The stack shrinks, and the result says so."""
    BLANK = "blank"
    """Zeros take their place, and the result says so."""


class ImageKey(Struct, frozen=True, gc=False):  # a Struct: plates have 100,000 of them
    """Full coordinate of one 2-D plane. None on an axis: the plane stands for the whole axis (it was collapsed)."""

    well: str
    site: int | None
    channel: int | None
    z_index: int | None
    timepoint: int | None

    def get(self, component: Component) -> int | None:
        """The value on one of the axes inside the well."""
        value: int | None = getattr(self, component.value)
        return value

    def replace(self, **changes: int | str | None) -> ImageKey:
        """The same coordinate with other values on some axes."""
        return structs.replace(self, **changes)

    @property
    def inside_well(self) -> str:
        """The coordinate inside its well, for sentences."""
        depth = "projection" if self.z_index is None else f"z {self.z_index}"
        return f"site {self.site}, channel {self.channel}, {depth}, time {self.timepoint}"

    def order(self) -> tuple[int, ...]:
        """Sort key inside a well; collapsed axes sort first."""
        # AXES, spelt out: this sorts 100,000 planes.
        time, site, channel, z_index = self.timepoint, self.site, self.channel, self.z_index
        return (
            -1 if time is None else time,
            -1 if site is None else site,
            -1 if channel is None else channel,
            -1 if z_index is None else z_index,
        )


class ImagePlane(Struct, frozen=True, gc=False, kw_only=True):  # as above
    """One plane and the path of its pixels."""

    key: ImageKey
    path: str | None
    """Path inside its backend, with ``/``; raw planes: relative to the plate folder. None: declared, never named."""
    kind: PlaneKind = PlaneKind.PLANE
    present: bool = True
    """False for what the metadata declare and the folder lacks."""
    size: int | None = 0
    """Bytes of the raw file; None: not asked yet, see ``vfs.stamps``. 0 where there is no such file."""
    mtime_ns: int | None = 0
    """Time of its last change, ns since the epoch; None as above."""
    array_index: tuple[int, ...] | None = None
    """Where ``path`` is an array that holds many planes: the index of this one on its leading axes."""
    chunks: str | None = ""
    """Of such an array: digest of the chunks and shards that are stored (names, sizes, times); None: not listed yet."""
    x_um: float | None = None
    """Stage position of the plane's centre in the plate's stage frame, µm; None where the format does not give it."""
    y_um: float | None = None
    z_um: float | None = None
    """Height of the plane as the instrument gives it, µm."""

    @property
    def is_stamped(self) -> bool:
        """True if size and time are known, or there is no file to have them."""
        return self.size is not None and self.mtime_ns is not None and self.chunks is not None

    @property
    def stamp(self) -> tuple[int, int]:
        """Size and time of a plane that is stamped."""
        assert self.size is not None and self.mtime_ns is not None, f"{self.path} was never stamped"
        return self.size, self.mtime_ns

    def replace(self, **changes: Any) -> ImagePlane:  # Any: each field has its own type
        """The same plane with other values in some fields."""
        return structs.replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Planes that a function sees as one array ``(plane, y, x)``."""

    planes: tuple[ImagePlane, ...]
    """In order along the variable components, the first of them slowest."""
    variable: tuple[Component, ...]

    @property
    def key(self) -> ImageKey:
        """The first plane's key: all fixed components hold for the whole stack."""
        return self.planes[0].key

    @property
    def collapsed_key(self) -> ImageKey:
        """Identity of one plane that stands for the whole stack."""
        return self.key.replace(**{component.value: None for component in self.variable})


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """An immutable table of planes."""

    planes: tuple[ImagePlane, ...]
    _wells: Mapping[str, tuple[ImagePlane, ...]] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, planes: Iterable[ImagePlane]) -> ImageIndex:
        """Sort planes by well (plate order) and coordinate."""
        # Well by well: many short sorts take half the time of a long one, and grow with the plate as its files do.
        wells = _by_well(planes)
        ordered = (sorted(wells[well], key=_order) for well in sorted(wells, key=plate_order))
        return cls(tuple(chain.from_iterable(ordered)))

    def __len__(self) -> int:
        return len(self.planes)

    def __iter__(self) -> Iterator[ImagePlane]:
        return iter(self.planes)

    def __reduce__(self) -> tuple[type[ImageIndex], tuple[tuple[ImagePlane, ...]]]:
        return ImageIndex, (self.planes,)

    @property
    def by_well(self) -> Mapping[str, tuple[ImagePlane, ...]]:
        """Planes of each well, wells in plate order; cannot be changed."""
        if self._wells is None:
            wells = {well: tuple(planes) for well, planes in _by_well(self.planes).items()}
            object.__setattr__(self, "_wells", MappingProxyType(wells))  # computed once, and never another
        assert self._wells is not None
        return self._wells

    def for_well(self, well: str) -> ImageIndex:
        """The part of one well; empty if it has none."""
        return ImageIndex(self.by_well.get(well, ()))

    def present(self) -> ImageIndex:
        """Planes that have a file."""
        return ImageIndex(tuple(plane for plane in self.planes if plane.present))

    def missing(self) -> ImageIndex:
        """Planes that were declared and have no file."""
        return ImageIndex(tuple(plane for plane in self.planes if not plane.present))

    def plate_gaps(self) -> ImageIndex:
        """Missing planes that make no well another than the others, as the whole folder has nothing of the kind.

        That is a channel of which there is no plane at all, and a z plane that is known by its number alone (its
        metadata count planes, and name none): they were not exported. Empty where the folder has no image.
        """
        missing = self.missing()
        if not len(missing) or len(missing) == len(self):
            return ImageIndex(())
        slots = {(plane.key.channel, plane.key.z_index) for plane in self.planes if plane.present}
        channels = {channel for channel, _ in slots}
        return ImageIndex(
            tuple(
                plane
                for plane in missing
                if plane.key.channel not in channels
                or (plane.path is None and (plane.key.channel, plane.key.z_index) not in slots)
            )
        )

    def without(self, others: ImageIndex) -> ImageIndex:
        """The index without some of its planes."""
        if not len(others):
            return self
        left = set(map(id, others))
        return ImageIndex(tuple(plane for plane in self.planes if id(plane) not in left))

    def pipeline_input(self, projections: Projections = Projections.FALLBACK) -> ImageIndex:
        """What enters a pipeline: planes, projections, or projections only where there is no plane.

        Of ``plate_gaps`` nothing enters; other planes that are missing do, for the run to judge.
        """
        planes = self.without(self.plate_gaps()).planes
        if projections is not Projections.FALLBACK:
            wanted = PlaneKind.PLANE if projections is Projections.IGNORE else PlaneKind.PROJECTION
            return ImageIndex(tuple(_without_position(plane) for plane in planes if plane.kind is wanted))
        with_planes = {_without_z(plane.key) for plane in planes if plane.kind is PlaneKind.PLANE}
        return ImageIndex(
            tuple(
                _without_position(plane)
                for plane in planes
                if plane.kind is PlaneKind.PLANE or _without_z(plane.key) not in with_planes
            )
        )

    def site_positions(self) -> tuple[SitePosition, ...]:
        """Where each site was acquired, in plate order; sites without a position are left out."""
        found: dict[tuple[str, int], SitePosition] = {}
        for plane in self.planes:
            key = plane.key
            if plane.x_um is not None and plane.y_um is not None and key.site is not None:
                position = SitePosition(well=key.well, site=key.site, x_um=plane.x_um, y_um=plane.y_um)
                found.setdefault((key.well, key.site), position)
        return tuple(found.values())

    def group_stacks(self, variable: Sequence[Component]) -> tuple[Stack, ...]:
        """Partition the planes by all components that do not vary; one stack a part, in order."""
        fixed = [axis for axis in AXES if axis not in variable]
        parts: dict[tuple[int | str | None, ...], list[ImagePlane]] = {}
        for plane in self.planes:
            parts.setdefault((plane.key.well, *(plane.key.get(axis) for axis in fixed)), []).append(plane)

        def along(plane: ImagePlane) -> tuple[int, ...]:
            return tuple(-1 if (value := plane.key.get(axis)) is None else value for axis in variable)

        return tuple(Stack(planes=tuple(sorted(part, key=along)), variable=tuple(variable)) for part in parts.values())


def _by_well(planes: Iterable[ImagePlane]) -> dict[str, list[ImagePlane]]:
    """Planes of each well, in the order in which they come."""
    wells: dict[str, list[ImagePlane]] = {}
    for plane in planes:
        wells.setdefault(plane.key.well, []).append(plane)
    return wells


def _order(plane: ImagePlane) -> tuple[int | PlaneKind, ...]:
    # ImageKey.order, spelt out again for 100,000 planes: flat tuples are compared in half the time of nested ones.
    key = plane.key
    time, site, channel, z_index = key.timepoint, key.site, key.channel, key.z_index
    return (
        -1 if time is None else time,
        -1 if site is None else site,
        -1 if channel is None else channel,
        -1 if z_index is None else z_index,
        plane.kind,
    )


def _without_position(plane: ImagePlane) -> ImagePlane:
    """Positions make no pixels: they stay with the plate, out of contexts and fingerprints."""
    if plane.x_um is None and plane.y_um is None and plane.z_um is None:
        return plane
    return plane.replace(x_um=None, y_um=None, z_um=None)


def _without_z(key: ImageKey) -> tuple[str, int | None, int | None, int | None]:
    return key.well, key.site, key.channel, key.timepoint
