"""The IO manager's contract, for every backend of the virtual file system."""

import math
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import numpy as np
import polars
import pyarrow
import pytest

from openhcs_dagster.storage.codecs import UnstorableError
from openhcs_dagster.storage.io_manager import VfsIOManager
from openhcs_engine import FunctionStep, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import MissingKeyError, StorageError, UnknownBackendError
from openhcs_engine.functions import create_max_projection
from openhcs_engine.microscopes.plate_listing import PlateListing
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import unpacked
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment
from tests.dagster.pickles import assert_no_pickles
from tests.engine.plates import make_plate, output_plan

REPO = Path(__file__).resolve().parent.parent.parent

WELLS = dg.StaticPartitionsDefinition(["A02", "A10", "B01"])
KEY = dg.AssetKey(["P001", "table"])
ANYTHING = dg.DagsterType(type_check_fn=lambda _, __: True, name="Anything", typing_type=object)
PAGE = "<!DOCTYPE html><html><body>µm</body></html>"


def contexts() -> dict[str, ProcessingContext]:
    """The compiled contexts of three wells."""
    plate, index = make_plate(("A02", "A10", "B01"))
    step = FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])
    return compile_plate(plate, index, [step], output=output_plan()).contexts


def one_of_each_kind() -> dict[str, Any]:
    """A value for every codec."""
    return {
        "contexts": contexts(),
        "context": contexts()["A10"],
        "listing": PlateListing(*make_plate()),
        "polars": polars.DataFrame({"well": ["A01", "B02"], "objects": [3, None]}),
        "pandas": pytest.importorskip("pandas").DataFrame({"well": ["A01", "B02"], "area": [1.5, 2.0]}),
        "pyarrow": pyarrow.table({"well": ["A01"], "area": [1.5]}),
        "array": np.arange(60, dtype=np.uint16).reshape(3, 4, 5),
        "report": PAGE,
        "text": "B03: 17 µm",
        "bytes": b"\x89PNG\x00\xff",
        "plain": {"a": [1, 2.5, None], "b": {"c": True}},
    }


KINDS = ("contexts", "context", "listing", "polars", "pandas", "pyarrow", "array", "report", "text", "bytes", "plain")


def assert_same(found: Any, value: Any) -> None:
    """Equal and of the same kind, as each library says it."""
    assert type(found) is type(value)
    if isinstance(value, np.ndarray):
        np.testing.assert_array_equal(found, value)
        assert found.dtype == value.dtype
    elif hasattr(value, "equals"):
        assert found.equals(value)
    else:
        assert found == value


class VfsIOManagerContract:
    """What holds for each backend; subclasses name it."""

    backend: ClassVar[str]

    @pytest.fixture
    def manager(self, tmp_path: Path) -> VfsIOManager:
        return VfsIOManager(backend=self.backend, root=str(tmp_path))

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_comes_back(self, manager: VfsIOManager, kind: str) -> None:
        """Contexts, tables, arrays, reports and plain values come back equal and of the same type."""
        value = one_of_each_kind()[kind]

        assert_same(_round_trip(manager, value), value)

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_comes_back_from_partitions(self, manager: VfsIOManager, kind: str) -> None:
        """The same holds for a value of each partition, one at a time and several at once."""
        value = one_of_each_kind()[kind]
        manager.handle_output(_output(("A02", "A02")), value)
        manager.handle_output(_output(("A10", "B01")), {"A10": value, "B01": value})

        alone = manager.load_input(_input(("A10", "A10")))
        together = manager.load_input(_input(("A02", "B01")))

        assert_same(alone, value)
        assert list(together) == ["A02", "A10", "B01"]
        for found in together.values():
            assert_same(found, value)

    def test_numbers_of_numpy_come_back_as_numbers(self, manager: VfsIOManager) -> None:
        """A mean or a count as NumPy gives it is a number; NaN stays NaN, and is not nothing."""
        found = _round_trip(manager, {"mean": np.float32(1.5), "count": np.int64(2**40), "none": float("nan")})

        assert (found["mean"], found["count"]) == (1.5, 2**40)
        assert math.isnan(found["none"])

    def test_a_masked_array_is_refused(self, manager: VfsIOManager) -> None:
        """What a mask hides would come back as pixels: the sentence says how to store it."""
        with pytest.raises(UnstorableError, match=r"its mask would be lost.*filled"):
            _round_trip(manager, np.ma.masked_array([1, 2], [True, False]))

    @pytest.mark.parametrize("name", ["2026-03-14-09:30", "a/b", "1.plan", "A01|DAPI", "Größe %"])
    def test_partitions_may_have_any_name(self, manager: VfsIOManager, name: str) -> None:
        """Times, dots, slashes and other signs in a partition's name do not change what it holds."""
        partitions = dg.StaticPartitionsDefinition([name, "other"])
        manager.handle_output(_output((name, "other"), partitions), {name: {"a": 1}, "other": {"a": 2}})

        found = manager.load_input(_input((name, "other"), partitions))

        assert dict(found) == {name: {"a": 1}, "other": {"a": 2}}

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


