"""Lengths and areas that a step gives in pixels or in µm, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_UNITS: Final = {"um": ("px", "µm", 1), "um2": ("px", "µm²", 2)}
"""By the ending of a name: that of the same size in pixels, the unit, and the power of the pixel's edge."""


def in_pixels(parameters: Mapping[str, object], name: str) -> float | None:
    """A length or an area of which ``name`` is the parameter in pixels, whichever unit it was given in; None: in none.

    ``diameter_px`` goes with ``diameter_um``, ``minimum_area_px`` with ``minimum_area_um2``. The parameters are sound,
    see :func:`wrong_sizes`.
    """
    if parameters.get(name) is not None:
        return float(parameters[name])  # type: ignore[arg-type] # checked to be a number
    for ending, (pixels, _, power) in _UNITS.items():
        value = parameters.get(f"{name.removesuffix(pixels)}{ending}")
        if name.endswith(f"_{pixels}") and value is not None:
            return float(value) / float(parameters["pixel_size"]) ** power  # type: ignore[arg-type] # the same
    return None


def wrong_sizes(parameters: Mapping[str, object], *, zero: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """What is wrong with sizes: names that end in ``_px``, ``_um`` or ``_um2``, and ``pixel_size``.

    Parameters
    ----------
    zero
        Those that may be 0.
    """
    pixel_size = parameters.get("pixel_size")
    if pixel_size is not None and not _is_size(pixel_size):
        yield "pixel_size", f"pixel_size={pixel_size!r} must be a finite number of µm above 0."
    for name, value in parameters.items():
        stem, _, ending = name.rpartition("_")
        if value is None or ending not in ("px", *_UNITS) or not stem:
            continue
        unit = "pixels" if ending == "px" else _UNITS[ending][1]
        if not (_is_size(value) or (name in zero and value == 0 and not isinstance(value, bool))):
            yield (
                name,
                f"{name}={value!r} must be a finite number of {unit}{', at least 0' if name in zero else ' above 0'}.",
            )
        elif ending in _UNITS:
            if parameters.get(f"{stem}_px") is not None:
                yield name, f"{name} and {stem}_px are both given, and say the same size; leave one of them out."
            if pixel_size is None:
                yield (
                    name,
                    (
                        f"{name}={value!r} is in {unit}, but the size of a pixel is not known; give {stem}_px instead, "
                        "or the edge of a pixel in µm as pixel_size."
                    ),
                )


def refuse_wrong(function: str, wrong: Iterable[tuple[str, str]]) -> None:
    """Raise ValueError with all that a function's check says is wrong, as it does when it is called by hand."""
    sentences = [sentence for _, sentence in wrong]
    if sentences:
        raise ValueError(f"{function}: {' '.join(sentences)}")


def wrong_choice(name: str, value: object, choices: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """A text that is none of the choices."""
    if value not in choices:
        yield name, f"{name}={value!r} is unknown (choose from {', '.join(choices)})."


def wrong_threshold(value: object, methods: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """A threshold that is neither a method nor a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number and not (isinstance(value, str) and value in methods):
        yield "threshold", f"threshold={value!r} must be {', '.join(methods)} or a finite number of grey levels."


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


__all__ = ["in_pixels", "refuse_wrong", "wrong_choice", "wrong_sizes", "wrong_threshold"]
