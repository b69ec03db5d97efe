"""ImageXpress files → planes: what each file shows, and which files are copies of another.

A ZStep folder's number does not say what its files are: a channel that was acquired once, or only projected, is stored
in every ZStep folder, and ZStep_0 holds projections. The TIFF metadata of one file of each folder and channel says it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from msgspec import Struct

from openhcs_engine.microscopes.image_forms import why_unreadable
from openhcs_engine.microscopes.imagexpress.metaseries import MetaSeries, parse_metaseries
from openhcs_engine.microscopes.imagexpress.names import FolderInfo, ImageName
from openhcs_engine.microscopes.listing import FolderListing, ListedFile, sha256_of
from openhcs_engine.microscopes.remarks import Remarks
from openhcs_engine.model.image_index import ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.wording import first_sentences
from openhcs_engine.raw.image_header import ImageHeader, read_tiff_header

_TRIES: Final = 10
"""Unreadable files of one folder and channel before its metadata are given up."""

_NAMED: Final = 5
"""Differing copies that are named one by one; the others are counted."""


class ImageFile(Struct, frozen=True, gc=False):  # a Struct: plates have 100,000 of them
    """One image file, read by its name and folder."""

    path: str
    """Relative to the listing's root."""
    name: ImageName
    folder: FolderInfo

    @property
    def channel(self) -> int:
        """A plate of one wave does not write it: 1."""
        channel = self.name.channel
        return 1 if channel is None else channel

    def key(self, z_index: int | None) -> ImageKey:
        """Its coordinates, where names leave out what there is one of; ``z_index`` is used if the name has none."""
        name, folder = self.name, self.folder
        site, channel = name.site, name.channel
        timepoint = name.timepoint if folder.timepoint is None else folder.timepoint
        return ImageKey(
            name.well,
            1 if site is None else site,
            1 if channel is None else channel,
            z_index if name.z_index is None else name.z_index,
            1 if timepoint is None else timepoint,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGroup:
    """The files of one channel in one folder, and what one of them says of all."""

    channel: int
    folder: FolderInfo
    files: tuple[ImageFile, ...]
    metaseries: MetaSeries | None = None
    """None if no file could be read, too."""
    source: ImageFile | None = None
    """The file that was read."""


def read_groups(
    listing: FolderListing, images: Mapping[str, Iterable[ImageFile]], remarks: Remarks
) -> tuple[ImageGroup, ...]:
    """Group the images of each folder by channel, and read one TIFF header of each group."""
    groups: list[ImageGroup] = []
    for _, inside in sorted(images.items()):
        channels: dict[int, list[ImageFile]] = {}
        for image in inside:
            channels.setdefault(image.channel, []).append(image)
        groups += [_read_group(listing, channel, files, remarks) for channel, files in sorted(channels.items())]
    return tuple(groups)


def _read_group(listing: FolderListing, channel: int, files: list[ImageFile], remarks: Remarks) -> ImageGroup:
    group = ImageGroup(channel=channel, folder=files[0].folder, files=tuple(files))
    for image in files[:_TRIES]:
        try:
            header, metaseries = read_header(listing, image.path)
            remarks.warnings += header.oddities(image.path)
        except (OSError, ValueError) as error:
            remarks.warnings.append(why_unreadable(image.path, error))
            continue
        return replace(group, metaseries=metaseries, source=image)
    return group


def read_header(listing: FolderListing, path: str) -> tuple[ImageHeader, MetaSeries | None]:
    """A TIFF's header and its MetaSeries properties, if any; OSError or ValueError if it cannot be read."""
    with listing.open_header(path) as stream:
        header = read_tiff_header(stream, listing.size_of(path))
    return header, parse_metaseries(header.description)


def z_of(group: ImageGroup, neighbours: frozenset[int | None]) -> int | None:
    """The z plane that a group's files show: by the TIFF metadata, and only without them by the folder.

    None: they are projections.

    ``neighbours`` are the z steps of all folders of the same time point, None for the folder that holds them.
    """
    said = group.metaseries
    if said is not None and said.projection is not None:
        return None
    if said is not None and said.z_step is not None:
        return said.z_step
    step, others = group.folder.z_step, neighbours - {group.folder.z_step}
    if (step is None and others) or (step == 0 and others - {None}):
        return None
    return 1 if step is None else step


def read_planes(
    listing: FolderListing,
    groups: Iterable[ImageGroup],
    remarks: Remarks,
    repeated: Collection[tuple[int, FolderInfo]] = (),
) -> tuple[ImagePlane, ...]:
    """One plane for each image that was acquired; copies are confirmed by their bytes and counted once.

    ``repeated`` names the channels and folders whose images are the same in every ZStep folder: they show plane 1.
    """
    groups = tuple(groups)
    neighbours = _neighbours(groups)
    images = [image for group in groups for image in group.files]
    keys: list[ImageKey] = []
    for group in groups:
        shared = z_of(group, neighbours[group.folder.timepoint])
        if (group.channel, group.folder) in repeated:
            shared = 1
        # A z in the file's own name is exact; the metadata were read from one file for the whole folder.
        keys += [image.key(shared) for image in group.files]
    found = dict(zip(keys, images, strict=True))  # a projection's z is None, so no plane has its key
    if len(found) < len(keys):
        found = _without_copies(listing, zip(keys, images, strict=True), remarks)
    known = listing.known
    return tuple([_plane(key, image.path, known.get(image.path)) for key, image in found.items()])


def _without_copies(
    listing: FolderListing, keyed: Iterable[tuple[ImageKey, ImageFile]], remarks: Remarks
) -> dict[ImageKey, ImageFile]:
    images: dict[ImageKey, list[ImageFile]] = {}
    for key, image in keyed:
        images.setdefault(key, []).append(image)
    copies = _Copies(listing)
    kept = {key: files[0] if len(files) == 1 else copies.choose(key, files) for key, files in images.items()}
    copies.report(remarks)
    return kept


def _neighbours(groups: tuple[ImageGroup, ...]) -> Mapping[int | None, frozenset[int | None]]:
    steps: dict[int | None, set[int | None]] = {}
    for group in groups:
        steps.setdefault(group.folder.timepoint, set()).add(group.folder.z_step)
    return {timepoint: frozenset(found) for timepoint, found in steps.items()}


def _plane(key: ImageKey, path: str, known: ListedFile | None) -> ImagePlane:
    kind = PlaneKind.PROJECTION if key.z_index is None else PlaneKind.PLANE
    size, mtime_ns = (None, None) if known is None else (known.size, known.mtime_ns)
    return ImagePlane(key=key, path=path, kind=kind, size=size, mtime_ns=mtime_ns)


class _Copies:
    """Chooses among files of the same plane, and remembers which were equal."""

    def __init__(self, listing: FolderListing) -> None:
        self.listing = listing
        self.equal: dict[int, list[ImageFile]] = {}
        self.different: list[str] = []

    def choose(self, key: ImageKey, images: list[ImageFile]) -> ImageFile:
        """The file to read: a plane's in the folder of its own z, a projection's in the lowest folder."""
        chosen, *others = sorted(images, key=lambda image: _preference(key, image))
        as_large = {other.path for other in others if self.listing.are_as_large(other.path, chosen.path)}
        digest = self.digest(chosen) if as_large else None
        for other in others:
            if other.path in as_large and digest is not None and self.digest(other) == digest:
                self.equal.setdefault(other.channel, []).append(other)
            else:
                self.different.append(f"{other.path} was left out: it differs from {chosen.path}")
        return chosen

    def digest(self, image: ImageFile) -> str | None:
        try:
            with self.listing.open(image.path) as stream:
                return sha256_of(stream)
        except OSError:
            return None

    def report(self, remarks: Remarks) -> None:
        for channel, images in sorted(self.equal.items()):
            folders = ", ".join(sorted({image.path.rpartition("/")[0] or "the plate folder" for image in images}))
            remarks.notes.append(
                f"Channel {channel}: {len(images)} files repeat others byte for byte (in {folders}); "
                "each image was counted once."
            )
        different = [
            f"{sentence}, but both are the same well, site, channel, z and time point." for sentence in self.different
        ]
        remarks.warnings += first_sentences(different, _NAMED, "files were left out for the same reason")


def _preference(key: ImageKey, image: ImageFile) -> tuple[bool, int, str]:
    step = -1 if image.folder.z_step is None else image.folder.z_step
    return key.z_index is not None and step != key.z_index, step, image.path


def measured_z_step(groups: Iterable[ImageGroup]) -> float | None:
    """Distance of neighbouring z planes in µm: as the instrument states it, else from the stage; None if unknown."""
    stacks: dict[tuple[int, int | None, str, int | None], list[tuple[int, float]]] = {}
    stated: dict[tuple[int, int | None, str, int | None], float] = {}
    for group, said, source in _described(groups):
        key = source.key(None)
        stack = (group.channel, key.timepoint, key.well, key.site)
        if said.z_step_um is not None:
            stated[stack] = said.z_step_um
        if said.z_step is not None and said.z_um is not None:
            stacks.setdefault(stack, []).append((said.z_step, said.z_um))
    for stack, planes in sorted(stacks.items()):
        (first, bottom), (last, top) = min(planes), max(planes)
        if last > first:
            return stated.get(stack, round(abs(top - bottom) / (last - first), 3))
    return None


def _described(groups: Iterable[ImageGroup]) -> Iterator[tuple[ImageGroup, MetaSeries, ImageFile]]:
    for group in groups:
        if group.metaseries is not None and group.source is not None:
            yield group, group.metaseries, group.source
