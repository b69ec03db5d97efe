"""From the images of an OME-Zarr plate to numbered planes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.model.image_index import ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Channel
from openhcs_engine.ngff.foreign import ListedImage, OmeZarrImage
from openhcs_engine.ngff.writing.plate_store import default_label

ZIndex = tuple[PlaneKind, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """Which numbers the planes of each image have on the plate."""

    channels: dict[str, tuple[int, ...]]
    """Of each image's folder, in the array's order."""
    names: dict[int, str | None]
    """Of each channel."""
    collapsed_site: int
    """The site that stands for all sites of its well."""
    collapsed_timepoint: int
    projections: bool
    """True: a collapsed z stands beside planes elsewhere on the plate, so it is a projection and not plane 1."""

    @classmethod
    def of(cls, images: Sequence[OmeZarrImage], listed: Iterable[ListedImage]) -> Numbering:
        """Number what the images hold; see ``ome_zarr`` for the rules."""
        channels = _ChannelNumbers(images)
        timepoints = {t for image in images for t in own_or_counted(image, "time")}
        depths = {z for image in images for z in own_or_counted(image, "space")}
        return cls(
            channels={image.listed.folder: channels.of(image) for image in images},
            names=channels.names,
            collapsed_site=_next({image.site for image in listed}),
            collapsed_timepoint=_next(timepoints),
            projections=depths != {None},
        )

    def site(self, listed: ListedImage) -> int:
        """The site that an image is."""
        return self.collapsed_site if listed.site is None else listed.site

    def timepoints(self, image: OmeZarrImage) -> list[int]:
        """Of each index on the time axis."""
        return [self.collapsed_timepoint if t is None else t for t in own_or_counted(image, "time")]

    def depths(self, image: OmeZarrImage) -> list[ZIndex]:
        """Of each index on the z axis."""
        collapsed: ZIndex = (PlaneKind.PROJECTION, None) if self.projections else (PlaneKind.PLANE, 1)
        return [collapsed if z is None else (PlaneKind.PLANE, z) for z in own_or_counted(image, "space")]


def own_or_counted(image: OmeZarrImage, kind: str) -> Sequence[int | None]:
    """Numbers along the time or z axis: as our engine wrote them, else counted from 1."""
    if image.own is None:
        return range(1, image.size(kind) + 1)
    return image.own.timepoint if kind == "time" else image.own.z_index


def _next(numbers: set[int | None]) -> int:
    """The first number after those in use."""
    return max((number for number in numbers if number is not None), default=0) + 1


@dataclass(slots=True)
class _ChannelNumbers:
    """One number a name: images of one plate may hold different channels, as in cyclic staining."""

    images: Sequence[OmeZarrImage]
    names: dict[int, str | None] = field(default_factory=dict)
    known: dict[tuple[str | int, int], int] = field(default_factory=dict)
    """By (name, how often the image had it before), or (position, 0) for one without a name."""
    shared: dict[int, str | None] = field(default_factory=dict)
    composite: int = 0

    def __post_init__(self) -> None:
        own = [image for image in self.images if image.own is not None]
        self.composite = _next({number for image in own if image.own for number in image.own.channel})
        for image in own:
            for number, key, label in zip(self._own(image), self._keys(image), image.labels, strict=True):
                self.known.setdefault(key, number)
                # What our engine calls a channel without a name is none.
                named = None if label in (default_label(number), default_label(None)) else label
                self.names[number] = self.names.get(number) or named

    def of(self, image: OmeZarrImage) -> tuple[int, ...]:
        """Numbers of an image's channels, new ones in the order in which they come."""
        if image.own is not None:
            return tuple(self._own(image))
        numbers = []
        for key in self._keys(image):
            if key not in self.known:
                self.known[key] = _next({*self.known.values(), *self.names})
                self.names[self.known[key]] = key[0] if isinstance(key[0], str) else None
            numbers.append(self.known[key])
        return tuple(numbers)

    def _own(self, image: OmeZarrImage) -> list[int]:
        assert image.own is not None
        return [self.composite if number is None else number for number in image.own.channel]

    def _keys(self, image: OmeZarrImage) -> Iterator[tuple[str | int, int]]:
        before: dict[str, int] = {}
        for position, label in enumerate(image.labels):
            named = label if label is not None else self._shared(position)
            if named is None:
                yield position, 0
            else:
                yield named, before.get(named, 0)
                before[named] = before.get(named, 0) + 1

    def _shared(self, position: int) -> str | None:
        """The name that all images which name their channels give to a position; None if they differ."""
        if position not in self.shared:
            found = {image.labels[position] for image in self.images if position < len(image.labels)} - {None}
            self.shared[position] = found.pop() if len(found) == 1 else None
        return self.shared[position]


