"""Which wells are published, in which OME-Zarr plates and with which files, by the manifests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field

from openhcs_engine.files.atomic import StoredFile
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


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWell:
    """What a manifest says of a well, as far as a run asks again and again."""

    fingerprint: str
    backend: str
    """``zarr`` or ``disk``."""
    run: str
    """Id of the run that published it; empty if the manifest does not say."""
    finished: str
    """ISO time, UTC."""
    zarr_sets: ZarrSets
    files: tuple[StoredFile, ...]
    """Relative to the output."""

    @classmethod
    def of(cls, manifest: WellManifest) -> KnownWell:
        """That of a manifest."""
        return cls(
            fingerprint=manifest.fingerprint,
            backend=manifest.backend,
            run=str(manifest.provenance.get("run", "")),
            finished=manifest.finished,
            zarr_sets=zarr_sets_of(manifest),
            files=manifest.files,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentWell:
    """A well that has a manifest at this moment."""

    known: KnownWell | None
    """None: the manifest is damaged."""
    lacking: tuple[str, ...] = ()
    """Files of the manifest that are missing or have another size, relative to the output."""


@dataclass(slots=True)
class KnownManifests:
    """What manifests say; each is read once, and again when it has changed."""

    read: dict[str, tuple[Hashable, KnownWell | None]] = field(default_factory=dict)
    """For each well that has a manifest what changes with it, and what it says; None: it is damaged."""

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
            self.read[well] = stamps[well], None if manifest is None else KnownWell.of(manifest)
        for well in self.read.keys() - stamps.keys():
            del self.read[well]

    def wells(self, image_set: str, ngff: str) -> list[str]:
        """Wells published in an OME-Zarr plate of a version."""
        return [well for well, known in self.by_well().items() if known and known.zarr_sets.get(image_set) == ngff]

    def by_well(self) -> dict[str, KnownWell | None]:
        """What each manifest says; None: it is damaged."""
        return {well: known for well, (_, known) in self.read.items()}

    def present(self, size_of: Callable[[str], int | None]) -> dict[str, PresentWell]:
        """The wells that have a manifest, with the files that they lack.

        ``size_of`` gives the bytes of a file by its path relative to the output; None: it is missing.
        """
        return {
            well: PresentWell(
                known=known,
                lacking=tuple(file.path for file in known.files if size_of(file.path) != file.size) if known else (),
            )
            for well, known in self.by_well().items()
        }


__all__ = ["KnownManifests", "KnownWell", "PresentWell", "zarr_sets_of"]
