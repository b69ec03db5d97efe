"""The published wells of a plate's output folder, whatever backend wrote them; pixels are read when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from openhcs_dagster.mosaic import Mosaic
from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.wells import plate_order


class Field(Protocol):
    """One site of a well."""

    @property
    def channel_labels(self) -> tuple[str, ...]:
        """Names of the channels, in the array's order."""
        ...

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        ...

    def array(self, level: int = 0) -> Any:  # Any: a lazy array; indexing it gives NumPy arrays
        """The pixels (t, c, z, y, x) at a resolution, 0 the full one, read when indexed."""
        ...


Well = Mapping[int | None, Field]
"""Fields by site; None is a collapsed site."""


class PlateWells(Mapping[str, Well]):
    """Wells by name in plate order; a well is here if its manifest says that it is published."""

    def __init__(self, folder: Path, backend: str, wells: Iterable[str] | None = None) -> None:
        self.folder = folder
        """The plate's output folder."""
        self.backend = backend
        self._asked = None if wells is None else frozenset(wells)

    @cached_property
    def _published(self) -> dict[str, str]:
        """Fingerprints of the published wells that were asked for."""
        from openhcs_engine.output.plate_folder import PlateFolder

        folder = PlateFolder(self.folder, self.backend)
        manifests = {well: folder.published(well) for well in folder.wells()} if self.folder.is_dir() else {}
        there = {well: manifest.fingerprint for well, manifest in manifests.items() if manifest is not None}
        asked = there.keys() if self._asked is None else there.keys() & self._asked
        return {well: there[well] for well in sorted(asked, key=plate_order)}

    def __getitem__(self, well: str) -> Well:
        if well not in self._published:
            raise UnknownWellError(f"Well {well} is not published in {self.folder}; run it first.", well=well)
        return self._open(well)

    def __iter__(self) -> Iterator[str]:
        return iter(self._published)

    def __len__(self) -> int:
        return len(self._published)

    def fingerprint(self, well: str) -> str | None:
        """Fingerprint with which a well was published; None if it is not."""
        return self._published.get(well)

    def small(self, well: str, side: int, mosaic: Mosaic) -> dict[str, NDArray[Any]]:
        """A picture ``(y, x)`` of each channel, its longer edge at most ``side`` pixels, of the sites in the mosaic.

        It is the first time point and the middle of z; channels whose planes do not exist are left out.
        """
        fields = self._open(well)
        drawn = {site: field for site, field in fields.items() if site in mosaic.sites}
        if not drawn:  # the sites are one, or other ones than the plate's
            drawn, mosaic = dict(list(fields.items())[:1]), Mosaic(sites=tuple(fields)[:1], columns=1)
        channels: dict[str, dict[int | None, NDArray[Any]]] = {}
        for site, field in drawn.items():
            for channel, plane in _middle_planes(field, mosaic.site_side(side)).items():
                channels.setdefault(channel, {})[site] = plane
        return {channel: mosaic.compose(planes, side) for channel, planes in channels.items()}

    def _open(self, well: str) -> Well:
        if self.backend == "zarr":
            from openhcs_engine.ngff.reader import open_plate

            return open_plate(self.folder / "images.zarr", [well])[well]
        from openhcs_dagster.tiff_wells import open_tiff_well

        return open_tiff_well(self.folder / "images" / well)


def _middle_planes(field: Field, side: int) -> dict[str, NDArray[Any]]:
    """One plane of each channel, of the smallest level that has ``side`` pixels."""
    array = field.array(_level(field, side))
    z = array.shape[2] // 2
    planes = {label: array[0, channel, z] for channel, label in enumerate(_distinct(field.channel_labels))}
    return {label: np.asarray(plane) for label, plane in planes.items() if not np.ma.is_masked(plane)}


def _level(field: Field, side: int) -> int:
    for level in reversed(range(1, field.levels)):
        if min(field.array(level).shape[-2:]) >= side:
            return level
    return 0


def _distinct(labels: tuple[str, ...]) -> list[str]:
    """Two channels may have one name."""
    return [label if labels.count(label) == 1 else f"{label} ({place + 1})" for place, label in enumerate(labels)]
