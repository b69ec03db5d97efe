"""Artifacts of one well: checked as they are made, handed to those who take them, stored with the well.

A table or an object belongs to the stack that it was made of, and goes to stacks that agree with it on every
coordinate; None on either side, an axis along which the stack runs, agrees with all. Positions and labels are found
plane by plane; where one channel alone made them, they serve all channels, because they lie on the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import ArrayError, SideDataError, TableError
from openhcs_engine.execution.artifacts.summary import Measured, summary
from openhcs_engine.execution.artifacts.tables import object_rows, position_rows, table_rows
from openhcs_engine.execution.fits.loaded import LoadedFit
from openhcs_engine.execution.results import ArtifactRecord
from openhcs_engine.memory.conversion.convert import convert
from openhcs_engine.memory.libraries import library_of
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.artifacts import (
    PLANE_KEYS,
    WELLS_TABLE,
    ArtifactKind,
    ArtifactSource,
    SideInput,
    SideOutput,
)
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import AXES, ImageKey, Stack
from openhcs_engine.ngff.stack_axes import LABEL_TYPE
from openhcs_engine.plan.context import FunctionCall, ProcessingContext, StepPlan

if TYPE_CHECKING:
    import pyarrow as pa

_PER_PLANE: Final = (ArtifactKind.POSITIONS, ArtifactKind.LABELS)
_NAMED: Final = (Component.SITE, Component.CHANNEL, Component.Z_INDEX, Component.TIMEPOINT)
"""Axes in the order in which people name them."""
_NOT_CHANNEL: Final = tuple(axis for axis in AXES if axis is not Component.CHANNEL)
_SHOWN: Final = 4
"""Coordinates in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Artifact:
    """One artifact of one stack."""

    name: str
    kind: ArtifactKind
    source: ArtifactSource
    scope: ImageKey
    """Coordinates that its stack has; None: the stack runs along the axis."""
    planes: tuple[ImageKey, ...] = ()
    """What the rows of positions and the planes of labels belong to."""
    value: Any  # Any: whatever a function returned
    """As others are given it; arrays are read-only."""
    rows: pa.Table | None = None
    """As it is stored, with the coordinates as columns; None for labels and objects."""

    @property
    def count(self) -> int:
        """Rows, planes, or one object."""
        return self.rows.num_rows if self.rows is not None else len(self.planes) or 1


@dataclass(slots=True)
class WellArtifacts:
    """All artifacts of one well; grows while its steps run."""

    made: list[Artifact] = field(default_factory=list)
    _by_scope: dict[tuple[str, ImageKey], list[Artifact]] = field(default_factory=dict)

    def add(self, artifacts: Iterable[Artifact]) -> None:
        """Artifacts of one stack."""
        for each in artifacts:
            self.made.append(each)
            self._by_scope.setdefault((each.name, each.scope), []).append(each)

    def of(self, wanted: SideInput, scope: ImageKey) -> list[Artifact]:
        """What the calls made which an input is linked to: of just this scope if there is one, otherwise all."""
        exact = [each for each in self._by_scope.get((wanted.name, scope), ()) if each.source in wanted.sources]
        return exact or [each for each in self.made if each.name == wanted.name and each.source in wanted.sources]

    def records(self, step: StepPlan) -> tuple[ArtifactRecord, ...]:
        """What a step made, by name."""
        named: dict[tuple[str, ArtifactKind], list[Artifact]] = {}
        for each in self.made:
            if each.source.step == step.number:
                named.setdefault((each.name, each.kind), []).append(each)
        return tuple(
            ArtifactRecord(name=name, kind=kind.value, count=sum(each.count for each in some), stacks=len(some))
            for (name, kind), some in named.items()
        )

    def tables(self) -> dict[str, list[pa.Table]]:
        """Rows of each stack, by table, in the order of the stacks; measurements are summarised in one more."""
        tables: dict[str, list[pa.Table]] = {}
        measured: dict[str, list[Measured]] = {}
        for each in sorted(self.made, key=lambda each: each.scope.order()):
            if each.rows is not None:
                tables.setdefault(each.name, []).append(each.rows)
            if each.rows is not None and each.kind is ArtifactKind.MEASUREMENTS:
                measured.setdefault(each.name, []).append(Measured(each.scope, each.rows))
        return tables | ({WELLS_TABLE: [summary(measured)]} if measured else {})

    def label_planes(self, context: ProcessingContext) -> Iterator[tuple[str, ImageKey, NDArray[Any]]]:
        """Every plane of labels with the name that it is stored under, and its coordinates."""
        for each in self.made:
            if each.kind is ArtifactKind.LABELS:
                for key, plane in zip(each.planes, each.value, strict=True):
                    yield label_name(each.name, key.channel, context), key, plane


def label_name(name: str, channel: int | None, context: ProcessingContext) -> str:
    """The name that labels are stored under: ``cells``, or ``cells_w2`` where several channels may have such labels."""
    return name if channel is None or len(_label_channels(name, context)) < 2 else f"{name}_w{channel}"


