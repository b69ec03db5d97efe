"""A plate's output behind a URL of an object store, which puts objects whole and renames nothing.

A well is published in four steps, under a mark that keeps others from it (see ``write_lock``): images and tables are
put under names that were never used before; its group, one request, names them; its manifest, one request, decides;
what the version before left is removed. Whoever finds the mark of a dead publisher settles it: what the manifest lists
stays, all else of the well goes, and the group is again what the manifest says.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openhcs_engine.errors import ManifestError, OutputPlaceError
from openhcs_engine.files.address import is_remote
from openhcs_engine.files.keys import check_key
from openhcs_engine.files.private import make_private_folder
from openhcs_engine.files.unfinished import sweep, unfinished_folder
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import is_well, plate_order
from openhcs_engine.ngff.groups import attributes_in, version_by_files
from openhcs_engine.ngff.nodes import ATTRIBUTES_V2, GROUP_V2, NODE_V3
from openhcs_engine.ngff.options import DEFAULT_OPTIONS, ImageOptions
from openhcs_engine.ngff.plate_group import VERSION_FILES, PlateGroup, rows_of, wells_listed
from openhcs_engine.ngff.writing.plate_store import refuse_version
from openhcs_engine.output.bucket.fits import BucketFits
from openhcs_engine.output.bucket.listing import BucketFiles, listed_files
from openhcs_engine.output.bucket.object_names import WellVersion, is_as_listed, is_well_group
from openhcs_engine.output.bucket.objects import MEMORY, Bucket, is_around
from openhcs_engine.output.bucket.tables import make_bucket_tables
from openhcs_engine.output.bucket.write_lock import PLATE, Held, Mark, hold, is_dead, read_marks
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.image_sets import KnownManifests, PresentWell
from openhcs_engine.output.layout import (
    CONTEXTS,
    DISK_IMAGES,
    IMAGE_SETS,
    LOGS,
    PREVIEWS,
    PUBLISHING,
    TABLES,
    WELLS,
    ZARR_IMAGES,
    image_path,
    image_sets_of,
    is_preview,
    is_zarr,
    manifest_name,
    place_in_set,
    published_path,
    well_of_manifest,
    well_of_path,
)
from openhcs_engine.output.listing import PresentFile
from openhcs_engine.output.manifest import StagedWell, WellManifest, manifest_of_well, manifest_to_json, removed
from openhcs_engine.output.plans import image_sets_of_plans, plan_name
from openhcs_engine.plan.context import MaterializePlan
from openhcs_engine.plan.document import packed

if TYPE_CHECKING:
    from openhcs_engine.ngff.reading.reader import PlateReader

_HERE: Final = f"openhcs-{os.getuid()}"
"""Folder of this user among this host's temporary files: wells are written there before they are sent."""
_REMEDY: Final = "remove it, or name another folder for temporary files in TMPDIR"


