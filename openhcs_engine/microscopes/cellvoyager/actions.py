"""CellVoyager measurements that take one channel by several actions: each action's images are a channel of their own.

A second action has its own objective, exposure, heights or processing; its images are no more of the first one's stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import structs

from openhcs_engine.microscopes.cellvoyager.records import ImageRecord
from openhcs_engine.microscopes.remarks import Remarks


class ActionChannel(NamedTuple):
    """One of several channels that the instrument numbers alike."""

    channel: int
    """The instrument's number of the channel."""
    action: int


def with_own_channels(
    records: Sequence[ImageRecord], remarks: Remarks
) -> tuple[Sequence[ImageRecord], Mapping[int, ActionChannel]]:
    """The records with a channel for each action, where several actions took one channel of a field.

    Planes and projections are told apart anyway, and time lines follow each other: what two of them took of a field are
    time points. The first action's channel keeps its number, the others are numbered on.

    Returns
    -------
    tuple
        The records, and what the numbers stand for of which the instrument knows less.
    """
    divided = _divided(records)
    if not divided:
        return records, {}
    actions = {
        channel: sorted({record.action for record in records if record.channel == channel}) for channel in divided
    }
    following = max(record.channel for record in records)
    numbers: dict[ActionChannel, int] = {}
    for channel, (first, *others) in sorted(actions.items()):
        numbers[ActionChannel(channel, first)] = channel
        for action in others:
            following += 1
            numbers[ActionChannel(channel, action)] = following
    for channel, taken in sorted(actions.items()):
        shown = ", ".join(f"{numbers[ActionChannel(channel, action)]}: action {action}" for action in taken)
        remarks.notes.append(
            f"Channel {channel} was taken by {len(taken)} actions, and each one's images are a channel of their own "
            f"({shown})."
        )
    told_apart = [
        structs.replace(record, channel=numbers[ActionChannel(record.channel, record.action)])
        if record.channel in divided
        else record
        for record in records
    ]
    return told_apart, {number: own for own, number in numbers.items()}


def _divided(records: Sequence[ImageRecord]) -> set[int]:
    """Channels of which one field was taken by several actions in one time line, into files of their own."""
    of_kind: dict[tuple[int, bool], set[int]] = {}
    for record in records:
        of_kind.setdefault((record.channel, record.is_projection), set()).add(record.action)
    suspected = {kind for kind, actions in of_kind.items() if len(actions) > 1}
    files: dict[tuple[str, int, int, int, bool], dict[str, int]] = {}
    for record in records if suspected else ():
        if (record.channel, record.is_projection) in suspected:
            field = record.well, record.site, record.timeline, record.channel, record.is_projection
            files.setdefault(field, {})[record.file] = record.action  # of one file, the last record is right
    return {field[3] for field, taken in files.items() if len(set(taken.values())) > 1}
