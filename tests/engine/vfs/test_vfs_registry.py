"""Which backends a run knows, those of the user's own, and where a well's intermediates go."""

from __future__ import annotations

import pickle
from pathlib import Path

import fsspec
import msgspec
import numpy as np
import pytest

from openhcs_engine.errors import OptionError, OutputPlaceError, StorageBudgetError, StorageError, UnknownBackendError
from openhcs_engine.files.unfinished import unfinished_folder
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.disk import DiskBackend
from openhcs_engine.vfs.intermediates import ScratchPlan, open_scratch, swept_scratch
from openhcs_engine.vfs.memory import MemoryBackend
from openhcs_engine.vfs.registry import StorageRegistry, default_storage
from openhcs_engine.vfs.zarr import ZarrBackend

OWN = f"{__name__}:OwnBackend"


class OwnBackend(DiskBackend):
    """A user's backend: anything that takes the place it may use."""


class StickyBackend(DiskBackend):
    """What it has it keeps."""

    def clear(self, prefix: str = "") -> None:
        raise StorageError("stuck")


class HalfBackend(StorageBackend):
    """Lacks every method."""


def test_the_registry_makes_each_backend_once(tmp_path: Path) -> None:
    """Whoever asks for a name gets the same object; nothing is written before a save."""
    registry = default_storage(tmp_path / "scratch")
    assert registry.names == ("disk", "memory", "zarr")
    for name in registry.names:
        assert registry.get(name) is registry.get(name)
    assert not (tmp_path / "scratch").exists()


def test_options_reach_the_backends(tmp_path: Path) -> None:
    """Budget of memory, compression of disk."""
    registry = default_storage(tmp_path, memory_budget=7, compression="zstd")
    memory, disk = registry.get("memory"), registry.get("disk")
    assert isinstance(memory, MemoryBackend) and memory.budget_bytes == 7
    assert isinstance(disk, DiskBackend) and disk.compression == "zstd"


def test_an_unknown_backend_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """A typing error is found at once, and the way to a backend of one's own is told."""
    with pytest.raises(UnknownBackendError, match=r"'zar' \(known: disk, memory, zarr; .*module:Class"):
        default_storage(tmp_path).get("zar")


def test_users_add_backends_without_changing_the_registry_they_were_given(tmp_path: Path) -> None:
    """Adding makes another registry; the factory gets a place of its own."""
    registry = default_storage(tmp_path)
    added = registry.adding("mine", OwnBackend)
    assert "mine" in added.names and "mine" not in registry.names
    added.get("mine").save_bytes("a", b"1")
    assert (tmp_path / "mine" / "a").read_bytes() == b"1"


def test_a_backend_is_named_by_its_class(tmp_path: Path) -> None:
    """``module:Class`` works wherever a name does, and in other processes, too."""
    registry = default_storage(tmp_path)
    backend = registry.get(OWN)
    assert type(backend) is OwnBackend and registry.get(OWN) is backend
    backend.save("a", np.ones((2, 2), np.uint8))
    other: StorageRegistry = pickle.loads(pickle.dumps(registry))
    assert other.get(OWN).load("a").sum() == 4


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("os:system", "must be a class that derives from"),
        ("pathlib:Path", "must be a class that derives from"),
        ("os:", "must be a class that derives from"),
        ("no_such_module:Backend", "cannot be imported.*no_such_module"),
        (":Backend", "cannot be imported"),
        (f"{__name__}:HalfBackend", "is not whole: it lacks delete, exists, list, load"),
        (f"{__name__}:Nothing", "must be a class that derives from"),
    ],
)
def test_what_is_no_backend_is_refused(tmp_path: Path, reference: str, reason: str) -> None:
    """Nothing is called that is not a whole subclass of the contract."""
    with pytest.raises(UnknownBackendError, match=reason) as caught:
        default_storage(tmp_path).get(reference)
    assert caught.value.backend == reference


def test_a_pickled_registry_starts_with_an_empty_memory(tmp_path: Path) -> None:
    """Memory stays in its process, persistent backends are found again."""
    registry = default_storage(tmp_path)
    for name in registry.names:
        registry.get(name).save("a", np.ones((2, 2), np.uint8))
    other: StorageRegistry = pickle.loads(pickle.dumps(registry))
    found = {name: other.get(name).exists("a") for name in other.names}
    assert found == {name: registry.get(name).persistent for name in registry.names}


@pytest.mark.parametrize("backend", ["memory", "disk", "zarr", OWN])
@pytest.mark.parametrize("root", [None, "fast", "memory://scratch"])
def test_intermediates_are_gone_when_the_well_ends(tmp_path: Path, backend: str, root: str | None) -> None:
    """Wherever they are, and also if the well fails; two wells at once do not meet."""
    place = str(tmp_path / "fast") if root == "fast" else root
    plan = ScratchPlan(backend=backend, root=place)
    staging = tmp_path / "staging"
    staging.mkdir()

    with open_scratch(plan, staging, "A01") as first, open_scratch(plan, staging, "A01") as second:
        first.save("step1/a", np.ones((2, 2), np.uint8))
        second.save("step1/a", np.zeros((2, 2), np.uint8))
        assert first.load("step1/a").sum() == 4
    with pytest.raises(ZeroDivisionError), open_scratch(plan, staging, "A01") as third:
        third.save("step1/a", np.ones((2, 2), np.uint8))
        raise ZeroDivisionError

    assert first.list() == second.list() == third.list() == ()
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(".tmp-")] == []
    assert fsspec.filesystem("memory").find("/scratch") == []


