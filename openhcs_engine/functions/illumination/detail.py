"""The field in detail: as fine as the images tell it from their noise.

Each of two halves of the images gives a field. What both have in common is light, what they differ in is noise; so each
scale of detail, around each pixel, is kept by its share of the former (Wiener's filter).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from openhcs_engine.functions.illumination.background import Background
from openhcs_engine.functions.illumination.sample import Sample
from openhcs_engine.functions.illumination.squares import Floats, enlarged, means_of_squares

_WINDOW: Final = 9
"""Pixels of a scale around each in which light and noise are compared."""
_SMALLEST: Final = 16
"""Edge of the coarsest scale, which is kept as it is."""


def detailed_field(sample: Sample, found: Background) -> tuple[Floats, float]:
    """The field on the sample's images, mean 1, and the error (RMS) that the images' noise leaves in it."""
    first, second, whole = _fields_of_halves(sample, found)
    fine, variance = _without_noise(first, second, whole)
    height, width = sample.shape
    field = enlarged(fine, sample.fine_edge)[:height, :width]
    mean = float(field.mean())
    return np.ascontiguousarray(field / np.float32(mean)), float(np.sqrt(variance)) / mean


def _fields_of_halves(sample: Sample, found: Background) -> tuple[Floats, Floats, Floats]:
    """Fields ``(y, x)`` of every other image, of the rest, and of all."""
    light, norm = zip(*(_light(sample, found, half) for half in (0, 1)), strict=True)
    return (
        _ratio(light[0], norm[0], found.field, sample.ratio),
        _ratio(light[1], norm[1], found.field, sample.ratio),
        _ratio(light[0] + light[1], norm[0] + norm[1], found.field, sample.ratio),
    )


def _light(sample: Sample, found: Background, half: int) -> tuple[Floats, Floats]:
    """Sums over the background of every other image: of its light, and of the light that an even field would give."""
    height, width = sample.work.shape[1:]
    edge = sample.ratio
    light = np.zeros((height, edge, width, edge), np.float32)
    counts = np.zeros((height, width), np.float32)
    norm = np.zeros((height, width), np.float32)
    for number in range(half, len(sample.fine), 2):
        shown = found.is_background[number]
        light += sample.fine[number].reshape(light.shape) * shown[:, None, :, None]
        counts += shown
        norm += shown * np.float32(found.levels[number])
    light -= (np.float32(found.offset) * counts)[:, None, :, None]
    return light, norm


def _ratio(light: Floats, norm: Floats, coarse: Floats, edge: int) -> Floats:
    height, width = norm.shape
    known = norm > 0
    field = light / np.where(known, norm, np.float32(1))[:, None, :, None]
    field = np.where(known[:, None, :, None], field, coarse[:, None, :, None])
    return np.ascontiguousarray(field.reshape(height * edge, width * edge))


def _without_noise(first: Floats, second: Floats, whole: Floats) -> tuple[Floats, float]:
    """The field of all images, scale by scale without its noise, and the variance of the error that is left."""
    from scipy.ndimage import uniform_filter

    if min(whole.shape) < 2 * _SMALLEST or any(size % 2 for size in whole.shape):
        return whole, float(np.square(first - second).mean()) / 4
    lows = [means_of_squares(each, 2) for each in (first, second, whole)]
    details = [each - enlarged(low, 2) for each, low in zip((first, second, whole), lows, strict=True)]
    light = np.maximum(uniform_filter(details[0] * details[1], _WINDOW, mode="nearest"), 0)
    noise = uniform_filter(np.square(details[0] - details[1]), _WINDOW, mode="nearest") / 4
    share = light / (light + noise + np.float32(1e-20))
    coarser, variance = _without_noise(*lows)
    return enlarged(coarser, 2) + share * details[2], variance + float((share * noise).mean())
