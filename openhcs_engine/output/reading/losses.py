"""What casts lost in a plate's published wells, as their manifests tell it: values that vanished or were clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openhcs_engine.memory.conversion.cast_loss import CastResult

if TYPE_CHECKING:
    from openhcs_engine.output.manifest import WellManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one function's results lost at one step, in all wells together."""

    step: str
    """Number and name."""
    cast: CastResult
    wells: tuple[str, ...]
    """In which values were lost, in plate order."""
    warns: bool
    """Whether one of them carries a warning."""


def losses_of(manifests: Mapping[str, WellManifest]) -> tuple[Loss, ...]:
    """Losses by step, function and pair of dtypes; those that warn come first."""
    found: dict[tuple[str, str, str, str], Loss] = {}
    for well, manifest in manifests.items():
        for step in manifest.steps:
            name = f"{step.get('number')}. {step.get('name')}"
            for said in _said(step):
                cast = _cast(said)
                key = name, cast.function, cast.source, cast.wanted
                loss = Loss(step=name, cast=cast, wells=(well,), warns=cast.warns)
                found[key] = _joined(found[key], loss) if key in found else loss
    return tuple(sorted(found.values(), key=lambda loss: not loss.warns))


def _joined(loss: Loss, other: Loss) -> Loss:
    return replace(
        loss, cast=loss.cast.joined(other.cast), wells=loss.wells + other.wells, warns=loss.warns or other.warns
    )


def _said(step: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:  # Any: JSON
    casts = step.get("lossy_casts")
    return casts if isinstance(casts, tuple) else ()


def _cast(said: Mapping[str, Any]) -> CastResult:  # Any: JSON, where infinity is text, which float() reads
    low, high = said.get("low"), said.get("high")
    return CastResult(
        function=str(said.get("function")),
        source=str(said.get("source")),
        wanted=str(said.get("wanted")),
        low=-math.inf if low is None else float(low),
        high=math.inf if high is None else float(high),
        values=int(said.get("values", 0)),
        clipped=int(said.get("clipped", 0)),
        flattened=int(said.get("flattened", 0)),
    )


__all__ = ["Loss", "losses_of"]
