"""Replacing a well in an object store of which one request fails: the old well stays, or the new one is whole."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import replace
from typing import Any

import pytest

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.address import remote
from openhcs_engine.files.processes import Writer
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.output.bucket import objects as bucket_module
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.image_sets import KnownManifests
from openhcs_engine.output.manifest import StagedWell, WellManifest
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.tables.well import with_tables
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.output.writing.well_writer import stage_well
from tests.engine.outputs import list_wells, make_images
from tests.engine.plate_outputs import bucket_of, contents, context_at, prepared

REQUESTS = ("pipe_file", "put_file", "rm_file", "cat_file", "find", "ls", "isfile")


class FailingStore:
    """A store whose n-th request fails, once, or from then on."""

    def __init__(self, store: Any, number: int, lasting: bool) -> None:
        self.store, self.number, self.lasting, self.requests = store, number, lasting, list[str]()

    def __getattr__(self, name: str) -> Any:
        if name in REQUESTS:
            self.requests.append(name)
            count = len(self.requests)
            if count == self.number or (self.lasting and count > self.number):
                raise ConnectionError("the network is away")
        return getattr(self.store, name)


def staged_well(output: PlateOutput, staging: Any, seed: int, ngff: str) -> tuple[StagedWell, WellManifest]:
    """Well A01 with images, labels and a table."""
    context = context_at(output.address.rpartition("/")[0], "A01", output.backend, f"plan {seed}")
    images = make_images("A01", seed)
    objects = [("nuclei", key, plane > 9) for key, plane in images.items() if key.channel == 1]
    with stage_well(staging, context) as stage:
        staged = stage.write_results(images.items(), options=ImageOptions(ngff=ngff), objects=objects)
        staged = with_tables(staged, {"cells": {"area": [seed, 2]}})
    return staged, WellManifest.of(context, staged, seconds=1.5, device="cpu:0")


def publish(output: PlateOutput, seed: int, ngff: str) -> None:
    """Write and publish the well; it is listed already, or will be."""
    with output.staging("run") as staging:
        output.publish(*staged_well(output, staging, seed, ngff))


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize(("backend", "ngff"), [("zarr", "0.5"), ("zarr", "0.4"), ("disk", "0.5")])
def test_an_error_in_any_request_of_a_publishing_keeps_the_old_well(backend: str, ngff: str, lasting: bool) -> None:
    """It is what it was at once; once the publisher has ended, every object is.

    An error after the one request that decides leaves the new well, whole. Then, too, nothing of the other is left.
    """
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    ended = replace(Writer.here(), pid=process.pid, started="1")
    output = prepared(f"memory://errors/{uuid.uuid4().hex}", backend, ngff)
    publish(output, 0, ngff)
    list_wells(output, ngff)
    before, old, failed, kept = contents(output), output.published("A01"), set[str](), 0

    for number in range(1, 10_000):
        stores = list[FailingStore]()

        def failing(url: str, number: int = number, made: list[FailingStore] = stores, **given: Any) -> tuple[Any, str]:
            store, folder = remote(url, **given)
            made.append(FailingStore(store, number, lasting))
            return made[-1], folder

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bucket_module, "remote", failing)
            patch.setattr(Writer, "here", classmethod(lambda cls: ended))
            try:
                publish(open_output(output.address, backend), 1, ngff)
            except OutputPlaceError as error:
                assert "the network is away" in str(error) and "check the address" in str(error)
            else:
                break
        failed.add(stores[0].requests[number - 1])
        report = verify(output.address)
        assert (report.whole, report.damaged, report.foreign) == (("A01",), (), ())
        if output.published("A01") == old:
            output.sweep()
            assert contents(output) == before and output.published("A01") == old
            kept += 1
            continue
        assert_new(output, ngff)
        publish(output, 0, ngff)
        list_wells(output, ngff)
        before, old = contents(output), output.published("A01")

    assert failed >= {"pipe_file", "put_file", "cat_file", "find", "isfile"} and kept > 10
    assert_new(output, ngff)


def assert_new(output: PlateOutput, ngff: str) -> None:
    """The new well is published and whole, and after a sweep nothing else is there but files of the whole plate."""
    manifest = output.published("A01")
    assert manifest is not None
    assert manifest.fingerprint == context_at("/results", "A01", output.backend, "plan 1").fingerprint
    output.sweep()
    list_wells(output, ngff)
    report = verify(output.address)
    assert (report.whole, report.damaged, report.foreign) == (("A01",), (), ())
    assert bucket_of(output).objects(".publishing") == {}
    listed = {file.path for file in manifest.files}
    images = {path for path in contents(output) if path.startswith(("images.zarr/A/01", "images/A01", "tables/"))}
    assert images == listed


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("others", range(1, 5))
def test_a_well_that_others_replace_while_it_is_looked_for_lacks_nothing(
    ngff: str, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing shows the files of a version, and the manifest that is read after it another one's."""
    output = prepared(f"memory://replaced/{uuid.uuid4().hex}", "zarr", ngff)
    publish(output, 0, ngff)
    listed, listings = bucket_module.Bucket.objects, list[int]()

    def replaced_after(self: bucket_module.Bucket, *given: Any) -> Any:
        objects = listed(self, *given)
        listings.append(len(listings))
        if len(listings) <= others:
            with monkeypatch.context() as patch:
                patch.setattr(bucket_module.Bucket, "objects", listed)
                publish(output, len(listings), ngff)
        return objects

    monkeypatch.setattr(bucket_module.Bucket, "objects", replaced_after)

    present = output.present(KnownManifests())

    assert len(listings) > others and present["A01"].lacking == () and present["A01"].known is not None


def test_a_well_that_lacks_a_file_is_said_to_lack_it() -> None:
    """It ends, though no later look shows the file."""
    output = prepared(f"memory://lacking/{uuid.uuid4().hex}", "zarr", "0.5")
    publish(output, 0, "0.5")
    (removed, *_) = [path for path in contents(output) if path.endswith("c.0.0.0.0.0")]
    bucket_of(output).remove([removed])

    assert output.present(KnownManifests())["A01"].lacking == (removed,)
