"""Names of a plate's assets, and the tags that ask for a range of its wells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dagster import AssetKey

from openhcs_dagster.internals import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

WELLS: Final = "processed_wells"
GRAPH_VERSION: Final = "1"
"""Code version of the assets; what changes pixels is in the wells' fingerprints instead."""
FIT_TAG: Final = "openhcs/fit"
"""Tag of the steps that fit once for a plate: ``true``."""
RENEW_TAG: Final = "openhcs/renew"
"""Tag of a run that computes wells again which were made before an update of this program: ``true``."""


@dataclass(frozen=True, slots=True)
class PlateKeys:
    """The asset keys of one plate."""

    plate_id: str
    fits: tuple[str, ...] = ()
    """Names of what is fitted once for the plate."""

    @property
    def index(self) -> AssetKey:
        """What the microscope left."""
        return AssetKey([self.plate_id, "plate_index"])

    @property
    def contexts(self) -> AssetKey:
        """What will happen to each well."""
        return AssetKey([self.plate_id, "compiled_contexts"])

    @property
    def wells(self) -> AssetKey:
        """The wells, one partition each."""
        return AssetKey([self.plate_id, WELLS])

    @property
    def report(self) -> AssetKey:
        """The page about the plate."""
        return AssetKey([self.plate_id, "plate_report"])

    def fit(self, name: str) -> AssetKey:
        """What a plate step fitted."""
        return AssetKey([self.plate_id, name])

    @property
    def processing(self) -> list[AssetKey]:
        """All but the report, which is another run: wells may fail, and the report must not wait for them."""
        return [self.index, self.contexts, *map(self.fit, self.fits), self.wells]


def plates_of_wells(keys: Iterable[AssetKey]) -> list[str]:
    """Ids of the plates whose wells are among the keys."""
    return sorted(key.path[0] for key in keys if len(key.path) == 2 and key.path[1] == WELLS)


def range_tags(wells: Sequence[str]) -> dict[str, str]:
    """Tags of a run over wells that follow one another on the plate."""
    return {ASSET_PARTITION_RANGE_START_TAG: wells[0], ASSET_PARTITION_RANGE_END_TAG: wells[-1]}


def stretches(asked: Iterable[str], all_wells: Sequence[str]) -> list[list[str]]:
    """Split wells into runs of neighbours in the plate's order; a ranged run can hold just one of them."""
    wanted, found = set(asked), []
    current: list[str] = []
    for well in all_wells:
        if well in wanted:
            current.append(well)
        elif current:
            found.append(current)
            current = []
    return [*found, current] if current else found
