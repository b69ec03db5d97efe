"""The field of light of one channel, fitted on images of many wells."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.illumination.background import Background, Offset, fit_background
from openhcs_engine.functions.illumination.detail import detailed_field
from openhcs_engine.functions.illumination.sample import LeftOut, Sample, read_sample
from openhcs_engine.functions.illumination.squares import Floats
from openhcs_engine.memory.parameter_check import Refusals, checked_by

SAMPLE_SIZE: Final = 48
"""Images of a sample, where objects cover a small part of them."""
SAMPLE_SIZE_COVERED: Final = 96
"""Images of a sample, where objects cover a quarter or more."""
_COVERED: Final = 0.25
_MINIMUM: Final = 8
_NAME: Final = "flat_field"
_LEAST_VARIATION: Final = 0.05
"""Standard deviation of the backgrounds over their mean, from which on they tell an offset."""
_LEAST_OF_ALL: Final = 0.01
"""The same over the mean with the offset: below it an offset may be found just above which all backgrounds lie."""
_EVEN: Final = 0.01
"""Standard deviation of a field that no offset can change much."""
_LARGEST_SHARE: Final = 0.1
"""Standard error of the offset over the mean background, up to which it counts as known."""
_FEW: Final = 3
_HIDDEN: Final = 0.002
"""Share of pixels with the background of that few images from which on the result says so."""
_UNSURE: Final = 0.02
"""RMS error of the field from which on the result says so."""

_PUBLISHED: Final = (
    "field",
    "offset",
    "offset_error",
    "field_error",
    "background",
    "background_variation",
    "covered",
)
"""What of a result is an array or a number."""

OffsetSource = Literal["given", "fitted", "assumed"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatField(Mapping[str, Any]):
    """The light of one channel: what ``correct_illumination`` needs, and how well it is known.

    Also a mapping of its array and its numbers (those that are known), as which a plate step publishes it.
    """

    field: Floats
    """``(y, x)``, mean 1: the light at each pixel, relative to the mean."""
    offset: float
    """Counts of a pixel without light."""
    offset_source: OffsetSource
    """``given``; ``fitted`` on the images; or ``assumed`` to be 0, because they do not tell it: see ``remarks``."""
    offset_error: float | None
    """One standard error in counts; None unless it was fitted."""
    field_error: float
    """RMS error of the field that the sample leaves, by its two halves and the offset's error; an assumed offset has no
    part in it."""
    background: float
    """Mean of the images' backgrounds above the offset, in counts."""
    background_variation: float
    """Their standard deviation over their mean."""
    covered: float
    """Share of the pixels that were taken for objects."""
    used: tuple[int, ...]
    """Images that were used: their positions in the sample, from 0."""
    left_out: tuple[LeftOut, ...] = ()
    """Those that were not, each with the reason."""
    remarks: tuple[str, ...] = ()
    """Sentences about what a scientist should know before the field is used."""

    @property
    def knows_offset(self) -> bool:
        """False: the offset is assumed, and the field may be too flat."""
        return self.offset_source != "assumed"

    def __getitem__(self, name: str) -> Any:  # Any: an array or a number
        value = getattr(self, name) if name in _PUBLISHED else None
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in _PUBLISHED if getattr(self, name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _refusals(offset: object = None, minimum: object = _MINIMUM, **_: object) -> Refusals:
    if isinstance(minimum, bool) or not isinstance(minimum, int) or minimum < 4:
        yield "minimum", f"minimum={minimum!r} must be a whole number of images, at least 4."
    if offset is not None and not is_number(offset):
        yield "offset", f"offset={offset!r} must be a finite number of counts, or None."


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no truth value."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


@checked_by(_refusals)
def flat_field(images: Iterable[NDArray[Any]], offset: float | None = None, minimum: int = _MINIMUM) -> FlatField:
    """Fit the field of light of one channel: the shape that the backgrounds of many images have in common.

    An image is ``offset + level * field * (1 + objects)``, with a background level of its own. Objects are told apart
    by what is brighter than the background's noise, and left out. The offset is fitted where the backgrounds differ:
    then a pixel in the dark changes less from image to image than a bright one, by the light alone.

    As a plate step, ``PlateStep(flat_field)``, it fits each channel on a sample of the plate, and
    ``correct_illumination`` behind it takes the result.

    Parameters
    ----------
    images
        Planes ``(y, x)`` of one shape, of one channel, best of many wells; a stack ``(image, y, x)``, or anything that
        gives one plane after the other: each is read once, and none is kept as it is. 48 are enough where objects cover
        less than a quarter, 96 otherwise.
    offset
        Counts of a pixel without light, where they are known. None: they are fitted.
    minimum
        Images that must be usable, at least 4. Those that hold NaN, are constant or saturated are not.

    Returns
    -------
    FlatField
        Field, offset, the images used, and how well both are known. If the backgrounds vary by less than 5 %, or leave
        the offset uncertain by more than a tenth of their mean, the offset is ``assumed`` to be 0 and a remark says so:
        the field is then too flat if it is not.

    Warns
    -----
    UserWarning
        With each remark: a doubtful offset, images that were left out, more images needed. In a plate step it becomes
        a warning of every well that uses the field.

    Raises
    ------
    ValueError
        If there are no images, too few that can be used, images of different shapes, below 16 pixels an edge, or
        without background above the given offset.
    PixelValueError
        If the pixels are no grey values.

    Notes
    -----
    Objects are found in means of 4 x 4 pixels (for 512 pixels an edge). Given the images' levels ``t`` (offset
    included), the field at a pixel is the slope of its values ``p`` in ``p - t = (field - 1) (t - offset)`` and the
    offset is the one number that explains most of all pixels' variance: Tukey's one degree of freedom for
    non-additivity (J. W. Tukey, Biometrics 5 (1949) 232), fitted on weighted data. The detail is what two halves of the
    images agree in. The model is that of BaSiC (T. Peng et al., Nature Communications 8 (2017) 14836), with one offset
    instead of a dark field.
    """
    for _, sentence in _refusals(offset, minimum):
        raise ValueError(f"{_NAME}: {sentence}")
    sample = read_sample(images, minimum)
    _refuse_dark(sample, offset)
    found, fitted = fit_background(sample.work, offset)
    source: OffsetSource = "given" if fitted is None else "fitted"
    remarks: list[str] = []
    if fitted is not None and not _tells(found, fitted):
        found, tried, source = fit_background(sample.work, 0.0)[0], fitted, "assumed"
        remarks, fitted = [_doubt(found, tried)], None
    field = _result(sample, found, fitted, source, remarks)
    for remark in field.remarks:
        warnings.warn(remark, stacklevel=2)
    return field


def _result(
    sample: Sample, found: Background, fitted: Offset | None, source: OffsetSource, remarks: list[str]
) -> FlatField:
    field, noise = detailed_field(sample, found)
    if not (np.isfinite(field).all() and field.min() > 0):
        raise ValueError(
            f"{_NAME}: the images tell no field: their background does not rise above the offset of "
            f"{found.offset:.4g} counts everywhere. Give images with more background light, or the right offset."
        )
    background = float(found.levels.mean())
    by_offset = 0.0 if fitted is None else fitted.error / background * float(field.std())
    error = math.hypot(noise, by_offset)
    remarks += _remarks(sample, found, error)
    return FlatField(
        field=field,
        offset=found.offset,
        offset_source=source,
        offset_error=None if fitted is None else fitted.error,
        field_error=error,
        background=background,
        background_variation=_variation(found),
        covered=found.covered,
        used=sample.used,
        left_out=sample.left_out,
        remarks=tuple(remarks),
    )


def _refuse_dark(sample: Sample, offset: float | None) -> None:
    """Images whose background lies below the offset say nothing about light."""
    middle = float(np.median(sample.work))
    if middle <= (offset or 0.0):
        raise ValueError(
            f"{_NAME}: the images' background ({middle:.4g} counts) does not rise above the offset of "
            f"{offset or 0:.4g} counts; give images with background light, or the right offset."
        )


def _variation(found: Background) -> float:
    return float(found.levels.std() / found.levels.mean())


def _tells(found: Background, fitted: Offset) -> bool:
    """Whether the images tell the offset that was fitted on them."""
    totals = found.levels + found.offset
    return bool(
        _variation(found) >= _LEAST_VARIATION
        and totals.std() >= _LEAST_OF_ALL * totals.mean()
        and not fitted.at_limit
        and fitted.error <= _LARGEST_SHARE * found.levels.mean()
    )


def _doubt(plain: Background, fitted: Offset) -> str:
    """Why a fitted offset was not believed, beside a fit without one."""
    images, variation, evenness = len(plain.levels), _variation(plain), float(plain.field.std())
    advice = (
        "The field was fitted as if the offset were 0, and is too flat if it is not: give offset=…, the counts of an "
        "image taken in the dark"
    )
    if variation < _LEAST_VARIATION:
        return (
            f"The backgrounds of these {images} images vary by {variation:.1%}, too little to tell the camera's offset "
            f"from the light (5 % are needed). {advice}, or images of wells that differ more."
        )
    if evenness < _EVEN:
        return (
            f"The light is so even (within {evenness:.1%}) that these {images} images do not tell the camera's offset "
            "from it. The field needs none, but corrected pixels hold it: give offset=… if it shall be subtracted."
        )
    return (
        f"These {images} images do not tell the camera's offset from the light (the best is {fitted.value:.0f} ± "
        f"{fitted.error:.0f} counts, below a background of {plain.levels.mean():.0f}). {advice}, or more images."
    )


def _remarks(sample: Sample, found: Background, error: float) -> list[str]:
    remarks = []
    if sample.left_out:
        named = "; ".join(map(str, sample.left_out[:6]))
        more = f"; and {len(sample.left_out) - 6} more" if len(sample.left_out) > 6 else ""
        count = len(sample.left_out)
        were = "image of the sample was" if count == 1 else "images of the sample were"
        remarks.append(f"{count} {were} left out: {named}{more}.")
    if found.covered > _COVERED and len(sample.used) < SAMPLE_SIZE_COVERED:
        remarks.append(
            f"Objects and what surrounds them cover {found.covered:.0%} of the images; "
            f"{SAMPLE_SIZE_COVERED} images tell the field better than "
            f"these {len(sample.used)}."
        )
    if (hidden := float((found.is_background.sum(axis=0) < _FEW).mean())) > _HIDDEN:
        remarks.append(
            f"{hidden:.1%} of the pixels show background in fewer than {_FEW} images; the field there is little "
            "more than that of their surroundings. More images show more."
        )
    if error > _UNSURE:
        remarks.append(
            f"The field is known to {error:.1%} only; more images, or images with more background and fewer objects, "
            "tell it better."
        )
    return remarks


__all__ = ["SAMPLE_SIZE", "SAMPLE_SIZE_COVERED", "FlatField", "OffsetSource", "flat_field", "is_number"]
