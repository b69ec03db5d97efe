"""The manifest of a published well: the file that is written last and alone decides that the well exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.errors import ManifestError, OutputPlaceError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.model.frozen import FrozenMap, decode_frozen, encode_frozen
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.system_errors import explained
from openhcs_engine.output.layout import image_path
from openhcs_engine.output.provenance import RawFile, provenance_of, raw_files
from openhcs_engine.plan.context import ProcessingContext

FORMAT: Final = 1
"""Version of the manifest."""
STAGED_MANIFEST: Final = "manifest.json"
"""A well's manifest as long as the well is staged, relative to its folder."""
STAGED_TOKEN: Final = "token"
"""A file that is written once, when a well's folder is made: one that was made again in its place lacks it."""

REMOVED_MEANWHILE: Final = (
    "it was removed, moved or replaced while the run went on, by whom and when is not known. Run the well again, and "
    "keep others from its files until it is done."
)
"""Cause and remedy of files of a well that disappeared while its run went on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedWell:
    """A well that is written and not yet published."""

    well: str
    folder: Path
    """Laid out as the output folder; only what belongs to this well is in it."""
    token: str = ""
    """What the file ``STAGED_TOKEN`` in the folder says."""
    places: tuple[str, ...]
    """Folders and files that go in by one rename each, relative."""
    files: tuple[StoredFile, ...]
    """Every file, relative to the output folder."""
    absent: tuple[ImageKey, ...] = ()
    """Planes that the arrays have room for and that do not exist."""
    absent_labels: tuple[tuple[str, ImageKey], ...] = ()
    """The same of labels, each by its name."""

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def refuse_if_removed(self) -> None:
        """OutputPlaceError unless the folder is the one that the well was written to, with all that is in it."""
        try:
            found = (self.folder / STAGED_TOKEN).read_text()
        except (FileNotFoundError, NotADirectoryError):
            found = None
        if found != self.token:
            raise removed(self.well, self.folder)


def removed(well: str, folder: Path) -> OutputPlaceError:
    """The error of a well whose unfinished files disappeared: with the output, or swept as a dead run's."""
    return OutputPlaceError(
        f"Well {well}: {folder}, where it was written before it was published, is missing or incomplete now: "
        f"{REMOVED_MEANWHILE}",
        path=str(folder),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WellManifest:
    """What was published of one well, and how it was made."""

    format: int = FORMAT
    well: str
    fingerprint: str
    """Of the context that made it."""
    law: int = 1
    """Number of the law of that fingerprint; manifests without one are of the first."""
    plan: str = ""
    """Fingerprint of the whole plan; empty where the well was run by itself."""
    backend: str
    """``zarr`` or ``disk``."""
    finished: str
    """ISO time, UTC; to the second in manifests of earlier versions."""
    seconds: float
    device: str
    files: tuple[StoredFile, ...]
    """Relative to the output folder, with sizes and checksums."""
    absent: tuple[ImageKey, ...] = ()
    """Planes that the arrays have room for and that do not exist."""
    absent_labels: tuple[tuple[str, ImageKey], ...] = ()
    """The same of labels, each by its name."""
    sources: int = 0
    """Raw planes it was made of."""
    raw: tuple[RawFile, ...] = ()
    """The files that hold them."""
    provenance: FrozenMap = FrozenMap()  # noqa: RUF009 # it is frozen
    """Free form: run, versions, functions with parameters, where each step ran."""

    @classmethod
    def of(
        cls,
        context: ProcessingContext,
        staged: StagedWell,
        *,
        seconds: float,
        device: str,
        plan: str = "",
        recorded: Mapping[str, object] | None = None,
        provenance: FrozenMap | None = None,
    ) -> WellManifest:
        """The manifest of a well that is finished now.

        ``provenance`` defaults to what the context says of the well's making, joined by what the run ``recorded``.
        """
        return cls(
            well=context.well,
            fingerprint=context.fingerprint,
            law=context.law,
            plan=plan,
            backend=context.output.backend,
            finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
            seconds=seconds,
            device=device,
            files=staged.files,
            absent=staged.absent,
            absent_labels=staged.absent_labels,
            sources=len(context.index.present()),
            raw=raw_files(context.index),
            provenance=FrozenMap.of(provenance_of(context, recorded or {})) if provenance is None else provenance,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def image_bytes(self) -> int:
        """Bytes of its results' images with their labels."""
        place = f"{image_path(self.backend, self.well)}/"
        return sum(file.size for file in self.files if file.path.startswith(place))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its run said is probably wrong with it."""
        warnings = self.provenance.get("warnings")
        return tuple(map(str, warnings)) if isinstance(warnings, tuple) else ()

    @property
    def steps(self) -> tuple[FrozenMap, ...]:
        """What its provenance holds of each step."""
        steps = self.provenance.get("steps")
        return tuple(step for step in steps if isinstance(step, FrozenMap)) if isinstance(steps, tuple) else ()


def manifest_to_json(manifest: WellManifest) -> bytes:
    """The manifest as a file."""
    return msgspec.json.format(_ENCODER.encode(manifest), indent=1)


def manifest_from_json(content: bytes, path: str | Path) -> WellManifest:
    """Read a manifest back.

    Raises
    ------
    ManifestError
        If it is no manifest of this format, or incomplete.
    """
    try:
        manifest = _DECODER.decode(content)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ManifestError(f"{path} is not a readable manifest: {error}.", path=str(path)) from error
    if manifest.format != FORMAT:
        raise ManifestError(f"{path} has format {manifest.format}; this version reads format {FORMAT}.", path=str(path))
    for file in manifest.files:
        if "/../" in f"/{file.path}/" or file.path.startswith("/"):
            raise ManifestError(f"{path} lists {file.path!r}, which is not in its output folder.", path=str(path))
    return manifest


def read_manifest(path: Path) -> WellManifest | None:
    """The manifest in a file; None if there is no file, ManifestError if it is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {explained(error)}.", path=str(path)) from error
    return manifest_of_well(content, path, path.stem)


def manifest_of_well(content: bytes, path: str | Path, well: str) -> WellManifest:
    """As ``manifest_from_json``; also a ManifestError if it is another well's."""
    manifest = manifest_from_json(content, path)
    if manifest.well != well:
        raise ManifestError(f"{path} is the manifest of well {manifest.well}.", path=str(path))
    return manifest


_ENCODER = msgspec.json.Encoder(enc_hook=encode_frozen)
_DECODER = msgspec.json.Decoder(WellManifest, dec_hook=decode_frozen)

__all__ = [
    "STAGED_MANIFEST",
    "STAGED_TOKEN",
    "StagedWell",
    "WellManifest",
    "manifest_from_json",
    "manifest_of_well",
    "manifest_to_json",
    "read_manifest",
    "removed",
]
