"""Harmony's records, or its file names → planes: which image each one has, and what the positions tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from openhcs_engine.microscopes.harmony_index import HarmonyImage, HarmonyIndex
from openhcs_engine.microscopes.harmony_names import HarmonyName, image_base, parse_harmony_name, url_places
from openhcs_engine.microscopes.imagexpress_planes import Remarks, sha256_of
from openhcs_engine.microscopes.listing import FolderListing, ListedFile
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane

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

    by_path: dict[str, ListedFile]
    images: dict[str, HarmonyName]
    """Path → meaning of its name, for images in the plate's own folders; those in ``Images`` come last."""

    @classmethod
    def of(cls, listing: FolderListing, base: str) -> HarmonyFiles:
        """Collect the files of the plate in ``base``."""
        images: dict[str, HarmonyName] = {}
        for folder in sorted(listing.by_folder):
            if image_base(folder) == base:
                names = ((file.path, parse_harmony_name(file.name)) for file in listing.by_folder[folder])
                images.update((path, name) for path, name in names if name is not None)
        return cls(by_path=listing.by_path, images=images)

    @cached_property
    def by_folded_path(self) -> dict[str, ListedFile]:
        """Without regard to case: Harmony's computers have none."""
        return {path.lower(): file for path, file in self.by_path.items()}

    @cached_property
    def by_folded_name(self) -> dict[str, ListedFile]:
        """Images by their names alone; one in ``Images`` is preferred to others of its name."""
        return {path.rpartition("/")[2].lower(): self.by_path[path] for path in self.images}

    @cached_property
    def by_meaning(self) -> dict[tuple[str, int, int, int, int], ListedFile]:
        """Images by well, field, plane, channel and time point; of several, the first of a kinetic series."""
        ordered = sorted(self.images.items(), key=lambda item: (item[1].fast, item[1].lifetime), reverse=True)
        return {name[:5]: self.by_path[path] for path, name in ordered}

    def find(self, places: Sequence[str]) -> ListedFile | None:
        """The file that one of these paths leads to: exactly, in another case, or in another of the plate's folders."""
        for place in places:
            if (file := self.by_path.get(place)) is not None:
                return file
        for place in places:
            if (file := self.by_folded_path.get(place.lower())) is not None:
                return file
        for place in places:
            if (file := self.by_folded_name.get(place.rpartition("/")[2].lower())) is not None:
                return file
        return None

    def folder_of_images(self, fallback: str) -> str:
        """Where an image lies that is not there: beside most others."""
        folders = Counter(path.rpartition("/")[0] for path in self.images)
        return folders.most_common(1)[0][0] if folders else fallback


def planes_of_index(
    located: LocatedIndex, files: HarmonyFiles, remarks: Remarks
) -> tuple[tuple[ImagePlane, ...], tuple[str, ...]]:
    """One plane for each image that the index lists as sound, present or not; and what it records as failed.

    A channel without any file, beside others that have some, is left out with a warning: it was never copied here.
    """
    placing = _Placing(located, files)
    placing.run(remarks)
    return _of_shown_channels(located.index, tuple(placing.planes.values()), remarks), tuple(placing.errors)


def _of_shown_channels(index: HarmonyIndex, planes: tuple[ImagePlane, ...], remarks: Remarks) -> tuple[ImagePlane, ...]:
    shown = {plane.key.channel for plane in planes if plane.present}
    absent = sorted({plane.key.channel or 0 for plane in planes} - shown) if shown else []
    for number in absent:
        name = index.channels[number].name
        called = f'{number} ("{name}")' if name else f"{number}"
        remarks.warnings.append(f"The index lists channel {called}, but no file of it is in the folder.")
    return tuple(plane for plane in planes if plane.key.channel in shown) if absent else planes


