"""The law of fingerprints of new wells.

What stands here makes wells stale, so it changes only on purpose. Where a function of ours gives other results than
before, its reference goes into ``REVISIONS``, and only the wells that use it are made again; any other change of ours
makes none stale, and the product's version has no part in fingerprints. A change of what fingerprints are made of is a
new law: this one is kept as ``laws.two``, ``LAW`` is raised, and wells of the law before are compared by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Final

LAW: Final = 2
"""The number of this law; manifests without one are of law 1."""

PRODUCT: Final = "openhcs-dagster"
"""The distribution whose version is no part of fingerprints."""

OURS: Final = frozenset({"openhcs_engine", "openhcs_dagster"})
"""Packages whose functions are known by ``REVISIONS``, not by their source or version."""

REVISIONS: Final[Mapping[str, int]] = {}
"""Functions of ours (``module:name``) whose results changed since law 1, each with the number of such changes."""


def is_ours(reference: str) -> bool:
    """Whether ``module:name`` is of this product."""
    return reference.partition(":")[0].partition(".")[0] in OURS


def without_product(versions: tuple[str, ...]) -> tuple[str, ...]:
    """``distribution==version`` of all packages but this product."""
    return tuple(version for version in versions if version.partition("==")[0] != PRODUCT)


def worded(value: object) -> object:
    """Frozen values as fingerprints see them: fields that have their defaults are not there.

    So a field that a later version adds changes no fingerprint where it is not used.
    """
    if isinstance(value, list | tuple):
        return [worded(item) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    said = ((name, getattr(value, name), default) for name, default in _defaults(type(value)))
    return {name: worded(item) for name, item, default in said if item != default or type(item) is not type(default)}


@cache
def _defaults(kind: type) -> tuple[tuple[str, object], ...]:
    return tuple((field.name, _default(field)) for field in fields(kind))


def _default(field: Any) -> object:  # Any: dataclasses.Field of any type
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


__all__ = ["LAW", "OURS", "PRODUCT", "REVISIONS", "is_ours", "without_product", "worded"]
