"""What functions make beside pixels, and what they are given beside pixels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    MEASUREMENTS = "measurements"
    """A table with one row an object, which the column ``object`` numbers; summarised in the table ``wells``."""


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
    parameter: str = ""
    """The parameter that is filled; empty: that of its name."""
    optional: bool = False
    """Until it is linked: the parameter keeps its default where nothing makes it and the plate does not say it."""

    @property
    def target(self) -> str:
        """The parameter that is filled."""
        return self.parameter or self.name


@dataclass(frozen=True, slots=True)
class DeclaredArtifacts:
    """What a function declares beside its stack."""

    outputs: tuple[SideOutput, ...] = ()
    """In the order in which it returns them."""
    inputs: tuple[str, ...] = ()
    """Parameters that it wants to be given."""
    taken: tuple[tuple[str, str], ...] = ()
    """Parameters that are given something of another name, and that name."""
    optional: tuple[str, ...] = ()
    """Those of them that keep their default where there is nothing to give."""
    files: tuple[str, ...] = ()
    """Parameters whose text is the path of a file."""

    def of_call(self, values: Mapping[str, object]) -> DeclaredArtifacts:
        """The same with the names that parameters choose: ``{objects}`` is the value of the parameter ``objects``.

        Raises
        ------
        ValueError
            If a value cannot name side data, or two outputs have one name.
        """
        outputs = tuple(SideOutput(_chosen_name(output.name, values), output.kind) for output in self.outputs)
        names = [output.name for output in outputs]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"makes {twice[0]!r} twice; let its parameters choose different names.")
        taken = tuple((parameter, _chosen_name(name, values)) for parameter, name in self.taken)
        return replace(self, outputs=outputs, taken=taken)

    def input_of(self, parameter: str) -> SideInput:
        """What a parameter is given, not linked yet."""
        name = dict(self.taken).get(parameter, parameter)
        return SideInput(
            name=name, parameter="" if name == parameter else parameter, optional=parameter in self.optional
        )


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
_CHOSEN: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
WELLS_TABLE: Final = "wells"
"""The table in which measurements are summarised."""


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
    return SideOutput(artifact_name_or_choice(name), ArtifactKind(kind))


def artifact_name_or_choice(name: Any) -> str:  # Any: what a user wrote
    """The name of an artifact, or ``{parameter}``: the one that a parameter has. ValueError otherwise."""
    return name if isinstance(name, str) and _CHOSEN.fullmatch(name) else artifact_name(name)


def _chosen_name(name: str, values: Mapping[str, object]) -> str:
    choice = _CHOSEN.fullmatch(name)
    return artifact_name(values.get(choice[1])) if choice else name


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
    "WELLS_TABLE",
    "ArtifactKind",
    "ArtifactSource",
    "DeclaredArtifacts",
    "PlateValue",
    "SideInput",
    "SideOutput",
    "artifact_name",
    "artifact_name_or_choice",
    "declared_output",
]
