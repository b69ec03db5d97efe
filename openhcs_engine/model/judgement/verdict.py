"""What a person decided about a plate, and whether it still holds for the data that there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from openhcs_engine.errors import UnknownWellError, VerdictError
from openhcs_engine.model.wells import normalise_well, plate_order
from openhcs_engine.model.wording import counted, listed_first

NAMED: Final = 12
"""Wells that a sentence names before it only counts."""


class Decision(StrEnum):
    """About a plate."""

    ACCEPT = "accept"
    """It counts, whatever its checks say."""
    REJECT = "reject"
    """It does not count; or, with wells, these wells of it do not."""
    UNDECIDED = "undecided"
    """Nobody decided, or an earlier decision is taken back: the checks that decide do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One decision."""

    decision: Decision
    wells: tuple[str, ...] = ()
    """Rejected wells, in plate order; empty: the decision is about the whole plate."""
    reason: str = ""
    by: str = ""
    """Who says that they decided; nobody checks it."""
    made: str
    """ISO time, UTC."""
    data_version: str
    """Of the measurements that were looked at."""

    @property
    def sentence(self) -> str:
        """What was decided, by whom, when and why, without a full stop."""
        what = {Decision.ACCEPT: "accepted", Decision.REJECT: "rejected", Decision.UNDECIDED: "made undecided again"}
        wells = f" in {counted(len(self.wells), 'well')} ({listed_first(self.wells, NAMED)})" if self.wells else ""
        by = f" by {self.by}" if self.by else ""
        why = f": {self.reason.rstrip('.')}" if self.reason else ""
        return f"{what[self.decision]}{wells}{by} on {self.made}{why}"


def new_verdict(
    plate: str,
    wells_of_plate: Collection[str],
    decision: str,
    *,
    wells: Iterable[str] = (),
    reason: str = "",
    by: str = "",
    made: str,
    data_version: str,
) -> Verdict:
    """A decision that has a meaning.

    Parameters
    ----------
    plate, wells_of_plate
        Its id, and the wells that it has.
    decision
        ``accept``, ``reject`` or ``undecided``.
    wells
        In any spelling; with ``reject`` alone.
    reason
        Needed for ``reject``.
    by
        Who decided.
    made, data_version
        ISO time, and version of the measurements.

    Raises
    ------
    VerdictError
        With everything that is wrong.
    """
    named, unknown = _wells(wells, wells_of_plate)
    faults = []
    if decision not in set(Decision):
        faults.append(f"{decision!r} is no decision (choose from {', '.join(Decision)})")
    if unknown:
        first, last = min(wells_of_plate, key=plate_order), max(wells_of_plate, key=plate_order)
        faults.append(f"it has no well {listed_first(unknown, NAMED)} (it has {first} to {last})")
    if (named or unknown) and decision in (Decision.ACCEPT, Decision.UNDECIDED):
        faults.append(f"wells are rejected one by one, but {decision} is about the whole plate")
    if decision == Decision.REJECT and not reason.strip():
        faults.append("a rejection needs a reason")
    if faults:
        raise VerdictError(f"Plate {plate}: {'; '.join(faults)}.", plate=plate)
    return Verdict(
        decision=Decision(decision),
        wells=named,
        reason=" ".join(reason.split()),
        by=" ".join(by.split()),
        made=made,
        data_version=data_version,
    )


def _wells(given: Iterable[str], known: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Wells of the plate in its order, and names that are none of them."""
    named, unknown = set[str](), []
    for text in given:
        try:
            well = normalise_well(text.strip())
        except UnknownWellError:
            well = text
        if well in known:
            named.add(well)
        else:
            unknown.append(well)
    return tuple(sorted(named, key=plate_order)), tuple(unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingVerdict:
    """What holds for the measurements of a plate now."""

    plate: str
    decision: Decision
    wells: tuple[str, ...] = ()
    """Rejected wells of a plate that counts otherwise."""
    reason: str
    """What was decided, by whom, when and why; or why nothing is decided, as a sentence."""
    history: tuple[Verdict, ...] = ()
    """All decisions, the newest last."""

    @property
    def is_rejected(self) -> bool:
        """True if the whole plate is."""
        return self.decision is Decision.REJECT and not self.wells


def standing_verdict(plate: str, history: Sequence[Verdict], data_version: str | None) -> StandingVerdict:
    """What holds of all decisions: the newest about these very data.

    Parameters
    ----------
    plate
        Its id.
    history
        Decisions, the newest last.
    data_version
        Of the measurements as they are; None: there are none.
    """
    about_these = [verdict for verdict in history if verdict.data_version == data_version]
    if about_these and about_these[-1].decision is not Decision.UNDECIDED:
        newest = about_these[-1]
        return StandingVerdict(
            plate=plate,
            decision=newest.decision,
            wells=newest.wells,
            reason=f"Plate {plate} was {newest.sentence}.",
            history=tuple(history),
        )
    reason = _why_undecided(plate, history, data_version, is_taken_back=bool(about_these))
    return StandingVerdict(plate=plate, decision=Decision.UNDECIDED, reason=reason, history=tuple(history))


def _why_undecided(plate: str, history: Sequence[Verdict], data_version: str | None, *, is_taken_back: bool) -> str:
    if not history:
        return f"Nobody has decided about plate {plate}."
    last = f"Plate {plate} was {history[-1].sentence}"
    if is_taken_back:
        return f"{last}."
    if data_version is None:
        return f"{last}; it has no measurements now, so that this holds no more."
    return f"{last}; its measurements have changed since, so that this holds no more."


__all__ = ["Decision", "StandingVerdict", "Verdict", "new_verdict", "standing_verdict"]