class _Placing:
    """Finds each record's file, and remembers what is odd."""

    def __init__(self, located: LocatedIndex, files: HarmonyFiles) -> None:
        self.located = located
        self.files = files
        images = located.index.images
        self.first_timepoint = min((image.timepoint for image in images), default=0)
        self.relative_z = any(image.z_um is not None for image in images)
        self.planes: dict[ImageKey, ImagePlane] = {}
        self.used: set[str] = set()
        self.repeated = 0
        self.rivals: list[str] = []
        self.errors: list[str] = []
        self.outside: list[str] = []

    def run(self, remarks: Remarks) -> None:
        for image in self.located.index.images:
            if image.is_ok:
                self.add(self.plane(image))
            else:
                self.refuse(image)
        self.report(remarks)

    def plane(self, image: HarmonyImage) -> ImagePlane:
        path, file = self.place(image)
        z_um = image.z_um if self.relative_z else image.absolute_z_um
        return ImagePlane(
            key=ImageKey(image.well, image.field, image.channel, image.plane, image.timepoint),
            path=path if file is None else file.path,
            present=file is not None,
            size=0 if file is None else file.size,
            mtime_ns=0 if file is None else file.mtime_ns,
            x_um=image.x_um,
            y_um=image.y_um,
            z_um=z_um,
        )

    def place(self, image: HarmonyImage) -> tuple[str | None, ListedFile | None]:
        """Where the image should lie, and its file if it is there."""
        located = self.located
        if image.url is None:
            # File names count time points from 1, whatever the index counts from.
            timepoint = image.timepoint - self.first_timepoint + 1
            name = HarmonyName(image.well, image.field, image.plane, image.channel, timepoint)
            return self.expected(str(name)), self.files.by_meaning.get(name[:5])
        places = url_places(image.url, located.folder, located.base)
        if not places:
            self.outside.append(ascii(image.url[:120]))
            return None, None
        file = self.files.find(places)
        if file is None and places[0].rpartition("/")[0] == located.folder:
            return self.expected(places[0].rpartition("/")[2]), None
        return places[0], file

    def expected(self, name: str) -> str:
        folder = self.image_folder
        return f"{folder}/{name}" if folder else name

    @cached_property
    def image_folder(self) -> str:
        """Where a missing image belongs."""
        return self.files.folder_of_images(self.located.folder)

    def add(self, plane: ImagePlane) -> None:
        known = self.planes.setdefault(plane.key, plane)
        if plane.present:
            self.used.add(str(plane.path))
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
        path, file = self.place(image)
        if file is not None:
            self.used.add(file.path)
        self.errors.append(
            f"Well {image.well}, site {image.field}, channel {image.channel}, z {image.plane}, time point "
            f"{image.timepoint}: {self.located.path} records the state {image.state!r}"
            + (f" for {path}." if file is None else f"; {file.path} was left out.")
        )

    def report(self, remarks: Remarks) -> None:
        index, path = self.located.index, self.located.path
        if index.plates > 1:
            remarks.warnings.append(f"{path} speaks of {index.plates} plates; all images are read as the first's.")
        if index.unusable:
            remarks.warnings.append(f"{path} has {index.unusable} records without a row, column or channel; not used.")
        if self.repeated:
            remarks.notes.append(f"{path} lists {self.repeated} images twice; each was counted once.")
        _warn_of(self.rivals, remarks)
        if self.outside:
            remarks.warnings.append(
                f"{path} names {len(self.outside)} files outside of the plate folder, the first {self.outside[0]}; "
                "they were not looked for."
            )
        unlisted = [name for name in self.files.images if name not in self.used]
        if unlisted:
            remarks.warnings.append(
                f"{len(unlisted)} images in the folder are not in {path} and were left out, the first {unlisted[0]}."
            )


def planes_of_names(listing: FolderListing, files: HarmonyFiles, remarks: Remarks) -> tuple[ImagePlane, ...]:
    """One plane for each image, by its name; files of the same plane are confirmed by their bytes and counted once."""
    found: dict[ImageKey, list[ListedFile]] = {}
    ordered = sorted(files.images.items(), key=lambda item: (item[1].fast, item[1].lifetime))
    for path, (well, site, plane, channel, timepoint, *_) in ordered:
        found.setdefault(ImageKey(well, site, channel, plane, timepoint), []).append(files.by_path[path])
    copies, rivals = 0, list[str]()
    for kept, *others in found.values():
        for other in others:
            if _same_bytes(listing, kept, other):
                copies += 1
            else:
                rivals.append(
                    f"{other.path} was left out: it differs from {kept.path}, but both are the same well, site, "
                    "channel, z and time point."
                )
    if copies:
        remarks.notes.append(f"{copies} files repeat others byte for byte; each image was counted once.")
    _warn_of(rivals, remarks)
    return tuple(
        ImagePlane(key=key, path=file.path, size=file.size, mtime_ns=file.mtime_ns) for key, (file, *_) in found.items()
    )


def _warn_of(sentences: Sequence[str], remarks: Remarks) -> None:
    """The first of many like sentences, and how many more there are."""
    remarks.warnings += sentences[:_NAMED]
    if len(sentences) > _NAMED:
        remarks.warnings.append(f"{len(sentences) - _NAMED} more files were left out for the same reason.")


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
