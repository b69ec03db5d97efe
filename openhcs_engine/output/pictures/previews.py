"""How a well looks: a small plane of each channel and site, in one file beside the well's images.

The worker that writes a well has its planes in hand, so that thumbnail, montage and overview need not read an image.
``numpy.load("previews/B03.npz")`` opens the file: ``planes_0``, ``planes_1``, … are stacks ``(plane, y, x)``, one for
all planes of one size and pixel type, and ``about`` is JSON that says which channel and site each plane is of. Nothing
is compressed: noise cannot be, and images that are smooth or empty are small themselves.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import sqrt
from typing import Any, Final, Self
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.writing.plate_store import default_label
from openhcs_engine.ngff.writing.pyramid import halve
from openhcs_engine.output.pictures.greyscale import Plane, as_type, block_means
from openhcs_engine.output.pictures.mosaic import SMALLEST_PX, Mosaic

PREVIEW_PX: Final = 96
"""Longest edge of a well's only site. No picture shows a well larger: it would show fewer sites than there are."""
SITE_PX: Final = 48
"""Longest edge of one of several sites."""
SHARE: Final = 0.02
"""Bytes of a preview at most, for each byte of the well's images."""
_ENOUGH_PX: Final = 512
"""Of larger planes every second pixel, or fewer, is enough; files of TIFF have no smaller levels."""


@dataclass(frozen=True, slots=True)
class SmallPlane:
    """One plane of a preview."""

    channel: int
    """Position among the channels."""
    site: int | None
    """None: the sites are one."""
    dtype: str
    """Pixel type of the image that it is of."""
    pixels: Plane
    """``(y, x)``, of that type; means of booleans and of whole numbers of 64 bits are floats. NaN: no finite pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Small planes of a well; at least one."""

    channels: tuple[str, ...]
    """Labels, in the order of the images; two may be equal."""
    planes: tuple[SmallPlane, ...]

    @property
    def sites(self) -> tuple[int | None, ...]:
        """Those that it shows: all of the well, or the first where there are too many."""
        return tuple(dict.fromkeys(plane.site for plane in self.planes))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest pixel type that holds those of all images."""
        return np.result_type(*(np.dtype(plane.dtype) for plane in self.planes))

    def pictures(self, side: int, mosaic: Mosaic) -> dict[str, Plane]:
        """``picture`` of every channel that has one, by its label; of two equal ones with its number behind it."""
        labels = (
            label if self.channels.count(label) == 1 else f"{label} ({number})"
            for number, label in enumerate(self.channels, start=1)
        )
        drawn = ((label, self.picture(channel, side, mosaic)) for channel, label in enumerate(labels))
        return {label: picture for label, picture in drawn if picture is not None}

    def picture(self, channel: int, side: int, mosaic: Mosaic) -> NDArray[Any] | None:
        """A channel's sites that are in a mosaic, else the first that it has; the longer edge is at most ``side``."""
        planes = {plane.site: plane.pixels for plane in self.planes if plane.channel == channel}
        shown = {site: plane for site, plane in planes.items() if site in mosaic.sites}
        if planes and not shown:  # the sites are one, or other ones than the plate's
            first = next(iter(planes))
            shown, mosaic = {first: planes[first]}, Mosaic(sites=(first,), columns=1)
        return mosaic.compose(shown, side) if shown else None

    def only(self, label: str) -> Preview | None:
        """A channel by itself, in memory of its own; None if there is no plane of the label."""
        channel = self.channels.index(label) if label in self.channels else None
        planes = [replace(p, channel=0, pixels=p.pixels.copy()) for p in self.planes if p.channel == channel]
        return Preview(channels=(label,), planes=tuple(planes)) if planes else None

    def encode(self, images: int) -> bytes | None:
        """The preview as a file; None for a well so small that its images are read as fast.

        ``images`` are the bytes of the well's images; planes are made smaller until the file has ``SHARE`` of them.
        """
        preview, limit = self, int(images * SHARE)
        while len(content := preview._content()) > limit:
            pixels = sum(plane.pixels.nbytes for plane in preview.planes)
            room = limit - (len(content) - pixels)
            longest = max(max(plane.pixels.shape) for plane in preview.planes)
            # A plane loses at least a pixel of its edge each time, so that this ends.
            side = min(longest - 1, int(longest * sqrt(max(room, 0) / pixels)))
            if side < SMALLEST_PX:
                return None
            planes = [replace(plane, pixels=_shrunk(plane.pixels, side)) for plane in preview.planes]
            preview = replace(preview, planes=tuple(planes))
        return content

    def _content(self) -> bytes:
        stacks: dict[tuple[object, ...], list[SmallPlane]] = {}
        for plane in self.planes:
            stacks.setdefault((plane.pixels.shape, plane.pixels.dtype), []).append(plane)
        about = _About(self.channels, [[(p.channel, p.site, p.dtype) for p in stack] for stack in stacks.values()])
        arrays = {_name(number): np.stack([p.pixels for p in stack]) for number, stack in enumerate(stacks.values())}
        buffer = io.BytesIO()
        text = np.frombuffer(msgspec.json.encode(about), np.uint8)
        np.savez(buffer, about=text, **arrays)  # type: ignore[arg-type] # mypy takes an array for another keyword
        return buffer.getvalue()

    @classmethod
    def decode(cls, content: bytes, path: str) -> Self:
        """Read a preview back; PlaneReadError if it is none, with ``path`` in its message."""
        try:
            with np.load(io.BytesIO(content)) as file:
                about = msgspec.json.decode(file["about"].tobytes(), type=_About)
                planes = [
                    SmallPlane(*plane, pixels)
                    for number, stack in enumerate(about.planes)
                    for plane, pixels in zip(stack, file[_name(number)], strict=True)
                ]
        except (OSError, EOFError, ValueError, KeyError, BadZipFile, msgspec.MsgspecError) as error:
            raise PlaneReadError(f"{path} is not a preview of a well: {error}.", path=path) from error
        return cls(channels=tuple(about.channels), planes=tuple(planes))


