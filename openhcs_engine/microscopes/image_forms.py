"""What the images of each channel normally are, so that an odd file is odd wherever on the plate it lies.

The vendor's metadata decide where they state a size that files have. Otherwise most of a few headers do: files are
chosen over the whole plate, always the same ones, and few enough that a plate of 100,000 files opens as fast as a small
one. A file that differs then fails its own well when it is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.files.address import is_remote
from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.model.image_index import ImagePlane
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.wording import first_sentences
from openhcs_engine.raw.image_header import ImageForm, ImageHeader, read_image_header

MAX_HEADERS: Final = 25
"""Headers of one channel that are read at most."""
_AT_FIRST, _AT_LEAST = 20, 3
"""Headers of all channels together, and of each at least, that are enough where a channel's files agree."""
_NAMED: Final = 5
"""Files that are named one by one; the others are counted."""
_PARALLEL: Final = 8
"""Headers that are fetched from a store at once."""
_STRIDE: Final = 11
"""Stretches of the plate from one header to the next; it shares no factor with their number."""
_SCATTER: Final = 1103515245
"""Multiplier that scatters them in their stretches; of eleven tried, the one that saw stripes of all widths best."""


def normal_forms(
    listing: FolderListing,
    planes: Iterable[ImagePlane],
    warnings: list[str],
    stated: Mapping[int, tuple[int, int]] | None = None,
) -> dict[int, ImageForm]:
    """Shape and pixel type of each channel's images; a channel of which no header can be read is left out.

    Parameters
    ----------
    listing
        The plate's files.
    planes
        In the same order whenever the plate is read; those without a file are passed over.
    warnings
        Gets a sentence for each looked-at file that is odd or cannot be read.
    stated
        Shape ``(y, x)`` that the vendor's metadata give a channel. It counts if at least one file has it.

    Raises
    ------
    UnreadablePlateError
        If a channel's files are of two kinds, about as many of each, or hold several planes each.
    """
    channels: dict[int, list[ImagePlane]] = {}
    for plane in planes:
        if plane.present and plane.path is not None and plane.key.channel is not None:
            channels.setdefault(plane.key.channel, []).append(plane)
    at_first = max(_AT_LEAST, _AT_FIRST // max(len(channels), 1))
    found: dict[int, ImageForm] = {}
    for number, images in sorted(channels.items()):
        sample = _Sample(listing, number, images)
        sample.read(at_first)
        if not sample.agrees:
            sample.read(MAX_HEADERS)
        normal = sample.normal(None if stated is None else stated.get(number))
        warnings += [sentence for sentence in sample.remarks(normal) if sentence not in warnings]
        if normal is not None:
            found[number] = normal
    return found


class _Sample:
    """The headers of one channel that were read so far."""

    def __init__(self, listing: FolderListing, channel: int, images: Sequence[ImagePlane]) -> None:
        self.listing, self.channel, self.images = listing, channel, images
        self.headers: dict[int, ImageHeader | str] = {}
        """By the number of the image; a sentence for one that cannot be read."""

    def read(self, count: int) -> None:
        """Read headers until there are ``count``, or all."""
        chosen = [number for number in spread(len(self.images), count) if number not in self.headers]
        paths = [str(self.images[number].path) for number in chosen]
        if is_remote(self.listing.root):
            with ThreadPoolExecutor(_PARALLEL) as pool:
                found = list(pool.map(self._header, paths))
        else:
            found = [self._header(path) for path in paths]
        self.headers |= dict(zip(chosen, found, strict=True))

    def _header(self, path: str) -> ImageHeader | str:
        try:
            with self.listing.open_header(path) as stream:
                return read_image_header(stream, self.listing.size_of(path))
        except (OSError, ValueError) as error:
            return why_unreadable(path, error)

    @property
    def forms(self) -> dict[int, ImageForm]:
        """Form of each image whose header could be read, in the plate's order."""
        ordered = sorted(self.headers.items())
        return {number: header.form for number, header in ordered if isinstance(header, ImageHeader)}

    @property
    def agrees(self) -> bool:
        """True if every header could be read and all say the same."""
        return len(self.forms) == len(self.headers) and len(set(self.forms.values())) == 1

    def normal(self, stated: tuple[int, int] | None) -> ImageForm | None:
        """The form that decides; None if no header could be read."""
        forms = list(self.forms.values())
        counted = Counter([form for form in forms if form.shape == stated] or forms).most_common()
        if not counted:
            return None
        if len(counted) > 1 and self._is_balanced(counted[0][1], counted[1][1]):
            self._refuse_halves(counted)
        normal = counted[0][0]
        if normal.is_stack:
            path = self._first(normal)
            raise UnreadablePlateError(
                f"{self.listing.root}: the images of channel {self.channel} hold several planes each (the first: "
                f"{path}), of which only one would have a place on the plate. Export each plane to a file of its own.",
                path=path,
            )
        return normal

    def _is_balanced(self, most: int, next_most: int) -> bool:
        """True if neither kind is the rule: as many of both or, where only a sample was read, about as many."""
        if len(self.headers) == len(self.images):
            return most == next_most
        return most < 2 * next_most  # 16 of 25 may be half of all

    def _refuse_halves(self, counted: Sequence[tuple[ImageForm, int]]) -> None:
        kinds = " and ".join(f"{count} have {form} (the first: {self._first(form)})" for form, count in counted[:2])
        raise UnreadablePlateError(
            f"{self.listing.root}: the images of channel {self.channel} are of two kinds, and neither is the rule: of "
            f"{len(self.forms)} that were looked at, {kinds}. A channel has one size and one pixel type; move the "
            "images of one kind into a folder of their own.",
            path=self.listing.root,
        )

    def _first(self, wanted: ImageForm) -> str:
        return next(str(self.images[number].path) for number, form in self.forms.items() if form == wanted)

    def remarks(self, normal: ImageForm | None) -> list[str]:
        """Sentences about images that cannot be read, are damaged, or are not as the others."""
        unreadable = [header for _, header in sorted(self.headers.items()) if isinstance(header, str)]
        odd = [
            f"{self.images[number].path} has {form}, but the images of channel {self.channel} have {normal}: well "
            f"{self.images[number].key.well} fails when it is run."
            for number, form in self.forms.items()
            if form != normal and not form.is_stack  # of a stack its own sentence tells
        ]
        damaged = [
            sentence
            for number, header in sorted(self.headers.items())
            if isinstance(header, ImageHeader)
            for sentence in header.oddities(str(self.images[number].path))
        ]
        seen = "out of those that were looked at"
        of_channel = f"images of channel {self.channel} are"
        return [
            *first_sentences(unreadable, _NAMED, f"images of channel {self.channel} cannot be read, {seen}"),
            *first_sentences(damaged, _NAMED, f"{of_channel} cut short or hold several planes, {seen}"),
            *first_sentences(odd, _NAMED, f"{of_channel} not as the others, {seen}"),
        ]


def why_unreadable(path: str, error: Exception) -> str:
    """The sentence about a file whose header cannot be read."""
    return f"{path} cannot be read: {explained(error)}."


def spread(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` different numbers below ``count``, evenly over it; fewer of them are the first of more.

    One number of each of ``MAX_HEADERS`` stretches, in no fixed distance: in equal steps, a plate whose every second
    column is odd would show one kind only.
    """
    if count <= wanted:
        return list(range(count))
    chosen = []
    for turn in range(min(wanted, MAX_HEADERS)):
        stretch = turn * _STRIDE % MAX_HEADERS
        start, end = stretch * count // MAX_HEADERS, (stretch + 1) * count // MAX_HEADERS
        chosen.append(start + ((turn + 1) * _SCATTER >> 7) % max(end - start, 1))
    return list(dict.fromkeys(chosen))


__all__ = ["MAX_HEADERS", "normal_forms", "spread", "why_unreadable"]
