"""The coordinates of a plane, and how users name them."""

from __future__ import annotations

from enum import StrEnum


class Component(StrEnum):
    """One coordinate of a plane."""

    WELL = "well"
    SITE = "site"
    CHANNEL = "channel"
    Z_INDEX = "z_index"
    TIMEPOINT = "timepoint"


class VariableComponents(StrEnum):
    """The coordinates along which a step's stacks may run.

    ``WELL`` can be named and is refused when a pipeline is compiled: each well is processed by itself.
    """

    SITE = "site"
    CHANNEL = "channel"
    Z_INDEX = "z_index"
    TIMEPOINT = "timepoint"
    WELL = "well"


class GroupBy(StrEnum):
    """The coordinate whose value picks the entry of a dict pattern; ``WELL`` is refused when a pipeline is compiled."""

    CHANNEL = "channel"
    Z_INDEX = "z_index"
    SITE = "site"
    TIMEPOINT = "timepoint"
    WELL = "well"
    NONE = ""
