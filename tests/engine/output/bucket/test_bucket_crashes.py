"""A publisher that dies before any one of its requests: what it leaves counts for nothing, and goes."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.address import remote
from openhcs_engine.files.processes import Writer
from openhcs_engine.ngff.reading.lazy_array import open_array
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.bucket import objects as bucket_module
from openhcs_engine.output.bucket.output import PlateBucket
from openhcs_engine.output.bucket.write_lock import Mark
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.verification.verify import PLATE, verify
from tests.engine.outputs import WELLS, list_wells, make_images
from tests.engine.plate_outputs import bucket_of, change, contents, prepared, published

OTHERS = WELLS[1:]
SEEDS = (0, 7)
"""Of the images of the old version and of the new one."""


class DyingStore:
    """A store whose client dies before its n-th change: from then on, no request of it gets through."""

    def __init__(self, store: Any, changes: int) -> None:
        self._store, self._left = store, changes

    def __getattr__(self, name: str) -> Any:
        if self._left < 0:
            raise ConnectionError("the process is dead")
        if name in ("pipe_file", "put_file", "rm_file"):
            self._left -= 1
            if self._left < 0:
                raise ConnectionError("the process is dead")
        return getattr(self._store, name)


@pytest.fixture(scope="module")
def dead() -> Writer:
    """A process of this host that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return replace(Writer.here(), pid=process.pid, started="1")


def killed(address: str, backend: str, changes: int, dead: Writer, work: Callable[[PlateOutput], object]) -> bool:
    """Work as a process that dies before so many changes of the store are made; False if it was done before."""
    with pytest.MonkeyPatch.context() as patch:
        dying: list[DyingStore] = []

        def doomed(url: str, **options: object) -> tuple[Any, str]:
            store, folder = remote(url, **options)
            dying.append(DyingStore(store, changes))
            return dying[-1], folder

        patch.setattr(bucket_module, "remote", doomed)
        patch.setattr(Writer, "here", classmethod(lambda cls: dead))
        output = open_output(address, backend)
        try:
            work(output)
        except OutputPlaceError:
            return True
    return False


@dataclass(frozen=True)
class Case:
    """A well before, and what a process was doing to it when it died."""

    name: str
    before: Callable[[str], object]
    backend: str
    work: Callable[[PlateOutput], object]
    good: tuple[int | None, ...]
    """Seeds of the images that the well may have afterwards; None: it is absent."""
    ngff: str = "0.5"

    def __str__(self) -> str:
        return self.name


def old(ngff: str) -> Callable[[str], object]:
    """All wells published from seed 0, with a table."""

    def publish_all(root: str) -> object:
        output = prepared(root, ngff=ngff)
        return [published(output, well, rows=2, ngff=ngff) for well in WELLS]

    return publish_all


def others(root: str) -> object:
    """All wells but the first."""
    output = prepared(root)
    return [published(output, well, rows=2) for well in OTHERS]


def new(ngff: str = "0.5", rows: int = 3) -> Callable[[PlateOutput], object]:
    """The first well from seed 7."""
    return lambda output: published(output, "A01", seed=7, plan="plan 1", ngff=ngff, rows=rows)


