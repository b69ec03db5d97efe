"""Which wells of which OME-Zarr plates are published, by the manifests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field

from openhcs_engine.ngff.metadata import well_path
from openhcs_engine.ngff.plate_group import VERSION_FILES
from openhcs_engine.output.layout import image_sets_of, is_zarr
from openhcs_engine.output.manifest import WellManifest

ZarrSets = Mapping[str, str]
"""The OME-Zarr plates that hold images of a well, each with its version."""


def zarr_sets_of(manifest: WellManifest) -> ZarrSets:
    """The OME-Zarr plates that a well's manifest says hold images of it."""
    listed = {file.path for file in manifest.files}
    return {
        image_set: version
        for image_set in image_sets_of(listed)
        if is_zarr(image_set)
        for name, version in VERSION_FILES.items()
        if f"{image_set}/{well_path(manifest.well)}/{name}" in listed
    }


@dataclass(slots=True)
class KnownManifests:
    """What manifests say of image sets; each is read once, and again when it has changed."""

    read: dict[str, tuple[Hashable, ZarrSets]] = field(default_factory=dict)

    def update(
        self, stamps: Mapping[str, Hashable], read: Callable[[Collection[str]], Mapping[str, WellManifest | None]]
    ) -> None:
        """Read what is new or changed, and forget what is not there.

        Parameters
        ----------
        stamps
            For each well that has a manifest, what changes with it.
        read
            Gives the manifests of wells; None for one that is damaged: such a well is published nowhere.
        """
        new = [well for well, stamp in stamps.items() if self.read.get(well, (None,))[0] != stamp]
        manifests = read(new)
        for well in new:
            manifest = manifests.get(well)
            self.read[well] = stamps[well], {} if manifest is None else zarr_sets_of(manifest)
        for well in self.read.keys() - stamps.keys():
            del self.read[well]

    def wells(self, image_set: str, ngff: str) -> list[str]:
        """Wells published in an OME-Zarr plate of a version."""
        return [well for well, (_, sets) in self.read.items() if sets.get(image_set) == ngff]


__all__ = ["KnownManifests", "zarr_sets_of"]
