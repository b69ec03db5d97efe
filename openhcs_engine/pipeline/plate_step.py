"""A step that is fitted once a plate, on a sample of its images, and whose result later functions take by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from openhcs_engine.model.well_filter import WellFilter
from openhcs_engine.pipeline.patterns import Call, first_function_name, own_pattern


@dataclass(frozen=True, init=False)
class Sample:
    """Which images of the plate a fit is made of; chosen when the plate is compiled, of all its wells.

    The choice depends on the plate and on these values alone: not on the wells that are run, nor on the machine. It
    takes an image of as many wells as it can before it takes a second one of any, and the same places in every channel.

    Parameters
    ----------
    images
        Images a channel; of all channels together where they are not fitted apart.
    minimum
        Fewer images than these are no fit: its wells fail. From here to ``images`` the fit is *partial*, and each well
        that uses it carries a warning.
    channels
        Names or numbers of the channels that are fitted; None: all.
    per_channel
        True: one fit a channel, and a function is given that of its stack's channel. False: one for all.
    sites
        Numbers of the sites that may be taken; None: all.
    wells
        Wells that may be taken, as a well filter; or ``role:negative`` (``positive``, ``sample``, ``empty``), the wells
        that the plate map says so of. None: all.
    seed
        Another number, another choice.
    """

    images: int
    minimum: int
    channels: tuple[str | int, ...] | None
    per_channel: bool
    sites: tuple[int, ...] | None
    wells: WellFilter
    seed: int

    def __init__(
        self,
        *,
        images: int = 48,
        minimum: int = 8,
        channels: Iterable[str | int] | str | int | None = None,
        per_channel: bool = True,
        sites: Iterable[int] | int | None = None,
        wells: WellFilter = None,
        seed: int = 0,
    ) -> None:
        values = {
            "images": images,
            "minimum": minimum,
            "channels": _several(channels),
            "per_channel": per_channel,
            "sites": _several(sites),
            "wells": wells if wells is None or isinstance(wells, int | str) else _several(wells),
            "seed": seed,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)


@dataclass(frozen=True, init=False, repr=False)
class PlateStep:
    """A function fitted once on a sample of the plate, before its wells are run.

    Its result is published with the plate, and given to every function behind it that declares
    ``@special_inputs(name)``. The step itself changes no image.

    Parameters
    ----------
    fit
        A function, or ``(function, {parameters})``. It takes the sample: a sequence of images ``(y, x)`` in their raw
        pixel type, read one at a time when they are asked for, whose ``coordinates`` are the well, site, channel,
        z_index and timepoint of each. It returns an array, a table, a number, or a dict of arrays and numbers, all of
        finite values. What it says with ``warnings.warn`` becomes a warning of every well that uses the result.
    name
        Of the result, as functions take it and as it lies below ``fits/``; default: the name of the function.
    sample
        Which images.
    enabled
        False: the step is left out of the plan, which says so.
    """

    fit: Call
    name: str
    sample: Sample
    enabled: bool

    def __init__(
        self, fit: Call, *, name: str | None = None, sample: Sample | None = None, enabled: bool = True
    ) -> None:
        values: dict[str, Any] = {
            "fit": own_pattern(fit),
            "name": name or first_function_name(fit) or "fit",
            "sample": Sample() if sample is None else sample,
            "enabled": enabled,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def __hash__(self) -> int:
        return hash(str(self.name))  # parameters may be lists and dicts, which have no hash

    def __repr__(self) -> str:
        return f"PlateStep({self.name!r})"


def _several(declared: Any) -> Any:  # Any: whatever a user gave
    """One or several values as a tuple, so that the caller's list can change and the step does not."""
    if declared is None:
        return None
    if isinstance(declared, str | int):
        return (declared,)
    return tuple(declared) if isinstance(declared, Iterable) and not isinstance(declared, Mapping | bytes) else declared


__all__ = ["PlateStep", "Sample"]
