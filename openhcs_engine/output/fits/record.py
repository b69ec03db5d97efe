"""``fit.json``: what was fitted, on which images, and where its values lie. It alone decides that a fit exists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from openhcs_engine.errors import ManifestError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.files.keys import check_key
from openhcs_engine.model.frozen import FrozenMap, decode_frozen, encode_frozen
from openhcs_engine.model.image_index import ImageKey, ImagePlane
from openhcs_engine.output.layout import FITS

FORMAT: Final = 1
"""Version of the record."""
RECORD: Final = "fit.json"
"""Its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitImage:
    """One image of a sample."""

    key: ImageKey
    path: str
    """Relative to the raw plate's folder."""
    size: int
    """Bytes of its file."""
    mtime_ns: int
    """Time of the file's last change; 0 where the store does not tell."""

    @classmethod
    def of(cls, plane: ImagePlane) -> FitImage:
        """A plane that was used."""
        size, mtime_ns = plane.stamp
        return cls(key=plane.key, path=str(plane.path), size=size, mtime_ns=mtime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadImage:
    """An image of a sample that could not be read."""

    key: ImageKey
    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FitValue:
    """One array, table or number of a result."""

    name: str
    """Its key in the dict that was returned; empty: the whole result."""
    kind: str
    """``array``, ``table`` or ``number``."""
    path: str = ""
    """File of an array or a table, relative to the output."""
    number: bool | float | int | None = None

    def at(self, folder: str) -> FitValue:
        """The value with its file in a folder."""
        return replace(self, path=f"{folder}/{self.path}") if self.path else self


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPart:
    """The result of one channel, or of all together."""

    channel: int | None
    """None: of all."""
    label: str
    """The channel's name; empty: of all."""
    images: int
    """Images that it was fitted on."""
    values: tuple[FitValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """One published fit."""

    format: int = FORMAT
    name: str
    fingerprint: str
    sample_fingerprint: str
    """The fingerprint that the fit would have if every image of its sample could be read."""
    plate: str
    """Id of the plate."""
    function: str
    version: str
    """``distribution==version`` of the function's package; empty if it is of none."""
    source_sha256: str
    parameters: FrozenMap = FrozenMap()  # noqa: RUF009 # it is frozen
    versions: tuple[str, ...]
    asked: int
    """Images that were asked for, of each part."""
    minimum: int
    used: tuple[FitImage, ...]
    missing: tuple[UnreadImage, ...] = ()
    """Images of the sample that could not be read."""
    parts: tuple[FittedPart, ...]
    warnings: tuple[str, ...] = ()
    """What the function said with ``warnings.warn``."""
    picture: str = ""
    """A picture of the arrays, relative to the output; empty: there is none that shows anything."""
    files: tuple[StoredFile, ...]
    """Every file but this, relative to the output."""
    finished: str
    """ISO time, UTC."""
    seconds: float

    @property
    def is_partial(self) -> bool:
        """True if a part was fitted on fewer images than were asked for."""
        return any(part.images < self.asked for part in self.parts)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be known of whatever uses the fit, as sentences."""
        return (
            *((self._partial_sentence(),) if self.is_partial else ()),
            *(f"{self.name}: {w}" for w in self.warnings),
        )

    @property
    def folder(self) -> str:
        """Where it lies, relative to the output."""
        return fit_folder(self.name, self.fingerprint)

    def _partial_sentence(self) -> str:
        fewest = min(self.parts, key=lambda part: part.images)
        of = f" of channel {fewest.label}" if fewest.label else ""
        if not self.missing:
            why = "the plate has no more"
        else:
            first = self.missing[0]
            others = f" and {len(self.missing) - 1} more" if len(self.missing) > 1 else ""
            why = f"{first.path}{others} could not be read: {first.reason}"
        return f"{self.name} is fitted on {fewest.images} of the {self.asked} images{of} that were asked for ({why})"


def fit_folder(name: str, fingerprint: str) -> str:
    """Where a fit lies, relative to the output."""
    return f"{FITS}/{check_key(name)}/{check_key(fingerprint)}"


def record_path(name: str, fingerprint: str) -> str:
    """Where its record lies, relative to the output."""
    return f"{fit_folder(name, fingerprint)}/{RECORD}"


def fit_of_path(path: str) -> tuple[str, str] | None:
    """Name and fingerprint of the fit in whose folder a file lies; None for other files."""
    match path.split("/"):
        case [top, name, fingerprint, _] if top == FITS:
            return name, fingerprint
        case _:
            return None


def record_to_json(record: FitRecord) -> bytes:
    """The record as a file."""
    return msgspec.json.format(_ENCODER.encode(record), indent=1)


def record_from_json(content: bytes, path: str) -> FitRecord:
    """Read a record back; ManifestError if it is none, or is another fit's."""
    try:
        record = _DECODER.decode(content)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ManifestError(f"{path} is not a readable record of a fit: {error}.", path=path) from error
    if record.format != FORMAT:
        raise ManifestError(f"{path} has format {record.format}; this version reads format {FORMAT}.", path=path)
    if fit_of_path(path) != (record.name, record.fingerprint):
        raise ManifestError(f"{path} is the record of the fit {record.name}/{record.fingerprint}.", path=path)
    for file in record.files:
        if fit_of_path(file.path) != (record.name, record.fingerprint):
            raise ManifestError(f"{path} lists {file.path!r}, which is not in its folder.", path=path)
    return record


_ENCODER = msgspec.json.Encoder(enc_hook=encode_frozen)
_DECODER = msgspec.json.Decoder(FitRecord, dec_hook=decode_frozen)

__all__ = [
    "RECORD",
    "FitImage",
    "FitRecord",
    "FitValue",
    "FittedPart",
    "UnreadImage",
    "fit_folder",
    "fit_of_path",
    "record_from_json",
    "record_path",
    "record_to_json",
]