def _label_channels(name: str, context: ProcessingContext) -> set[int]:
    """Channels in which the plan may find labels of a name. Of the plan, so that all wells name them alike."""
    found: set[int] = set()
    for step in context.own_steps:
        if Component.CHANNEL in step.variable_components:
            continue
        for route in step.routes:
            if any(output.name == name for call in route.calls for output in call.side_outputs):
                one = {route.key} if step.group_by is Component.CHANNEL and route.key is not None else None
                found |= one or {channel.index for channel in context.plate.channels}
    return found


class StackArtifacts:
    """Artifacts that the calls on one stack take and make; what they made is the well's once all calls succeeded."""

    def __init__(
        self,
        step: int,
        route: int | None,
        stack: Stack,
        context: ProcessingContext,
        artifacts: WellArtifacts,
        fits: Mapping[str, LoadedFit] = MappingProxyType({}),
    ) -> None:
        self._step = step
        self._route = route
        self._stack = stack
        self._context = context
        self._artifacts = artifacts
        self._fits = fits
        self._made: dict[int, list[Artifact]] = {}
        self._collapsed: set[int] = set()

    def given(self, position: int, call: FunctionCall, planes: int) -> Mapping[str, object]:
        """Artifacts that a call on a stack of so many planes takes."""
        keys = self._keys(position, planes)
        return {each.target: self._value(call, each, keys) for each in call.side_inputs}

    def take(
        self, position: int, call: FunctionCall, returned: tuple[object, ...], planes: int, shape: tuple[int, ...]
    ) -> None:
        """Artifacts of a call on so many planes, which made a stack of ``shape``; a repeated call replaces them."""
        keys = self._keys(position, planes)
        source = ArtifactSource(step=self._step, route=self._route, call=position)
        self._made[position] = [
            self._checked(call, output, value, source, keys, shape)
            for output, value in zip(call.side_outputs, returned, strict=True)
        ]
        if call.collapses or shape[0] != planes:
            self._collapsed.add(position)

    def settle(self) -> None:
        """All calls succeeded: what they made is the well's."""
        for position in sorted(self._made):
            self._artifacts.add(self._made[position])

    def _keys(self, position: int, planes: int) -> tuple[ImageKey, ...]:
        """Coordinates of the planes that a call gets."""
        whole = len(self._stack.planes) == planes and not any(before < position for before in self._collapsed)
        return tuple(plane.key for plane in self._stack.planes) if whole else (self._stack.collapsed_key,)

    def _value(self, call: FunctionCall, wanted: SideInput, keys: Sequence[ImageKey]) -> object:
        if not wanted.sources and wanted.name in self._fits:
            return self._fits[wanted.name].value(keys[0].channel, call.reference)
        if not wanted.sources:
            return self._of_planes(call, wanted.name, keys)
        scope = self._stack.collapsed_key
        same_chain = [each for made in self._made.values() for each in made if each.name == wanted.name]
        own = [each for each in same_chain if each.source in wanted.sources] or self._artifacts.of(wanted, scope)
        if any(each.kind in _PER_PLANE for each in own):
            return _plane_by_plane(call, wanted.name, own, keys)
        fitting = [each for each in own if _agree(each.scope, scope)]
        if len(fitting) != 1:
            raise _not_one(call, wanted.name, len(fitting), own, scope)
        return fitting[0].value

    def _of_planes(self, call: FunctionCall, name: str, keys: Sequence[ImageKey]) -> object:
        """What is known of the planes of the stack themselves."""
        if name == PLANE_KEYS:
            return tuple({axis.value: key.get(axis) for axis in _NAMED} for key in keys)
        positions = {site: (y, x) for site, y, x in self._context.stage_um}
        lost = [key.site for key in keys if key.site not in positions]
        if lost:
            what = "planes that stand for all sites" if lost[0] is None else f"site {lost[0]}"
            raise SideDataError(
                f"{call.reference} takes {name!r}, but the stage has no position for {what}.",
                function=call.reference, name=name,
            )  # fmt: skip
        return np.array([positions[key.site] for key in keys if key.site is not None], np.float64)

    def _checked(
        self,
        call: FunctionCall,
        output: SideOutput,
        value: object,
        source: ArtifactSource,
        keys: tuple[ImageKey, ...],
        shape: tuple[int, ...],
    ) -> Artifact:
        scope = self._stack.collapsed_key
        planes: tuple[ImageKey, ...] = ()
        rows = None
        try:
            match output.kind:
                case ArtifactKind.TABLE:
                    rows = table_rows(output.name, scope, value)
                case ArtifactKind.MEASUREMENTS:
                    rows = object_rows(output.name, scope, value)
                case ArtifactKind.POSITIONS:
                    value, planes = _positions(value, len(keys)), keys
                    rows = position_rows(planes, value)
                case ArtifactKind.LABELS:
                    value = _labels(value, len(keys), shape[1:])
                    planes = keys if len(value) == len(keys) else (scope,)
        except (_UnfitError, TableError, ArrayError) as error:
            raise SideDataError(
                f"{call.reference} returned as {output.name!r} ({output.kind}): {error}",
                function=call.reference, name=output.name,
            ) from error  # fmt: skip
        return Artifact(
            name=output.name, kind=output.kind, source=source, scope=scope, planes=planes, value=value, rows=rows
        )


