"""What a writer of a well's images is, whatever its format."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.metadata import PixelScale
from openhcs_engine.ngff.writing.plate_store import WrittenWell

Images = Iterable[tuple[ImageKey, NDArray[Any]]]

Objects = Iterable[tuple[str, ImageKey, NDArray[Any]]]

Labels = Mapping[int | None, str]


class ImageWriter(Protocol):
    """What a kind of output offers to write one well's planes."""

    def write(self, key: ImageKey, plane: NDArray[Any]) -> NDArray[Any]:
        """Store one plane ``(y, x)``; return the smallest of its resolutions, as it was stored."""

    def write_label(self, name: str, key: ImageKey, plane: NDArray[Any]) -> None:
        """Store one plane ``(y, x)`` of object numbers of the label ``name``."""

    def finish(self, labels: Labels, scale: PixelScale, projected: Collection[int]) -> WrittenWell:
        """Write what is known only at the end."""
