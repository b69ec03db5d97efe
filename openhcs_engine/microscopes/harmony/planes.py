"""Harmony's records, or its file names → planes: which image each one has, and what the positions say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Final

from msgspec import structs

from openhcs_engine.microscopes.harmony.index import HarmonyImage, HarmonyIndex
from openhcs_engine.microscopes.harmony.names import HarmonyName, image_base, parse_harmony_name, url_paths
from openhcs_engine.microscopes.listing import FolderListing, ListedFile, sha256_of, start_of
from openhcs_engine.microscopes.remarks import Remarks
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.model.plate import PlaneCoordinate
from openhcs_engine.model.wording import first_sentences

_NAMED: Final = 5
"""Files that are named one by one; the others are counted."""
_SAME_STEP_UM: Final = 0.002
"""Heights are written to 1 nm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedIndex:
    """An index and where it lies."""

    path: str
    folder: str
    base: str
    """The plate folder."""
    index: HarmonyIndex


@dataclass(frozen=True)
class HarmonyFiles:
    """The plate's files, by all that an index may call them."""

    listing: FolderListing
    base: str
    """The plate folder."""

    @cached_property
    def images(self) -> dict[str, HarmonyName]:
        """Path → meaning of its name, for images in the plate's own folders; those in ``Images`` come last."""
        return dict(self.named_images(frozenset()))

    def named_images(self, others: Collection[str]) -> Iterator[tuple[str, HarmonyName]]:
        """The same one by one, without the paths in ``others``."""
        for folder in self.folders:
            start = start_of(folder)
            left = [name for name in self.listing.names[folder] if start + name not in others]
            found = ((start + name, parse_harmony_name(name)) for name in left)
            yield from ((path, name) for path, name in found if name is not None)

    @cached_property
    def folders(self) -> list[str]:
        """The plate's own folders of images."""
        return sorted(folder for folder in self.listing.names if image_base(folder) == self.base)

    @cached_property
    def paths(self) -> frozenset[str]:
        """All files of the listing."""
        names = self.listing.names.items()
        return frozenset(chain.from_iterable([start_of(folder) + name for name in inside] for folder, inside in names))

    @cached_property
    def by_folded_path(self) -> dict[str, str]:
        """Without regard to case: Harmony's computers have none."""
        return {path.lower(): path for path in sorted(self.paths)}

    @cached_property
    def by_stem(self) -> dict[str, str]:
        """Images by their names alone, ``.tif`` or ``.tiff``; one in ``Images`` is preferred to others of its name."""
        return {_stem(path): path for path in self.images}

    @cached_property
    def by_meaning(self) -> dict[tuple[str, int, int, int, int], str]:
        """Images by well, field, plane, channel and time point; of several, the first of a kinetic series."""
        ordered = sorted(self.images.items(), key=lambda item: (item[1].fast, item[1].lifetime), reverse=True)
        return {name[:5]: path for path, name in ordered}

    def find(self, candidates: Sequence[str]) -> str | None:
        """The file that one of these paths leads to: exactly, in another case, or in another of the plate's folders."""
        for candidate in candidates:
            if candidate in self.paths:
                return candidate
        for candidate in candidates:
            if (path := self.by_folded_path.get(candidate.lower())) is not None:
                return path
        for candidate in candidates:
            if (path := self.by_stem.get(_stem(candidate))) is not None:
                return path
        return None

    def folder_of_images(self, fallback: str) -> str:
        """Where an image lies that is not there: beside most others."""
        folders = Counter(path.rpartition("/")[0] for path in self.images)
        return folders.most_common(1)[0][0] if folders else fallback


