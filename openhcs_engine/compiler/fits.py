"""Plate steps: what they fit, on which images of the plate, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Final

from openhcs_engine.compiler.functions import FunctionTable, freeze_call
from openhcs_engine.compiler.parameters import refuse_values
from openhcs_engine.compiler.wells import wells_of_step
from openhcs_engine.errors import Violation
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.artifacts import STACK_VALUES, PlateValue, artifact_name
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.image_index import ImageIndex, ImagePlane
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import WellRole
from openhcs_engine.model.wells import plate_order
from openhcs_engine.model.wording import listed_first
from openhcs_engine.pipeline.patterns import normalise_pattern
from openhcs_engine.pipeline.pipeline import PipelineStep
from openhcs_engine.pipeline.plate_step import PlateStep, Sample
from openhcs_engine.pipeline.step import FunctionStep
from openhcs_engine.plan.calls import function_name
from openhcs_engine.plan.context import COORDINATES, FunctionCall, StepPlan
from openhcs_engine.plan.fit import TAKEN_NAMES, FitPlan, FitStep

_ROLE: Final = "role:"
"""Before a role of the plate map, in place of a well filter."""


@dataclass(frozen=True, slots=True)
class _Complaints:
    """Adds violations of one plate step, which has no number among those that change images."""

    name: str
    violations: list[Violation]

    def __call__(self, message: str, key: str | None = None) -> None:
        self.violations.append(Violation(message=message, step=self.name, key=key))


def compile_fits(
    plate: Plate,
    pipeline: Sequence[PipelineStep],
    table: FunctionTable,
    values: Mapping[str, PlateValue],
    violations: list[Violation],
) -> tuple[FitStep, ...]:
    """The plate steps of a pipeline that are enabled and sound; what is wrong joins ``violations``."""
    if not isinstance(pipeline, Sequence) or isinstance(pipeline, str):
        return ()
    if not (enabled := [step for step in pipeline if isinstance(step, PlateStep) and step.enabled is not False]):
        return ()
    table.follow(enabled)
    fits: dict[str, FitStep] = {}
    before: FunctionStep | None = None
    for step in pipeline:
        if isinstance(step, FunctionStep) and step.enabled is not False:
            before = step
        if not isinstance(step, PlateStep) or step.enabled is False:
            continue
        complain = _Complaints(str(step.name).encode("utf-8", "backslashreplace").decode(), violations)
        if before is not None:
            complain(
                f"it is fitted on raw images, but step {before.name!r}, which changes them, stands before it; put all "
                "plate steps first.",
                "fit",
            )
        _check_name(step.name, fits, values, complain)
        call = _call(step, plate, table, values, complain)
        fit = _fit(step, call, plate, complain)
        if fit is not None:
            fits[fit.name] = fit
    return tuple(fits.values())


def choose_samples(
    fits: Sequence[FitStep], plate: Plate, entering: ImageIndex, violations: list[Violation]
) -> tuple[ImageIndex, ...]:
    """The images of each fit, of all wells of the plate; a sample with too few joins ``violations``."""
    present = entering.present() if fits else entering
    samples = []
    for fit in fits:
        complain = _Complaints(fit.name, violations)
        parts = [(channel,) for channel in fit.channels] if fit.per_channel else [fit.channels]
        chosen: list[ImagePlane] = []
        for channels in parts:
            able = [plane for plane in present if plane.key.channel in channels and _may_be_taken(plane, fit)]
            part = _spread(able, fit.images, fit.seed)
            if len(part) < fit.minimum:
                of = f" of channel {plate.channel(channels[0]).label}" if fit.per_channel else ""
                complain(
                    f"its sample{of} has {len(part)} images, and a fit takes at least {fit.minimum}; widen sites=… and "
                    "wells=… of the sample, or lower its minimum.",
                    "sample",
                )
            chosen += part
        samples.append(ImageIndex.of(chosen))
    return tuple(samples)


def notes_on_fits(fits: Iterable[FitPlan], steps: Iterable[StepPlan]) -> Iterator[str]:
    """What a person should know of the fits of a plan."""
    calls = [call for step in steps for route in step.routes for call in route.calls]
    taken = {each.name for call in calls for each in call.side_inputs if not each.sources}
    for plan in fits:
        fewest = min(len(part.planes) for part in plan.parts)
        if fewest < plan.step.images:
            yield (
                f"{plan.name!r} is fitted on {fewest} images instead of {plan.step.images}: the plate has no more that "
                "its sample may take."
            )
        if plan.name not in taken:
            yield f"{plan.name!r} is fitted, but no function takes it; declare @special_inputs({plan.name!r}) on one."


def _check_name(
    name: object, others: Mapping[str, FitStep], values: Mapping[str, PlateValue], complain: _Complaints
) -> None:
    try:
        name = artifact_name(name)
    except ValueError as error:
        complain(str(error), "name")
        return
    if name.lower() in TAKEN_NAMES or name in (*STACK_VALUES, *values, COORDINATES):
        complain(f"{name!r} is the name of something else that every plate has; give the step another.", "name")
    if namesake := next((other for other in others if other.lower() == name.lower()), None):
        complain(f"two plate steps are called {namesake!r} and {name!r}; give one of them another name.", "name")


def _call(
    step: PlateStep, plate: Plate, table: FunctionTable, values: Mapping[str, PlateValue], complain: _Complaints
) -> FunctionCall | None:
    """The function that fits, with what it is given of the plate."""
    declared = [call for route in normalise_pattern(step.fit, complain) for call in route.calls]
    if len(declared) != 1 or isinstance(step.fit, Mapping):
        complain("fit=… must be one function, or (function, {parameters}).", "fit")
        return None
    call = freeze_call(declared[0], table, complain)
    if call is None:
        return None
    name = function_name(call)
    if call.side_outputs or call.coordinates or call.lazy:
        complain(
            f"{name} fits a plate step, and such a function returns its result alone, finds the coordinates in its "
            "images and is given these one by one anyway; take special_outputs, coordinates and lazy out of its "
            "declaration.",
            name,
        )
    if not library(MemoryType(call.input_type)).has_cpu:
        complain(
            f"{name} takes {call.input_type} arrays, which need a GPU; plates are fitted on the CPU. Write it with "
            "another library.",
            name,
        )
    known = len(complain.violations)
    call = replace(call, kwargs=_with_plate_values(call, plate, values, complain), side_inputs=())
    if len(complain.violations) == known:
        refuse_values(table.functions[call.reference], call, complain)
    return call


def _with_plate_values(
    call: FunctionCall, plate: Plate, values: Mapping[str, PlateValue], complain: _Complaints
) -> FrozenMap:
    """The function's parameters, with those that the plate gives; complaints of what it does not give."""
    name, kwargs = function_name(call), call.kwargs.thaw()
    for wanted in call.side_inputs:
        try:
            value = values[wanted.name](plate) if wanted.name in values else None
        except Exception as error:  # a resolver of a user's own may raise anything; all violations come at once
            complain(
                f"{name} takes {wanted.name!r}, but asking the plate for it raised {type(error).__name__}: {error}.",
                wanted.name,
            )
            continue
        if value is not None:
            kwargs[wanted.target] = value
        elif not wanted.optional:
            complain(
                f"{name} takes {wanted.name!r}, which the plate does not give; give it in the step, as in "
                f'({name}, {{"{wanted.target}": …}}).',
                wanted.name,
            )
    return FrozenMap.of(kwargs)


