"""Planes out of shards: what zarr-python reads, by one read of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError
from openhcs_engine.ngff.options import Compression
from openhcs_engine.ngff.reading.reader import LazyArray
from openhcs_engine.ngff.reading.shard_reader import ShardReader
from openhcs_engine.ngff.tiles import PlaneForm, chunk_edge
from openhcs_engine.ngff.writing.shards import ShardWriter, shard_key

STACK = (2, 2, 3)
SHARD_KEY = shard_key(5)


def whole(shape: tuple[int, int]) -> tuple[slice, slice]:
    return slice(0, shape[0]), slice(0, shape[1])


def written(
    folder: Path,
    shape: tuple[int, int],
    dtype: str = "uint16",
    longest_chunk: int = 16,
    absent: frozenset[tuple[int, ...]] = frozenset(),
) -> tuple[NDArray[Any], dict[str, Any]]:
    """An array of random planes in ``folder``; the pixels and its document."""
    pixels = np.random.default_rng(7).integers(0, 2, (*STACK, *shape)).astype(dtype)
    chunk = chunk_edge(shape[0], longest_chunk), chunk_edge(shape[1], longest_chunk)
    writer = ShardWriter(folder, PlaneForm(shape, chunk, np.dtype(dtype), Compression()), "tczyx")
    for place in np.ndindex(STACK):
        if place in absent:
            pixels[place] = 0
        else:
            writer.add(place, pixels[place])
    writer.finish(STACK, list(np.ndindex(STACK)))
    document = json.loads((folder / "zarr.json").read_text())
    return pixels, document


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float32", "float64", "bool"]),
    longest_chunk=st.integers(1, 40),
    absent=st.frozensets(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 2)), max_size=11),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_plane_is_what_zarr_reads(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int],
    dtype: str,
    longest_chunk: int,
    absent: frozenset[tuple[int, ...]],
) -> None:
    """Whatever shape, type and chunks, and whichever planes were never written."""
    folder = tmp_path_factory.mktemp("array")
    pixels, document = written(folder, shape, dtype, longest_chunk, absent)

    shard = ShardReader.of(folder, document)

    assert shard is not None
    stored = zarr.open_array(str(folder), mode="r")
    for place in np.ndindex(STACK):
        if place in absent:
            with pytest.raises(PlaneReadError, match="holds no plane"):
                shard.plane(place, whole(shape))
            continue
        plane = shard.plane(place, whole(shape))
        assert plane.dtype == stored.dtype
        np.testing.assert_array_equal(plane, stored[place])
        np.testing.assert_array_equal(plane, pixels[place])


def test_a_damaged_index_is_an_error_and_no_picture(tmp_path: Path) -> None:
    """One wrong bit in the index is noticed by its checksum."""
    _, document = written(tmp_path, (20, 20))
    content = bytearray((tmp_path / SHARD_KEY).read_bytes())
    content[-20] ^= 1
    (tmp_path / SHARD_KEY).write_bytes(content)
    shard = ShardReader.of(tmp_path, document)
    assert shard is not None

    with pytest.raises(PlaneReadError, match="checksum"):
        shard.plane((0, 0, 0), whole((20, 20)))


def test_a_cut_off_or_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """The same error as where zarr reads."""
    _, document = written(tmp_path, (20, 20))
    shard = ShardReader.of(tmp_path, document)
    assert shard is not None

    (tmp_path / SHARD_KEY).write_bytes(b"short")
    with pytest.raises(PlaneReadError, match=SHARD_KEY):
        shard.plane((0, 0, 0), whole((20, 20)))
    (tmp_path / SHARD_KEY).unlink()
    with pytest.raises(PlaneReadError, match=SHARD_KEY):
        shard.plane((0, 0, 0), whole((20, 20)))


@pytest.mark.parametrize("key", ["fill_value", "codecs", "shape", "data_type", "chunk_grid"])
def test_what_the_engine_did_not_write_is_left_to_zarr(tmp_path: Path, key: str) -> None:
    """A document that differs anywhere gives no reader; nothing is guessed."""
    _, document = written(tmp_path, (20, 20))

    assert ShardReader.of(tmp_path, {**document, key: "other"}) is None


def test_arrays_of_other_programs_are_read_plane_by_plane(tmp_path: Path) -> None:
    """The lazy array reads an unsharded array as well, and counts from the end as NumPy does."""
    pixels = np.arange(2 * 2 * 3 * 5 * 4, dtype="uint16").reshape(*STACK, 5, 4)
    zarr.create_array(str(tmp_path / "0"), data=pixels, chunks=(1, 1, 1, 5, 4))

    array = LazyArray(tmp_path / "0", np.zeros(STACK, bool))

    np.testing.assert_array_equal(array[1, 0, 2], pixels[1, 0, 2])
    np.testing.assert_array_equal(array[-1, 0, -1], pixels[-1, 0, -1])
