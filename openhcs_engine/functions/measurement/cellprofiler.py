"""Measurements that the package cp_measure computes with CellProfiler's own code: texture, granularity, rings, Zernike.

It is an extra, ``openhcs-dagster[measure]``: it needs centrosome, which needs Pillow below 12, where this product's
locked environment has a newer one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.measurement.objects import Floats, Objects

PACKAGE: Final = "cp_measure"


def is_installed() -> bool:
    """Whether cp_measure can be imported; it is not."""
    return find_spec(PACKAGE) is not None


def compact_labels(objects: Objects) -> NDArray[np.int64]:
    """The label image with the objects counted from 1 without gaps."""
    plane = np.zeros(objects.shape, np.int64)
    plane.ravel()[objects.plane_pixels()] = objects.owners + 1
    return plane


def measure_zernike(labels: NDArray[np.int64]) -> Mapping[str, Floats]:
    """Zernike features of shapes, by measurement."""
    from cp_measure.core.measureobjectsizeshape import get_zernike

    return {f"AreaShape_{name}": values for name, values in get_zernike(labels, None).items()}


def measure_channel(
    feature: str, labels: NDArray[np.int64], plane: NDArray[Any], scale: int, maximum: float | None
) -> Mapping[str, Floats]:
    """Columns of one group and channel, by measurement.

    Parameters
    ----------
    feature
        ``texture``, ``granularity`` or ``radial_distribution``.
    labels
        ``(y, x)``, objects from 1 without gaps, at least one.
    plane
        ``(y, x)``, pixel values.
    scale
        Pixels between those whose grey levels texture compares.
    maximum
        The pixel value that texture takes as white, above 0; 0 and what is below is black.

    Raises
    ------
    ValueError
        If texture meets a pixel above ``maximum``: other wells would be measured with other grey levels.
    """
    values = np.nan_to_num(plane.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    match feature:
        case "texture":
            from cp_measure.core.measuretexture import get_texture

            found = get_texture(labels, _grey(values, maximum), scale=scale)
            return {_without_scale(name): each for name, each in found.items()}
        case "granularity":
            from cp_measure.core.measuregranularity import get_granularity

            return dict(get_granularity(labels, values))
        case _:
            from cp_measure.core.measureobjectintensitydistribution import get_radial_distribution

            with np.errstate(invalid="ignore", divide="ignore"):
                return dict(get_radial_distribution(labels, values))


def _grey(values: Floats, maximum: float | None) -> Floats:
    """Pixel values from 0 to 1."""
    assert maximum is not None  # the check of the parameters saw to it
    high = float(values.max(initial=0))
    if high > maximum:
        raise ValueError(
            f"texture was told that no pixel is above maximum={maximum:g}, but there is one of {high:g}. Give the "
            "largest value that the camera can write, 4095 for 12 bits or 65535 for 16, the same for all wells."
        )
    return np.clip(values / maximum, 0, 1)


def _without_scale(name: str) -> str:
    """``AngularSecondMoment_3_00_256`` as ``Texture_AngularSecondMoment_00_256``."""
    feature, rest = name.split("_", 1)
    return f"Texture_{feature}_{re.sub(r'^[0-9]+_', '', rest)}"


__all__ = ["PACKAGE", "compact_labels", "is_installed", "measure_channel", "measure_zernike"]
