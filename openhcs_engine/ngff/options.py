"""How images are stored: version of the format, resolutions, chunks, compression."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from openhcs_engine.errors import OptionError

NGFF_VERSIONS: Final = ("0.5", "0.4")
"""OME-Zarr 0.5 in zarr v3, the default, and 0.4 in zarr v2."""
CODECS: Final = ("zstd", "lz4", "lz4hc", "zlib", "blosclz", "none")
SHUFFLES: Final = ("none", "byte", "bit")
_HIGHEST_LEVEL: Final = 9
_LONGEST_CHUNK: Final = {"0.5": 512, "0.4": 2048}
"""In a shard small chunks are free; without shards each of them is a file."""


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise OptionError(f"{option}={value!r} is unknown (choose from {', '.join(known)}).", option=option)


def _in_range(option: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise OptionError(f"{option}={value} is out of range ({lowest} to {highest}).", option=option)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How chunks are compressed, without loss; all codecs but ``none`` are those of Blosc.

    Byte shuffle with zstd-1, the default, is smallest for its speed on camera images; see ``benchmarks/codecs.py``.

    Raises
    ------
    OptionError
        If there is no such codec, level or shuffle.
    """

    codec: str = "zstd"
    """``zstd``, ``lz4``, ``lz4hc``, ``zlib``, ``blosclz``, or ``none``."""
    level: int = 1
    """0 (only packed) to 9 (slowest, smallest)."""
    shuffle: str = "byte"
    """``none``, ``byte`` or ``bit``: what is put together before it is compressed."""

    def __post_init__(self) -> None:
        _one_of("codec", self.codec, CODECS)
        _one_of("shuffle", self.shuffle, SHUFFLES)
        _in_range("level", self.level, 0, _HIGHEST_LEVEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """How the images of an OME-Zarr plate are stored. Changes no pixel.

    Raises
    ------
    OptionError
        If there is no such version, or a number is out of its range.
    """

    ngff: str = "0.5"
    """Version of OME-Zarr: ``0.5`` (zarr v3, one shard a field and level) or ``0.4`` (zarr v2, one file a chunk)."""
    levels: int = 3
    """Resolutions at most, the full one included; fewer where an edge falls below 256 px."""
    longest_chunk: int | None = None
    """Longest edge of a chunk, px; chunks of an axis are of equal size up to it. None: 512 in shards, 2048 in files."""
    compression: Compression = Compression()

    def __post_init__(self) -> None:
        _one_of("ngff", self.ngff, NGFF_VERSIONS)
        _in_range("levels", self.levels, 1, 16)
        if self.longest_chunk is not None:
            _in_range("longest_chunk", self.longest_chunk, 1, 2**15)

    @property
    def chunk_px(self) -> int:
        """Longest edge of a chunk, px, the default filled in."""
        return self.longest_chunk or _LONGEST_CHUNK[self.ngff]

    def as_recorded(self) -> dict[str, object]:
        """What the plate's group keeps of them, defaults filled in."""
        return {**asdict(self), "longest_chunk": self.chunk_px}


DEFAULT_OPTIONS: Final = ImageOptions()

__all__ = ["CODECS", "DEFAULT_OPTIONS", "NGFF_VERSIONS", "SHUFFLES", "Compression", "ImageOptions"]
