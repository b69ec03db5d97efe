"""Telling functions where the planes of their stack lie."""

from __future__ import annotations

from dataclasses import replace

from openhcs_engine.context import COORDINATES, FunctionCall
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.image_index import Stack


def with_coordinates(calls: tuple[FunctionCall, ...], stack: Stack) -> tuple[FunctionCall, ...]:
    """Calls on a stack; those that ask for it are given the number of each plane on each axis of the stack.

    Behind a function that collapses the stack, the one plane left has None on each axis.
    """
    if not any(call.coordinates for call in calls):
        return calls
    places = {axis.value: tuple(plane.key.get(axis) for plane in stack.planes) for axis in stack.variable}
    told = []
    for call in calls:
        told.append(_told(call, FrozenMap.of(places)))
        if call.collapses:
            places = dict.fromkeys(places, (None,))
    return tuple(told)


def _told(call: FunctionCall, places: FrozenMap) -> FunctionCall:
    if not call.coordinates:
        return call
    twin = call.cpu_twin and _told(call.cpu_twin, places)
    return replace(call, kwargs=FrozenMap.of({**call.kwargs, COORDINATES: places}), cpu_twin=twin)
