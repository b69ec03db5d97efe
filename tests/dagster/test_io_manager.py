"""The IO manager's contract, for every backend of the virtual file system."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import dagster as dg
import numpy as np
import polars
import pyarrow
import pytest

from openhcs_dagster.codecs import UnstorableError
from openhcs_dagster.io_manager import VfsIOManager
from openhcs_engine.errors import MissingKeyError, StorageError

WELLS = dg.StaticPartitionsDefinition(["A02", "A10", "B01"])
KEY = dg.AssetKey(["P001", "table"])


class VfsIOManagerContract:
    """What holds for each backend; subclasses name it."""

    backend: ClassVar[Literal["disk", "memory", "zarr"]]

    @pytest.fixture
    def manager(self, tmp_path: Path) -> VfsIOManager:
        return VfsIOManager(backend=self.backend, root=str(tmp_path))

    @pytest.mark.parametrize(
        "value",
        [
            {"a": [1, 2.5, None], "b": {"c": True}},
            [],
            "<html>µ</html>",
            b"\x00\xff",
            7,
            None,
        ],
        ids=["dict", "list", "text", "bytes", "number", "none"],
    )
    def test_plain_values_come_back(self, manager: VfsIOManager, value: object) -> None:
        """What JSON can hold, text and bytes come back equal and of the same type."""
        found = _round_trip(manager, value)

        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize("dtype", ["uint16", "float32", "bool", "int64"])
    @pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4), (7,)])
    def test_arrays_come_back(self, manager: VfsIOManager, dtype: str, shape: tuple[int, ...]) -> None:
        """Arrays come back with their pixels, shape and dtype."""
        array = (np.arange(np.prod(shape)).reshape(shape) % 7).astype(dtype)

        found = _round_trip(manager, array)

        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype

    def test_tables_come_back(self, manager: VfsIOManager) -> None:
        """A polars frame and a pyarrow table come back as what they were."""
        frame = polars.DataFrame({"well": ["A01", "B02"], "objects": [3, 4]})
        table = pyarrow.table({"well": ["A01"], "area": [1.5]})

        assert _round_trip(manager, frame).equals(frame)
        assert _round_trip(manager, table).equals(table)

    def test_a_value_of_another_kind_replaces_the_old_one(self, manager: VfsIOManager) -> None:
        """An asset that returned text and now returns a number gives the number."""
        _round_trip(manager, "text")

        assert _round_trip(manager, 5) == 5

    def test_partitions_of_one_run_are_stored_each(self, manager: VfsIOManager) -> None:
        """Several partitions made in one run come back as a lazy mapping in plate order."""
        values = {"B01": 3, "A10": 2, "A02": 1}
        manager.handle_output(_output(("A02", "B01")), values)

        found = manager.load_input(_input(("A02", "B01")))

        assert isinstance(found, Mapping)
        assert list(found.items()) == [("A02", 1), ("A10", 2), ("B01", 3)]

    def test_missing_partitions_are_named(self, manager: VfsIOManager) -> None:
        """Partitions that were never made are no entry of the mapping, and it says which they are."""
        manager.handle_output(_output(("A10", "A10")), 2)

        found = manager.load_input(_input(("A02", "B01")))

        assert list(found) == ["A10"]
        assert found.missing == ("A02", "B01")

    def test_partitions_without_a_value_each_are_refused(self, manager: VfsIOManager) -> None:
        """One value for three partitions would be stored under a wrong name: it is refused."""
        with pytest.raises(StorageError, match="return a dict with one value for each"):
            manager.handle_output(_output(("A02", "B01")), 7)

    def test_what_has_no_open_format_is_refused(self, manager: VfsIOManager) -> None:
        """No pickle: an object of an unknown class is refused with what could be returned."""
        with pytest.raises(UnstorableError, match="type object cannot be stored"):
            _round_trip(manager, object())

    def test_an_asset_downstream_gets_all_partitions(self, manager: VfsIOManager) -> None:
        """Through Dagster itself: an unpartitioned asset after a partitioned one gets the mapping."""

        @dg.asset(partitions_def=WELLS, backfill_policy=dg.BackfillPolicy.single_run())
        def numbers(context: dg.AssetExecutionContext) -> Any:
            return {key: len(key) + index for index, key in enumerate(context.partition_keys)}

        @dg.asset
        def total(numbers: Any) -> Any:
            return sum(numbers.values())

        result = dg.materialize(
            [numbers, total],
            resources={"io_manager": manager},
            tags={"dagster/asset_partition_range_start": "A02", "dagster/asset_partition_range_end": "B01"},
        )

        assert result.asset_value("total") == 3 + 4 + 5


class TestDisk(VfsIOManagerContract):
    backend = "disk"


class TestZarr(VfsIOManagerContract):
    backend = "zarr"


class TestMemory(VfsIOManagerContract):
    backend = "memory"


def test_memory_asked_elsewhere_says_what_to_do(tmp_path: Path) -> None:
    """Another manager, as another run has it, has none of the first one's values and says how to get them."""
    VfsIOManager(backend="memory").handle_output(dg.build_output_context(asset_key=KEY), 1)

    with pytest.raises(StorageError, match="in one run, or give the IO manager the backend 'disk' or 'zarr'"):
        VfsIOManager(backend="memory").load_input(_input(None))


@pytest.mark.parametrize("backend", ["disk", "zarr"])
def test_an_asset_that_was_never_made_is_named(tmp_path: Path, backend: Literal["disk", "zarr"]) -> None:
    """Asking for nothing says which asset to materialize."""
    with pytest.raises(MissingKeyError, match=r"P001/table.*materialize it first"):
        VfsIOManager(backend=backend, root=str(tmp_path)).load_input(_input(None))


@pytest.mark.parametrize("backend", ["disk", "zarr"])
def test_another_process_finds_what_was_stored(tmp_path: Path, backend: Literal["disk", "zarr"]) -> None:
    """The persistent backends give a value to any later run."""
    VfsIOManager(backend=backend, root=str(tmp_path)).handle_output(dg.build_output_context(asset_key=KEY), {"a": 1})

    assert VfsIOManager(backend=backend, root=str(tmp_path)).load_input(_input(None)) == {"a": 1}


def _round_trip(manager: VfsIOManager, value: object) -> Any:
    manager.handle_output(dg.build_output_context(asset_key=KEY), value)
    return manager.load_input(_input(None))


def _output(partitions: tuple[str, str]) -> dg.OutputContext:
    """An output over a range of partitions; build_output_context can name only one of them."""
    keys = WELLS.get_partition_keys_in_range(dg.PartitionKeyRange(*partitions))

    class Output(dg.OutputContext):
        has_asset_partitions = property(lambda _: True)
        asset_partition_keys = property(lambda _: keys)

    return Output(step_key="s", name="result", asset_key=KEY, job_name="j", run_id="r")


def _input(partitions: tuple[str, str] | None) -> dg.InputContext:
    if partitions is None:
        return dg.build_input_context(asset_key=KEY, upstream_output=dg.build_output_context(asset_key=KEY))
    return dg.build_input_context(
        asset_key=KEY,
        upstream_output=dg.build_output_context(asset_key=KEY),
        asset_partitions_def=WELLS,
        asset_partition_key_range=dg.PartitionKeyRange(*partitions),
    )
