"""What MetaXpress writes into each TIFF: MetaSeries XML in the ImageDescription."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_MICROMETRES: Final = frozenset({"um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaSeries:
    """The properties of one plane that matter; None where the file is silent."""

    pixel_size_um: float | None = None
    """Edge of a pixel in the specimen; None unless the calibration is on and in µm."""
    z_step: int | None = None
    """Number of the z plane, counted from 1."""
    projection: str | None = None
    """How planes were projected, e.g. ``Maximum``; None for a plane."""
    z_step_um: float | None = None
    """Distance of the planes that were projected."""
    z_um: float | None = None
    """Height of the stage."""
    stage_um: tuple[float, float] | None = None
    """Stage position (x, y); both grow with the site's column and row, so y grows downwards on the plate."""
    illumination: str | None = None
    """The illumination setting: the operator's name of the channel."""
    wavelength_nm: float | None = None
    """Emission wavelength."""
    plate_name: str | None = None


def parse_metaseries(description: str) -> MetaSeries | None:
    """Read an ImageDescription; None if it is not MetaSeries XML.

    Raises
    ------
    ValueError
        If it begins as MetaSeries XML and is damaged, or declares entities.
    """
    if not description.lstrip("\ufeff \t\r\n").startswith("<MetaData"):
        return None
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(description.strip("\ufeff \t\r\n"), forbid_dtd=True)
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(f"its MetaSeries XML cannot be read ({type(error).__name__}: {error})") from error
    found = {node.get("id", ""): node.get("value", "") for node in root.iter() if node.tag in {"prop", "custom-prop"}}
    return _of_properties(found)


def _of_properties(properties: dict[str, str]) -> MetaSeries:
    z_step = _number(properties.get("Z Step"))
    projection = properties.get("Z Projection Method") or None
    wavelength = _number(properties.get("wavelength"))
    x, y = _number(properties.get("stage-position-x")), _number(properties.get("stage-position-y"))
    return MetaSeries(
        pixel_size_um=_pixel_size(properties),
        z_step=int(z_step) if z_step is not None and projection is None else None,
        projection=projection,
        z_step_um=_positive(properties.get("Z Projection Step Size")),
        z_um=_number(properties.get("z-position")),
        stage_um=None if x is None or y is None else (x, y),
        illumination=properties.get("_IllumSetting_") or None,
        wavelength_nm=wavelength if wavelength else None,  # 0: not set, as with transmitted light
        plate_name=_plate_name(properties.get("Description", "")),
    )


def _pixel_size(properties: dict[str, str]) -> float | None:
    calibrated = properties.get("spatial-calibration-state", "").lower() in {"on", "true", "1"}
    in_um = properties.get("spatial-calibration-units", "").strip().lower() in _MICROMETRES
    return _positive(properties.get("spatial-calibration-x")) if calibrated and in_um else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _positive(text: str | None) -> float | None:
    value = _number(text)
    return value if value is not None and value > 0 else None


def _plate_name(description: str) -> str | None:
    for line in description.splitlines():
        if line.startswith("Plate Name:"):
            return line.removeprefix("Plate Name:").strip() or None
    return None