def planes_of(images: Sequence[OmeZarrImage], numbering: Numbering, listing: FolderListing) -> tuple[ImagePlane, ...]:
    """Every plane of the images that could be read."""
    # Writers leave out chunks that hold nothing but the fill value; a plate without any chunk is a copy of metadata.
    metadata_only = all(image.array in listing.empty_arrays for image in images)
    planes = [plane for image in images for plane in _planes(image, numbering, listing, metadata_only)]
    shown = {_slot(plane) for plane in planes if plane.present} if not metadata_only else {_slot(p) for p in planes}
    # An array has room for every channel at every z; what is shown nowhere on the plate was never meant to be.
    return tuple(plane for plane in planes if plane.present or _slot(plane) in shown)


def _planes(
    image: OmeZarrImage, numbering: Numbering, listing: FolderListing, metadata_only: bool
) -> Iterator[ImagePlane]:
    file = listing.by_path[image.array_file]
    well, site = image.listed.well, numbering.site(image.listed)
    channels, times, depths = (
        numbering.channels[image.listed.folder],
        numbering.timepoints(image),
        numbering.depths(image),
    )
    gone = metadata_only or (image.own is not None and image.array in listing.empty_arrays)
    absent = _absent(image)
    chunks = None if listing.arrays is None else listing.arrays.of(image.array).digest
    for index, t, c, z in image.positions():
        kind, z_index = depths[z]
        yield ImagePlane(
            key=ImageKey(well, site, channels[c], z_index, times[t]),
            path=image.array,
            kind=kind,
            present=not gone and (t, c, z) not in absent,
            size=file.size,
            mtime_ns=file.mtime_ns,
            array_index=index,
            chunks=chunks,
        )


def _absent(image: OmeZarrImage) -> frozenset[tuple[int, int, int]]:
    """Positions (t, c, z) of the planes that our engine says were never written."""
    own = image.own
    if own is None or not own.absent:
        return frozenset()
    t, c, z = ({number: i for i, number in enumerate(axis)} for axis in (own.timepoint, own.channel, own.z_index))
    return frozenset((t.get(a, -1), c.get(b, -1), z.get(d, -1)) for a, b, d in own.absent)


def _slot(plane: ImagePlane) -> tuple[int | None, PlaneKind, int | None]:
    return plane.key.channel, plane.kind, plane.key.z_index


def missing_planes(
    unread: Sequence[ListedImage], planes: Sequence[ImagePlane], numbering: Numbering
) -> Iterator[ImagePlane]:
    """Planes of images that wells list and that cannot be read: those of the same site elsewhere, or of any."""
    patterns: dict[int | None, dict[ImageKey, ImagePlane]] = {}
    there = {plane.key for plane in planes} if unread else set()
    for plane in planes if unread else ():
        for site in (plane.key.site, None):
            patterns.setdefault(site, {}).setdefault(plane.key.replace(well="", site=site), plane)
    for listed in unread:
        site = numbering.site(listed)
        pattern = patterns.get(site) or patterns.get(None, {})
        for key, plane in pattern.items():
            own = key.replace(well=listed.well, site=site)
            if own not in there:
                yield ImagePlane(key=own, path=listed.folder, kind=plane.kind, present=False)


def channels_of(images: Sequence[OmeZarrImage], numbering: Numbering) -> tuple[tuple[Channel, ...], list[str]]:
    """The plate's channels, and warnings about those whose images differ in shape or type."""
    forms: dict[int, dict[tuple[tuple[int, int], str], None]] = {}
    for image in images:
        for number in numbering.channels[image.listed.folder]:
            forms.setdefault(number, {})[image.shape, image.dtype] = None
    channels, warnings = [], []
    for number, kinds in sorted(forms.items()):
        shape, dtype = next(iter(kinds))
        if len(kinds) > 1:
            told = " and ".join(f"{height} x {width} pixels of {kind}" for (height, width), kind in kinds)
            warnings.append(f"Channel {number} has images of different kinds: {told}.")
        channels.append(
            Channel(
                index=number,
                name=numbering.names.get(number),
                # Each plane is then asked for its own.
                shape=shape if len({shape for shape, _ in kinds}) == 1 else None,
                dtype=dtype if len({dtype for _, dtype in kinds}) == 1 else None,
            )
        )
    return tuple(channels), warnings


__all__ = ["Numbering", "channels_of", "missing_planes", "planes_of"]
