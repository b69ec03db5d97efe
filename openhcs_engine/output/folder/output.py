"""A plate's output folder: wells go in whole, one by one, and are found by their manifests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

import google_crc32c

from openhcs_engine.errors import ManifestError, NotAnOutputError, OutputPlaceError
from openhcs_engine.files.address import is_remote
from openhcs_engine.files.atomic import (
    StoredFile,
    flush,
    remove,
    remove_empty_parents,
    write_if_changed,
    write_whole,
)
from openhcs_engine.files.keys import check_key
from openhcs_engine.files.links import refuse_links, refuse_links_below
from openhcs_engine.files.locks import hold, locked
from openhcs_engine.files.present import find
from openhcs_engine.files.unfinished import TEMPORARY_PREFIX, hidden_name, remove_if_dead
from openhcs_engine.model.plate import Plate
from openhcs_engine.ngff.groups import read_attributes, version_of
from openhcs_engine.ngff.options import DEFAULT_OPTIONS, ImageOptions
from openhcs_engine.ngff.plate_group import PlateGroup, version_file
from openhcs_engine.ngff.reading.reader import PlateReader, open_plate
from openhcs_engine.ngff.writing.plate_store import refuse_other_version, write_plate_groups
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.folder.fits import FolderFits
from openhcs_engine.output.folder.fsync import flush_names, flush_tree
from openhcs_engine.output.folder.replaced import forget_replaced, replace_well, settle_replaced
from openhcs_engine.output.image_sets import KnownManifests, PresentWell
from openhcs_engine.output.layout import (
    CONTEXTS,
    FITS,
    LOGS,
    REPLACED,
    STAGING,
    TABLES,
    WELLS,
    ZARR_IMAGES,
    image_path,
    image_sets_of,
    manifest_name,
    manifest_path,
    manifest_paths,
    paths_by_well,
    paths_of_well,
    place_in_set,
    preview_path,
)
from openhcs_engine.output.listing import FolderFiles, OutputFiles
from openhcs_engine.output.manifest import STAGED_MANIFEST, StagedWell, WellManifest, manifest_to_json, read_manifest
from openhcs_engine.output.plans import image_sets_of_plans, plan_name, plans_in
from openhcs_engine.output.preflight import check_free_space, check_usable, output_errors
from openhcs_engine.output.tables.plate import make_plate_tables
from openhcs_engine.plan.context import MaterializePlan
from openhcs_engine.plan.document import packed

_UNFINISHED: Final = tuple(f"{where}/{TEMPORARY_PREFIX}*" for where in ("*", "*.zarr/*", f"{TABLES}/*", f"{FITS}/*"))
"""Where files are written whole: beside others of their kind, never inside a well."""


@dataclass(frozen=True)
class PlateFolder(PlateOutput):
    """A folder of this host or of a network drive; a value that may be handed to other processes.

    Publishing, sweeping and dropping hold the lock of ``wells/``, so that any number of runs may work on one plate.
    What is about to be written or deleted is looked at first: a link there, or on the way, is an UnsafePathError.
    """

    folder: Path
    backend: str
    """``zarr`` or ``disk``: what new wells are written as."""
    fsync: bool = False
    """True: a well is on the disk, not only in the computer's memory, before its manifest says that it exists."""

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def unfinished_place(self) -> Path:
        """The folder itself: finished wells are renamed."""
        return self.folder

    @property
    def results_folder(self) -> Path:
        """The folder itself."""
        return self.folder

    @property
    def files(self) -> OutputFiles:
        """What is there, as a verification sees it."""
        return FolderFiles(self.folder)

    @property
    def fits(self) -> FolderFits:
        """What was fitted once for the plate."""
        return FolderFits(self.folder, self.fsync)

    def check_usable(self, plate_root: str | Path) -> None:
        """Refuse the folder before anything is written; see ``preflight.check_usable``."""
        check_usable(self.folder, None if is_remote(str(plate_root)) else Path(plate_root))

    def check_free_space(self, needed: int) -> None:
        """Refuse to start what will not fit; ``needed`` in bytes. OutputPlaceError says how much is missing."""
        check_free_space(self.folder, needed)

    def prepare(
        self, plate: Plate, options: ImageOptions = DEFAULT_OPTIONS, materialized: Collection[MaterializePlan] = ()
    ) -> None:
        """Make the folder; see PlateOutput."""
        with self._lock(f"preparing the output of plate {plate.plate_id}"):
            (self.folder / CONTEXTS).mkdir(exist_ok=True)
            for image_set in self.zarr_sets(materialized):
                refuse_other_version(self.folder / image_set, options.ngff)

    def list_wells(
        self, group: PlateGroup | None = None, image_sets: Collection[str] = (), known: KnownManifests | None = None
    ) -> None:
        """Make the groups of OME-Zarr plates list the published wells; see PlateOutput."""
        if not (self.folder / WELLS).is_dir():
            return
        known = known or KnownManifests()
        self._update(known)  # most of it while others may publish
        with self._lock("listing the wells of the plate"):
            self._list(group, image_sets, known)

    def present(self, known: KnownManifests) -> Mapping[str, PresentWell]:
        """Every well that has a manifest now; see PlateOutput."""
        if not (self.folder / WELLS).is_dir():
            return {}
        with self._lock("looking for the published wells"):
            self._update(known)
            return known.present(lambda path: _size(f"{self.folder}/{path}"))

    def save_contexts(self, document: bytes, fingerprint: str) -> Path:
        """Keep a plan document; see PlateOutput."""
        path = self.folder / plan_name(fingerprint)
        refuse_links(self.folder, [path.relative_to(self.folder)])
        with self._lock("saving the plan"):  # a sweep of another run would remove the unfinished file
            write_if_changed(path, packed(document))
        return path

    @contextmanager
    def staging(self, run_id: str) -> Iterator[Path]:
        """A folder for the unfinished wells of one run, removed at the end; a crash leaves it to the next ``sweep``.

        Raises
        ------
        OutputPlaceError
            If a run of the same id is writing here now.
        """
        folder = self.folder / STAGING / check_key(run_id).replace("/", "_")
        refuse_links(self.folder, [folder.relative_to(self.folder)])
        with self._lock("starting a run"):
            descriptor = self._claim(folder)
        try:
            yield folder
        finally:
            with suppress(OSError):  # the next sweep removes it
                shutil.rmtree(_hidden(folder), ignore_errors=True)
            with self._lock("ending a run"), suppress(OSError):
                folder.parent.rmdir()
            os.close(descriptor)

    def publish(self, staged: StagedWell, manifest: WellManifest) -> None:
        """Put a staged well in place of what was published before.

        Whenever this is interrupted, the well is the old one, the new one, or absent; never a mixture. An absent one
        has its old version in ``.replaced/``, and the next ``sweep`` puts it back.

        Raises
        ------
        OutputPlaceError
            If the file system refuses. The old version is there again; if it refused that, too, the message says where
            the old version lies.
        """
        with output_errors(self.folder, f"publishing well {staged.well}"):
            # A disk that is full refuses it here, while the old well still stands.
            staged.refuse_if_removed()
            (staged.folder / STAGED_MANIFEST).write_bytes(manifest_to_json(manifest))
            if self.fsync:
                flush_tree(staged.folder)
        with self._lock(f"publishing well {staged.well}"):
            staged.refuse_if_removed()
            before = self._paths_before(staged)
            refuse_links(self.folder, [*before, *staged.places, manifest_name(staged.well), REPLACED])
            replace_well(self.folder, staged, before, fsync=self.fsync)
        shutil.rmtree(staged.folder, ignore_errors=True)

    def add_preview(self, manifest: WellManifest, content: bytes) -> None:
        """Give a published well that has none its preview; nothing if another version was published meanwhile.

        Only its manifest and the new file are written, the manifest last and as a whole. Outputs in object stores need
        no such thing: no report is made of them.

        Raises
        ------
        OutputPlaceError
            If the file system refuses. The well stays as it was.
        """
        path, name = preview_path(manifest.well), manifest_name(manifest.well)
        file = StoredFile(path, len(content), google_crc32c.value(content))
        with self._lock(f"writing the preview of well {manifest.well}"):
            if self._manifest(manifest.well) != manifest:
                return
            refuse_links(self.folder, [path, name])
            (self.folder / path).parent.mkdir(exist_ok=True)
            write_whole(self.folder / path, content)
            if self.fsync:
                flush(self.folder / path)
                flush_names([self.folder / path], self.folder)
            write_whole(self.folder / name, manifest_to_json(replace(manifest, files=(*manifest.files, file))))
            if self.fsync:
                flush(self.folder / name)
                flush(self.folder / WELLS)

    def published(self, well: str, fingerprint: str | None = None) -> WellManifest | None:
        """The manifest of a well whose files are all there with the right sizes; None otherwise.

        With a fingerprint, only a well that was made by it, and for this folder's backend. Reads one small file and
        asks for sizes; contents are judged by ``verify``.
        """
        manifest = self._manifest(well)
        if manifest is None:
            return None
        if fingerprint is not None and (manifest.fingerprint, manifest.backend) != (fingerprint, self.backend):
            return None
        return manifest if all(_size(self.folder / file.path) == file.size for file in manifest.files) else None

    def wells(self) -> tuple[str, ...]:
        """Wells that have a manifest, in plate order."""
        return tuple(path.stem for path in manifest_paths(self.folder))

    def well_folder(self, well: str) -> Path:
        """Where the well's images are, or will be."""
        return self.folder / image_path(self.backend, well)

    def store_path(self, well: str) -> str:
        """``well_folder`` as text."""
        return str(self.well_folder(well))

    def open_images(self) -> PlateReader:
        """A lazy reader of the published wells of the zarr backend; NotAnOutputError if there are no such images."""
        wells = {well for well in self.wells() if (self.folder / image_path("zarr", well)).is_dir()}
        return open_plate(self.folder / ZARR_IMAGES, wells)

    def drop(self, *wells: str) -> None:
        """Remove wells, so that the next run makes them again; nothing published is fine."""
        if not wells:
            return
        refuse_links_below(self.folder)
        with self._lock(f"dropping {', '.join(wells)}"):
            self._list(without=wells)  # first: programs fail at listed wells without images
            forget_replaced(self.folder, wells)
            planned = image_sets_of_plans(plans_in(self.folder))
            for well in wells:
                image_sets = planned | image_sets_of(self._listed(well))
                self._withdraw(well)
                self._remove(list(paths_of_well(self.folder, well, image_sets)))

    def sweep(self) -> None:
        """Remove what dead runs left: their staging folders, unfinished files, and results that no manifest lists.

        Old versions of wells whose new ones were not published are put back first. Runs that live, and wells whose
        manifest is damaged, are left alone.
        """
        if not (self.folder / WELLS).is_dir():
            return
        with self._lock("removing the remains of an interrupted run"):
            found = paths_by_well(self.folder, image_sets_of_plans(plans_in(self.folder)))
            unfinished = find(self.folder, *_UNFINISHED)
            paths = (path.relative_to(self.folder) for path in (*self._staged(), *unfinished))
            refuse_links(self.folder, [*paths, *chain.from_iterable(found.values())])
            refuse_links_below(self.folder, REPLACED)
            dead = [(_hidden(run), lock) for run in self._staged() if (lock := hold(run, wait=False)) is not None]
            settle_replaced(self.folder, lambda well: self.published(well) is not None)
            self._list()  # first: programs fail at listed wells without images
            for well, own in found.items():
                self._remove(self._debris(well, own))
            for path in unfinished:
                remove_if_dead(path)
        for staged, lock in dead:
            shutil.rmtree(staged, ignore_errors=True)
            os.close(lock)
        with suppress(OSError):
            (self.folder / STAGING).rmdir()

    def make_tables(self) -> Mapping[str, tuple[str, ...]]:
        """Make the plate's tables of the wells'; see PlateOutput."""
        return {table.name: table.left_out for table in make_plate_tables(self.folder)}

    def log_folder(self) -> Path:
        """Where the logs of all runs are kept."""
        return self.folder / LOGS

    def keep_log(self, log: Path) -> None:
        """It is there already."""

    def _paths_before(self, staged: StagedWell) -> list[str]:
        """What the well leaves behind: its usual paths, those of its manifest, and those that its new files take."""
        image_sets = image_sets_of((*self._listed(staged.well), *staged.places))
        return list(paths_of_well(self.folder, staged.well, image_sets))

    def _listed(self, well: str) -> list[str]:
        """Files that a well's manifest lists; none if it cannot be read."""
        manifest = self._manifest(well)
        return [] if manifest is None else [file.path for file in manifest.files]

    def _withdraw(self, well: str) -> None:
        manifest_path(self.folder, well).unlink(missing_ok=True)
        if self.fsync:
            flush(self.folder / WELLS)

    def _remove(self, paths: list[str]) -> None:
        """Remove paths of wells, and the folders above them that are empty then."""
        for path in paths:
            remove(self.folder / path)
            remove_empty_parents(self.folder / path, self.folder)

    def _list(
        self,
        group: PlateGroup | None = None,
        image_sets: Collection[str] = (),
        known: KnownManifests | None = None,
        without: Collection[str] = (),
    ) -> None:
        """As ``list_wells``, without some wells; the caller holds the folder's lock."""
        known = known or KnownManifests()
        self._update(known)
        for image_set in sorted({*image_sets, *(path.name for path in find(self.folder, "*.zarr"))}):
            refuse_links(self.folder, [image_set])
            before = self._group(image_set)
            wanted = group.joined(before) if group is not None and image_set in image_sets else before
            if wanted is None:
                continue
            own = version_file(wanted.ngff)
            wells = [
                well
                for well in known.wells(image_set, wanted.ngff)
                if well not in without and (self.folder / place_in_set(image_set, well) / own).is_file()
            ]
            write_plate_groups(self.folder / image_set, wanted, wells)

    def _update(self, known: KnownManifests) -> None:
        known.update(self._stamps(), lambda wells: {well: self._manifest(well) for well in wells})

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        """For each well that has a manifest, what changes with it."""
        stamps = dict[str, tuple[int, int, int]]()
        for path in manifest_paths(self.folder):
            with suppress(FileNotFoundError):  # replaced in this moment
                about = path.stat()
                stamps[path.stem] = about.st_size, about.st_mtime_ns, about.st_ino
        return stamps

    def _manifest(self, well: str) -> WellManifest | None:
        """A well's manifest; None without one, or if it cannot be read."""
        try:
            return read_manifest(manifest_path(self.folder, well))
        except ManifestError:
            return None

    def _group(self, image_set: str) -> PlateGroup | None:
        """What a plate's group that we wrote says; None without one, or if it is damaged."""
        folder = self.folder / image_set
        ngff = version_of(folder)
        try:
            return None if ngff is None else PlateGroup.read(read_attributes(folder), ngff)
        except NotAnOutputError:
            return None

    def _claim(self, folder: Path) -> int:
        """Make a run's staging folder anew and lock it; the caller holds the folder's lock."""
        if folder.exists():
            before = hold(folder, wait=False)
            if before is None:
                raise OutputPlaceError(
                    f"Run {folder.name} is still writing to {self.folder}; wait for it or stop it.",
                    path=str(self.folder),
                )
            shutil.rmtree(_hidden(folder))
            os.close(before)
        folder.mkdir(parents=True)
        descriptor = hold(folder, wait=True)
        assert descriptor is not None, "a waiting lock is always granted"
        return descriptor

    def _staged(self) -> list[Path]:
        return [path for path in find(self.folder / STAGING, "*") if path.is_dir()]

    def _debris(self, well: str, paths: list[str]) -> list[str]:
        """Paths of a well that its manifest does not mention."""
        try:
            manifest = read_manifest(manifest_path(self.folder, well))
        except ManifestError:
            return []
        listed = () if manifest is None else manifest.files
        return [path for path in paths if not any(f"{file.path}/".startswith(f"{path}/") for file in listed)]

    @contextmanager
    def _lock(self, doing: str) -> Iterator[None]:
        with output_errors(self.folder, doing):
            refuse_links(self.folder, [WELLS])
            (self.folder / WELLS).mkdir(parents=True, exist_ok=True)
            with locked(self.folder / WELLS):
                yield


def _hidden(staged: Path) -> Path:
    """Rename a run's folder before it is removed: a worker that outlived its run finds all of it, or nothing."""
    return staged.rename(staged.with_name(hidden_name()))


def _size(path: str | Path) -> int | None:
    """Bytes of a file; None if it is missing."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 # a Path for each of a plate's files takes five times as long
    except OSError:
        return None
