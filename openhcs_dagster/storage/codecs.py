"""How values are kept: each kind in an open format of its own, never as a pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from openhcs_engine.errors import StorageError
from openhcs_engine.microscopes.plate_listing import PlateListing, listing_from_json, listing_to_json
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json, packed
from openhcs_engine.vfs.backend import StorageBackend

_STORABLE: Final = (
    "return contexts, a table (polars, pandas or pyarrow), a NumPy array of numbers, text, bytes, or what JSON can "
    "hold (numbers, text, booleans, None, lists, and dicts with text keys)"
)


class UnstorableError(StorageError, TypeError):
    """A value of a kind that no codec knows."""

    type_name: str


@dataclass(frozen=True, slots=True)
class Codec:
    """One kind of value and its form in a storage backend."""

    suffix: str
    """What its keys have from the first dot of their names on; says how to read what another process wrote."""
    fits: Callable[[object], bool]
    save: Callable[[StorageBackend, str, Any], None]
    load: Callable[[StorageBackend, str], object]


def codec_for(value: object) -> Codec:
    """The codec of a value; UnstorableError if there is none."""
    for codec in CODECS:
        if codec.fits(value):
            return codec
    name = type(value).__name__
    if isinstance(value, np.ma.MaskedArray):
        raise UnstorableError(
            "A masked array cannot be stored, for its mask would be lost: give the masked pixels a value with "
            ".filled(…), or return a table, where null says that something is missing.",
            type_name=name,
        )
    raise UnstorableError(f"A value of type {name} cannot be stored: {_STORABLE}.", type_name=name)


def codec_of_suffix(suffix: str) -> Codec | None:
    """The codec whose keys end so; None if there is none."""
    return next((codec for codec in CODECS if codec.suffix == suffix), None)


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


def _context_from_json(document: bytes) -> ProcessingContext:
    (context,) = contexts_from_json(document).values()
    return context


def _is_a(package: str, name: str) -> Callable[[object], bool]:
    # By name: importing polars to find that a value is none of its frames costs 0.2 s.
    return lambda value: type(value).__module__.partition(".")[0] == package and type(value).__name__ == name


def _frame_to_parquet(frame: Any) -> bytes:  # Any: a polars frame, imported only where there is one
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def _frame_from_parquet(content: bytes) -> object:
    import polars

    return polars.read_parquet(io.BytesIO(content))


def _pandas_to_parquet(frame: Any) -> bytes:  # Any: a pandas frame, imported only where there is one
    return bytes(frame.to_parquet(engine="pyarrow"))


def _pandas_from_parquet(content: bytes) -> object:
    try:
        import pandas  # type: ignore[import-untyped] # its stubs are a package of their own
    except ImportError as error:
        raise StorageError("This table was stored from pandas, which is not installed here; install pandas.") from error
    return pandas.read_parquet(io.BytesIO(content), engine="pyarrow")


def _table_to_parquet(table: object) -> bytes:
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def _table_from_parquet(content: bytes) -> object:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(io.BytesIO(content))


def _is_numeric_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray) and value.dtype.kind in "biufc"


def _is_page(value: object) -> bool:
    return isinstance(value, str) and value.lstrip()[:14].lower().startswith(("<!doctype html", "<html"))


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value) and all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, _NUMBERS)


_NUMBERS: Final = (np.bool_, np.integer, np.floating)
"""What NumPy gives for a mean or a count; comes back as Python's number."""


def _to_json(value: object) -> bytes:
    # Not by msgspec, which writes null for NaN: the mean of no objects must not come back as None.
    return json.dumps(value, ensure_ascii=False, default=_bare).encode()


def _bare(value: Any) -> object:  # Any: a number of NumPy's, or a mapping
    return dict(value) if isinstance(value, Mapping) else value.item()


CODECS: Final = (
    _bytes_codec(
        ".plan.json.gz", _are_contexts, lambda contexts: packed(contexts_to_json(contexts)), contexts_from_json
    ),
    _bytes_codec(".plan.json", lambda _: False, contexts_to_json, contexts_from_json),  # of earlier versions
    _bytes_codec(
        ".context.json",
        lambda value: isinstance(value, ProcessingContext),
        lambda context: contexts_to_json({context.well: context}),
        _context_from_json,
    ),
    _bytes_codec(".listing.json", lambda value: isinstance(value, PlateListing), listing_to_json, listing_from_json),
    _bytes_codec(".polars.parquet", _is_a("polars", "DataFrame"), _frame_to_parquet, _frame_from_parquet),
    _bytes_codec(".pandas.parquet", _is_a("pandas", "DataFrame"), _pandas_to_parquet, _pandas_from_parquet),
    _bytes_codec(".arrow.parquet", _is_a("pyarrow", "Table"), _table_to_parquet, _table_from_parquet),
    Codec(
        ".array",
        _is_numeric_array,
        lambda backend, key, value: backend.save(key, value),
        lambda backend, key: backend.load(key),
    ),
    _bytes_codec(".html", _is_page, str.encode, bytes.decode),
    _bytes_codec(".txt", lambda value: isinstance(value, str), str.encode, bytes.decode),
    _bytes_codec(".bin", lambda value: isinstance(value, bytes), bytes, bytes),
    _bytes_codec(".json", _is_plain, _to_json, json.loads),
)
"""The first that fits stores the value; contexts come before mappings, since they are mappings, too."""
