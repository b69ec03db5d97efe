"""The contract of what takes one plate's results: a folder of this host, or a URL of an object store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_engine.model.plate import Plate
from openhcs_engine.ngff.options import DEFAULT_OPTIONS, ImageOptions
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.output.fits.contract import OutputFits
from openhcs_engine.output.image_sets import KnownManifests, PresentWell
from openhcs_engine.output.layout import ZARR_IMAGES
from openhcs_engine.output.listing import OutputFiles
from openhcs_engine.output.manifest import StagedWell, WellManifest
from openhcs_engine.plan.context import MaterializePlan

if TYPE_CHECKING:
    from openhcs_engine.ngff.reading.reader import PlateReader


class PlateOutput(ABC):
    """``<output>/<plate_id>``: wells go in whole, one by one, and are found by their manifests.

    Any number of runs may work on one plate. Whenever one of them is interrupted, each well is the old one, the new
    one, or absent; never a mixture.
    """

    backend: str
    """``zarr`` or ``disk``: what new wells are written as."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The folder or the URL."""

    @property
    def in_this_process(self) -> bool:
        """True if no other process can write here."""
        return False

    @property
    @abstractmethod
    def unfinished_place(self) -> Path:
        """A folder of this host, made or not, on whose file system wells are written before they are published."""

    @property
    def results_folder(self) -> Path | None:
        """A folder of this host, made or not, on whose file system results take space; None: they take none here."""
        return None

    @property
    @abstractmethod
    def files(self) -> OutputFiles:
        """What is there, as a verification sees it."""

    @property
    @abstractmethod
    def fits(self) -> OutputFits:
        """What was fitted once for the plate."""

    @abstractmethod
    def check_usable(self, plate_root: str | Path) -> None:
        """Refuse, before anything is written, an output in or around the raw plate, and one that holds something else.

        Raises
        ------
        OutputPlaceError
            With the reason.
        """

    @abstractmethod
    def check_free_space(self, needed: int) -> None:
        """Refuse to start what will not fit; ``needed`` in bytes. OutputPlaceError says how much is missing."""

    @abstractmethod
    def prepare(
        self, plate: Plate, options: ImageOptions = DEFAULT_OPTIONS, materialized: Collection[MaterializePlan] = ()
    ) -> None:
        """Make the output ready for wells of a plate; changes no well.

        ``materialized`` are the image sets in which steps keep their planes.

        Raises
        ------
        OutputPlaceError
            If the output refuses, or the images there are of another version of OME-Zarr.
        """

    @abstractmethod
    def list_wells(
        self, group: PlateGroup | None = None, image_sets: Collection[str] = (), known: KnownManifests | None = None
    ) -> None:
        """Make the groups of OME-Zarr plates list the wells that are published now, and no other.

        A plate without a published well has no group. Each group is replaced at once, from the manifests alone, so that
        any number of runs may do it.

        Parameters
        ----------
        group
            What the groups of ``image_sets`` say beside the wells; the wells that were asked for before join it.
        image_sets
            OME-Zarr plates to which the caller adds wells. Others that we wrote go on to say what they said.
        known
            What was read of manifests before; it is brought up to date.

        Raises
        ------
        OutputPlaceError
            If the output refuses, or the images there are of another version of OME-Zarr.
        """

    @abstractmethod
    def present(self, known: KnownManifests) -> Mapping[str, PresentWell]:
        """Every well that has a manifest now, with the files that it lacks; by one listing, without reading a file.

        ``known`` is what was read of manifests before; it is brought up to date. Nothing that is not there is an error.

        Raises
        ------
        OutputPlaceError
            If the output cannot be read.
        """

    def zarr_sets(self, materialized: Iterable[MaterializePlan]) -> tuple[str, ...]:
        """The OME-Zarr plates of a run: that of the results, and those in which steps keep their planes."""
        results = (ZARR_IMAGES,) if self.backend == "zarr" else ()
        return *results, *(each.place for each in materialized if each.backend == "zarr")

    @abstractmethod
    def save_contexts(self, document: bytes, fingerprint: str) -> Path | str:
        """Keep a plan document as ``contexts/<fingerprint>.json.gz``, which says what wells should be there."""

    @abstractmethod
    def staging(self, run_id: str) -> AbstractContextManager[Path]:
        """A folder of this host, named as the run, for its unfinished wells; removed at the end.

        Raises
        ------
        OutputPlaceError
            If it cannot be made.
        """

    @abstractmethod
    def publish(self, staged: StagedWell, manifest: WellManifest) -> None:
        """Put a staged well in place of what was published before; OutputPlaceError if the output refuses."""

    @abstractmethod
    def published(self, well: str, fingerprint: str | None = None) -> WellManifest | None:
        """The manifest of a well whose files are all there with the right sizes; None otherwise.

        With a fingerprint, only a well that was made by it, and for this output's backend. Contents are judged by
        ``verify``.
        """

    def unchanged(self, fingerprints: Mapping[str, str | None]) -> dict[str, WellManifest]:
        """``published`` of many wells, each with its fingerprint or None; those that are not are left out."""
        found = ((well, self.published(well, fingerprint)) for well, fingerprint in fingerprints.items())
        return {well: manifest for well, manifest in found if manifest is not None}

    @abstractmethod
    def wells(self) -> tuple[str, ...]:
        """Wells that have a manifest, in plate order."""

    @abstractmethod
    def store_path(self, well: str) -> str:
        """Where the well's images are, or will be."""

    @abstractmethod
    def open_images(self) -> PlateReader:
        """A lazy reader of the published wells of the zarr backend; NotAnOutputError if there are no such images."""

    @abstractmethod
    def drop(self, *wells: str) -> None:
        """Remove wells, so that the next run makes them again; nothing published is fine."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what dead runs left; runs that live, and wells whose manifest is damaged, are left alone."""

    @abstractmethod
    def make_tables(self) -> Mapping[str, tuple[str, ...]]:
        """Make the plate's tables of the wells'; see ``plate_tables.make_plate_tables``.

        Returns
        -------
        Mapping
            For each table, the wells that it is without because another pipeline made them with other columns.
        """

    @abstractmethod
    def log_folder(self) -> Path:
        """A folder of this host in which a run writes its log."""

    @abstractmethod
    def keep_log(self, log: Path) -> None:
        """Take a log that was written in ``log_folder`` and has ended."""


__all__ = ["PlateOutput"]
