"""Runs one page of the documentation as its reader would, in the current folder: ``python -m tests.docs.run_page``.

Blocks of Python run in order, in one program; a comment behind or below a ``print`` is what it must print, with ``…``
for anything. A block with a file's name as its caption is written into that file, and imported if it is Python; files
called ``test_….py`` are given to pytest. On the pages that are asked for, the commands run, too.
"""

from __future__ import annotations

import importlib
import io
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.docs.pages import Block, blocks_of

SERVES: Final = ("ui",)
"""Commands that do not end."""
_PRINT: Final = re.compile(r"^\s*print\(.*\)(?:\s+# (.+))?$")
_COMMENT: Final = re.compile(r"^\s*# (.+)$")


def main() -> None:
    """Arguments: the page, a plate, a folder for results, and whether its commands run, too (``yes`` or ``no``)."""
    page, plate, results, with_commands = sys.argv[1:]
    sys.path.insert(0, str(Path.cwd()))
    _run_in_threads()
    places = {"/data/plates/P0042": plate, "/data/results": results, "/data/tutorial": f"{results}/tutorial"}
    program: dict[str, Any] = {"__name__": "__main__"}  # Any: the names of a program
    for block in blocks_of(Path(page)):
        here = replace(block, text=_moved(block.text, places))
        if block.caption is not None:
            _write(block.caption, here.text)
        elif block.language == "python" and block.reason is None:
            _execute(here, program)
        elif block.language == "console" and with_commands == "yes":
            _run_commands(here)


def _moved(text: str, places: dict[str, str]) -> str:
    for shown, real in places.items():
        text = text.replace(shown, real)
    return text


def _run_in_threads() -> None:
    """Worker processes take seconds to start, and other tests look after them."""
    from openhcs_engine.plan.run_options import RunOptions

    defaults = RunOptions.__init__.__kwdefaults__
    assert defaults is not None
    defaults["runner"] = "threads"


def _execute(block: Block, program: dict[str, Any]) -> None:
    # A real file: the engine reads the source of functions. Its lines are those of the page.
    file = Path(f"{Path(block.page).stem}_{block.line}.py").absolute()
    file.write_text("\n" * (block.line - 1) + block.text, encoding="utf-8")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), program)
    sys.stdout.write(printed.getvalue())
    lines = iter(printed.getvalue().splitlines())
    for expected in promised_output(block.text):
        assert any(_is_as(line, expected) for line in lines), f"{block.page}: nothing printed is as {expected!r}"


def promised_output(text: str) -> list[str]:
    """What comments say that a block prints."""
    promised: list[str] = []
    prints = False
    for line in text.splitlines():
        if found := _PRINT.match(line):
            promised += [found[1]] if found[1] else []
        elif prints and (below := _COMMENT.match(line)):
            promised.append(below[1])
            continue
        prints = found is not None and not found[1]
    return promised


def _is_as(line: str, expected: str) -> bool:
    """Equal, or equal up to an explanation behind a colon; ``…`` stands for anything."""
    pattern = ".*".join(re.escape(part.strip()) for part in expected.split("…"))
    return re.fullmatch(pattern, line.strip()) is not None or expected.startswith(f"{line.strip()}: ")


def _write(name: str, text: str) -> None:
    """A file of the reader's; those of the engine itself are written before this program starts."""
    if name.startswith("openhcs_engine/"):
        return
    file = Path(name)
    file.write_text(text, encoding="utf-8")
    if file.name.startswith("test_"):
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
        subprocess.run(pytest, check=True)
    elif file.suffix == ".py":
        importlib.invalidate_caches()
        importlib.import_module(file.stem)


def _run_commands(block: Block) -> None:
    for program, command, rest in block.commands:
        if command in SERVES:
            continue
        if command == "synth" and Path(shlex.split(rest)[0]).exists():
            continue  # the reader has a plate
        code = _exit_code(program, [command, *shlex.split(rest)])
        assert code == 0, f"{program} {command}{rest}: exit code {code}"


def _exit_code(program: str, arguments: list[str]) -> object:
    module = importlib.import_module(
        "openhcs_engine.cli.commands" if program == "openhcs" else "openhcs_dagster.cli.commands"
    )
    try:
        (module.openhcs if program == "openhcs" else module.openhcs_dagster)(arguments)
    except SystemExit as end:
        return end.code or 0
    return 0


if __name__ == "__main__":
    main()
