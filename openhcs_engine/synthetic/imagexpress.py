"""A synthetic plate as MetaXpress exports it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from openhcs_engine.microscopes.imagexpress.names import ImageName
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import row_and_column
from openhcs_engine.synthetic.plate import SyntheticPlate
from openhcs_engine.synthetic.writing import Layout, site_offset_um, write_plate

_WELL_PITCH_UM: Final = 9000.0
_WAVELENGTHS: Final = {"DAPI": 452, "GFP": 520, "FITC": 520, "Cy3": 593, "Texas Red": 624, "Cy5": 692}


def write_imagexpress(folder: str | os.PathLike[str], spec: SyntheticPlate | None = None) -> Path:
    """Write a MetaXpress export: HTD, TimePoint_n/ZStep_n folders, MetaSeries metadata in each TIFF.

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
    """
    return write_plate(folder, spec, _ImageXpress)


class _ImageXpress(Layout):
    """A plate as MetaXpress exports it."""

    def write_metadata(self) -> None:
        (self.folder / f"{self.spec.name}.HTD").write_bytes(_htd(self.spec).encode("cp1252"))

    def image_keys(self) -> Iterator[ImageKey]:
        for key in self.spec.image_keys():
            yield key
            if self.spec.projections and key.z_index == 1:
                yield key.replace(z_index=None)

    def write_image(self, key: ImageKey) -> Path:
        import tifffile  # only writing needs it

        path = self.folder / f"TimePoint_{key.timepoint}" / f"ZStep_{key.z_index or 0}" / str(self.name(key))
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = self.images.plane(key)
        description = _metaseries(self.spec, key).encode("ascii", "xmlcharrefreplace").decode()  # TIFF text is ASCII
        tifffile.imwrite(path, pixels, description=description, metadata=None, software="MetaSeries")
        if self.spec.thumbnails:
            thumbnail = path.with_name(str(self.name(key, thumbnail=True)))
            step = max(1, min(pixels.shape) // 64)
            tifffile.imwrite(thumbnail, pixels[::step, ::step], description=description, metadata=None)
        return path

    def name(self, key: ImageKey, *, thumbnail: bool = False) -> ImageName:
        guid = _guid(self.spec.seed, key) if thumbnail else None
        return ImageName(
            prefix=self.spec.name, well=key.well, site=key.site, channel=key.channel, thumbnail=thumbnail, guid=guid
        )


def _guid(seed: int, key: ImageKey) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed} {key}")).upper()


def _htd(spec: SyntheticPlate) -> str:
    site_rows, site_columns = spec.site_grid
    # A well that is left out (``missing``) stays selected: the HTD promises it.
    wells = [_line(f"WellsSelection{row + 1}", *[True] * spec.columns) for row in range(spec.rows)]
    sites = [
        _line(f"SiteSelection{row + 1}", *(row * site_columns + column < spec.sites for column in range(site_columns)))
        for row in range(site_rows)
    ]
    waves = [_line(f"WaveName{number}", name) for number, name in enumerate(spec.channels, 1)]
    collected = [_line(f"WaveCollect{number}", 1) for number in range(1, len(spec.channels) + 1)]
    lines = [
        '"HTSInfoFile", Version 1.0',
        _line("Description", f"Synthetic plate, seed {spec.seed}"),
        _line("TimePoints", spec.timepoints),
        _line("ZSeries", spec.z > 1),
        _line("ZSteps", spec.z),
        _line("ZProjection", spec.projections),
        _line("XWells", spec.columns),
        _line("YWells", spec.rows),
        *wells,
        _line("Sites", True),
        _line("XSites", site_columns),
        _line("YSites", site_rows),
        *sites,
        _line("Waves", True),
        _line("NWavelengths", len(spec.channels)),
        *waves,
        *collected,
        '"EndFile"',
    ]
    return "\r\n".join(lines) + "\r\n"


def _line(key: str, *values: bool | int | str) -> str:
    shown = (f'"{value}"' if isinstance(value, str) else str(value).upper() for value in values)
    return ", ".join((f'"{key}"', *shown))


def _metaseries(spec: SyntheticPlate, key: ImageKey) -> str:
    """The ImageDescription that MetaXpress writes, with the properties that matter."""
    site = 1 if key.site is None else key.site
    name = spec.channels[(1 if key.channel is None else key.channel) - 1]
    x, y = _stage_um(spec, key.well, site)
    z_index = (spec.z + 1) / 2 if key.z_index is None else key.z_index
    properties = {
        "Description": f"Plate Name: {spec.name}",
        "spatial-calibration-state": "on",
        "spatial-calibration-x": spec.pixel_size_um,
        "spatial-calibration-y": spec.pixel_size_um,
        "spatial-calibration-units": "um",
        "stage-position-x": round(x, 2),
        "stage-position-y": round(y, 2),
        "stage-label": f"{key.well} : Site {site}",
        "z-position": round(9000 + (z_index - 1) * spec.z_step_um, 3),
        "wavelength": _WAVELENGTHS.get(name, 0),
        "_IllumSetting_": name,
        "Z Projection Step Size": spec.z_step_um,
    }
    depth = {"Z Projection Method": "Maximum"} if key.z_index is None else {"Z Step": key.z_index}
    lines = (
        f"<prop id={quoteattr(name)} value={quoteattr(str(value))}/>" for name, value in (properties | depth).items()
    )
    return "<MetaData>\n<PlaneInfo>\n" + "\n".join(lines) + "\n</PlaneInfo>\n</MetaData>"


def _stage_um(spec: SyntheticPlate, well: str, site: int) -> tuple[float, float]:
    """Stage position (x, y) in µm of a site's centre, y downwards."""
    row, column = row_and_column(well)
    x, y = site_offset_um(spec, site)
    return (column + 1) * _WELL_PITCH_UM + x, (row + 1) * _WELL_PITCH_UM - y
