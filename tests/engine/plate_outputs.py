"""Outputs of every kind for tests: wells published to a folder, to fsspec's memory, or to an S3 server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.bucket.output import PlateBucket
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.manifest import StagedWell, WellManifest
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.tables.well import with_tables
from openhcs_engine.output.writing.well_writer import write_well
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint
from openhcs_engine.plan.document import contexts_to_json
from tests.engine.outputs import WELLS, list_wells, make_context, make_images


def context_at(root: str, well: str = "A01", backend: str = "zarr", plan: str = "plan 1") -> ProcessingContext:
    """A context without steps whose output is below ``root``; ``plan`` makes its fingerprint."""
    context = make_context(Path("/results"), well, backend, plan)
    return replace(context, output=replace(context.output, root=root))


def prepared(root: str, backend: str = "zarr", ngff: str = "0.5") -> PlateOutput:
    """The prepared output of plate P1 below ``root``, with its plan."""
    contexts = {well: context_at(root, well, backend) for well in WELLS}
    output = open_output(contexts["A01"].output.address, backend)
    output.prepare(contexts["A01"].plate, ImageOptions(ngff=ngff))
    output.save_contexts(contexts_to_json(contexts), plan_fingerprint(contexts.values()))
    return output


def published(
    output: PlateOutput,
    well: str,
    seed: int = 0,
    plan: str = "plan 1",
    ngff: str = "0.5",
    rows: int = 0,
    before: Callable[[StagedWell], object] = lambda staged: None,
    run: str = "run",
) -> WellManifest:
    """Write and publish one well, with a table of so many rows; returns what was given to be its manifest."""
    root = output.address.rpartition("/")[0]
    context = context_at(root, well, output.backend, plan)
    with output.staging(run) as staging:
        images = make_images(well, seed).items()
        staged = write_well(staging, context, images, options=ImageOptions(ngff=ngff))
        if rows:
            staged = with_tables(staged, {"cells": {"area": list(range(seed, seed + rows))}})
        manifest = WellManifest.of(context, staged, seconds=1.5, device="cpu:0")
        before(staged)
        output.publish(staged, manifest)
    list_wells(output, ngff)
    return manifest


def contents(output: PlateOutput) -> dict[str, bytes]:
    """Every file, logs and marks included, with its content."""
    if isinstance(output, PlateBucket):
        return {path: output.bucket.read(path) for path in output.bucket.objects()}
    assert isinstance(output, PlateFolder)
    files = (path for path in output.folder.rglob("*") if path.is_file())
    return {path.relative_to(output.folder).as_posix(): path.read_bytes() for path in files}


def change(output: PlateOutput, path: str, content: bytes | None) -> None:
    """Write a file behind the engine's back; None removes it."""
    if isinstance(output, PlateBucket):
        if content is None:
            output.bucket.remove([path])
        else:
            output.bucket.put(path, content)
        return
    assert isinstance(output, PlateFolder)
    place = output.folder / path
    if content is None:
        place.unlink()
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def bucket_of(output: PlateOutput) -> Bucket:
    """The objects of an output behind a URL."""
    assert isinstance(output, PlateBucket)
    return output.bucket
