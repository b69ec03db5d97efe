"""A synthetic plate as Harmony exports it from an Opera Phenix or Operetta."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from openhcs_engine.microscopes.harmony.names import HarmonyName
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import row_and_column
from openhcs_engine.synthetic.images import SyntheticImages
from openhcs_engine.synthetic.plate import SyntheticPlate
from openhcs_engine.synthetic.writing import Layout, site_offset_um, write_plate

_BANDS: Final = {
    "DAPI": (375, 456),
    "GFP": (488, 522),
    "FITC": (488, 522),
    "Cy3": (550, 599),
    "Texas Red": (561, 640),
    "Cy5": (640, 706),
}
"""Main excitation and emission wavelengths, nm; 0 as in transmitted light for others."""
_NAMESPACE: Final = "http://www.perkinelmer.com/PEHH/HarmonyV5"
_MATRIX: Final = "[[1,0,0,0],[0,-1,0,0],[0,0,1,0]]"


def write_opera_phenix(folder: str | os.PathLike[str], spec: SyntheticPlate | None = None) -> Path:
    """Write a Harmony export: ``Images/Index.idx.xml`` (V5, with a byte order mark) and one TIFF a plane beside it.

    Time points are numbered from 1, as in the truth. Harmony writes no thumbnails: ``spec.thumbnails`` has no meaning
    here.

    Parameters
    ----------
    folder : path
        The plate folder; it must be absent or empty.
    spec : SyntheticPlate, optional
        24 wells with 2 sites, 2 channels and 3 z planes if not given.

    Returns
    -------
    pathlib.Path
        The plate folder. The truth lies beside it in ``<folder>.truth.json``.

    Raises
    ------
    OutputPlaceError
        If the folder is not empty.
    ValueError
        If the spec asks for projections: Harmony exports none.
    """
    return write_plate(folder, spec, _Harmony)


class _Harmony(Layout):
    """A plate as Harmony exports it."""

    def __init__(self, folder: Path, images: SyntheticImages) -> None:
        super().__init__(folder / "Images", images)
        if self.spec.projections:
            raise ValueError("Harmony exports no projections; choose another layout for them, or leave them out.")

    def write_metadata(self) -> None:
        self.folder.mkdir()
        with (self.folder / "Index.idx.xml").open("w", encoding="utf-8-sig", newline="\r\n") as stream:
            stream.writelines(f"{line}\n" for line in _index(self.spec))

    def write_image(self, key: ImageKey) -> Path:
        import tifffile  # only writing needs it

        path = self.folder / str(_name(key))
        tifffile.imwrite(path, self.images.plane(key), metadata=None, software="Harmony")
        return path


def _name(key: ImageKey) -> HarmonyName:
    return HarmonyName(key.well, key.site or 1, key.z_index or 1, key.channel or 1, key.timepoint or 1)


def _index(spec: SyntheticPlate) -> Iterator[str]:
    """Lines of the index. Images that are left out (``missing``) are listed: the instrument acquired them."""
    keys = tuple(replace(spec, missing=()).image_keys())
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield f'<EvaluationInputData Version="1" xmlns="{_NAMESPACE}">'
    yield "  <User>openhcs</User>"
    yield "  <InstrumentType>Phenix</InstrumentType>"
    yield from _plate_head(spec)
    yield from _wells(spec, keys)
    yield "  <Images>"
    for key in keys:
        yield from _image(spec, key)
    yield "  </Images>"
    yield "</EvaluationInputData>"


def _plate_head(spec: SyntheticPlate) -> Iterator[str]:
    yield "  <Plates>"
    yield "    <Plate>"
    yield f"      <PlateID>{escape(spec.name)}</PlateID>"
    yield f"      <Name>{escape(spec.name)}</Name>"
    yield f"      <PlateTypeName>{spec.rows * spec.columns} synthetic µClear</PlateTypeName>"
    yield f"      <PlateRows>{spec.rows}</PlateRows>"
    yield f"      <PlateColumns>{spec.columns}</PlateColumns>"
    for well in spec.wells:
        yield f'      <Well id="{_well_id(well)}" />'
    yield "    </Plate>"
    yield "  </Plates>"


def _wells(spec: SyntheticPlate, keys: tuple[ImageKey, ...]) -> Iterator[str]:
    images: dict[str, list[ImageKey]] = {well: [] for well in spec.wells}
    for key in keys:
        images[key.well].append(key)
    yield "  <Wells>"
    for well, found in images.items():
        row, column = row_and_column(well)
        yield "    <Well>"
        yield f"      <id>{_well_id(well)}</id>"
        yield f"      <Row>{row + 1}</Row>"
        yield f"      <Col>{column + 1}</Col>"
        for key in found:
            yield f'      <Image id="{_image_id(key)}" />'
        yield "    </Well>"
    yield "  </Wells>"


def _image(spec: SyntheticPlate, key: ImageKey) -> Iterator[str]:
    yield '    <Image Version="1">'
    for name, value, unit in _properties(spec, key):
        attribute = "" if unit is None else f' Unit="{unit}"'
        yield f"      <{name}{attribute}>{escape(str(value))}</{name}>"
    yield "    </Image>"


def _properties(spec: SyntheticPlate, key: ImageKey) -> Iterator[tuple[str, object, str | None]]:
    """Name, value and unit of what an ``Image`` record holds, in Harmony's order."""
    name, (row, column) = _name(key), row_and_column(key.well)
    channel = spec.channels[name.channel - 1]
    excitation, emission = _BANDS.get(channel, (0, 0))
    x, y = site_offset_um(spec, name.field)
    height, width = spec.shape
    pixel_size, z = _metres(spec.pixel_size_um), _metres((name.plane - 1) * spec.z_step_um)
    yield "id", _image_id(key), None
    yield "State", "Ok", None
    yield "URL", name, None
    yield "Row", row + 1, None
    yield "Col", column + 1, None
    yield "FieldID", name.field, None
    yield "PlaneID", name.plane, None
    yield "TimepointID", name.timepoint, None
    yield "ChannelID", name.channel, None
    yield "FlimID", 1, None
    yield "ChannelName", channel, None
    yield "ImageType", "Signal", None
    yield "ImageResolutionX", pixel_size, "m"
    yield "ImageResolutionY", pixel_size, "m"
    yield "ImageSizeX", width, None
    yield "ImageSizeY", height, None
    yield "BinningX", 1, None
    yield "BinningY", 1, None
    yield "MaxIntensity", 65535, None
    yield "PositionX", _metres(x), "m"
    yield "PositionY", _metres(y), "m"
    yield "PositionZ", z, "m"
    yield "AbsPositionZ", z, "m"
    yield "MainExcitationWavelength", excitation, "nm"
    yield "MainEmissionWavelength", emission, "nm"
    yield "OrientationMatrix", _MATRIX, None


def _well_id(well: str) -> str:
    row, column = row_and_column(well)
    return f"{row + 1:02d}{column + 1:02d}"


def _image_id(key: ImageKey) -> str:
    return f"{_well_id(key.well)}K{key.timepoint}F{key.site}P{key.z_index}R{key.channel}"


def _metres(micrometres: float) -> str:
    return f"{micrometres:.12g}E-06"