class TestOwnBackend(VfsIOManagerContract):
    """A class of a user's own, named as ``module:Class``."""

    backend = "tests.dagster.own_backend:PlainFiles"


def test_contexts_of_an_earlier_version_are_read_and_replaced(tmp_path: Path) -> None:
    """They were kept as JSON that is not compressed; what is stored next takes their place."""
    manager, values = VfsIOManager(backend="disk", root=str(tmp_path)), contexts()
    _round_trip(manager, values)
    (file,) = tmp_path.rglob("*.plan.json.gz")
    file.with_suffix("").write_bytes(unpacked(file.read_bytes()))
    file.unlink()

    assert manager.load_input(_input(None)) == values
    assert _round_trip(manager, values) == values
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_memory_asked_elsewhere_says_what_to_do(tmp_path: Path) -> None:
    """Another manager, as another run has it, has none of the first one's values and says how to get them."""
    VfsIOManager(backend="memory").handle_output(dg.build_output_context(asset_key=KEY), 1)

    with pytest.raises(StorageError, match="in one run, or give the IO manager the backend 'disk' or 'zarr'"):
        VfsIOManager(backend="memory").load_input(_input(None))


def test_memory_asked_from_another_process_says_what_to_do(tmp_path: Path) -> None:
    """A process that has nothing in its memory says so for single values and for partitions."""
    code = (
        "from tests.dagster import test_io_manager as t\n"
        "for partitions in (None, ('A02', 'A02'), ('A02', 'B01')):\n"
        "    try:\n"
        "        t.VfsIOManager(backend='memory').load_input(t._input(partitions))\n"
        "    except t.StorageError as error:\n"
        "        print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )

    said = done.stdout.splitlines()
    assert len(said) == 3
    assert all("Materialize both assets in one run, or give the IO manager the backend" in line for line in said)


@pytest.mark.parametrize("backend", ["tape", "tests.dagster.own_backend:Nothing", "absent_module:Backend"])
def test_a_backend_that_does_not_exist_is_named(tmp_path: Path, backend: str) -> None:
    """An unknown name, a missing class and a missing module each give one sentence."""
    with pytest.raises(UnknownBackendError, match=backend.split(":")[-1]):
        VfsIOManager(backend=backend, root=str(tmp_path)).load_input(_input(None))


@pytest.mark.parametrize("backend", ["disk", "zarr"])
def test_no_pickle_is_written_or_read(tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of value is stored and read with pickle out of order, and no file holds one."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was read")

    values = one_of_each_kind()
    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    for kind, value in values.items():
        key = dg.AssetKey(["P001", kind])
        VfsIOManager(backend=backend, root=str(tmp_path)).handle_output(_output(("A02", "A02"), key=key), value)

        again = VfsIOManager(backend=backend, root=str(tmp_path))
        found = again.load_input(
            dg.build_input_context(
                asset_key=key,
                upstream_output=dg.build_output_context(asset_key=key),
                dagster_type=ANYTHING,
                asset_partitions_def=WELLS,
                asset_partition_key_range=dg.PartitionKeyRange("A02", "A02"),
            )
        )

        assert_same(found, value)
    assert_no_pickles(tmp_path)


@pytest.mark.parametrize("backend", ["disk", "zarr"])
def test_an_asset_that_was_never_made_is_named(tmp_path: Path, backend: str) -> None:
    """Asking for nothing says which asset to materialize."""
    with pytest.raises(MissingKeyError, match=r"P001/table.*materialize it first"):
        VfsIOManager(backend=backend, root=str(tmp_path)).load_input(_input(None))


@pytest.mark.parametrize("backend", ["disk", "zarr"])
def test_another_process_finds_what_was_stored(tmp_path: Path, backend: str) -> None:
    """The persistent backends give a value to any later run."""
    VfsIOManager(backend=backend, root=str(tmp_path)).handle_output(dg.build_output_context(asset_key=KEY), {"a": 1})

    assert VfsIOManager(backend=backend, root=str(tmp_path)).load_input(_input(None)) == {"a": 1}


def _round_trip(manager: VfsIOManager, value: object) -> Any:
    manager.handle_output(dg.build_output_context(asset_key=KEY), value)
    return manager.load_input(_input(None))


def _output(
    partitions: tuple[str, str], definition: dg.StaticPartitionsDefinition = WELLS, key: dg.AssetKey = KEY
) -> dg.OutputContext:
    """An output over a range of partitions; build_output_context can name only one of them."""
    keys = definition.get_partition_keys_in_range(dg.PartitionKeyRange(*partitions))

    class Output(dg.OutputContext):
        has_asset_partitions = property(lambda _: True)
        asset_partition_keys = property(lambda _: keys)

    return Output(step_key="s", name="result", asset_key=key, job_name="j", run_id="r")


def _input(partitions: tuple[str, str] | None, definition: dg.StaticPartitionsDefinition = WELLS) -> dg.InputContext:
    if partitions is None:
        return dg.build_input_context(asset_key=KEY, upstream_output=dg.build_output_context(asset_key=KEY))
    return dg.build_input_context(
        asset_key=KEY,
        upstream_output=dg.build_output_context(asset_key=KEY),
        dagster_type=ANYTHING,
        asset_partitions_def=definition,
        asset_partition_key_range=dg.PartitionKeyRange(*partitions),
    )


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [{"a": [1, 2.5]}, np.arange(9), "text"], ids=lambda value: type(value).__name__)
def test_a_pickle_on_disk_would_be_found(tmp_path: Path, protocol: int, value: object) -> None:
    """The judge of the tests here knows one of every protocol when it sees it."""
    (tmp_path / "value").write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(AssertionError):
        assert_no_pickles(tmp_path)


def test_a_pickle_inside_an_array_file_would_be_found(tmp_path: Path) -> None:
    """NumPy keeps objects as one."""
    np.save(tmp_path / "array.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(AssertionError):
        assert_no_pickles(tmp_path)


@pytest.mark.parametrize("backend", ["disk", "zarr"])
def test_a_whole_run_leaves_no_pickle_anywhere(deployment: Deployment, backend: str) -> None:
    """Neither in the plate's output, nor among stored values, the catalogue, logs or anything else of Dagster's."""
    options = RunOptions(runner="threads", workers=1, backend=backend)
    entry = deployment.add(deployment.plate(), deployment.pipeline("plain"), options=options)
    assert deployment.run(entry, "A02", "B01")
    assert list((entry.output_plan.folder / "wells").iterdir())
    assert_no_pickles(deployment.root)
