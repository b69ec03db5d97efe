"""Results of fits as files that any program reads (``.npy``, Parquet, numbers in ``fit.json``), and back."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.output.fits.record import FittedPart, FitValue
from openhcs_engine.output.pictures.greyscale import png, scale_of, shrink, to_grey

ARRAY, TABLE, NUMBER = "array", "table", "number"
PICTURE: Final = "picture.png"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_SIDE: Final = 512
"""Longest edge of an array in the picture, px."""


class UnfitValueError(ValueError):
    """Why a function's result cannot be kept."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result of one part."""

    values: tuple[FitValue, ...]
    """Their paths are names of ``contents``."""
    contents: Mapping[str, bytes]


def encode(part: str, result: object) -> Encoded:
    """The files of a result, which begin with the part's name.

    Raises
    ------
    UnfitValueError
        If it is no array, table, number, or dict of arrays and numbers, or one of its values is not finite.
    """
    if not isinstance(result, Mapping):
        value, contents = _encoded("", part, result, may_be_table=True)
        return Encoded((value,), contents)
    if not result:
        raise UnfitValueError("an empty dict; return what was fitted.")
    values, files = list[FitValue](), dict[str, bytes]()
    for name, each in result.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UnfitValueError(
                f"a dict with the key {name!r}; keys are letters, digits and '_', and start with a letter."
            )
        value, contents = _encoded(name, f"{part}.{name}", each, may_be_table=False)
        values.append(value)
        files |= contents
    if len({name.lower() for name in result}) < len(result):
        raise UnfitValueError("a dict with keys that differ in upper and lower case only.")
    return Encoded(tuple(values), files)


def decode(part: FittedPart, read: Callable[[str], bytes]) -> object:
    """A result as functions are given it: arrays are read-only, tables are pyarrow's, dicts are new.

    Raises
    ------
    ValueError
        If a file is none of its kind.
    """
    values = {value.name: _decoded(value, read) for value in part.values}
    return values[""] if set(values) == {""} else values


def picture(results: Mapping[str, object]) -> bytes | None:
    """A grey picture of the images among results, each with its own scale, side by side; None if there is none."""
    images = [image for result in results.values() for image in _images(result)]
    if not images:
        return None
    small = [shrink(image, _SIDE) for image in images]
    tiles = [to_grey(image, scale_of([image])) for image in small]
    height = max(tile.shape[0] for tile in tiles)
    padded = [np.pad(tile, ((0, height - tile.shape[0]), (0, 4))) for tile in tiles]
    return png(np.hstack(padded)[:, :-4])


def _images(result: object) -> Iterator[NDArray[Any]]:
    for value in result.values() if isinstance(result, Mapping) else (result,):
        if isinstance(value, np.ndarray) and value.ndim == 2 and min(value.shape) > 1 and value.dtype.kind in "biuf":
            yield value


def _encoded(name: str, file: str, value: object, *, may_be_table: bool) -> tuple[FitValue, dict[str, bytes]]:
    is_scalar = isinstance(value, np.ndarray) and not value.ndim
    if is_scalar or isinstance(value, bool | int | float | np.bool_ | np.number):
        number = np.asarray(value).item()
        if isinstance(number, int) and not -(2**63) <= number < 2**64:
            raise UnfitValueError(f"{_named(name)}a whole number of more than 64 bits.")
        if isinstance(number, complex) or not np.isfinite(number):
            raise UnfitValueError(f"{_named(name)}{number}, which is no finite number.")
        return FitValue(name=name, kind=NUMBER, number=number), {}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise UnfitValueError(f"{_named(name)}an array of {value.dtype}; arrays are of real numbers.")
        if wrong := int(value.size - np.count_nonzero(np.isfinite(value))):
            raise UnfitValueError(f"{_named(name)}an array with {wrong} of {value.size} values that are not finite.")
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return FitValue(name=name, kind=ARRAY, path=f"{file}.npy"), {f"{file}.npy": buffer.getvalue()}
    if may_be_table and hasattr(value, "__arrow_c_stream__"):
        import pyarrow as pa
        import pyarrow.parquet

        stream = io.BytesIO()
        pyarrow.parquet.write_table(pa.table(value), stream, compression="zstd")
        return FitValue(name=name, kind=TABLE, path=f"{file}.parquet"), {f"{file}.parquet": stream.getvalue()}
    raise UnfitValueError(
        f"{_named(name)}a {type(value).__name__}; a fit returns a NumPy array, a table (polars, pandas, pyarrow), a "
        "number, or a dict of arrays and numbers."
    )


def _named(name: str) -> str:
    return f"{name!r} as " if name else ""


def _decoded(value: FitValue, read: Callable[[str], bytes]) -> object:
    if value.kind == NUMBER:
        return value.number
    content = read(value.path)
    if value.kind == TABLE:
        import pyarrow.parquet

        return pyarrow.parquet.read_table(io.BytesIO(content))
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    array.flags.writeable = False
    return array


__all__ = ["PICTURE", "Encoded", "UnfitValueError", "decode", "encode", "picture"]
