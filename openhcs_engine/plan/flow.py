"""What flows through the steps of a plan: stacks, planes, pixel types and bytes. Reads no pixel.

This is their only law: the compiler asks it for devices and for impossible pixel types, the printed plan for its
numbers, and a run for the room that it needs. Bytes are uncompressed, and *at most* as far as functions say what they
return.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, prod, sqrt
from typing import Final

import numpy as np

from openhcs_engine.memory.decorators import NATIVE, PRESERVE
from openhcs_engine.model.artifacts import STAGE_POSITIONS, ArtifactKind
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, OnMissing
from openhcs_engine.model.plate import Channel, Plate
from openhcs_engine.model.wording import counted
from openhcs_engine.ngff.stack_axes import LABEL_TYPE
from openhcs_engine.plan.calls import dtype_at_entry
from openhcs_engine.plan.context import ProcessingContext, Route, StepPlan

WORKING_COPIES: Final = 3
"""Stacks that a function is assumed to hold at once: what it got, what it returns, and one between."""
UNKNOWN_ITEMSIZE: Final = 4
"""Bytes of a pixel whose type only a run can tell: most functions that choose a type themselves choose float32."""
_PYRAMID: Final = 4 / 3
"""Each level has a quarter of the pixels of the one above; files of TIFF have no levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What one plane's pixels are, as far as it is known before any was read."""

    shape: tuple[int, int] | None = None
    """(y, x) in pixels; None: unknown."""
    dtype: str | None = None
    """NumPy name."""
    most: int = 0
    """Pixels of a plane of unknown shape at most; 0 where nothing is known."""

    @property
    def count(self) -> int:
        """Pixels of the plane at most; 0 where nothing is known."""
        return prod(self.shape) if self.shape else self.most

    @property
    def nbytes(self) -> int:
        """Bytes of the plane at most."""
        return self.count * itemsize(self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFacts:
    """Stacks of one step that are alike."""

    route: Route
    planes: int
    pixels: Pixels
    """Of each plane as it enters the step."""
    dtypes: tuple[str | None, ...]
    """Pixel type that each call of the route gets, then that of the last one's result; None: known when it has run."""

    @property
    def nbytes(self) -> int:
        """Bytes of the stack as it enters the step."""
        return self.planes * self.pixels.nbytes

    def name(self) -> str:
        """E.g. ``36 planes 2160 x 2160 uint16``, size as (y, x)."""
        size = f" {self.pixels.shape[0]} x {self.pixels.shape[1]}" if self.pixels.shape else ""
        return f"{counted(self.planes, 'plane')}{size} {self.pixels.dtype or ''}".rstrip()

    def widest(self, position: int) -> str | None:
        """The larger one of the pixel types that a call of the route is given and returns."""
        entering = dtype_at_entry(self.route.calls[position], self.dtypes[position])
        return max(entering, self.dtypes[position + 1], key=itemsize)

    def working(self, position: int, planes: int) -> int:
        """Bytes of the working copies of so many planes of the stack in a call of the route."""
        if self.route.calls[position].lazy:
            planes = min(planes, 2 * ceil(sqrt(planes)))  # two rows of a square grid
        return WORKING_COPIES * planes * self.pixels.count * itemsize(self.widest(position))


StepStacks = dict[StackFacts, int]
"""The stacks of one step that functions are called with, and how many there are of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFlow:
    """What one step of a well is given and what it leaves; where it does not apply, planes pass and nothing is held."""

    stacks: StepStacks
    left: Mapping[ImageKey, Pixels]
    """The planes that are there behind it, those that passed it included."""
    held: int = 0
    """Bytes of the planes that lie between steps while it runs, at most."""

    @property
    def read(self) -> int:
        """Bytes of pixels that enter its functions."""
        return sum(count * facts.nbytes for facts, count in self.stacks.items())

    @property
    def written(self) -> int:
        """Bytes of the planes behind it."""
        return sum(pixels.nbytes for pixels in self.left.values())

    @property
    def labels(self) -> int:
        """Bytes of the labels that its functions make, at most: one for each pixel of their stacks."""
        outputs = ((facts, count, call) for facts, count in self.stacks.items() for call in facts.route.calls)
        return LABEL_TYPE.itemsize * sum(
            count
            * facts.planes
            * facts.pixels.count
            * [made.kind for made in call.side_outputs].count(ArtifactKind.LABELS)
            for facts, count, call in outputs
        )

    @property
    def working(self) -> int:
        """Bytes of the working copies of its largest stack."""
        calls = ((facts, position) for facts in self.stacks for position in range(len(facts.route.calls)))
        return max((facts.working(position, facts.planes) for facts, position in calls), default=0)

    @property
    def weight(self) -> int:
        """Pixels that enter it; a plane of unknown size counts as one."""
        return sum(count * facts.planes * max(1, facts.pixels.count) for facts, count in self.stacks.items())


@dataclass(frozen=True, slots=True)
class WellFlow:
    """Wells that are alike, and what flows through each of them."""

    wells: tuple[str, ...]
    context: ProcessingContext
    """Of the first of them."""
    steps: tuple[StepFlow, ...]
    """One for each step of the plan."""

    @property
    def from_plate(self) -> int:
        """Bytes of raw pixels that one well reads, planes that are read twice counted twice."""
        return sum(self.steps[step.number - 1].read for step in self.context.own_steps if step.reads == "source")

    @property
    def held(self) -> int:
        """Bytes that lie between the steps of one well at most."""
        return max((flow.held for flow in self.steps), default=0)

    @property
    def peak(self) -> int:
        """Bytes of one well at most: what lies between steps, labels so far, and copies of the largest stack."""
        labels = accumulate(flow.labels for flow in self.steps)
        return max((flow.held + made + flow.working for flow, made in zip(self.steps, labels, strict=True)), default=0)

    @property
    def output(self) -> int:
        """Bytes of one well's images at most: results with labels, kept planes, and the resolutions of all of them."""
        labels = sum(flow.labels for flow in self.steps)
        of_backend = [(flow.written, backend) for flow, backend in self._published]
        return sum(
            int(nbytes * (_PYRAMID if backend == "zarr" else 1))
            for nbytes, backend in (*of_backend, (labels, self.context.output.backend))
        )

    @property
    def written_weight(self) -> int:
        """Pixels that one well publishes; a plane of unknown size counts as one."""
        return sum(max(1, pixels.count) for flow, _ in self._published for pixels in flow.left.values())

    @property
    def _published(self) -> list[tuple[StepFlow, str]]:
        """The steps whose planes are written, each with its backend: those that keep theirs, and the last."""
        own, well = self.context.own_steps, self.context.well
        sets = [(step, kept.backend) for step in own if (kept := step.materialized(well)) is not None]
        sets += [(step, self.context.output.backend) for step in own[-1:]]
        return [(self.steps[step.number - 1], backend) for step, backend in sets]


def flows_of(contexts: Mapping[str, ProcessingContext]) -> tuple[WellFlow, ...]:
    """What flows through all wells of one plan, those with the most planes first."""
    if not contexts:
        return ()
    first = next(iter(contexts.values()))
    entering = {well: planes_that_enter(context.index, context.on_missing) for well, context in contexts.items()}
    flows = flows_through(first.plate, first.steps, entering)
    groups: dict[object, list[str]] = {}
    for well, context in contexts.items():
        kept = tuple([step.materialized(well) is None for step in first.steps])
        groups.setdefault((id(flows[well]), kept, context.devices), []).append(well)
    alike = [WellFlow(tuple(wells), contexts[wells[0]], flows[wells[0]]) for wells in groups.values()]
    return tuple(sorted(alike, key=lambda flow: -len(flow.context.index)))


def output_bytes(flows: Iterable[WellFlow]) -> int:
    """Bytes that all wells of a plan write at most; without tables, previews (2 %), and positions (bytes a plane)."""
    return sum(flow.output * len(flow.wells) for flow in flows)


def planes_that_enter(index: ImageIndex, on_missing: OnMissing) -> ImageIndex:
    """The planes of a well that its first step is given."""
    return index if on_missing is OnMissing.BLANK else index.present()


def flows_through(
    plate: Plate, steps: Sequence[StepPlan], wells: Mapping[str, ImageIndex]
) -> dict[str, tuple[StepFlow, ...]]:
    """What each step sees and leaves of each well, by the planes that enter; wells that are alike share one value."""
    known: dict[tuple[object, ...], tuple[StepFlow, ...]] = {}
    filters = [None if step.wells is None else frozenset(step.wells) for step in steps]  # of up to 1,536 wells
    flows = {}
    for well, index in wells.items():
        applies = tuple([own is None or well in own for own in filters])
        alike = (applies, *(plane.key.order() for plane in index))
        if alike not in known:
            known[alike] = tuple(_flow(plate, steps, applies, index))
        flows[well] = known[alike]
    return flows


def itemsize(dtype: str | None) -> int:
    """Bytes of a pixel."""
    return UNKNOWN_ITEMSIZE if dtype is None else np.dtype(dtype).itemsize


def _flow(plate: Plate, steps: Sequence[StepPlan], applies: Sequence[bool], index: ImageIndex) -> Iterator[StepFlow]:
    """What each step of one well sees and leaves."""
    raw: dict[int | None, Pixels] = {channel.index: _raw_pixels(channel, plate) for channel in plate.channels}
    start = {plane.key: raw.get(plane.key.channel) or _raw_pixels(plate, plate) for plane in index}
    calls = ((step.number, call) for step in steps for route in step.routes for call in route.calls)
    outputs = ((number, made) for number, call in calls for made in call.side_outputs)
    tiling = {(number, made.name) for number, made in outputs if made.kind is ArtifactKind.POSITIONS}
    flowing: Mapping[ImageKey, Pixels] = start
    for step, own in zip(steps, applies, strict=True):
        flow = StepFlow(stacks={}, left=flowing)
        if own and (step.from_start or flowing is start):
            flow = _through(step, start, tiling, held=None)
        elif own:
            flow = _through(step, flowing, tiling, held=flow.written)
        flowing = flow.left
        yield flow


def _through(
    step: StepPlan, entering: Mapping[ImageKey, Pixels], tiling: set[tuple[int, str]], held: int | None
) -> StepFlow:
    """One step, stack by stack as it runs; ``held`` are the bytes of what enters, None if the plate holds that."""
    stacks: StepStacks = {}
    left: dict[ImageKey, Pixels] = {}
    now = most = held or 0
    index = ImageIndex.of(ImagePlane(key=key, path=None) for key in entering)
    for stack in index.group_stacks(step.variable_components):
        planes = {plane.key: entering[plane.key] for plane in stack.planes}
        made = planes if step.uncovered == "pass" else {}
        if (route := step.route(stack.key.get(step.group_by) if step.group_by else None)) is not None:
            facts = _facts(route, list(planes.values()))
            stacks[facts] = stacks.get(facts, 0) + 1
            one = any(call.collapses for call in route.calls)
            pixels = Pixels(shape=facts.pixels.shape, dtype=facts.dtypes[-1], most=facts.pixels.most)
            if one and len(planes) > 1 and Component.SITE in step.variable_components and _is_mosaic(route, tiling):
                pixels = Pixels(dtype=pixels.dtype, most=len(planes) * pixels.count)
            made = dict.fromkeys([stack.collapsed_key] if one else planes, pixels)
        # A stack leaves before what became of it is stored: a small one may have to wait behind one that grew.
        now += sum(pixels.nbytes for pixels in made.values())
        now -= 0 if held is None else sum(pixels.nbytes for pixels in planes.values())
        most = max(most, now)
        left |= made
    return StepFlow(stacks=stacks, left=left, held=most)


def _raw_pixels(of: Channel | Plate, plate: Plate) -> Pixels:
    shape, dtype = of.shape or plate.shape, of.dtype or plate.dtype
    return Pixels(shape=shape, dtype=dtype and np.dtype(dtype).name)


def _facts(route: Route, planes: Sequence[Pixels]) -> StackFacts:
    largest = max(planes, key=lambda plane: plane.count)
    common = planes[0].dtype if len({plane.dtype for plane in planes}) == 1 else None
    dtypes = [common]
    for call in route.calls:
        dtypes.append({PRESERVE: dtypes[-1], NATIVE: None}.get(call.dtype, call.dtype))
    pixels = Pixels(shape=largest.shape, dtype=common, most=largest.most)
    return StackFacts(route=route, planes=len(planes), pixels=pixels, dtypes=tuple(dtypes))


def _is_mosaic(route: Route, tiling: set[tuple[int, str]]) -> bool:
    """Whether a function that collapses sites is given where they lie: its plane may be as large as all of them."""
    sides = [side for call in route.calls for side in call.side_inputs]
    return (
        any("grid_dimensions" in call.kwargs for call in route.calls)
        or any(side.name == STAGE_POSITIONS for side in sides)
        or any((source.step, side.name) in tiling for side in sides for source in side.sources)
    )


__all__ = [
    "UNKNOWN_ITEMSIZE",
    "WORKING_COPIES",
    "Pixels",
    "StackFacts",
    "StepFlow",
    "StepStacks",
    "WellFlow",
    "flows_of",
    "flows_through",
    "itemsize",
    "output_bytes",
    "planes_that_enter",
]
