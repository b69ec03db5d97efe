"""Matching a user's regular expression against file names, in bounded time.

A careless pattern such as ``(a+)+$`` needs longer than the age of the universe for some names, and Python cannot stop
a match that has begun. So a user's pattern runs in a small process of its own, which can be ended.

The package ``regex`` has a time limit, but patterns mean something else to it, so that a stored one would read other
planes without a word: its ``\\w`` takes no ``²`` as in ``10µm²`` but the combining marks of ``ü`` as macOS writes it,
``{e}`` behind a group allows errors, and ``[[:digit:]]`` is a class. It would spare 23 of the 36 statements here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from openhcs_engine.errors import NamePatternError

Groups = Mapping[str, str | None]
"""What the named groups of a match hold; None for one that took no part."""
MAX_TEXT: Final = 1024
"""Characters of a path; longer ones match nothing."""
_SECONDS: Final = 20.0
_WORKER: Final = """
import json, re, sys
asked = json.load(sys.stdin)
pattern = re.compile(asked["pattern"], asked["flags"])
for text in asked["texts"]:
    match = pattern.fullmatch(text)
    print(json.dumps(match and match.groupdict()), flush=True)
"""


def match_all(pattern: re.Pattern[str], texts: Sequence[str], seconds: float = _SECONDS) -> list[Groups | None]:
    """Match each whole text; None where it does not match.

    Raises
    ------
    NamePatternError
        If that takes longer than ``seconds``; the message names the text at which it did.
    """
    import subprocess

    if not texts:
        return []
    asked = {"pattern": pattern.pattern, "flags": pattern.flags, "texts": [_bounded(text) for text in texts]}
    # -I -S: neither the user's environment nor site packages; it starts in 15 ms and imports nothing of ours.
    command = [sys.executable, "-I", "-S", "-c", _WORKER]
    try:
        done = subprocess.run(command, input=json.dumps(asked).encode(), capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        culprit = texts[min((error.stdout or b"").count(b"\n"), len(texts) - 1)]
        raise NamePatternError(
            f"The pattern {pattern.pattern!r} takes longer than {seconds:g} s on the names of this folder (at "
            f"{culprit!r}). Repeats inside repeats, as in (a+)+, do so; write [^_]+ for text up to the next '_'.",
            pattern=pattern.pattern,
        ) from error
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != len(texts):
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["it ended early"])[-1]
        raise NamePatternError(
            f"The pattern {pattern.pattern!r} could not be matched: {reason}.", pattern=pattern.pattern
        )
    return [json.loads(line) for line in lines]


def match_all_at_once(pattern: re.Pattern[str], texts: Sequence[str]) -> list[Groups | None]:
    """The same in this process, for patterns that are known to be harmless."""
    return [match.groupdict() if (match := pattern.fullmatch(_bounded(text))) else None for text in texts]


def _bounded(text: str) -> str:
    """Too long a text becomes one that no pattern with a well matches."""
    return text if len(text) <= MAX_TEXT else ""