def _fit(step: PlateStep, call: FunctionCall | None, plate: Plate, complain: _Complaints) -> FitStep | None:
    """The step with its sample's values as a plan has them; None, and complaints, if one of them means nothing."""
    declared, wrong = step.sample, len(complain.violations)
    if not isinstance(declared, Sample):
        complain(f"sample={declared!r} is none; write Sample(images=48).", "sample")
        return None
    for name, least in (("images", 1), ("minimum", 1), ("seed", 0)):
        value = getattr(declared, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            complain(f"{name}={value!r} of the sample is no whole number from {least} on.", name)
    if len(complain.violations) == wrong and declared.images < declared.minimum:
        complain(
            f"images={declared.images} of the sample are fewer than its minimum={declared.minimum}; lower the minimum, "
            "or ask for more.",
            "images",
        )
    channels = _channels(declared, plate, complain)
    sites = _sites(declared, plate, complain)
    wells = _wells(declared, plate, complain)
    if call is None or len(complain.violations) > wrong:
        return None
    return FitStep(
        name=str(step.name),
        call=call,
        images=declared.images,
        minimum=declared.minimum,
        channels=channels,
        per_channel=bool(declared.per_channel),
        sites=sites,
        wells=wells,
        seed=declared.seed,
    )


def _channels(declared: Sample, plate: Plate, complain: _Complaints) -> tuple[int, ...]:
    if declared.channels is None:
        return tuple(channel.index for channel in plate.channels)
    chosen: dict[int, None] = {}
    for wanted in declared.channels:
        named = [each.index for each in plate.channels if wanted in (each.label, each.index, str(each.index))]
        if len(named) != 1:
            complain(
                f"channel {wanted!r} of the sample is not on this plate (has: "
                f"{', '.join(each.label for each in plate.channels)}).",
                str(wanted),
            )
        chosen.update(dict.fromkeys(named))
    return tuple(sorted(chosen))


def _sites(declared: Sample, plate: Plate, complain: _Complaints) -> tuple[int, ...] | None:
    if declared.sites is None:
        return None
    for site in declared.sites:
        if site not in plate.sites:
            complain(
                f"site {site!r} of the sample is not on this plate (has: {listed_first(map(str, plate.sites))}).",
                str(site),
            )
    return tuple(sorted({site for site in declared.sites if site in plate.sites}))


def _wells(declared: Sample, plate: Plate, complain: _Complaints) -> tuple[str, ...] | None:
    wanted = declared.wells
    if not isinstance(wanted, str) or not wanted.startswith(_ROLE):
        return wells_of_step(plate, wanted, complain)
    role = wanted.removeprefix(_ROLE).strip()
    if role not in set(WellRole):
        complain(f"wells={wanted!r} of the sample names no role ({', '.join(WellRole)}).", "wells")
        return None
    wells = () if plate.plate_map is None else plate.plate_map.wells_of(WellRole(role))
    named = tuple(well for well in plate.wells if well in wells)
    if not named:
        why = "it has no plate map" if plate.plate_map is None else f"{plate.plate_map.name} names none"
        complain(f"wells={wanted!r} of the sample are not known of this plate: {why}.", "wells")
        return None
    return named


def _may_be_taken(plane: ImagePlane, fit: FitStep) -> bool:
    key = plane.key
    return (fit.sites is None or key.site in fit.sites) and (fit.wells is None or key.well in fit.wells)


def _spread(planes: Iterable[ImagePlane], images: int, seed: int) -> list[ImagePlane]:
    """So many planes, of as many wells as can be, and of a well of as many sites: each once before any twice."""
    wells: dict[str, dict[int | None, list[ImagePlane]]] = {}
    for plane in planes:
        wells.setdefault(plane.key.well, {}).setdefault(plane.key.site, []).append(plane)
    by_well = []
    for well in sorted(wells, key=lambda well: (_rank(seed, well), plate_order(well))):
        sites = sorted(wells[well], key=lambda site: _rank(seed, well, site))
        by_well.append(_round(sorted(wells[well][site], key=lambda plane: _order(seed, plane)) for site in sites))
    return _round(by_well)[:images]


def _round(piles: Iterable[Sequence[ImagePlane]]) -> list[ImagePlane]:
    """The first of each pile, then the second of each …"""
    return [plane for plane in chain.from_iterable(zip_longest(*piles)) if plane is not None]


def _order(seed: int, plane: ImagePlane) -> tuple[bytes, tuple[int, ...]]:
    """By everything but the channel: the samples of all channels are of the same positions."""
    key = plane.key
    return _rank(seed, key.well, key.site, key.z_index, key.timepoint), key.order()


def _rank(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


__all__ = ["choose_samples", "compile_fits", "notes_on_fits"]
