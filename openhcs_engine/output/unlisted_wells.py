"""Wells that a killed run published and did not list any more: they are listed for it, as its plan says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from openhcs_engine.errors import ContextFileError, ManifestError
from openhcs_engine.model.system_errors import explained
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.layout import CONTEXTS, manifest_name
from openhcs_engine.output.listing import OutputFiles
from openhcs_engine.output.manifest import manifest_of_well
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.plans import PLAN_ENDINGS, Plan
from openhcs_engine.plan.document import contexts_from_json


def list_published_wells(address: str, backend: str = "zarr") -> None:
    """Make the groups of a plate's output list every published well, as the next run would; makes groups, too.

    What a group says beside its wells is in the plans of those wells, which the output keeps.

    Raises
    ------
    OutputPlaceError
        If the output refuses, or images there are of another version of OME-Zarr.
    ContextFileError
        If a plan is missing or cannot be read; groups that exist list their wells nevertheless.
    """
    output = open_output(address, backend)
    output.list_wells()
    for plan in _plans_of_published(output):
        first = next(iter(plan.values()))
        materialized = [step.materialize for step in first.steps if step.materialize is not None]
        output.list_wells(PlateGroup.of(first.plate, first.output.images, plan), output.zarr_sets(materialized))


def _plans_of_published(output: PlateOutput) -> Iterator[Plan]:
    """The plans by which the published wells were made, that of the well published last at the end."""
    finished: dict[str, str] = {}
    wells = output.wells()
    manifests = output.files.read_all([manifest_name(well) for well in wells])
    for well, (path, content) in zip(wells, manifests, strict=True):
        if isinstance(content, OSError):
            continue
        with suppress(ManifestError):  # a damaged well is listed nowhere
            manifest = manifest_of_well(content, path, well)
            finished[manifest.plan] = max(manifest.finished, finished.get(manifest.plan, ""))
    finished.pop("", None)  # wells that were run by themselves
    for plan in sorted(finished, key=finished.__getitem__):
        path, content = _read(output.files, plan)
        try:
            yield contexts_from_json(content)
        except ContextFileError as error:
            raise ContextFileError(f"{path} in {output.address}: {error}") from error


def _read(files: OutputFiles, plan: str) -> tuple[str, bytes]:
    """A plan's path and content, as it is written today or as earlier versions wrote it."""
    today, *earlier = (f"{CONTEXTS}/{plan}{ending}" for ending in PLAN_ENDINGS)
    for path in (today, *earlier):
        try:
            return path, files.read(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ContextFileError(f"{path} in {files.address} cannot be read ({explained(error)}).") from error
    raise ContextFileError(f"{today} in {files.address} is missing: the plan of wells that are published.")


__all__ = ["list_published_wells"]