@dataclass(frozen=True)
class PlateBucket(PlateOutput):
    """Objects below a URL; a value that may be handed to other processes."""

    bucket: Bucket
    backend: str
    """``zarr`` or ``disk``: what new wells are written as."""

    @classmethod
    def at(cls, url: str, backend: str = "zarr") -> PlateBucket:
        """The output at a URL; OutputPlaceError if it is none of an object store."""
        protocol, _, path = url.partition("://")
        if not path.strip("/"):
            raise OutputPlaceError(
                f"The URL {url} names no bucket; give one, such as {protocol}://bucket/results.", path=url
            )
        return cls(Bucket(url.rstrip("/")), backend)

    @property
    def address(self) -> str:
        """The URL."""
        return self.bucket.url

    @property
    def in_this_process(self) -> bool:
        """True for ``memory://``, which no other process sees."""
        return self.bucket.protocol == MEMORY

    @property
    def unfinished_place(self) -> Path:
        """The temporary files of this host; TMPDIR moves them."""
        return Path(tempfile.gettempdir()) / _HERE

    @property
    def files(self) -> BucketFiles:
        """What is there now, as a verification sees it."""
        return BucketFiles(self.bucket)

    @property
    def fits(self) -> BucketFits:
        """What was fitted once for the plate."""
        return BucketFits(self.bucket)

    def check_usable(self, plate_root: str | Path) -> None:
        """Refuse a URL in or around the raw plate's, and one that holds something else; see PlateOutput."""
        raw = str(plate_root)
        if is_remote(raw) and (is_around(raw, self.address) or is_around(self.address, raw)):
            raise OutputPlaceError(
                f"The output {self.address} lies inside the raw plate {raw}, or around it, which is never written to; "
                "choose another output.",
                path=self.address,
            )
        names = self.bucket.names()
        others = [name for name in (ZARR_IMAGES, DISK_IMAGES, TABLES) if name in names]
        if others and not {CONTEXTS, PUBLISHING}.intersection(names):
            raise OutputPlaceError(
                f"{self.address} holds {' and '.join(others)} of something else (there are no {CONTEXTS}/ in it); "
                "choose another output or plate id.",
                path=self.address,
            )

    def check_free_space(self, needed: int) -> None:
        """Object stores do not fill."""

    def prepare(
        self, plate: Plate, options: ImageOptions = DEFAULT_OPTIONS, materialized: Collection[MaterializePlan] = ()
    ) -> None:
        """Refuse images of another version of OME-Zarr; see PlateOutput."""
        self.bucket.objects(PUBLISHING)  # a bucket that does not exist is named before anything is computed
        for image_set in self.zarr_sets(materialized):
            refuse_version(f"{self.address}/{image_set}", self._version(image_set), options.ngff)

    def list_wells(
        self, group: PlateGroup | None = None, image_sets: Collection[str] = (), known: KnownManifests | None = None
    ) -> None:
        """Make the groups of OME-Zarr plates list the published wells; see PlateOutput."""
        known = known or KnownManifests()
        self._update(known)  # most of it while others may write
        if known.read or image_sets:
            with self._plate_lock():
                self._list(group, image_sets, known)

    def present(self, known: KnownManifests) -> Mapping[str, PresentWell]:
        """Every well that has a manifest now; see PlateOutput."""
        present = self._present(known)
        # Another run may have replaced a well after the listing; it is so if the next one shows the same.
        seen: dict[str, PresentWell] = {}
        while doubtful := {well: each for well, each in present.items() if each.lacking and seen.get(well) != each}:
            seen |= doubtful
            for well in doubtful:
                del known.read[well]
            present = self._present(known)
        return present

    def save_contexts(self, document: bytes, fingerprint: str) -> str:
        """Keep a plan document; see PlateOutput."""
        path = plan_name(fingerprint)
        self._put_changed({path: packed(document)})
        return f"{self.address}/{path}"

    @contextmanager
    def staging(self, run_id: str) -> Iterator[Path]:
        """A folder among this host's temporary files; see ``sweep`` for what killed runs left there."""
        make_private_folder(self.unfinished_place, _REMEDY)
        with unfinished_folder(self.unfinished_place / "run") as hidden:
            folder = hidden / check_key(run_id).replace("/", "_")
            folder.mkdir()
            yield folder

    def publish(self, staged: StagedWell, manifest: WellManifest) -> None:
        """Put a staged well in place of what was published before; see PlateOutput."""
        staged.refuse_if_removed()
        with self._well(staged.well, staged.folder.parent.name) as held:
            self._replace(staged, manifest, held)
        shutil.rmtree(staged.folder, ignore_errors=True)

    def published(self, well: str, fingerprint: str | None = None) -> WellManifest | None:
        """The manifest of a well whose objects are all there with the right sizes; see PlateOutput."""
        return self._published({well: fingerprint}).get(well)

    def unchanged(self, fingerprints: Mapping[str, str | None]) -> dict[str, WellManifest]:
        """``published`` of many wells by one listing of the whole output; those that are not are left out."""
        return self._published(fingerprints)

    def wells(self) -> tuple[str, ...]:
        """Wells that have a manifest, in plate order."""
        names = (name.removesuffix(".json") for name in self.bucket.names(WELLS))
        return tuple(sorted(filter(is_well, names), key=plate_order))

    def store_path(self, well: str) -> str:
        """URL of the well's images."""
        return f"{self.address}/{image_path(self.backend, well)}"

    def open_images(self) -> PlateReader:
        """A lazy reader of the published wells of the zarr backend; see PlateOutput."""
        from openhcs_engine.ngff.reading.reader import open_plate

        images = (path for path in self.bucket.objects(ZARR_IMAGES) if not is_well_group(path))
        written = {owner[0] for path in images if (owner := well_of_path(path)) is not None}
        return open_plate(f"{self.address}/{ZARR_IMAGES}", written.intersection(self.wells()))

    def drop(self, *wells: str) -> None:
        """Remove wells, so that the next run makes them again; nothing published is fine."""
        if not wells:
            return
        with self._plate_lock():
            self._list(without=wells)  # first: programs fail at listed wells without images
            for well in wells:
                with self._well(well) as held:
                    held.note((*self._everywhere(well), *self._single_files_of(well)), ())
                    held.check()
                    self.bucket.remove([manifest_name(well)])
                    self._tidy(held.mark.places, ())

    def sweep(self) -> None:
        """Settle what dead publishers left, and remove their staged wells among this host's temporary files.

        Living ones, and wells whose manifest is damaged, are left alone.
        """
        sweep(make_private_folder(self.unfinished_place, _REMEDY))
        self.fits.sweep()
        found = self.bucket.objects(PUBLISHING)
        marks = read_marks(self.bucket, found)
        # By this host's clock; who gets in goes by the store's own.
        ages = {path: (time.time_ns() - found[path].changed_ns) / 1e9 for path in marks}
        living = {path.split("/")[1] for path, mark in marks.items() if not is_dead(mark, ages[path])}
        for what in sorted({path.split("/")[1] for path in marks} - living):
            if what == PLATE or is_well(what):
                with self._plate_lock() if what == PLATE else self._well(what):
                    pass  # who gets in settles what the dead left

    def make_tables(self) -> Mapping[str, tuple[str, ...]]:
        """Make the plate's tables of the wells'; see PlateOutput."""
        if not self.bucket.names(TABLES):
            return {}
        with self._plate_lock():
            return make_bucket_tables(self.bucket, self.wells())

    def log_folder(self) -> Path:
        """A new folder among this host's temporary files: objects cannot be appended to."""
        return Path(tempfile.mkdtemp(prefix="openhcs-log-"))

    def keep_log(self, log: Path) -> None:
        """Put the log, and remove its folder."""
        self.bucket.upload({f"{LOGS}/{log.name}": log})
        shutil.rmtree(log.parent, ignore_errors=True)

    def _published(self, fingerprints: Mapping[str, str | None]) -> dict[str, WellManifest]:
        files, found = self.files, dict[str, WellManifest]()
        paths = {path: well for well in fingerprints if (path := manifest_name(well)) in files.by_path()}
        for path, content in files.read_all(tuple(paths)):
            well = paths[path]
            manifest = None if isinstance(content, OSError) else _readable(content, path, well)
            if manifest is None or not self._is_wanted(manifest, fingerprints[well]):
                continue
            present = files.by_path()
            if all(file.path in present and present[file.path].size == file.size for file in manifest.files):
                found[well] = manifest
        return found

    def _present(self, known: KnownManifests) -> dict[str, PresentWell]:
        found = self.files.by_path()
        self._update(known, found)
        return known.present(lambda path: found[path].size if path in found else None)

    def _replace(self, staged: StagedWell, manifest: WellManifest, held: Held) -> None:
        version = WellVersion.of(staged, held.mark.token)
        before = listed_files(self.bucket, staged.well)
        held.note(self._touched(version, before), self._groups_now({*version.groups, *(before or ())}))
        self._upload(version, staged)
        held.check()
        self.bucket.put_all(version.groups)
        held.check()
        self.bucket.put(manifest_name(staged.well), manifest_to_json(version.manifest(manifest)))
        self._tidy(held.mark.places, {file.path for file in version.files})

    def _touched(self, version: WellVersion, before: Collection[str] | None) -> tuple[str, ...]:
        """Where something of the well lies or will lie; ``before`` None: its manifest is damaged and cannot say."""
        if before is None:
            others = [*self._everywhere(version.well), *self._single_files_of(version.well)]
        else:
            others = [*self._usual(version.well), *map(published_path, before)]
        return tuple(sorted({*version.places, *others}))

    def _upload(self, version: WellVersion, staged: StagedWell) -> None:
        try:
            self.bucket.upload(version.uploads)
        except FileNotFoundError as error:
            raise removed(staged.well, staged.folder) from error

    @contextmanager
    def _well(self, well: str, run: str = "") -> Iterator[Held]:
        """The right to write a well, after what dead publishers of it left is settled; undoes what fails."""
        with hold(self.bucket, well, run) as held:
            for path, mark in held.dead:
                if mark is not None:
                    self._settle(mark)
                self.bucket.remove([path])
            try:
                yield held
            except BaseException:
                if held.is_mine:
                    self._settle(held.mark)
                    held.release()
                else:
                    self._remove_own(held.mark)
                raise

    @contextmanager
    def _plate_lock(self) -> Iterator[None]:
        """The right to write files of the whole plate, each of which is right or is written again."""
        with hold(self.bucket, PLATE) as held:
            self.bucket.remove([path for path, _ in held.dead])
            try:
                yield
            except BaseException:
                held.release()
                raise

    def _settle(self, mark: Mark) -> None:
        """Bring a well back to what its manifest says, whatever its publisher was at."""
        listed = listed_files(self.bucket, mark.what)
        for prefix in mark.places:
            self.bucket.abort_uploads(prefix)
        if listed is None:
            self._forget(mark)
            return
        for path, text in mark.groups:
            content = text.encode()
            if path in listed and is_as_listed(listed[path], content) and self.bucket.read_or_none(path) != content:
                self.bucket.put(path, content)
        self._tidy(mark.places, listed)

    def _forget(self, mark: Mark) -> None:
        """Of a well whose manifest is damaged, only what this publisher put goes."""
        self.bucket.put_all({path: text.encode() for path, text in mark.groups})
        self._remove_own(mark)

    def _remove_own(self, mark: Mark) -> None:
        """Remove what a publisher put and no manifest lists: nobody else's objects have its token."""
        listed = listed_files(self.bucket, mark.what) or {}
        self.bucket.remove([path for path in self._objects(mark.places) if mark.token in path and path not in listed])

    def _tidy(self, paths: Collection[str], listed: Collection[str]) -> None:
        """Remove what is below these paths of a well and not listed."""
        self.bucket.remove([path for path in self._objects(paths) if path not in listed])

    def _objects(self, prefixes: Collection[str]) -> dict[str, PresentFile]:
        """Objects below paths of a well."""
        found = dict[str, PresentFile]()
        for prefix in prefixes:
            if prefix.startswith(f"{TABLES}/") or is_preview(prefix):
                found |= {path: about for path, about in self.bucket.objects(prefix).items() if path == prefix}
            else:
                found |= self.bucket.objects(prefix)
        return found

    def _usual(self, well: str) -> list[str]:
        """Where images of a well lie if no step keeps others."""
        return [place_in_set(image_set, well) for image_set in sorted(IMAGE_SETS)]

    def _everywhere(self, well: str) -> list[str]:
        """Where anything of a well but its tables and its preview may lie."""
        plans = (self.bucket.read_or_none(path) for path in self.bucket.objects(CONTEXTS))
        planned = image_sets_of_plans(plan for plan in plans if plan is not None)
        image_sets = IMAGE_SETS | planned | image_sets_of(listed_files(self.bucket, well) or ())
        return [place_in_set(image_set, well) for image_set in sorted(image_sets)]

    def _single_files_of(self, well: str) -> list[str]:
        """Tables and previews of a well, whatever lists them."""
        paths = [*self.bucket.objects(TABLES), *filter(is_preview, self.bucket.objects(PREVIEWS))]
        return [path for path in paths if (owner := well_of_path(path)) is not None and owner[0] == well]

    def _groups_now(self, paths: Collection[str]) -> tuple[tuple[str, str], ...]:
        """The groups among these paths, as they are."""
        contents = ((path, self.bucket.read_or_none(path)) for path in sorted(paths) if is_well_group(path))
        return tuple((path, content.decode("utf-8", "replace")) for path, content in contents if content is not None)

    def _list(
        self,
        group: PlateGroup | None = None,
        image_sets: Collection[str] = (),
        known: KnownManifests | None = None,
        without: Collection[str] = (),
    ) -> None:
        """As ``list_wells``, without some wells; the caller holds the plate's mark."""
        known = known or KnownManifests()
        self._update(known)
        for image_set in sorted({*image_sets, *filter(is_zarr, self.bucket.names())}):
            ngff, attributes = self._group(image_set)
            before = None if ngff is None else PlateGroup.read(attributes, ngff)
            wanted = group.joined(before) if group is not None and image_set in image_sets else before
            if wanted is not None:
                refuse_version(f"{self.address}/{image_set}", ngff, wanted.ngff)
                wells = [well for well in known.wells(image_set, wanted.ngff) if well not in without]
                self._put_groups(image_set, wanted, wells, rows_of(wells_listed(attributes)))

    def _put_groups(self, image_set: str, group: PlateGroup, wells: Collection[str], before: Iterable[str]) -> None:
        """Put a plate's group and those of its rows, and remove those of rows ``before`` that hold no such well."""
        files = {f"{image_set}/{path}": content for path, content in group.files(wells).items()}
        for path, content in files.items():  # one after another: whoever finds the plate's finds all that it names
            self._put_changed({path: content})
        names = (NODE_V3, GROUP_V2, ATTRIBUTES_V2)
        old = [f"{image_set}/{name}" for name in names] + [
            f"{image_set}/{row}/{name}" for row in before for name in names
        ]
        for level in (1, 2):
            self.bucket.remove([path for path in old if path.count("/") == level and path not in files])

    def _group(self, image_set: str) -> tuple[str | None, dict[str, Any]]:
        """Version and attributes of a plate's group; nothing where there is none, or it is damaged."""
        for name, version in VERSION_FILES.items():
            if (content := self.bucket.read_or_none(f"{image_set}/{name}")) is not None:
                return version, attributes_in(_group(content))
        return None, {}

    def _version(self, image_set: str) -> str | None:
        return version_by_files(self.bucket.names(image_set))

    def _update(self, known: KnownManifests, found: Mapping[str, PresentFile] | None = None) -> None:
        """``found``: what was listed already."""
        found = self.bucket.objects(WELLS) if found is None else found
        stamps = {well: about for path, about in found.items() if (well := well_of_manifest(path)) is not None}
        known.update(stamps, self._manifests)

    def _manifests(self, wells: Collection[str]) -> dict[str, WellManifest | None]:
        contents = self.bucket.read_all([manifest_name(well) for well in wells])
        return {
            well: _readable(content, name, well)
            for well in wells
            if (content := contents.get(name := manifest_name(well))) is not None
        }

    def _put_changed(self, contents: Mapping[str, bytes]) -> None:
        """Put what is not there as it should be."""
        self.bucket.put_all(
            {path: content for path, content in contents.items() if self.bucket.read_or_none(path) != content}
        )

    def _is_wanted(self, manifest: WellManifest, fingerprint: str | None) -> bool:
        return fingerprint is None or (manifest.fingerprint, manifest.backend) == (fingerprint, self.backend)


def _group(content: bytes) -> dict[str, Any]:  # Any: what JSON may hold
    """The document of a group; empty where it is none."""
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _readable(content: bytes, path: str, well: str) -> WellManifest | None:
    try:
        return manifest_of_well(content, path, well)
    except ManifestError:
        return None


__all__ = ["PlateBucket"]
