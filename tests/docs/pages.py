"""What the documentation shows: its blocks of code, and the command lines in it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPO: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = REPO / "docs" / "source"
PAGES: Final = (REPO / "README.md", *sorted(SOURCE.rglob("*.rst")))

_DIRECTIVE: Final = re.compile(r"^( *)\.\. code-block:: *(\w+)$")
_FENCE: Final = re.compile(r"^```(\w+)$")
_REASON: Final = re.compile(r"^ *(?:\.\.|<!--) not executed: (.+?)(?: -->)?$")
_CAPTION: Final = re.compile(r"^ +:caption: (.+)$")
_COMMAND: Final = re.compile(r"^(?:\$ )?(openhcs(?:-dagster)?) +([a-z]+)(.*)$")
_QUOTED: Final = re.compile(r"``(openhcs(?:-dagster)? [^`]+)``")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of code on a page."""

    page: str
    """The page's file, relative to the repository."""
    line: int
    """Of the first line of code in the page, counted from 1."""
    language: str
    text: str
    caption: str | None
    """The file that the page asks to write it into."""
    reason: str | None
    """Why it is not executed, as the page's comment ``.. not executed: …`` right above it says."""

    @property
    def commands(self) -> tuple[tuple[str, str, str], ...]:
        """(program, command, rest) of each line that runs one of ours."""
        return tuple(commands_in(self.text))


def blocks_of(page: Path) -> tuple[Block, ...]:
    """All blocks of a page, in order; those of other mark-up than ``code-block`` and fences are no blocks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = _fenced(lines) if page.suffix == ".md" else _directives(lines)
    return tuple(
        Block(
            page=str(page.relative_to(REPO)),
            line=start + 1,
            language=language,
            text=textwrap.dedent("\n".join(lines[start:end])).rstrip() + "\n",
            caption=caption,
            reason=_reason_above(lines, head),
        )
        for head, start, end, language, caption in found
    )


def commands_in(text: str) -> Iterator[tuple[str, str, str]]:
    """(program, command, rest) of each line that runs one of ours; a backslash continues a line."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if match := _COMMAND.match(line.strip()):
            yield match[1], match[2], match[3].partition("  #")[0]


def all_commands(page: Path) -> tuple[tuple[str, str, str], ...]:
    """The commands of a page, those in its literal blocks and in its sentences included."""
    text = page.read_text(encoding="utf-8")
    quoted = "\n".join(" ".join(match.split()) for match in _QUOTED.findall(text))
    return tuple(commands_in(text)) + tuple(commands_in(quoted))


def _directives(lines: list[str]) -> Iterator[tuple[int, int, int, str, str | None]]:
    for head, line in enumerate(lines):
        if not (match := _DIRECTIVE.match(line)):
            continue
        indent, start, caption = len(match[1]), head + 1, None
        while start < len(lines) and (not lines[start].strip() or lines[start].lstrip().startswith(":")):
            caption = found[1] if (found := _CAPTION.match(lines[start])) else caption
            start += 1
        end = start
        while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
            end += 1
        yield head, start, end, match[2], caption


def _fenced(lines: list[str]) -> Iterator[tuple[int, int, int, str, str | None]]:
    for head, line in enumerate(lines):
        if match := _FENCE.match(line):
            yield head, head + 1, lines.index("```", head), match[1], None


def _reason_above(lines: list[str], head: int) -> str | None:
    above = [line for line in lines[max(head - 2, 0) : head] if line.strip()]
    match = _REASON.match(above[-1]) if above else None
    return match[1] if match else None
