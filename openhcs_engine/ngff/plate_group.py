"""The group of an OME-Zarr plate: the wells it lists, in plate order, and what it says beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import msgspec

from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import is_well, plate_order
from openhcs_engine.ngff.groups import group_files
from openhcs_engine.ngff.metadata import OWN, plate_attributes, well_path
from openhcs_engine.ngff.nodes import ATTRIBUTES_V2, NODE_V3
from openhcs_engine.ngff.options import ImageOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateGroup:
    """What a plate's group says, but for the wells that it lists."""

    name: str
    """The instrument's name of the plate."""
    ngff: str
    """Version of OME-Zarr."""
    own: OwnPlateGroup
    """Our attributes."""

    @classmethod
    def of(cls, plate: Plate, options: ImageOptions, asked: Iterable[str]) -> Self:
        """That of a plate of which some wells are asked for."""
        return cls(
            name=plate.name or plate.plate_id,
            ngff=options.ngff,
            own=OwnPlateGroup(
                plate_id=plate.plate_id,
                microscope=plate.microscope,
                sites=plate.sites,
                rows=plate.rows,
                columns=plate.columns,
                wells=plate.wells,
                asked=in_plate_order(asked),
                storage=options.as_recorded(),
            ),
        )

    @classmethod
    def read(cls, attributes: Mapping[str, Any], ngff: str) -> Self | None:
        """What a group that we wrote says; None for one of another program, or a damaged one.

        A group of an earlier version lists all wells of the plate, and does not say which were asked for.
        """
        try:
            own = msgspec.convert(attributes.get(OWN), OwnPlateGroup)
            name = str(attributes["ome"]["plate"]["name"])
        except (msgspec.ValidationError, KeyError, TypeError):
            return None
        if own.asked is None:
            own = msgspec.structs.replace(own, wells=wells_listed(attributes), asked=())
        return cls(name=name, ngff=ngff, own=own)

    def joined(self, before: PlateGroup | None) -> Self:
        """With the wells that were asked for before, too."""
        asked = self.own.asked or ()
        if before is not None:
            asked = in_plate_order({*asked, *(before.own.asked or ())})
        return replace(self, own=msgspec.structs.replace(self.own, asked=asked))

    def files(self, listed: Collection[str]) -> dict[str, bytes]:
        """The files of the rows' groups and, behind them, the plate's, by their paths; none if no well is listed.

        Rows and columns are those that hold listed wells. In the order in which they are written: whoever finds the
        plate's group finds all that it names.
        """
        if not listed:
            return {}
        wells = in_plate_order(listed)
        groups: dict[str, Mapping[str, Any]] = {f"{row}/": {} for row in rows_of(wells)}
        groups[""] = plate_attributes(self.name, len(self.own.sites), wells, msgspec.to_builtins(self.own))
        return {
            f"{place}{name}": content
            for place, attributes in groups.items()
            for name, content in reversed(group_files(attributes, self.ngff).items())
        }


class OwnPlateGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Our attributes of a plate's group, under ``openhcs``."""

    plate_id: str
    microscope: str = ""
    sites: tuple[int, ...] = ()
    rows: int | None = None
    """Of the plate's format, which the listed wells need not fill."""
    columns: int | None = None
    wells: tuple[str, ...] = ()
    """Wells of the raw plate when it was last run."""
    asked: tuple[str, ...] | None = None
    """Wells that runs were asked for, whether they are published or not; None: an earlier version wrote it."""
    storage: dict[str, Any] = {}  # Any: as ImageOptions are recorded


VERSION_FILES: Final = {NODE_V3: "0.5", ATTRIBUTES_V2: "0.4"}
"""Versions of OME-Zarr by the file that holds the attributes of a group."""


def version_file(ngff: str) -> str:
    """The file that holds the attributes of a group of a version."""
    return next(name for name, version in VERSION_FILES.items() if version == ngff)


def wells_listed(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Wells that a plate's group lists, in plate order; those with names that are none are left out."""
    try:
        listed = msgspec.convert(attributes, _Attributes).ome.plate.wells
    except msgspec.ValidationError:
        return ()
    found = (str(well.get("path")).replace("/", "") for well in listed)
    return in_plate_order(name for name in found if is_well(name))


def lists_published_wells(attributes: Mapping[str, Any]) -> bool:
    """True for a plate's group of ours; False for one of another program, or of an earlier version of ours."""
    return isinstance(own := attributes.get(OWN), Mapping) and own.get("asked") is not None


def in_plate_order(wells: Iterable[str]) -> tuple[str, ...]:
    """Wells without repetition, by row, then column."""
    return tuple(sorted(set(wells), key=plate_order))


def rows_of(wells: Sequence[str]) -> tuple[str, ...]:
    """Names of the rows that hold these wells, in their order."""
    return tuple(dict.fromkeys(well_path(well).split("/")[0] for well in wells))


class _Listed(msgspec.Struct):
    wells: list[dict[str, object]]


class _Ome(msgspec.Struct):
    plate: _Listed


class _Attributes(msgspec.Struct):
    ome: _Ome


__all__ = [
    "VERSION_FILES",
    "OwnPlateGroup",
    "PlateGroup",
    "in_plate_order",
    "lists_published_wells",
    "rows_of",
    "version_file",
    "wells_listed",
]
