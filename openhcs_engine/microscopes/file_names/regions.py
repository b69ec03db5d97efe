"""Coordinates of file names that a plane does not have: regions of interest, and acquisitions of the same well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from openhcs_engine.microscopes.declared import DeclaredPlane, examples, natural_order


class Origin(NamedTuple):
    """What a name says beside the plane's coordinates; None where it says nothing."""

    region: str | None = None
    """A region of interest in the well; each counts its sites by itself."""
    acquisition: str | None = None
    """A read step, which may have taken the same channel again, at another magnification or time of day."""
    grid: tuple[int, int] | None = None
    """Row and column of the field, where names say them instead of the site's number."""


def with_origins(planes: Sequence[DeclaredPlane], origins: Sequence[Origin]) -> tuple[list[DeclaredPlane], list[str]]:
    """The planes with sites and channels that differ by their origins, and notes on how they were numbered."""
    gridded, about_grid = _by_grid(planes, origins)
    sited, about_sites = _by_region(gridded, origins)
    named, about_channels = _by_acquisition(sited, origins)
    return named, [*about_grid, *about_sites, *about_channels]


def _by_grid(planes: Sequence[DeclaredPlane], origins: Sequence[Origin]) -> tuple[list[DeclaredPlane], list[str]]:
    """Sites numbered row by row, if names give rows and columns of fields."""
    ordered = sorted({origin.grid for origin in origins if origin.grid is not None})
    numbers = {grid: number for number, grid in enumerate(ordered, start=1)}
    sited = [
        plane if origin.grid is None else plane._replace(site=numbers[origin.grid])
        for plane, origin in zip(planes, origins, strict=True)
    ]
    listed = [f"{number}: row {row}, column {column}" for (row, column), number in numbers.items()]
    return sited, [f"Fields were numbered 1 to {len(listed)} row by row ({examples(listed)})."] if len(
        listed
    ) > 1 else []


def _by_region(planes: Sequence[DeclaredPlane], origins: Sequence[Origin]) -> tuple[list[DeclaredPlane], list[str]]:
    """Sites of all regions, numbered 1 to n, if there are regions."""
    if not any(origin.region for origin in origins):
        return list(planes), []
    places = [(origin.region or "", plane.site) for plane, origin in zip(planes, origins, strict=True)]
    ordered = sorted(set(places), key=lambda place: (natural_order(place[0]), place[1]))
    numbers = {place: number for number, place in enumerate(ordered, start=1)}
    shown = [f"{number}: region {region}, site {site}" for (region, site), number in numbers.items()]
    moved = [plane._replace(site=numbers[place]) for plane, place in zip(planes, places, strict=True)]
    return moved, [f"Sites of all regions of interest were numbered 1 to {len(shown)} ({examples(shown)})."]


def _by_acquisition(
    planes: Sequence[DeclaredPlane], origins: Sequence[Origin]
) -> tuple[list[DeclaredPlane], list[str]]:
    """Channels of all acquisitions as different ones, if some plane was acquired more than once."""
    places = Counter(plane._replace(source="", path="", file=None) for plane in planes)
    acquisitions = {origin.acquisition for origin in origins}
    if len(places) == len(planes) or len(acquisitions) < 2:
        return list(planes), []
    apart = [
        plane._replace(
            channel=f"{origin.acquisition or ''}.{plane.channel}",
            channel_name=f"{plane.channel_name or plane.channel} (read {origin.acquisition})",
        )
        for plane, origin in zip(planes, origins, strict=True)
    ]
    shown = examples(sorted({str(acquisition) for acquisition in acquisitions}, key=natural_order))
    return apart, [
        f"Several reads ({shown}) took the same channels of the same sites: each read's are channels of their own."
    ]
