"""Which published wells are what a plan would make: by its own law of fingerprints, or by the law before the update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from openhcs_engine.laws import one
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.manifest import WellManifest
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.earlier_law import ByLawOne, Maker

RENEW_HINT: Final = (
    "An earlier version of openhcs-dagster made them of the same files, steps, parameters, sources and packages; "
    "--renew makes them again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentWells:
    """Published wells that are whole and need not be computed, by well."""

    unchanged: Mapping[str, WellManifest]
    """With the fingerprint of their context."""
    made_before: Mapping[str, WellManifest]
    """Published by an earlier law, by which they are the same."""


def current_wells(output: PlateOutput, contexts: Mapping[str, ProcessingContext]) -> CurrentWells:
    """The wells of a plan that an output holds already, for its backend; reads manifests, and asks for sizes."""
    published = output.unchanged(dict.fromkeys(contexts))
    found = {well: manifest for well, manifest in published.items() if manifest.backend == output.backend}
    unchanged = {well: each for well, each in found.items() if each.fingerprint == contexts[well].fingerprint}
    earlier = EarlierWells()
    made_before = {
        well: manifest
        for well, manifest in found.items()
        if well not in unchanged and earlier.has(contexts[well], manifest)
    }
    return CurrentWells(unchanged=unchanged, made_before=made_before)


@dataclass(frozen=True, slots=True)
class EarlierWells:
    """Compares wells of a plan with what was published by the first law."""

    _law: ByLawOne = field(default_factory=ByLawOne)

    def has(self, context: ProcessingContext, manifest: WellManifest) -> bool:
        """Whether a published well was made before the update, and would by the law of then be the same now.

        The product's own version is not compared; a well that uses a function of ours whose results changed since is
        another one.
        """
        if manifest.law != one.LAW or context.law == one.LAW:
            return False
        maker = Maker.of(_texts(manifest.provenance.get("versions")), _sources(manifest))
        then = self._law.translated(context, maker)
        return then is not None and then.fingerprint == manifest.fingerprint


def _sources(manifest: WellManifest) -> Iterator[tuple[str, str]]:
    """Functions that a manifest names, and the digests that they had."""
    for step in _maps(manifest.provenance.get("steps")):
        for call in _maps(step.get("functions")):
            reference, source = call.get("function"), call.get("source_sha256")
            if isinstance(reference, str) and isinstance(source, str):
                yield reference, source


def _maps(value: object) -> Iterator[Mapping[str, object]]:
    """The mappings in what a manifest, which is free form there, has as a list of them."""
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, tuple) else iter(())


def _texts(value: object) -> Iterator[str]:
    return (item for item in value if isinstance(item, str)) if isinstance(value, tuple) else iter(())


__all__ = ["RENEW_HINT", "CurrentWells", "EarlierWells", "current_wells"]
