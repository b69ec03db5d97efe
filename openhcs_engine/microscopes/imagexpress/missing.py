"""What an HTD promises and no file of the folder shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from operator import attrgetter

from openhcs_engine.microscopes.imagexpress.htd import Htd
from openhcs_engine.microscopes.remarks import Remarks
from openhcs_engine.model.image_index import ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.wells import plate_order
from openhcs_engine.model.wording import listed_first

_Slot = tuple[int | None, int | None]
"""A channel and one z that it shows; None for its projection."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Values of each coordinate that some plane shows."""

    wells: frozenset[str]
    sites: frozenset[int]
    slots: frozenset[_Slot]
    channels: frozenset[int]
    z_indexes: frozenset[int]
    timepoints: frozenset[int]

    @classmethod
    def of(cls, planes: Iterable[ImagePlane]) -> Seen:
        """The values that occur among the planes."""
        keys = [plane.key for plane in planes]
        slots = frozenset(map(attrgetter("channel", "z_index"), keys))
        return cls(
            wells=frozenset(map(attrgetter("well"), keys)),
            sites=_stated(set(map(attrgetter("site"), keys))),
            slots=slots,
            channels=_stated(channel for channel, _ in slots),
            z_indexes=_stated(z_index for _, z_index in slots),
            timepoints=_stated(set(map(attrgetter("timepoint"), keys))),
        )


def _stated(values: Iterable[int | None]) -> frozenset[int]:
    return frozenset(value for value in values if value is not None)


def missing_planes(htd: Htd, planes: tuple[ImagePlane, ...], seen: Seen) -> tuple[ImagePlane, ...]:
    """What the HTD declares and no file shows: wells × sites × waves × time points, at the z that the wave shows."""
    wells = htd.wells or tuple(sorted(seen.wells, key=plate_order))
    sites, slots, timepoints = htd.declared_sites(seen.sites), _slots(htd, seen), _declared_timepoints(htd, seen)
    is_within = seen.wells <= set(wells) and seen.sites <= set(sites) and seen.timepoints <= set(timepoints)
    declared = len(wells) * len(sites) * len(slots) * len(timepoints)
    if is_within and seen.slots <= set(slots) and len(planes) == declared:
        return ()  # each plane is there once and was declared: if their number is right, none is missing
    present = {(key.well, key.site, (key.channel, key.z_index), key.timepoint) for key in (p.key for p in planes)}
    return tuple(
        _missing_plane(ImageKey(well, site, slot[0], slot[1], timepoint))
        for well, site, slot, timepoint in product(wells, sites, slots, timepoints)
        if (well, site, slot, timepoint) not in present
    )


def _missing_plane(key: ImageKey) -> ImagePlane:
    kind = PlaneKind.PROJECTION if key.z_index is None else PlaneKind.PLANE
    return ImagePlane(key=key, path=None, kind=kind, present=False)


def _slots(htd: Htd, seen: Seen) -> tuple[_Slot, ...]:
    """What each declared channel shows anywhere on the plate, and what the HTD promises beyond it.

    An HTD counts z steps and does not say which waves are stacks. A z step that is nowhere is counted for the waves
    that show several; a wave that is nowhere, as the others if these are alike, else as one plane.
    """
    declared = {wave.index for wave in htd.waves if wave.collected} or {1}
    if not seen.slots:
        return tuple(product(sorted(declared), range(1, htd.z_steps + 1)))
    depths: dict[int, set[int | None]] = {}
    for channel, z_index in seen.slots:
        if channel in declared and channel is not None:
            depths.setdefault(channel, set()).add(z_index)
    absent_z = _absent_z(htd, seen)
    for channel in _stacks(depths) if absent_z else ():
        depths[channel].update(absent_z)
    alike = set(map(frozenset, depths.values()))
    usual: frozenset[int | None] = alike.pop() if len(alike) == 1 else frozenset({1})
    shown = {channel: frozenset(depths[channel]) if channel in depths else usual for channel in sorted(declared)}
    return tuple((channel, z_index) for channel, found in shown.items() for z_index in found)


def _stacks(depths: Mapping[int, set[int | None]]) -> list[int]:
    """Waves that are z stacks: those with several planes; where none has, those with one; else all."""
    for least in (2, 1):
        if found := [channel for channel, shown in depths.items() if len(shown - {None}) >= least]:
            return found
    return list(depths)


def _absent_z(htd: Htd, seen: Seen) -> list[int]:
    """Promised z steps of which the folder has no plane."""
    numbered = range(1, htd.z_steps + 1)
    # Folders may be numbered from 0; then nothing tells which one is absent.
    return (
        [z for z in numbered if z not in seen.z_indexes] if seen.z_indexes <= set(numbered) and htd.z_steps > 1 else []
    )


def _declared_timepoints(htd: Htd, seen: Seen) -> tuple[int, ...]:
    numbered = range(1, htd.timepoints + 1)
    # Folders may be numbered from 0, or only some time points may have been exported under their own numbers.
    return tuple(numbered) if seen.timepoints <= set(numbered) else tuple(sorted(seen.timepoints))


def warn_of_absent(htd: Htd, seen: Seen, remarks: Remarks) -> None:
    """Say what the HTD promises and no file of the whole plate shows."""
    if not seen.wells:
        remarks.warnings.append("The folder has an HTD file, but no image.")
        return
    remarks.warnings += [
        f'The HTD promises wave {wave.index} ("{wave.name}"), but no file of it is in the folder.'
        if wave.name
        else f"The HTD promises wave {wave.index}, but no file of it is in the folder."
        for wave in htd.waves
        if wave.collected and wave.index not in seen.channels
    ]
    if absent_z := _absent_z(htd, seen):
        remarks.warnings.append(
            f"The HTD promises {htd.z_steps} z steps, but no plane of z step {listed_first(absent_z)} is in the folder."
        )
    absent_t = [t for t in _declared_timepoints(htd, seen) if t not in seen.timepoints]
    if absent_t:
        remarks.warnings.append(
            f"No image of time point {listed_first(absent_t)} is in the folder, but the HTD promises it."
        )
    absent_wells = [well for well in htd.wells if well not in seen.wells]
    if absent_wells:
        remarks.warnings.append(f"Selected for acquisition, but without any image: {listed_first(absent_wells)}.")
    if htd.wells and (unselected := sorted(seen.wells - set(htd.wells), key=plate_order)):
        remarks.warnings.append(
            f"The HTD does not select these wells, but they have images: {listed_first(unselected)}."
        )
