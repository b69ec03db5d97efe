"""What a plate lacks: one law for every format, every command and every record.

A plane is missing if the plate's metadata declare it and the folder has no file for it (a row of the index that is not
present), if the instrument recorded it as failed, or if no metadata name it in a well while the plate's other wells
have it: an acquisition that was broken off leaves no record of what did not come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Plate, StageFrame
from openhcs_engine.model.wording import listed_first

_NAMED: Final = 6
"""Wells that are named; the others are counted."""
_SAME_POSITION_UM: Final = 5.0
"""Positions of one site in two wells that differ by less are one: a stage repeats to 1 µm."""

_Coordinate = tuple[int | None, int | None, int | None, int | None, PlaneKind]
"""A plane inside its well: site, channel, z, time point, kind."""
_View = tuple[int | None, int | None, int | None, PlaneKind]
"""The same without its site."""
_COORDINATE: Final = attrgetter("key.site", "key.channel", "key.z_index", "key.timepoint", "kind")


def missing_planes(plate: Plate, index: ImageIndex) -> ImageIndex:
    """Every plane that the plate should have and does not.

    Parameters
    ----------
    plate, index
        As a handler reads them; ``index`` holds what the metadata declare, present or not.

    Returns
    -------
    ImageIndex
        Planes that are not present: those of ``index``, then those that the instrument recorded as failed, and those
        that no metadata name in their well.

        - A site belongs into every well if most wells have it, and a channel, z or time point into a site if most wells
          with that site have it; half of them are enough for a well that has nothing that the other half lacks.
        - A site that lies elsewhere in each well (fields chosen by what they show) is expected in none.
        - Where a site is in one well only, most of all sites decide.
        - A well that was to be acquired and is nowhere lacks what belongs into every well.

        A folder without any image lists what its metadata declare, and nothing is inferred.
    """
    declared = index.missing()
    if len(declared) == len(index):
        return declared
    found = {(plane.key, plane.kind): plane for plane in declared}
    for key in (ImageKey(*coordinate) for coordinate in plate.failed):
        kind = PlaneKind.PROJECTION if key.z_index is None else PlaneKind.PLANE
        found.setdefault((key, kind), _missing(key, kind))
    for well, (site, channel, z_index, timepoint, kind) in _Regularity(plate, index).gaps():
        key = ImageKey(well, site, channel, z_index, timepoint)
        found.setdefault((key, kind), _missing(key, kind))
    return ImageIndex.of(found.values())


def with_missing(plate: Plate, index: ImageIndex) -> ImageIndex:
    """The index and all that is missing, in order."""
    lacking = missing_planes(plate, index)
    return ImageIndex.of((*index.present(), *lacking))


def describe_missing(plate: Plate, index: ImageIndex) -> str:
    """How much is missing, and where, as a phrase."""
    lacking = missing_planes(plate, index)
    if len(lacking):
        return f"{len(lacking)} {'plane' if len(lacking) == 1 else 'planes'} in {listed_first(lacking.by_well, _NAMED)}"
    return "nothing" if plate.declares_planes else "none seen; nothing says what was to be acquired"


def note_inferred(plate: Plate, index: ImageIndex) -> tuple[str, ...]:
    """A sentence about planes that are missing and that no metadata name; nothing if there are none.

    Wells without any image are named by their handler.
    """
    lacking = missing_planes(plate, index)
    if len(lacking) == len(index.missing()):
        return ()
    named = {plane.key for plane in index} | {ImageKey(*coordinate) for coordinate in plate.failed}
    inferred = [plane.key for plane in lacking if plane.key not in named and plane.key.well not in plate.absent_wells]
    if not inferred:
        return ()
    first = f"well {inferred[0].well}, {inferred[0].inside_well}"
    return (
        f"Missing although neither metadata nor files name them, as others have them: {len(inferred)} "
        f"{'plane' if len(inferred) == 1 else 'planes'} (the first: {first}).",
    )


def _missing(key: ImageKey, kind: PlaneKind) -> ImagePlane:
    return ImagePlane(key=key, path=None, kind=kind, present=False)


@dataclass(slots=True)
class _Regularity:
    """What the wells of a plate have in common."""

    plate: Plate
    index: ImageIndex

    def gaps(self) -> Iterator[tuple[str, _Coordinate]]:
        """Coordinates that a well lacks and others have."""
        wells = {well: tuple(map(_COORDINATE, planes)) for well, planes in self.index.by_well.items()}
        alike: dict[tuple[_Coordinate, ...], list[str]] = {}
        for well, coordinates in wells.items():
            alike.setdefault(coordinates, []).append(well)
        absent = [well for well in self.plate.absent_wells if well not in wells]
        if len(alike) == 1 and not absent and len(wells) > 1:
            return  # every well has the same
        patterns = [(frozenset(coordinates), names) for coordinates, names in alike.items()]
        yield from self._expected(patterns, len(wells), absent)

    def _expected(
        self, patterns: list[tuple[frozenset[_Coordinate], list[str]]], wells: int, absent: list[str]
    ) -> Iterator[tuple[str, _Coordinate]]:
        counts, with_site = Counter[_Coordinate](), Counter[int | None]()
        for pattern, names in patterns:
            counts.update(dict.fromkeys(pattern, len(names)))
            with_site.update(dict.fromkeys({coordinate[0] for coordinate in pattern}, len(names)))
        wandering = _wandering_sites(self.plate.stage_frame, self.index)
        settled = {site: count for site, count in with_site.items() if site not in wandering}
        most_sites = {site for site, count in settled.items() if 2 * count > wells}
        half_sites = {site for site, count in settled.items() if 2 * count >= wells}
        most = {coordinate for coordinate, count in counts.items() if 2 * count > with_site[coordinate[0]]}
        half = {coordinate for coordinate, count in counts.items() if 2 * count >= with_site[coordinate[0]]}
        single = {site for site, count in with_site.items() if count == 1}
        views = _usual_views(patterns)
        for pattern, names in patterns:
            sites = {coordinate[0] for coordinate in pattern}
            # Two halves that each have something of their own differ by intent; one that only lacks something does not.
            lacks_only = sites <= most_sites and pattern <= most
            wanted, everywhere = (half, half_sites) if lacks_only else (most, most_sites)
            expected = {coordinate for coordinate in wanted if coordinate[0] in sites or coordinate[0] in everywhere}
            expected |= {(site, *view) for site in sites & single for view in views.of(site, pattern)}
            lacking = expected - pattern
            yield from ((well, coordinate) for well in names for coordinate in lacking)
        yield from ((well, coordinate) for well in absent for coordinate in most if coordinate[0] in most_sites)


def _wandering_sites(frame: StageFrame | None, index: ImageIndex) -> set[int | None]:
    """Sites that lie elsewhere in each well; none where positions are not the wells' own."""
    if frame is None or frame.origin != "well centre":
        return set()
    first: dict[int, tuple[float, float]] = {}
    found = set[int | None]()
    for position in index.site_positions():
        x, y = first.setdefault(position.site, (position.x_um, position.y_um))
        if max(abs(position.x_um - x), abs(position.y_um - y)) > _SAME_POSITION_UM:
            found.add(position.site)
    return found


@dataclass(frozen=True, slots=True)
class _Views:
    """What the sites of the plate show, whatever their well."""

    counts: Mapping[_View, int]
    sites: int

    def of(self, site: int | None, pattern: frozenset[_Coordinate]) -> Iterator[_View]:
        """Views that most sites have; of those that half of them have, the ones whose parts this site knows."""
        own = [coordinate[1:] for coordinate in pattern if coordinate[0] == site]
        parts = [{view[part] for view in own} for part in range(4)]
        for view, count in self.counts.items():
            if 2 * count > self.sites or (
                2 * count == self.sites and all(value in known for value, known in zip(view, parts, strict=True))
            ):
                yield view


def _usual_views(patterns: list[tuple[frozenset[_Coordinate], list[str]]]) -> _Views:
    counts, sites = Counter[_View](), 0
    for pattern, names in patterns:
        counts.update({view: count * len(names) for view, count in Counter(c[1:] for c in pattern).items()})
        sites += len({coordinate[0] for coordinate in pattern}) * len(names)
    return _Views(counts, sites)


__all__ = ["describe_missing", "missing_planes", "note_inferred", "with_missing"]