class _About(msgspec.Struct):
    channels: Sequence[str]
    planes: list[list[tuple[int, int | None, str]]]
    """Of each stack: position of the channel, site, and pixel type of the image, plane by plane."""


def _name(stack: int) -> str:
    return f"planes_{stack}"


@dataclass(slots=True)
class PreviewPlanes:
    """The planes of a well that its preview shows, made small as they come."""

    channels: tuple[int | None, ...]
    shown: Mapping[ImageKey, int]
    """In the preview's order, each with the longest edge that it gets."""
    made: dict[ImageKey, SmallPlane] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Collection[ImageKey]) -> Self:
        """Of each channel and site the first time point and the middle one of its z planes; ``keys`` are all planes.

        All sites, or the first where they would be too small to show anything.
        """
        sites, channels = _ordered(key.site for key in keys), _ordered(key.channel for key in keys)
        mosaic = Mosaic.fitting(sites, PREVIEW_PX, 0)
        side = SITE_PX if len(mosaic.sites) > 1 else PREVIEW_PX
        stacks: dict[tuple[int | None, int | None], list[ImageKey]] = {}
        for key in keys:
            stacks.setdefault((key.site, key.channel), []).append(key)
        order = (stacks[place] for place in product(mosaic.sites, channels) if place in stacks)
        return cls(channels, {_middle(stack): side for stack in order})

    def add(self, key: ImageKey, plane: Plane) -> None:
        """Take a plane, or a smaller level of it, if it is shown."""
        if key in self.shown:
            channel = self.channels.index(key.channel)
            self.made[key] = SmallPlane(channel, key.site, plane.dtype.name, _small(plane, self.shown[key]))

    def preview(self, labels: Mapping[int | None, str]) -> Preview:
        """The preview, once all planes came; ``labels`` are those of the channels that have one."""
        return Preview(
            channels=tuple(labels.get(channel) or default_label(channel) for channel in self.channels),
            planes=tuple(self.made[key] for key in self.shown),
        )


def _ordered(values: Iterable[int | None]) -> tuple[int | None, ...]:
    return tuple(sorted(set(values), key=_none_first))


def _none_first(value: int | None) -> int:
    return -1 if value is None else value


def _middle(stack: Collection[ImageKey]) -> ImageKey:
    first = min(_none_first(key.timepoint) for key in stack)
    planes = sorted(
        (key for key in stack if _none_first(key.timepoint) == first), key=lambda key: _none_first(key.z_index)
    )
    return planes[len(planes) // 2]


def _small(plane: Plane, side: int) -> Plane:
    step = max(1, max(plane.shape) // _ENOUGH_PX)
    plane = plane[::step, ::step]
    # A mean of these is no value of their type.
    if plane.dtype.kind == "b":
        plane = plane.astype(np.float32)
    elif plane.dtype.kind != "f" and plane.dtype.itemsize == 8:
        plane = plane.astype(np.float64)
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        # Halving would take the neighbours along; a block of one pixel only might have none that is finite.
        return _shrunk(plane, max(plane.shape) // -(-max(plane.shape) // side))
    while max(plane.shape) >= 2 * side and min(plane.shape) > 1:
        plane = halve(plane)  # three times as fast as means of blocks
    return _shrunk(plane, side)


def _shrunk(plane: Plane, side: int) -> Plane:
    return as_type(block_means(plane, side), plane.dtype.newbyteorder("="))


__all__ = ["PREVIEW_PX", "SHARE", "Preview", "PreviewPlanes", "SmallPlane"]