def _stem(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return name.removesuffix(".tiff").removesuffix(".tif")


@dataclass(frozen=True, slots=True)
class IndexedPlanes:
    """What an index lists."""

    planes: tuple[ImagePlane, ...]
    """Of each image that was acquired, present or not."""
    errors: tuple[str, ...] = ()
    """Images that it records as failed, one sentence each."""
    failed: tuple[PlaneCoordinate, ...] = ()
    """Their coordinates, where no other record has a sound image."""


def planes_of_index(located: LocatedIndex, files: HarmonyFiles, remarks: Remarks) -> IndexedPlanes:
    """One plane for each image that the index lists as sound, present or not; and what it records as failed."""
    placing = _Placing(located, files)
    placing.run(remarks)
    planes = tuple(placing.planes.values())
    _warn_of_absent_channels(located.index, planes, remarks)
    failed = tuple(structs.astuple(key) for key in placing.failed if key not in placing.planes)
    return IndexedPlanes(planes, tuple(placing.errors), failed)


def _warn_of_absent_channels(index: HarmonyIndex, planes: tuple[ImagePlane, ...], remarks: Remarks) -> None:
    """Name channels without any file, beside others that have some: they were never copied here."""
    shown = {plane.key.channel for plane in planes if plane.present}
    absent = sorted({plane.key.channel or 0 for plane in planes} - shown) if shown else []
    for number in absent:
        name = index.channels[number].name
        called = f'{number} ("{name}")' if name else f"{number}"
        remarks.warnings.append(f"The index lists channel {called}, but no file of it is in the folder.")


def _key_of(image: HarmonyImage) -> ImageKey:
    return ImageKey(image.well, image.field, image.channel, image.plane, image.timepoint)


class _Placing:
    """Finds each record's file, and remembers what is odd."""

    def __init__(self, located: LocatedIndex, files: HarmonyFiles) -> None:
        self.located = located
        self.files = files
        self.start = start_of(located.folder)
        self.known = files.listing.known
        images = located.index.images
        self.first_timepoint = min((image.timepoint for image in images), default=0)
        self.relative_z = any(image.z_um is not None for image in images)
        self.planes: dict[ImageKey, ImagePlane] = {}
        self.used: dict[str, ImageKey | None] = {}
        """Path → the plane that it is; None: a record says that it is none, and another may say that it is one."""
        self.repeated = 0
        self.rivals: list[str] = []
        self.taken: list[str] = []
        self.errors: list[str] = []
        self.failed: dict[ImageKey, None] = {}
        self.outside: list[str] = []

    def run(self, remarks: Remarks) -> None:
        for image in self.located.index.images:
            if image.is_ok:
                self.add(self.plane(image))
            else:
                self.refuse(image)
        self.report(remarks)

    def plane(self, image: HarmonyImage) -> ImagePlane:
        key = _key_of(image)
        path, is_there = self.path_of(image)
        if is_there and path is not None and (self.used.setdefault(path, key) or key) != key:
            self.taken.append(path)
            is_there = False
        known = self.known.get(path or "") if is_there else None
        unasked = None if is_there else 0
        return ImagePlane(
            key=key,
            path=path,
            present=is_there,
            size=unasked if known is None else known.size,
            mtime_ns=unasked if known is None else known.mtime_ns,
            x_um=image.x_um,
            y_um=image.y_um,
            z_um=image.z_um if self.relative_z else image.absolute_z_um,
        )

    def path_of(self, image: HarmonyImage) -> tuple[str | None, bool]:
        """Where the image lies, or should lie; True if it is there."""
        located, url = self.located, image.url
        if url is None:
            # File names count time points from 1, whatever the index counts from.
            timepoint = image.timepoint - self.first_timepoint + 1
            name = HarmonyName(image.well, image.field, image.plane, image.channel, timepoint)
            found = self.files.by_meaning.get(name[:5])
            return (self.expected(str(name)), False) if found is None else (found, True)
        beside = self.start + url
        if beside in self.files.paths:  # a path of the listing leads nowhere else
            return beside, True
        candidates = url_paths(url, located.folder, located.base)
        if not candidates:
            self.outside.append(ascii(url[:120]))
            return None, False
        found = self.files.find(candidates)
        if found is None and candidates[0].rpartition("/")[0] == located.folder:
            return self.expected(candidates[0].rpartition("/")[2]), False
        return (candidates[0], False) if found is None else (found, True)

    def expected(self, name: str) -> str:
        folder = self.image_folder
        return f"{folder}/{name}" if folder else name

    @cached_property
    def image_folder(self) -> str:
        """Where a missing image belongs."""
        return self.files.folder_of_images(self.located.folder)

    def add(self, plane: ImagePlane) -> None:
        known = self.planes.setdefault(plane.key, plane)
        if known is plane:
            return
        if known.path == plane.path:
            self.repeated += 1
        elif plane.present and not known.present:
            self.planes[plane.key] = plane
        elif plane.present:
            self.rivals.append(
                f"{plane.path} was left out: the index gives it the same well, site, channel, z and time point as "
                f"{known.path}."
            )

    def refuse(self, image: HarmonyImage) -> None:
        """A record of an image that was not acquired: an error of the instrument, never a plane."""
        path, is_there = self.path_of(image)
        if is_there and path is not None:
            self.used.setdefault(path, None)
        self.failed[_key_of(image)] = None
        self.errors.append(
            f"Well {image.well}, site {image.field}, channel {image.channel}, z {image.plane}, time point "
            f"{image.timepoint}: {self.located.path} records the state {image.state!r}"
            + (f"; {path} was left out." if is_there else f" for {path}.")
        )

    def report(self, remarks: Remarks) -> None:
        index, path = self.located.index, self.located.path
        if index.plates > 1:
            remarks.warnings.append(f"{path} speaks of {index.plates} plates; all images are read as the first's.")
        if index.unusable:
            first = f" (the first: {index.first_unusable})" if index.first_unusable else ""
            remarks.warnings.append(
                f"{path} has {index.unusable} records without a row, column or channel, or with a number that cannot "
                f"be read{first}; not used."
            )
        if self.repeated:
            remarks.notes.append(f"{path} lists {self.repeated} images twice; each was counted once.")
        remarks.warnings += first_sentences(self.rivals, _NAMED, "files were left out for the same reason")
        if self.outside:
            remarks.warnings.append(
                f"{path} names {len(self.outside)} files outside of the plate folder, the first {self.outside[0]}; "
                "they were not looked for."
            )
        if self.taken:
            remarks.warnings.append(
                f"{path} names {len(self.taken)} files for planes although they are other planes already (the first: "
                f"{self.taken[0]}); those planes count as missing."
            )
        unlisted = [name for name, _ in self.files.named_images(self.used)]
        if unlisted:
            remarks.warnings.append(
                f"{len(unlisted)} images in the folder are not in {path} and were left out, the first {unlisted[0]}."
            )


def planes_of_names(
    listing: FolderListing, names: Mapping[str, HarmonyName], remarks: Remarks
) -> tuple[ImagePlane, ...]:
    """One plane for each image, by its name; files of the same plane are confirmed by their bytes and counted once."""
    found: dict[ImageKey, list[ListedFile]] = {}
    for path, (well, site, plane, channel, timepoint, *_) in names.items():
        found.setdefault(ImageKey(well, site, channel, plane, timepoint), []).append(listing.file(path))
    copies, rivals = 0, list[str]()
    for chosen, *others in found.values():
        for other in others:
            if _same_bytes(listing, chosen, other):
                copies += 1
            else:
                rivals.append(
                    f"{other.path} was left out: it differs from {chosen.path}, but both are the same well, site, "
                    "channel, z and time point."
                )
    if copies:
        remarks.notes.append(f"{copies} files repeat others byte for byte; each image was counted once.")
    remarks.warnings += first_sentences(rivals, _NAMED, "files were left out for the same reason")
    return tuple(
        ImagePlane(key=key, path=file.path, size=file.size, mtime_ns=file.mtime_ns) for key, (file, *_) in found.items()
    )


def _same_bytes(listing: FolderListing, one: ListedFile, other: ListedFile) -> bool:
    if not listing.are_as_large(one.path, other.path):
        return False
    try:
        return _digest(listing, one) == _digest(listing, other)
    except OSError:
        return False


def _digest(listing: FolderListing, file: ListedFile) -> str:
    with listing.open(file.path) as stream:
        return sha256_of(stream)


def z_step(planes: ImageIndex) -> float | None:
    """Distance of neighbouring planes in µm, if the first stack that has heights is evenly spaced; None otherwise."""
    stacks: dict[ImageKey, dict[int, float]] = {}
    for plane in planes:
        if plane.z_um is not None and plane.key.z_index is not None:
            stacks.setdefault(plane.key.replace(z_index=None), {})[plane.key.z_index] = plane.z_um
    heights = next((sorted(stack.items()) for stack in stacks.values() if len(stack) > 1), [])
    steps = [(upper - lower) / (above - below) for (below, lower), (above, upper) in pairwise(heights)]
    if not steps or max(steps) - min(steps) > _SAME_STEP_UM:
        return None
    return round(abs(sum(steps) / len(steps)), 4) or None
