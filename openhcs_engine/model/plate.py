"""The plate: what a microscope says it acquired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from openhcs_engine.model.plate_map import PlateMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One wavelength of the plate, as its metadata describe it."""

    index: int
    """The vendor's number of the channel."""
    name: str | None = None
    """As the operator called it; None where the format does not say."""
    wavelength_nm: float | None = None
    """Emission wavelength in nm, if known."""
    shape: tuple[int, int] | None = None
    """(y, x) in pixels of this channel's planes."""
    dtype: str | None = None
    """NumPy name of this channel's pixel type, e.g. ``uint16``."""

    @property
    def label(self) -> str:
        """The name, or ``Channel <index>`` where there is none."""
        return self.name or f"Channel {self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How the sites of a well lie: rows from the top, columns from the left."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFrame:
    """The frame of stage positions, as the format defines it."""

    origin: str
    """What (0, 0) is: ``plate`` (the stage's own zero) or ``well centre``."""
    y_axis: str
    """``up`` or ``down``: where y grows, as seen in the images (rows of pixels run down)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePosition:
    """Where a site of a well was acquired: the centre of its image, in µm, in the plate's stage frame."""

    well: str
    site: int
    x_um: float
    y_um: float


def grid_of(positions: Iterable[SitePosition], tolerance_um: float = 1.0) -> Grid | None:
    """The grid that the sites of the fullest well fill: None unless they fill a rectangle, each position once.

    Positions that differ by less than ``tolerance_um`` on an axis lie in one row or column.
    """
    wells: dict[str, list[SitePosition]] = {}
    for position in positions:
        wells.setdefault(position.well, []).append(position)
    sites = max(wells.values(), key=len, default=[])
    columns = _distinct([site.x_um for site in sites], tolerance_um)
    rows = _distinct([site.y_um for site in sites], tolerance_um)
    places = {(site.x_um, site.y_um) for site in sites}
    return Grid(rows=rows, columns=columns) if sites and rows * columns == len(sites) == len(places) else None


def _distinct(values: list[float], tolerance: float) -> int:
    ordered = sorted(values)
    return sum(1 for before, after in pairwise([float("-inf"), *ordered]) if after - before > tolerance)


PlaneCoordinate: TypeAlias = tuple[str, int | None, int | None, int | None, int | None]
"""Well, site, channel, z (None: a projection) and time point of one plane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One acquired plate. What the format does not state is None, never a guess."""

    plate_id: str
    """Our id; a folder's and an asset's name."""
    name: str
    """The instrument's own name of the plate."""
    microscope: str
    """Key of the handler that read it, e.g. ``imagexpress``."""
    root: str
    """The plate folder, absolute."""
    wells: tuple[str, ...]
    """Canonical names of the wells that have at least one plane, in plate order."""
    absent_wells: tuple[str, ...] = ()
    """Wells that were selected for acquisition, but have no plane."""
    sites: tuple[int, ...]
    channels: tuple[Channel, ...]
    z_indexes: tuple[int, ...]
    """z planes that exist, as the vendor numbers them; empty where there are only projections."""
    timepoints: tuple[int, ...]
    rows: int | None = None
    """Rows of the plate's format (8 for 96 wells); None where the format does not say."""
    columns: int | None = None
    pixel_size_um: float | None = None
    """Edge of a pixel in the specimen, µm."""
    z_step_um: float | None = None
    """Distance of neighbouring planes, µm."""
    grid: Grid | None = None
    stage_frame: StageFrame | None = None
    """Frame of the planes' stage positions; None where the format gives no positions."""
    shape: tuple[int, int] | None = None
    """(y, x) in pixels, of the first channel."""
    dtype: str | None = None
    plate_map: PlateMap | None = None
    """What was in the wells, if a map was given."""
    damaged_wells: tuple[tuple[str, str], ...] = ()
    """Wells whose own metadata cannot be used, each with the sentence that says why; it is what they fail with."""
    errors: tuple[str, ...] = ()
    """What the instrument itself recorded as failed."""
    failed: tuple[PlaneCoordinate, ...] = ()
    """The planes among them, where the format says which: they were to be acquired, and are missing."""
    declares_planes: bool = True
    """False where no metadata say what was to be acquired, so that only what other wells have can be missed."""
    warnings: tuple[str, ...] = ()
    """What the metadata promise and the folder lacks, and other things a person should know."""
    notes: tuple[str, ...] = ()
    """What explains the plane table and asks for nothing: thumbnails left out, copies counted once."""

    def channel(self, index: int) -> Channel:
        """The channel with the vendor's number ``index``."""
        return next(channel for channel in self.channels if channel.index == index)
