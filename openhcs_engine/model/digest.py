"""Canonical JSON, and its SHA-256."""

from __future__ import annotations

import hashlib

import msgspec

from openhcs_engine.model.frozen import FrozenMap


def digest(value: object) -> str:
    """sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def canonical_json(value: object) -> bytes:
    """The JSON of frozen values: equal values give equal bytes, on every machine."""
    return _ENCODER.encode(value)


def _encode_extra(value: object) -> object:
    if isinstance(value, FrozenMap):
        return dict(value.pairs)
    raise NotImplementedError(f"{type(value).__name__} has no place in a plan")  # msgspec's contract for hooks


_ENCODER = msgspec.json.Encoder(enc_hook=_encode_extra, order="sorted")


__all__ = ["canonical_json", "digest"]
