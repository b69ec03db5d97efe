"""What a reader of a format has to say of a plate: notes and warnings, each once."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Remarks:
    """Sentences collected while a plate is read."""

    warnings: list[str] = field(default_factory=list)
    """What a person should look at."""
    notes: list[str] = field(default_factory=list)
    """What explains the result."""
