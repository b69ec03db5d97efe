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
    """The coordinates along which a step's stacks may run; the well is the unit of work and never varies."""

    SITE = "site"
    CHANNEL = "channel"
    Z_INDEX = "z_index"
    TIMEPOINT = "timepoint"


class GroupBy(StrEnum):
    """The coordinate whose value picks the entry of a dict pattern."""

    CHANNEL = "channel"
    Z_INDEX = "z_index"
    SITE = "site"
    TIMEPOINT = "timepoint"
    NONE = ""