CASES = (
    Case("first publishing", others, "zarr", new(), (None, 7)),
    Case("new version", old("0.5"), "zarr", new(), (0, 7)),
    Case("new version of 0.4", old("0.4"), "zarr", new("0.4"), (0, 7), "0.4"),
    Case("new version without a table", old("0.5"), "zarr", new(rows=0), (0, 7)),
    Case("drop", old("0.5"), "zarr", lambda output: output.drop("A01"), (0, None)),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whatever_request_is_the_last_the_well_is_old_new_or_absent(case: Case, dead: Writer) -> None:
    """Before anybody settles it, too; and after that nothing is left of the dead one."""
    states = set()
    for changes in range(10_000):
        root = f"memory://crashes/{uuid.uuid4().hex}"
        case.before(root)
        output = open_output(f"{root}/P1", case.backend)
        before = contents(output)
        died = killed(output.address, case.backend, changes, dead, case.work)

        state = seed_of(output)
        assert state in case.good
        assert_whole(output, state)
        output.sweep()
        list_wells(output, case.ngff)
        assert bucket_of(output).objects(".publishing") == {}
        assert seed_of(output) == state
        assert_whole(output, state)
        assert verify(output.address).damaged == ()
        if state == case.good[0] and died:
            assert contents(output) == before
        states.add(state)
        if not died:
            break
        if changes % 5 == 0:
            case.work(output)
            assert seed_of(output) == case.good[-1]
            assert_whole(output, case.good[-1])
    assert states == set(case.good) and changes > 8


def seed_of(output: PlateOutput) -> int | None:
    """The seed of the images that the well's manifest lists; None if the well is absent."""
    manifest = output.published("A01")
    if manifest is None:
        return None
    image = "/".join(next(file.path for file in manifest.files if file.path.count("/") > 3).split("/")[1:4])
    folder = open_plate(f"{output.address}/images.zarr", {"A01"}).folder / image
    plane = open_array(folder / "0").plane((0, 0, 0), (slice(0, 20), slice(0, 16)))
    (seed,) = (seed for seed in SEEDS if np.array_equal(first_plane(seed), plane))
    return seed


def first_plane(seed: int) -> NDArray[np.uint16]:
    """Of the first site and channel."""
    return next(iter(make_images("A01", seed).values()))


def assert_whole(output: PlateOutput, state: int | None) -> None:
    """No well is damaged, nothing is foreign, and what the well's group names can be opened."""
    report = verify(output.address)
    assert ([damage.well for damage in report.damaged if damage.well != PLATE], report.foreign) == ([], ())
    assert report.missing == (() if state is not None else ("A01",))
    if state is not None:
        read = output.open_images()["A01"][1].plane(channel=1)
        assert any(np.array_equal(read, first_plane(seed)) for seed in SEEDS)


def test_a_well_that_changes_its_form_is_whole_whenever_it_dies(dead: Writer) -> None:
    """From OME-Zarr to OME-TIFF: the OME-Zarr plate lists it no more."""
    for changes in range(10_000):
        root = f"memory://crashes/{uuid.uuid4().hex}"
        old("0.5")(root)
        output = open_output(f"{root}/P1", "disk")
        died = killed(output.address, "disk", changes, dead, new())
        output.sweep()
        output.list_wells()
        report = verify(output.address)
        assert (report.whole, report.damaged, report.foreign) == (WELLS, (), ())
        manifest = output.published("A01")
        assert manifest is not None
        has_zarr = any(path.startswith("images.zarr/A/01/v") for path in contents(output))
        has_disk = any(path.startswith("images/A01/") for path in contents(output))
        assert (has_zarr, has_disk) == ((True, False) if manifest.backend == "zarr" else (False, True))
        if not died:
            break
    assert manifest.backend == "disk"


def test_of_a_well_with_a_damaged_manifest_only_the_dead_ones_objects_go(dead: Writer) -> None:
    """What it holds may be all that is left of somebody's work; the next run replaces it."""
    for changes in range(10_000):
        root = f"memory://crashes/{uuid.uuid4().hex}"
        old("0.5")(root)
        output = open_output(f"{root}/P1")
        change(output, "wells/A01.json", b"{")
        before = contents(output)
        died = killed(output.address, "zarr", changes, dead, new())
        report = verify(output.address)
        assert [damage.well for damage in report.damaged] in ([], ["A01"])
        output.sweep()
        if report.damaged:
            assert contents(output) == before
        else:
            assert verify(output.address).ok and verify(output.address).foreign == ()
        if not died:
            break
    assert report.damaged == ()


def test_a_living_publisher_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of another run removes nothing of it, and its well is what it was; if it fails, nothing of it stays."""
    root = f"memory://crashes/{uuid.uuid4().hex}"
    old("0.5")(root)
    output = open_output(f"{root}/P1")
    real = PlateBucket._upload

    def upload(self: PlateBucket, *given: Any) -> None:
        real(self, *given)
        before = contents(output)
        open_output(output.address).sweep()
        assert contents(output) == before
        assert verify(output.address).ok and verify(output.address).foreign == ()
        raise OutputPlaceError("the network is gone")

    monkeypatch.setattr(PlateBucket, "_upload", upload)
    with pytest.raises(OutputPlaceError, match="the network is gone"):
        published(output, "A01", seed=7)
    assert seed_of(output) == 0 and bucket_of(output).objects(".publishing") == {}
    assert verify(output.address).foreign == ()


def test_a_publisher_that_lost_its_mark_meddles_with_nothing() -> None:
    """Another settled its well and published it; the one that slept removes its own objects and says so."""
    root = f"memory://crashes/{uuid.uuid4().hex}"
    output = prepared(root)
    real = PlateBucket._upload
    with pytest.MonkeyPatch.context() as patch:

        def upload(self: PlateBucket, version: Any, staged: Any) -> None:
            patch.undo()
            marks = bucket_of(output).objects(".publishing")
            bucket_of(output).remove(list(marks))  # as one does that takes it for dead
            published(open_output(output.address), "A01", seed=0)
            real(self, version, staged)

        patch.setattr(PlateBucket, "_upload", upload)
        with pytest.raises(
            OutputPlaceError, match="or was removed, by another run that took this one for dead or by somebody"
        ):
            published(output, "A01", seed=7)
    assert seed_of(output) == 0
    assert verify(output.address).foreign == () and verify(output.address).damaged == ()


def test_parts_of_unfinished_objects_go(bucket: str, dead: Writer) -> None:
    """A dead publisher of a large object leaves them; no listing shows them, and the store's owner pays for them."""
    output = prepared(f"{bucket}/{uuid.uuid4().hex}")
    store, folder = remote(output.address, use_listings_cache=False)
    name, _, key = f"{folder}/images.zarr/A/01/vx0/0/c.0".partition("/")
    store.call_s3("create_multipart_upload", Bucket=name, Key=key)
    mark = replace(Mark.of("A01", "run"), writer=dead, places=("images.zarr/A/01",))
    bucket_of(output).put(".publishing/A01/0.json", msgspec.json.encode(mark))

    def unfinished() -> list[object]:
        return store.call_s3("list_multipart_uploads", Bucket=name, Prefix=key).get("Uploads", [])

    assert len(unfinished()) == 1
    output.sweep()
    assert unfinished() == [] and bucket_of(output).objects(".publishing") == {}