class _UnfitError(Exception):
    """Why a value is not of its kind."""


def _positions(value: object, planes: int) -> NDArray[np.float64]:
    found = _host_array(value)
    if found.shape != (planes, 2) or found.dtype.kind not in "iuf":
        raise _UnfitError(
            f"an array of {found.dtype} with shape {found.shape}; positions are numbers of shape ({planes}, 2), y and "
            "x in pixels for each plane of the stack."
        )
    positions = np.array(found, np.float64)
    if not np.isfinite(positions).all():
        raise _UnfitError("an array with values that are not finite; each plane needs its y and x in pixels.")
    positions.flags.writeable = False
    return positions


def _labels(value: object, planes: int, image: tuple[int, ...]) -> NDArray[np.uint32]:
    found = _host_array(value)
    counts = sorted({1, planes})
    if found.dtype.kind not in "biu" or found.ndim != 3 or found.shape[1:] != image or len(found) not in counts:
        raise _UnfitError(
            f"an array of {found.dtype} with shape {found.shape}; labels are whole numbers (plane, y, x) with "
            f"{' or '.join(map(str, counts))} planes, each as large as the returned image, {image}."
        )
    low, high = (int(found.min()), int(found.max())) if found.size else (0, 0)
    if low < 0 or high > np.iinfo(LABEL_TYPE).max:
        raise _UnfitError(
            f"numbers from {low} to {high}; objects are counted from 1 to {np.iinfo(LABEL_TYPE).max}, and 0 is where "
            "there is none."
        )
    labels = np.array(found, LABEL_TYPE)  # a copy: the function may fill its array again for the next stack
    labels.flags.writeable = False
    return labels


def _host_array(value: object) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    if library_of(value) is not None:
        array: NDArray[Any] = convert(value, MemoryType.NUMPY).array
        return array
    try:
        return np.asarray(value)
    except ValueError as error:
        raise _UnfitError(f"a {type(value).__name__} that is no array ({error}).") from error


def _agree(one: ImageKey, other: ImageKey, axes: Iterable[Component] = AXES) -> bool:
    """True if no coordinate differs; None on an axis agrees with all."""
    pairs = ((one.get(axis), other.get(axis)) for axis in axes)
    return all(first is None or second is None or first == second for first, second in pairs)


def _plane_by_plane(call: FunctionCall, name: str, made: Sequence[Artifact], keys: Sequence[ImageKey]) -> NDArray[Any]:
    """Positions or labels for each plane of a stack."""
    if len(made) == 1 and made[0].planes == tuple(keys):
        array: NDArray[Any] = made[0].value
        return array
    by_plane = [(plane, each.value[number]) for each in made for number, plane in enumerate(each.planes)]
    parts = [_of_plane(call, name, by_plane, made, key) for key in keys]
    if all(part is parts[0] for part in parts):
        return np.broadcast_to(parts[0], (len(parts), *parts[0].shape))
    stacked = np.stack(parts)
    stacked.flags.writeable = False
    return stacked


def _of_plane(
    call: FunctionCall,
    name: str,
    parts: Sequence[tuple[ImageKey, NDArray[Any]]],
    made: Sequence[Artifact],
    key: ImageKey,
) -> NDArray[Any]:
    fitting = [part for plane, part in parts if _agree(plane, key)]
    if not fitting and len({plane.channel for plane, _ in parts}) == 1:
        # They lie on the field, not on a channel: what one channel alone made serves the others.
        fitting = [part for plane, part in parts if _agree(plane, key, _NOT_CHANNEL)]
    if len(fitting) != 1:
        raise _not_one(call, name, len(fitting), made, key)
    return fitting[0]


def _not_one(call: FunctionCall, name: str, count: int, made: Sequence[Artifact], wanted: ImageKey) -> SideDataError:
    here = _coordinates(wanted)
    known = "; ".join(dict.fromkeys(_coordinates(each.scope) for each in made[:_SHOWN])) or "no stack at all"
    found = f"there is none for {here}" if count == 0 else f"{count} of them belong to {here}"
    return SideDataError(
        f"{call.reference} takes {name!r}, but {found} (made of: {known}{' …' if len(made) > _SHOWN else ''}). Let the "
        "step that makes it and the step that takes it run their stacks along the same axes (variable_components).",
        function=call.reference, name=name,
    )  # fmt: skip


def _coordinates(key: ImageKey) -> str:
    parts = [f"{axis.value} {value}" for axis in _NAMED if (value := key.get(axis)) is not None]
    return ", ".join(parts) or "the whole well"


__all__ = ["Artifact", "StackArtifacts", "WellArtifacts", "label_name"]
