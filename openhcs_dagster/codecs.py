"""How values are kept: each kind in an open format of its own, never as a pickle."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from openhcs_dagster.listing import PlateListing, listing_from_json, listing_to_json
from openhcs_engine.context import ProcessingContext, contexts_from_json, contexts_to_json
from openhcs_engine.errors import StorageError
from openhcs_engine.vfs.backend import StorageBackend


class UnstorableError(StorageError, TypeError):
    """A value of a kind that no codec knows."""

    type_name: str


@dataclass(frozen=True, slots=True)
class Codec:
    """One kind of value and its form in a storage backend."""

    suffix: str
    """End of its keys; tells how to read what another process wrote."""
    fits: Callable[[object], bool]
    save: Callable[[StorageBackend, str, Any], None]
    load: Callable[[StorageBackend, str], object]


def codec_for(value: object) -> Codec:
    """The codec of a value; UnstorableError if there is none."""
    for codec in CODECS:
        if codec.fits(value):
            return codec
    raise UnstorableError(
        f"A value of type {type(value).__name__} cannot be stored: return contexts, a table (polars or pyarrow), an "
        "array, text, bytes, or what JSON can hold (numbers, text, booleans, None, lists, and dicts with text keys).",
        type_name=type(value).__name__,
    )


def codec_of_key(key: str) -> Codec:
    """The codec that wrote a key."""
    return next(codec for codec in CODECS if key.endswith(codec.suffix))


def _bytes_codec(
    suffix: str, fits: Callable[[object], bool], encode: Callable[[Any], bytes], decode: Callable[[bytes], object]
) -> Codec:
    return Codec(
        suffix=suffix,
        fits=fits,
        save=lambda backend, key, value: backend.save_bytes(key, encode(value)),
        load=lambda backend, key: decode(backend.load_bytes(key)),
    )


def _are_contexts(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(item, ProcessingContext) for item in value.values())
    )


def _is_frame(value: object) -> bool:
    # By name: importing polars to find that a value is none of its frames costs 0.2 s.
    return type(value).__module__.startswith("polars.") and type(value).__name__ == "DataFrame"


def _is_table(value: object) -> bool:
    return type(value).__module__.startswith("pyarrow.") and type(value).__name__ == "Table"


def _frame_to_parquet(frame: Any) -> bytes:  # Any: a polars frame, imported only where there is one
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def _frame_from_parquet(content: bytes) -> object:
    import polars

    return polars.read_parquet(io.BytesIO(content))


def _table_to_parquet(table: object) -> bytes:
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def _table_from_parquet(content: bytes) -> object:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(io.BytesIO(content))


def _is_numeric_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufc"


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value) and all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)


CODECS: Final = (
    _bytes_codec(".plan.json", _are_contexts, contexts_to_json, contexts_from_json),
    _bytes_codec(".listing.json", lambda value: isinstance(value, PlateListing), listing_to_json, listing_from_json),
    _bytes_codec(".polars.parquet", _is_frame, _frame_to_parquet, _frame_from_parquet),
    _bytes_codec(".arrow.parquet", _is_table, _table_to_parquet, _table_from_parquet),
    Codec(
        ".array",
        _is_numeric_array,
        lambda backend, key, value: backend.save(key, value),
        lambda backend, key: backend.load(key),
    ),
    _bytes_codec(".txt", lambda value: isinstance(value, str), str.encode, bytes.decode),
    _bytes_codec(".bin", lambda value: isinstance(value, bytes), bytes, bytes),
    _bytes_codec(".json", _is_plain, msgspec.json.encode, msgspec.json.decode),
)
"""The first that fits stores the value; contexts come before mappings, since they are mappings, too."""
