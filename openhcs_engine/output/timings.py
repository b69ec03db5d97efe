"""What earlier runs measured: the seconds of each step, as the manifests of published wells keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from openhcs_engine.errors import ContextFileError, ManifestError
from openhcs_engine.files.address import is_remote
from openhcs_engine.files.present import modified_ns
from openhcs_engine.output.layout import manifest_paths
from openhcs_engine.output.manifest import WellManifest, read_manifest
from openhcs_engine.output.plans import find_plan
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_from_json
from openhcs_engine.plan.facts.measurements import MeasuredStep, MeasuredWell, Measurements

MOST_WELLS: Final = 50
"""Manifests that are read, those written last."""

MOST_PLANS: Final = 4
"""Plans that are read, to know what the wells' steps worked on."""


@dataclass(slots=True)
class _Plans:
    """The plans of a folder, each read once, and no more than ``MOST_PLANS``."""

    folder: Path
    read: dict[str, Mapping[str, ProcessingContext]] = field(default_factory=dict)

    def context(self, manifest: WellManifest) -> ProcessingContext | None:
        """What made a well; None if its plan is gone, cannot be read, or is one too many."""
        if manifest.plan and manifest.plan not in self.read and len(self.read) < MOST_PLANS:
            self.read[manifest.plan] = self._plan(manifest.plan)
        return self.read.get(manifest.plan, {}).get(manifest.well)

    def _plan(self, fingerprint: str) -> Mapping[str, ProcessingContext]:
        path = find_plan(self.folder, fingerprint)
        try:
            return {} if path is None else contexts_from_json(path.read_bytes())
        except (OSError, ContextFileError):  # a plan of another version holds nothing that could be compared
            return {}


def measured_for(contexts: Mapping[str, ProcessingContext]) -> Measurements:
    """What earlier runs into the output of a plan measured; nothing is looked up behind a URL, which takes too long."""
    output = next(iter(contexts.values())).output
    if is_remote(output.root):
        return Measurements(why_none=f"{output.address} is a URL, where earlier runs are not looked up")
    return read_measurements(output.folder)


def read_measurements(folder: Path) -> Measurements:
    """What the wells measured that were published last; damaged manifests, and wells without a plan, are passed over.

    Reads at most ``MOST_WELLS`` manifests and ``MOST_PLANS`` plans.
    """
    manifests = sorted(manifest_paths(folder), key=modified_ns, reverse=True)
    plans = _Plans(folder)
    found = (_measured(path, plans) for path in manifests[:MOST_WELLS])
    return Measurements(
        output=str(folder), wells=tuple(well for well in found if well is not None), published=len(manifests)
    )


def _measured(path: Path, plans: _Plans) -> MeasuredWell | None:
    try:
        manifest = read_manifest(path)
    except ManifestError:
        return None
    context = None if manifest is None else plans.context(manifest)
    if manifest is None or context is None:
        return None
    steps = tuple(_steps(manifest.provenance.get("steps")))
    return MeasuredWell(context=context, seconds=manifest.seconds, steps=steps)


def _steps(recorded: Any) -> Iterable[MeasuredStep]:  # Any: the free form of a manifest's provenance
    for step in recorded if isinstance(recorded, tuple) else ():
        match step.get("number"), step.get("seconds"), step.get("device", "cpu"):
            case int(number), int() | float() as seconds, str(device):
                yield MeasuredStep(number=number, seconds=float(seconds), device=device)


__all__ = ["MOST_PLANS", "MOST_WELLS", "measured_for", "read_measurements"]
