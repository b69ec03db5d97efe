"""Which channels of a plate without MetaSeries metadata were stored again in every ZStep folder.

MetaXpress fills each ZStep folder of an export: a channel that was acquired once, or projected, is stored in all of
them, byte for byte. With metadata each file says what it is. Without them (other programs drop them) the bytes decide:
a camera never gives the same image twice. They decide for a channel as a whole, and only where they speak: if all
images that could be compared are equal, as in folders of blank or invented images, they say nothing of copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from openhcs_engine.microscopes.imagexpress.names import FolderInfo
from openhcs_engine.microscopes.imagexpress.planes import ImageFile, ImageGroup
from openhcs_engine.microscopes.listing import FolderListing

_BLOCK = 1 << 16
_Stacks = Mapping[tuple[int, int | None], Sequence[ImageGroup]]
"""Groups without metadata by channel and time point."""


def repeated_groups(listing: FolderListing, groups: Iterable[ImageGroup]) -> frozenset[tuple[int, FolderInfo]]:
    """Channel and folder of all groups that show one image, stored in every ZStep folder, well by well, site by site.

    Files are compared as far as they are equal: a real stack is known by the first block of two files.
    """
    stacks: dict[tuple[int, int | None], list[ImageGroup]] = {}
    for group in groups:
        if group.metaseries is None:
            stacks.setdefault((group.channel, group.folder.timepoint), []).append(group)
    found = (repeated for stack in stacks.values() for repeated in _repeated(listing, stack, stacks))
    return frozenset((group.channel, group.folder) for group in found)


def _repeated(listing: FolderListing, stack: Sequence[ImageGroup], stacks: _Stacks) -> list[ImageGroup]:
    """The groups of one channel that hold the same images; none if its ZStep folders differ."""
    steps = [group for group in stack if group.folder.z_step]
    if len(steps) < 2 or not _is_repeated(listing, steps) or not _differ_elsewhere(listing, steps[0], stacks):
        return []
    # ZStep_0 and the folder above are for projections: there, too, a channel that was acquired once may lie again.
    others = [group for group in stack if not group.folder.z_step]
    return [*steps, *(group for group in others if _is_repeated(listing, [steps[0], group]))]


def _is_repeated(listing: FolderListing, groups: Sequence[ImageGroup]) -> bool:
    """True if every folder holds the same names as the first, and the same bytes under each of them."""
    first, *others = (_by_coordinates(group) for group in groups)
    if any(other.keys() != first.keys() for other in others):
        return False
    return all(_are_equal(listing, image, other[key]) for key, image in first.items() for other in others)


def _by_coordinates(group: ImageGroup) -> Mapping[tuple[str, int | None], ImageFile]:
    return {(image.name.well, image.name.site): image for image in group.files}


def _differ_elsewhere(listing: FolderListing, group: ImageGroup, stacks: _Stacks) -> bool:
    """True if some other image of the plate differs from the channel's first one."""
    image = group.files[0]
    others = chain(group.files[1:2], (other.files[0] for found in stacks.values() for other in found))
    return any(not _are_equal(listing, image, other) for other in others)


def _are_equal(listing: FolderListing, one: ImageFile, other: ImageFile) -> bool:
    """True if both can be read and hold the same bytes; empty files are no images."""
    if one is other:
        return True
    if not listing.are_as_large(one.path, other.path):
        return False
    try:
        with listing.open(one.path) as left, listing.open(other.path) as right:
            block = left.read(_BLOCK)
            equal = bool(block)
            while block and equal:
                equal = right.read(len(block)) == block
                block = left.read(_BLOCK)
    except OSError:
        return False
    return equal
