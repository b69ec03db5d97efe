"""What the commands of this project have in common: exit codes, and refusals in sentences instead of tracebacks."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Final, ParamSpec

import typer

from openhcs_engine.errors import CompilationError, OpenHCSError

P = ParamSpec("P")
OK: Final = 0
SOME_FAILED: Final = 1
REFUSED: Final = 2
INTERRUPTED: Final = 130

MicroscopeOption = Annotated[
    str | None, typer.Option("--microscope", metavar="NAME", help="The plate's format; default: found by content.")
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="A known pattern of file names, for other formats.")
]
PatternOption = Annotated[
    str | None, typer.Option("--pattern", metavar="REGEX", help="File names with named groups: well, site, channel …")
]
PlanesCsvOption = Annotated[
    str | None, typer.Option("--planes-csv", metavar="FILE", help="A table with a row for each plane.")
]
PlateMapOption = Annotated[
    str | None, typer.Option("--plate-map", metavar="FILE", help="What was in the wells: CSV, XLSX, or a declaration.")
]


class CommandLine:
    """A typer application; its commands return their exit code."""

    def __init__(self, name: str, about: str) -> None:
        self.name = name
        self.app = typer.Typer(
            name=name,
            help=about,
            no_args_is_help=True,
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
        )

    def command(self, name: str | None = None) -> Callable[[Callable[P, int]], Callable[P, None]]:
        """Register a function as a command."""

        def register(function: Callable[P, int]) -> Callable[P, None]:
            @self.app.command(name)
            @wraps(function)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
                raise typer.Exit(self._code_of(lambda: function(*args, **kwargs)))

            return guarded

        return register

    def __call__(self, arguments: list[str] | None = None) -> None:
        """Run a command and exit with its code; bad usage exits with 2."""
        self.app(args=arguments, prog_name=self.name)

    def _code_of(self, function: Callable[[], int]) -> int:
        try:
            return function()
        except KeyboardInterrupt:
            self.complain("stopped; wells that were published stay whole, and the next run does the rest.")
            _exit_beside_threads(INTERRUPTED)
            return INTERRUPTED
        except CompilationError as error:
            self.complain("the pipeline cannot run on this plate:", *(f"  {found}" for found in error.violations))
        except BrokenPipeError:
            _drop_output()
            return OK  # who reads the output has seen enough, as head
        except OpenHCSError as error:
            self.complain(str(error))
        except OSError as error:
            self.complain(f"{error.filename or 'writing the output'}: {error.strerror or error}.")
        return REFUSED

    def complain(self, *lines: str) -> None:
        """Write sentences to standard error."""
        sys.stderr.write(f"{self.name}: " + "\n".join(lines) + "\n")


def _exit_beside_threads(code: int) -> None:
    """End at once where threads still run: they cannot be ended, and Python would wait for them."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if any(not thread.daemon for thread in others):
        os._exit(code)


def _drop_output() -> None:
    """Nobody reads standard output any more: what Python flushes at its end goes nowhere."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 # a descriptor, not a path
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
