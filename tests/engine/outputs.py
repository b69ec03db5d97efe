"""Contexts and images of small wells, for tests of what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.manifest import StagedWell, WellManifest
from openhcs_engine.output.writing.well_writer import write_well
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint
from openhcs_engine.plan.document import contexts_to_json
from tests.engine.plates import make_plate, output_plan

WELLS = ("A01", "A02", "B01")


def make_context(root: Path, well: str = "A01", backend: str = "zarr", plan: str = "plan 1") -> ProcessingContext:
    """A context without steps; ``plan`` makes its fingerprint."""
    plate, index = make_plate(WELLS)
    return ProcessingContext(
        well=well,
        plate=replace(plate, pixel_size_um=0.65, z_step_um=2.0),
        steps=(),
        index=index.for_well(well),
        output=output_plan(root, backend),
        versions=(plan,),
        pipeline_digest=plan,
    )


def make_images(well: str, seed: int = 0, shape: tuple[int, int] = (20, 16)) -> dict[ImageKey, NDArray[np.uint16]]:
    """Both sites' two channels, z collapsed."""
    rng = np.random.default_rng(seed)
    keys = [ImageKey(well, site, channel, None, 1) for site in (1, 2) for channel in (1, 2)]
    return {key: rng.integers(0, 60_000, shape, np.uint16) for key in keys}


def open_folder(root: Path, backend: str = "zarr") -> PlateFolder:
    """The prepared output folder of plate P1 below ``root``, with its plan."""
    contexts = {well: make_context(root, well, backend) for well in WELLS}
    folder = PlateFolder(contexts["A01"].output.folder, backend)
    folder.prepare(contexts["A01"].plate)
    folder.save_contexts(contexts_to_json(contexts), plan_fingerprint(contexts.values()))
    return folder


def stage(folder: PlateFolder, staging: Path, well: str, seed: int = 0, plan: str = "plan 1") -> StagedWell:
    """Write a well's images without publishing them."""
    context = make_context(folder.folder.parent, well, folder.backend, plan)
    return write_well(staging, context, make_images(well, seed).items())


def manifest_for(folder: PlateFolder, staged: StagedWell, plan: str = "plan 1") -> WellManifest:
    """The manifest of a staged well."""
    context = make_context(folder.folder.parent, staged.well, folder.backend, plan)
    return WellManifest.of(context, staged, seconds=1.5, device="cpu:0")


def publish(folder: PlateFolder, well: str, seed: int = 0, plan: str = "plan 1", run: str = "run") -> WellManifest:
    """Write and publish one well."""
    with folder.staging(run) as staging:
        staged = stage(folder, staging, well, seed, plan)
        manifest = manifest_for(folder, staged, plan)
        folder.publish(staged, manifest)
    list_wells(folder)
    return manifest


def list_wells(output: PlateOutput, ngff: str = "0.5") -> None:
    """What a run does after it has published wells of plate P1, of which all are asked for."""
    plate = make_context(Path("/results")).plate
    output.list_wells(PlateGroup.of(plate, ImageOptions(ngff=ngff), WELLS), output.zarr_sets(()))


def all_files(folder: Path) -> set[str]:
    """Every file below a folder, relative."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
