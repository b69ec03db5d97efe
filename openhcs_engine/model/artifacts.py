"""What functions make beside pixels, and what they are given beside pixels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from openhcs_engine.model.plate import Plate
from openhcs_engine.model.reserved_names import is_reserved_on_windows


class ArtifactKind(StrEnum):
    """What an artifact is, and so how it is checked, stored and handed on."""

    TABLE = "table"
    """Rows with named columns, kept as parquet."""
    POSITIONS = "positions"
    """``(y, x)`` in pixels for each plane of the stack, kept as parquet."""
    LABELS = "labels"
    """Object numbers ``(plane, y, x)`` on the image that the function returns, kept beside the images."""
    OBJECT = "object"
    """Anything else; lives only as long as its well is processed."""


@dataclass(frozen=True, slots=True)
class SideOutput:
    """One thing that a function returns behind its stack."""

    name: str
    kind: ArtifactKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSource:
    """The call that makes an artifact."""

    step: int
    """Number of the step."""
    route: int | None
    """Key of its route; None: the only one."""
    call: int
    """Position in the route's chain, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideInput:
    """A parameter that the engine fills while a well is processed."""

    name: str
    sources: tuple[ArtifactSource, ...] = ()
    """Calls that may have made what a stack needs: each for other stacks. Empty: one of ``STACK_VALUES``."""


@dataclass(frozen=True, slots=True)
class DeclaredArtifacts:
    """What a function declares beside its stack."""

    outputs: tuple[SideOutput, ...] = ()
    """In the order in which it returns them."""
    inputs: tuple[str, ...] = ()
    """Parameters that it wants to be given."""


STAGE_POSITIONS: Final = "stage_positions"
PLANE_KEYS: Final = "plane_keys"
STACK_VALUES: Final = (STAGE_POSITIONS, PLANE_KEYS)
"""What the engine knows of the planes of each stack. Where the stage stood: y and x of the image's centre in µm, in the
plate's stage frame, as a float64 array ``(plane, 2)``. And each plane's site, channel, z_index and timepoint, as a
tuple of dicts."""

PlateValue = Callable[[Plate], object]
"""Gives a value that a parameter may have (numbers, text, lists and dicts of them); None: the plate does not say."""


def _grid(plate: Plate) -> tuple[int, int] | None:
    return None if plate.grid is None else (plate.grid.rows, plate.grid.columns)


def _stage_frame(plate: Plate) -> Mapping[str, str] | None:
    frame = plate.stage_frame
    return None if frame is None else {"origin": frame.origin, "y_axis": frame.y_axis}


PLATE_VALUES: Final[Mapping[str, PlateValue]] = MappingProxyType(
    {
        "channel_names": lambda plate: [channel.label for channel in plate.channels],
        "channel_numbers": lambda plate: [channel.index for channel in plate.channels],
        "grid_dimensions": _grid,
        "pixel_size": lambda plate: plate.pixel_size_um,
        "plate_name": lambda plate: plate.name,
        "stage_frame": _stage_frame,
        "z_step": lambda plate: plate.z_step_um,
    }
)
"""What functions can be given of the plate, by the name of their parameter: ``grid_dimensions`` (rows, columns),
``pixel_size`` and ``z_step`` (µm), ``channel_names`` and ``channel_numbers`` in the same order, ``plate_name``,
``stage_frame`` (``origin`` and ``y_axis``). To add one, pass ``PLATE_VALUES | {"name": function}``."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


def declared_output(declared: Any) -> SideOutput:  # Any: what a user wrote
    """A declared output: a name, which may be a kind, or a pair (name, kind).

    Raises
    ------
    ValueError
        If the name cannot name a file and a parameter, or the kind is unknown.
    """
    if isinstance(declared, str):
        name, kind = declared, declared if declared in set(ArtifactKind) else ArtifactKind.OBJECT
    elif isinstance(declared, tuple) and len(declared) == 2 and all(isinstance(part, str) for part in declared):
        name, kind = declared
    else:
        raise ValueError(f"{declared!r} declares no side output; give a name, or a pair (name, kind).")
    if kind not in set(ArtifactKind):
        raise ValueError(f"{name!r} has the unknown kind {kind!r}; the kinds are {', '.join(ArtifactKind)}.")
    return SideOutput(artifact_name(name), ArtifactKind(kind))


def artifact_name(name: Any) -> str:  # Any: what a user wrote
    """The name of an artifact, if it can be one: it names files and parameters. ValueError otherwise."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name side data; use letters, digits and '_', at most 64, starting with a letter."
        )
    if is_reserved_on_windows(name):
        raise ValueError(f"{name!r} cannot name side data: Windows keeps the name for a device; choose another.")
    return name


__all__ = [
    "PLANE_KEYS",
    "PLATE_VALUES",
    "STACK_VALUES",
    "STAGE_POSITIONS",
    "ArtifactKind",
    "ArtifactSource",
    "DeclaredArtifacts",
    "PlateValue",
    "SideInput",
    "SideOutput",
    "artifact_name",
    "declared_output",
]
