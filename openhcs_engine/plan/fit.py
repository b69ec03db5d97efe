"""What is fitted once a plate: the function, and the raw images that it is given, frozen before one is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from openhcs_engine.errors import ContextFileError
from openhcs_engine.laws import now
from openhcs_engine.model.digest import digest
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.plan.function_call import FunctionCall, call_that_counts
from openhcs_engine.plan.plane_table import PlaneTable

TAKEN_NAMES: Final = frozenset(
    {"plate_index", "compiled_contexts", "processed_wells", "measurements", "plate_report", "verdict"}
)
"""Names of other things of a plate, which no fit may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitStep:
    """A declared fit, decided as far as the plate's metadata decide it."""

    name: str
    call: FunctionCall
    images: int
    """Images that were asked for: of each part."""
    minimum: int
    """Fewer of a part are no fit."""
    channels: tuple[int, ...]
    """Those that are fitted."""
    per_channel: bool = True
    """True: each channel is a part; False: all images are one."""
    sites: tuple[int, ...] | None = None
    """Sites that may be taken; None: all."""
    wells: tuple[str, ...] | None = None
    """Wells that may be taken; None: all."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPart:
    """The images that one result is fitted on."""

    channel: int | None
    """None: of all channels."""
    planes: tuple[ImagePlane, ...]


@dataclass(frozen=True, slots=True)
class FitPlan:
    """A fit, decided completely."""

    step: FitStep
    planes: ImageIndex
    """The sample, stamped. What is known not to be readable stays in it, as absent."""
    versions: tuple[str, ...]
    """``distribution==version`` of the packages that its result depends on, this product left out."""

    _fingerprint: str = field(default="", init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Of its result."""
        return self.step.name

    @property
    def fingerprint(self) -> str:
        """sha256 of what determines the result: function, parameters, versions, and the raw images that are used.

        An image that cannot be read is in it as absent: a partial fit is another one than the whole.
        """
        if not self._fingerprint:
            value = digest(
                {
                    "call": now.worded(call_that_counts(self.step.call)),
                    "asked": self.step.images,
                    "per_channel": self.step.per_channel,
                    "planes": [_row(plane) for plane in self.planes],
                    "versions": self.versions,
                }
            )
            object.__setattr__(self, "_fingerprint", value)  # computed once, and never another
        return self._fingerprint

    @property
    def parts(self) -> tuple[FitPart, ...]:
        """What is fitted by itself, with the images that are present."""
        present = self.planes.present().planes
        if not self.step.per_channel:
            return (FitPart(channel=None, planes=present),)
        return tuple(
            FitPart(channel=channel, planes=tuple(plane for plane in present if plane.key.channel == channel))
            for channel in self.step.channels
        )

    def without(self, unread: Iterable[ImageKey]) -> FitPlan:
        """The fit with some images absent."""
        absent = frozenset(unread)
        if not absent:
            return self
        planes = [
            plane.replace(present=False, size=0, mtime_ns=0, chunks="") if plane.key in absent else plane
            for plane in self.planes
        ]
        return replace(self, planes=ImageIndex(tuple(planes)))

    def __hash__(self) -> int:
        return hash(self.fingerprint)


class FitEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fit as plan documents have it."""

    step: FitStep
    planes: PlaneTable
    versions: tuple[str, ...]
    fingerprint: str

    @classmethod
    def of(cls, plan: FitPlan) -> FitEntry:
        """The fit of a plan; ValueError if a path leads out of the plate folder."""
        wells = {well: ImageIndex(planes) for well, planes in plan.planes.by_well.items()}
        return cls(step=plan.step, planes=PlaneTable.of(wells), versions=plan.versions, fingerprint=plan.fingerprint)

    def plan(self) -> FitPlan:
        """The fit again; ContextFileError if it is not what was written."""
        try:
            wells = self.planes.by_well()
        except ValueError as error:
            raise ContextFileError(
                f"The sample of the fit {self.step.name!r} in the plan document is damaged: {error}. Compile the plate "
                "again."
            ) from error
        planes = tuple(plane for index in wells.values() for plane in index)
        plan = FitPlan(self.step, ImageIndex(planes), self.versions)
        if plan.fingerprint != self.fingerprint:
            raise ContextFileError(
                f"The fit {self.step.name!r} of the plan document does not match its fingerprint; it was changed after "
                "it was written. Compile the plate again."
            )
        return plan


def fits_of(contexts: Mapping[str, object]) -> tuple[FitPlan, ...]:
    """Every fit that the contexts of a plan name, once."""
    plans: dict[tuple[str, str], FitPlan] = {}
    for context in contexts.values():
        for plan in getattr(context, "fits", ()):
            plans.setdefault((plan.name, plan.fingerprint), plan)
    return tuple(plans.values())


def _row(plane: ImagePlane) -> tuple[object, ...]:
    key = plane.key
    position = key.well, key.site, key.channel, key.z_index, key.timepoint
    return (*position, plane.path, plane.kind, plane.present, *plane.stamp, plane.array_index, plane.chunks)


__all__ = ["TAKEN_NAMES", "FitEntry", "FitPart", "FitPlan", "FitStep", "fits_of"]