@pytest.mark.parametrize(
    ("backend", "expected"), [("memory", MemoryBackend), ("disk", DiskBackend), ("zarr", ZarrBackend)]
)
def test_the_plan_chooses_the_backend(tmp_path: Path, backend: str, expected: type[StorageBackend]) -> None:
    """By its name."""
    with open_scratch(ScratchPlan(backend=backend), tmp_path, "A01") as scratch:
        assert type(scratch) is expected


def test_the_budget_holds_for_a_well(tmp_path: Path) -> None:
    """Each well has its own."""
    plan = ScratchPlan(budget_bytes=4)
    with open_scratch(plan, tmp_path, "A01") as one, open_scratch(plan, tmp_path, "A02") as other:
        one.save("a", np.zeros((2, 2), np.uint8))
        other.save("a", np.zeros((2, 2), np.uint8))
        with pytest.raises(StorageBudgetError, match="Raise the budget"):
            one.save("b", np.zeros((1, 1), np.uint8))


@pytest.mark.parametrize(("root", "folder"), [("fast", "fast/openhcs-scratch"), (None, "staging/scratch")])
def test_scratch_of_a_killed_worker_goes_when_the_next_well_begins(
    tmp_path: Path, root: str | None, folder: str
) -> None:
    """In a folder that the user gave, and in the run's own; those that live keep theirs."""
    plan = ScratchPlan(backend="disk", root=None if root is None else str(tmp_path / root))
    dead = dead_scratch(tmp_path / folder)
    with unfinished_folder(dead.with_name("A02")) as living, open_scratch(plan, tmp_path / "staging", "A01"):
        assert not dead.exists() and living.is_dir()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """With the reason: a disk may become read-only while a run goes on."""
    (tmp_path / "file").write_text("hello")
    plan = ScratchPlan(backend="disk", root=str(tmp_path / "file"))
    reason = r"file/openhcs-scratch .*choose another scratch folder"
    with pytest.raises(OutputPlaceError, match=reason), open_scratch(plan, tmp_path, "A01"):
        pass


def test_a_run_sweeps_the_users_folder_at_its_begin_and_end(tmp_path: Path) -> None:
    """Whoever lives keeps its scratch; at last the folder itself goes."""
    plan = ScratchPlan(backend="zarr", root=str(tmp_path))
    dead = dead_scratch(tmp_path / "openhcs-scratch")
    with unfinished_folder(dead.with_name("A02")) as living:
        with swept_scratch(plan):
            assert not dead.exists()
            dead_scratch(tmp_path / "openhcs-scratch")
        assert not dead.exists() and living.is_dir()
    with swept_scratch(plan):
        pass
    assert list(tmp_path.iterdir()) == []


def dead_scratch(folder: Path) -> Path:
    """What a killed worker left."""
    dead = folder / ".tmp-dead"
    dead.mkdir(parents=True, exist_ok=True)
    (dead / "plane.tif").write_bytes(b"half")
    return dead


def test_why_a_well_failed_matters_more_than_what_cannot_be_cleared(tmp_path: Path) -> None:
    """The first error stays; without one, scratch that cannot be cleared is an error itself."""
    plan = ScratchPlan(backend=f"{__name__}:StickyBackend")
    with pytest.raises(ZeroDivisionError), open_scratch(plan, tmp_path, "A01"):
        raise ZeroDivisionError
    with pytest.raises(StorageError, match="stuck"), open_scratch(plan, tmp_path, "A01"):
        pass


@pytest.mark.parametrize(
    ("plan", "error", "reason"),
    [
        (ScratchPlan(backend="tape"), UnknownBackendError, "'tape'.*known: disk, memory, zarr"),
        (ScratchPlan(backend="os:system"), UnknownBackendError, "os:system"),
        (ScratchPlan(backend="disk", budget_bytes=5), OptionError, "no meaning for intermediates in 'disk'"),
        (ScratchPlan(budget_bytes=0), OptionError, "0 bytes"),
    ],
)
def test_impossible_plans_are_refused_before_anything_is_read(
    plan: ScratchPlan, error: type[Exception], reason: str
) -> None:
    """At compile."""
    with pytest.raises(error, match=reason):
        plan.check()


@pytest.mark.parametrize("backend", ["memory", "disk", "zarr", OWN])
def test_possible_plans_pass_and_survive_json(backend: str) -> None:
    """A plan document holds them."""
    plan = ScratchPlan(backend=backend, root=None if backend == "memory" else "/fast")
    plan.check()
    assert msgspec.json.decode(msgspec.json.encode(plan), type=ScratchPlan) == plan
