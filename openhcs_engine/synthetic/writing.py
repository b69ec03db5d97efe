"""Writing a synthetic plate: what all layouts share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import normalise_well
from openhcs_engine.synthetic.images import SyntheticImages
from openhcs_engine.synthetic.plate import SyntheticPlate
from openhcs_engine.synthetic.truth import write_truth

_SITE_OVERLAP: Final = 0.1


class Layout(ABC):
    """How one program lays out the files of a plate."""

    def __init__(self, folder: Path, images: SyntheticImages) -> None:
        """Raise ValueError if the layout cannot say what the spec asks for."""
        self.folder, self.images, self.spec = folder, images, images.spec

    @abstractmethod
    def write_metadata(self) -> None:
        """Write what lies beside the images."""

    @abstractmethod
    def write_image(self, key: ImageKey) -> Path:
        """Write one image, and return the file that is cut in half where the image is to be damaged."""

    def image_keys(self) -> Iterable[ImageKey]:
        """The images that are written, in order."""
        return self.spec.image_keys()


def write_plate(
    folder: str | os.PathLike[str], spec: SyntheticPlate | None, layout: Callable[[Path, SyntheticImages], Layout]
) -> Path:
    """Write all files of a plate, and its truth beside it; return the plate folder.

    Raises
    ------
    OutputPlaceError
        If the folder is not empty.
    """
    plate = Path(folder)
    if plate.exists() and any(plate.iterdir()):
        raise OutputPlaceError(f"{plate} is not empty; give a new folder for the synthetic plate.", path=str(plate))
    images = SyntheticImages(SyntheticPlate() if spec is None else spec)
    writer = layout(plate, images)
    plate.mkdir(parents=True, exist_ok=True)
    writer.write_metadata()
    intact = {normalise_well(well) for well in images.spec.truncated_wells}
    for key in writer.image_keys():
        path = writer.write_image(key)
        if key.well in intact:
            intact.remove(key.well)
            os.truncate(path, path.stat().st_size // 2)
    write_truth(plate, images)
    return plate


def site_offset_um(spec: SyntheticPlate, site: int) -> tuple[float, float]:
    """Offset (x, y) of a site's centre from the well's, µm, y upwards: row by row from the top.

    Sites of a scene overlap as it says, and touch where it says nothing; those of spots are 10 % closer than that.
    """
    rows, columns = spec.site_grid
    row, column = divmod(site - 1, columns)
    overlap = _SITE_OVERLAP if spec.scene is None else spec.scene.overlap or 0.0
    height, width = (edge * spec.pixel_size_um * (1 - overlap) for edge in spec.shape)
    return (column - (columns - 1) / 2) * width, ((rows - 1) / 2 - row) * height
