"""The raw planes of all wells of a plan as plain columns, one value a plane: JSON that any program reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec import Struct, structs

from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind

_T = TypeVar("_T")


class PlaneTable(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All planes, well by well in the order of each; a column that may be empty has the usual value for all of them."""

    well: list[str]
    timepoint: list[int | None]
    site: list[int | None]
    channel: list[int | None]
    z_index: list[int | None]
    path: list[str | None]
    """Relative to the plate folder, with ``/``; None: declared, never named."""
    size: list[int]
    """Bytes of the file; 0 where there is none."""
    mtime_ns: list[int]
    """Time of its last change, ns since the epoch."""
    kind: list[PlaneKind] = []
    """Empty: planes, and no projection of the instrument."""
    present: list[bool] = []
    """Empty: each has a file."""
    array_index: list[tuple[int, ...] | None] = []
    """Position on the leading axes, where ``path`` is an array; empty: none is."""
    chunks: list[str] = []
    """Digests of the stored chunks, where ``path`` is an array; empty: none is."""
    address: list[str] = []
    """Where in its file a plane lies. No format of today has such files: always empty, and refused if it is not."""

    @classmethod
    def of(cls, wells: Mapping[str, ImageIndex]) -> PlaneTable:
        """The planes of all wells, each exactly as it is.

        Raises
        ------
        ValueError
            If a path leads out of the plate folder.
        """
        planes = [plane for index in wells.values() for plane in index]
        keys, stamps = [plane.key for plane in planes], [plane.stamp for plane in planes]
        table = cls(
            well=[key.well for key in keys],
            timepoint=[key.timepoint for key in keys],
            site=[key.site for key in keys],
            channel=[key.channel for key in keys],
            z_index=[key.z_index for key in keys],
            path=[plane.path for plane in planes],
            size=[size for size, _ in stamps],
            mtime_ns=[mtime_ns for _, mtime_ns in stamps],
            kind=_unless_usual([plane.kind for plane in planes], PlaneKind.PLANE),
            present=_unless_usual([plane.present for plane in planes], True),
            array_index=_unless_usual([plane.array_index for plane in planes], None),
            chunks=_unless_usual([plane.chunks or "" for plane in planes], ""),
        )
        check_inside(table.path)
        return table

    def by_well(self) -> dict[str, ImageIndex]:
        """The planes of each well that has any.

        Raises
        ------
        ValueError
            If columns differ in length, a path leads out of the plate folder, or planes have an address.
        """
        count = len(self.well)
        full = structs.replace(
            self,
            kind=self.kind or [PlaneKind.PLANE] * count,
            present=self.present or [True] * count,
            array_index=self.array_index or [None] * count,
            chunks=self.chunks or [""] * count,
            address=self.address or [""] * count,
        )
        for name, values in structs.asdict(full).items():
            if len(values) != count:
                raise ValueError(f"the column {name} has {len(values)} values for {count} planes")
        if any(full.address):
            raise ValueError("planes lie at an address inside their file, which only a later version can read")
        check_inside(self.path)
        wells: dict[str, list[ImagePlane]] = {}
        for well, time, site, channel, z_index, path, size, mtime_ns, kind, present, array_index, chunks in zip(
            full.well, full.timepoint, full.site, full.channel, full.z_index, full.path, full.size, full.mtime_ns,
            full.kind, full.present, full.array_index, full.chunks, strict=True,
        ):  # fmt: skip
            plane = ImagePlane(
                key=ImageKey(well, site, channel, z_index, time), path=path, size=size, mtime_ns=mtime_ns,
                kind=kind, present=present, array_index=array_index, chunks=chunks,
            )  # fmt: skip
            wells.setdefault(well, []).append(plane)
        return {well: ImageIndex(tuple(planes)) for well, planes in wells.items()}


def check_inside(paths: Iterable[str | None]) -> None:
    """ValueError if a path is absolute or climbs with ``..``: a plane lies in the plate folder."""
    for path in paths:
        if path and (path[0] == "/" or (".." in path and ".." in path.split("/"))):
            raise ValueError(f"the path {path!r} leads out of the plate folder")


def _unless_usual(values: list[_T], usual: _T) -> list[_T]:
    return [] if all(value == usual for value in values) else values


__all__ = ["PlaneTable", "check_inside"]
