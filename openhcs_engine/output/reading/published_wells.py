"""The published wells of a plate's output folder, whatever backend wrote them; pixels are read when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import MissingKeyError, NotAnOutputError, PlaneReadError, UnknownWellError
from openhcs_engine.output.layout import TABLES
from openhcs_engine.output.pictures.previews import Preview
from openhcs_engine.output.reading.losses import Loss, losses_of
from openhcs_engine.output.reading.previews import preview_of

if TYPE_CHECKING:
    from openhcs_engine.output.manifest import WellManifest


class Field(Protocol):
    """One site of a well; ``field[0, 1, ..., :512]`` reads just that part of its pixels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, c, z, y, x) at full size."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        ...

    def __getitem__(self, selection: Any) -> NDArray[Any]:  # Any: integers, slices and ... as NumPy takes them
        """Pixels at full size: an array, or a masked array where planes do not exist; never zeros in their place."""
        ...

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
    """Wells by name in plate order; a well is here if its manifest says that it is published.

    Nothing is read before it is asked for: ``wells["B03"][1][0, 0]`` lists the manifests, opens one well and reads the
    planes of one channel.

    Parameters
    ----------
    folder
        The plate's output folder.
    backend
        ``zarr`` or ``disk``.
    wells
        Those that were asked for; default: all.
    """

    def __init__(self, folder: Path, backend: str, wells: Iterable[str] | None = None) -> None:
        self.folder = folder
        """The plate's output folder."""
        self.backend = backend
        self._asked = None if wells is None else frozenset(wells)

    @cached_property
    def _published(self) -> dict[str, WellManifest]:
        """Manifests of the published wells that were asked for."""
        from openhcs_engine.output.folder.output import PlateFolder

        folder = PlateFolder(self.folder, self.backend)
        there = folder.wells() if self.folder.is_dir() else ()
        asked = there if self._asked is None else [well for well in there if well in self._asked]
        manifests = {well: folder.published(well) for well in asked}
        return {well: manifest for well, manifest in manifests.items() if manifest is not None}

    def __getitem__(self, well: str) -> Well:
        if well not in self._published:
            raise UnknownWellError(f"Well {well} is not published in {self.folder}; run it first.", well=well)
        return self._open(well)

    def __iter__(self) -> Iterator[str]:
        return iter(self._published)

    def __len__(self) -> int:
        return len(self._published)

    def manifest(self, well: str) -> WellManifest | None:
        """What says how a well was made; None if it is not published."""
        return self._published.get(well)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What casts lost in them."""
        return losses_of(self._published)

    def fingerprint(self, well: str) -> str | None:
        """Fingerprint with which a well was published; None if it is not."""
        manifest = self._published.get(well)
        return None if manifest is None else manifest.fingerprint

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that the wells have, sorted; empty if their pipeline makes none."""
        return tuple(sorted({name for _, name, _ in self._table_files()}))

    def table(self, name: str) -> Any:  # Any: a polars frame; polars is imported only where there are tables
        """One table of all wells as a polars frame, wells in plate order, with the column ``well``.

        Raises
        ------
        MissingKeyError
            If no published well has a table of this name.
        """
        import polars

        files = {well: path for well, found, path in self._table_files() if found == name}
        if not files:
            known = ", ".join(self.tables) or "none"
            raise MissingKeyError(
                f"No published well in {self.folder} has a table {name!r} (known: {known}).", key=name
            )
        frames = [_with_well(polars.read_parquet(self.folder / path), well) for well, path in files.items()]
        return polars.concat(frames, how="diagonal_relaxed")

    def _table_files(self) -> Iterator[tuple[str, str, str]]:
        """Well, table and file of each table that a manifest lists."""
        for well, manifest in self._published.items():
            for file in manifest.files:
                match file.path.split("/"):
                    case [tables, name, file_name] if (tables, file_name) == (TABLES, f"{well}.parquet"):
                        yield well, name, file.path

    def previews(self) -> Iterator[tuple[str, Preview]]:
        """How each well looks; damaged ones, and those that are replaced just now, are left out."""
        for well, manifest in self._published.items():
            try:
                preview = preview_of(self.folder, manifest)
            except (PlaneReadError, NotAnOutputError):  # ``openhcs verify`` says which are damaged
                continue
            yield well, preview

    def _open(self, well: str) -> Well:
        if self._published[well].backend == "zarr":
            from openhcs_engine.ngff.reading.reader import open_well

            return open_well(self.folder / "images.zarr", well)
        from openhcs_engine.output.reading.tiff_reader import open_tiff_well

        return open_tiff_well(self.folder / "images" / well)


def _with_well(frame: Any, well: str) -> Any:  # Any: a polars frame
    import polars

    return frame if "well" in frame.columns else frame.select(polars.lit(well).alias("well"), polars.all())
