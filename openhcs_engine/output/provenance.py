"""What made a well: raw files, code, parameters, devices. Kept in its manifest, readable without the program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from msgspec import Struct

from openhcs_engine.model.image_index import ImageIndex, PlaneKind
from openhcs_engine.plan.context import FunctionCall, ProcessingContext, StepPlan

_DISTRIBUTION: Final = "openhcs-dagster"


class RawFile(Struct, frozen=True, omit_defaults=True):
    """One file that the well was made of, as it was when it was read."""

    path: str
    """Relative to the raw plate's folder."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of its last change; 0 where the store does not say."""
    chunks: str = ""
    """Of an array, whose size and time are those of its metadata: digest of its stored chunks."""


def raw_files(index: ImageIndex) -> tuple[RawFile, ...]:
    """Every file that holds a plane which is there, once."""
    found = {plane.path: plane for plane in index.present() if plane.path is not None}
    return tuple(RawFile(path, *plane.stamp, plane.chunks or "") for path, plane in sorted(found.items()))


def provenance_of(context: ProcessingContext, recorded: Mapping[str, object]) -> dict[str, object]:
    """What the context says of a well's making, joined by what the run ``recorded`` of it.

    ``recorded["steps"]`` are descriptions of the steps that ran, each with its ``number``; they join what was planned.
    """
    plate = context.plate
    steps = recorded.get("steps", ())
    assert isinstance(steps, Iterable), "steps of a run come as a list"
    ran = {step["number"]: step for step in steps}
    return {
        **{name: value for name, value in recorded.items() if name != "steps"},
        "engine": engine_version(),
        "pipeline": context.output.pipeline,
        "pipeline_digest": context.pipeline_digest,
        "versions": context.versions,
        "plate": {"id": plate.plate_id, "name": plate.name, "root": plate.root, "microscope": plate.microscope},
        "on_missing": context.on_missing.value,
        "missing": [plane.path or plane.key.inside_well for plane in context.index.missing()],
        **({"missing_beyond_plan": context.beyond_plan} if context.beyond_plan else {}),
        "projections": sorted(projected_channels(context)),
        "steps": [{**_planned(step), **ran.get(step.number, {})} for step in context.own_steps],
        **_conditions(context),
    }


@cache
def engine_version() -> str:
    """``distribution==version`` of this engine."""
    try:
        return f"{_DISTRIBUTION}=={version(_DISTRIBUTION)}"
    except PackageNotFoundError:  # a source tree on the path
        return f"{_DISTRIBUTION}==unknown"


def projected_channels(context: ProcessingContext) -> set[int]:
    """Channels that entered the pipeline only as the instrument's projections."""
    kinds: dict[int, set[PlaneKind]] = {}
    for plane in context.index:
        if plane.key.channel is not None:
            kinds.setdefault(plane.key.channel, set()).add(plane.kind)
    return {channel for channel, found in kinds.items() if found == {PlaneKind.PROJECTION}}


def _planned(step: StepPlan) -> dict[str, object]:
    calls = [
        {"for": route.key, **_call(call)} if route.key is not None else _call(call)
        for route in step.routes
        for call in route.calls
    ]
    return {
        "number": step.number,
        "name": step.name,
        "over": [component.value for component in step.variable_components],
        "group_by": step.group_by and step.group_by.value,
        "functions": calls,
    }


def _call(call: FunctionCall) -> dict[str, object]:
    return {
        "function": call.reference,
        "version": call.version,
        "source_sha256": call.source_sha256,
        "parameters": call.kwargs,
        "library": call.input_type,
    }


def _conditions(context: ProcessingContext) -> dict[str, object]:
    """What the plate map says of the well."""
    plate_map = context.plate.plate_map
    if plate_map is None:
        return {}
    role = plate_map.role(context.well)
    return {"conditions": plate_map.of_well(context.well), "role": role and role.value}


__all__ = ["RawFile", "engine_version", "projected_channels", "provenance_of", "raw_files"]
