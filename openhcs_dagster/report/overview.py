"""The plate as one small OME-Zarr image beside its report, in a channel of the lab's choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openhcs_dagster.catalogue.catalogue import CatalogueEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateOverview:
    """What was drawn."""

    folder: Path
    """The OME-Zarr image."""
    channel: str
    """The channel that it shows."""
    wells: int
    """Wells that have a tile."""
    wanted: str
    """The channel that was asked for, if the images do not have it; else empty."""

    @property
    def told(self) -> str:
        """The channel, and why it is not the one that was asked for."""
        return f"{self.channel}, since the images have no channel {self.wanted!r}" if self.wanted else self.channel


def draw_overview(entry: CatalogueEntry) -> PlateOverview | None:
    """Draw the published wells anew; None, and no older picture left, where there is no OME-Zarr well to show."""
    from openhcs_engine.output.pictures.overview import write_overview

    wanted = entry.options.overview_channel
    made = write_overview(entry.output_plan.folder, wanted or None)
    if made is None:
        return None
    missed = wanted if wanted != made.channel else ""
    return PlateOverview(folder=made.folder, channel=made.channel, wells=len(made.tiles), wanted=missed)


__all__ = ["PlateOverview", "draw_overview"]
