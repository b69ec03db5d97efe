"""What the commands of this project have in common: exit codes, and refusals in sentences instead of tracebacks."""

from __future__ import annotations

import inspect
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, StrEnum
from functools import wraps
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec

import typer

from openhcs_engine.errors import CompilationError, OpenHCSError
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.system_errors import explained_with_file, named_file
from openhcs_engine.model.wording import OptionWords, options_of
from openhcs_engine.plan.run_options import RunOptions

P = ParamSpec("P")
DISTRIBUTION: Final = "openhcs-dagster"
OK: Final = 0
SOME_FAILED: Final = 1
SOME_STALE: Final = 1
REFUSED: Final = 2
INTERRUPTED: Final = 130
TERMINATED: Final = 143

Options = dict[str, Any]
"""Options by their names, as a command got them. Any: each has its own type."""
REGISTER: Final = "add"
"""The command whose options go into the catalogue, which checks them itself."""
_of_choices: Any = StrEnum  # mypy takes a call of an enumeration for the declaration of one
_GROUPS: Final = {"running": RunOptions, "reading": ReadOptions}
"""Sets of options, by the parameters of commands whose place they take."""


def _show_version(context: typer.Context, asked: bool) -> None:
    if asked:
        typer.echo(f"{context.info_name} {metadata.version(DISTRIBUTION)}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What both commands know before the name of one of theirs."""


def with_options(command: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command its options of running and reading a plate, in the place of its parameters of these names.

    The parameters ``running`` and ``reading`` get their values by name. typer asks a function's signature for the
    options, so this is where they are put.
    """

    def give(function: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(function, eval_str=True)
        groups = {name: options_of(_GROUPS[name], command) for name in signature.parameters if name in _GROUPS}

        @wraps(function)
        def gathered(**given: object) -> int:
            values = {
                group: {
                    name: _plain(given.pop(name, None), default, words) for name, (default, words) in options.items()
                }
                for group, options in groups.items()
            }
            return function(**given, **values)

        parameters = [
            spread
            for parameter in signature.parameters.values()
            for spread in (
                [_parameter(name, *each, command) for name, each in groups[parameter.name].items()]
                if parameter.name in groups
                else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            )
        ]
        gathered.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined] # any function may
        gathered.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return gathered

    return give


def _parameter(name: str, default: Any, words: OptionWords, command: str) -> inspect.Parameter:
    """An option as typer wants it: by its choices, or as the text or number that the catalogue takes."""
    kind: Any = words.kind
    least, about = words.least, words.help
    if command == REGISTER:
        about = words.register_help or about
    elif words.choices:
        kind = _of_choices(name, [(choice, choice) for choice in words.choices])
        default = kind(default)
    elif least is not None:
        default, least = None, least + 1
    if words.parse is not None:
        default = None
    shown = typer.Option(f"--{name.replace('_', '-')}", metavar=words.metavar, help=about, min=least)
    kind = kind | None if default is None else kind
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown])


def _plain(value: object, default: object, words: OptionWords) -> object:
    """What typer read as the options have it."""
    if not value and words.parse is not None:
        return default
    if value is None:
        return default
    if words.parse is not None:
        return words.parse(value)
    return value.value if isinstance(value, Enum) else value


class CommandLine:
    """A typer application; its commands return their exit code."""

    def __init__(self, name: str, about: str) -> None:
        self.name = name
        self.app = typer.Typer(
            name=name,
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
        )
        self.app.callback(help=about, no_args_is_help=True)(_options)
        self._warned: set[Path] = set()
        """Folders that this command has warned of."""

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
        self._warned.clear()
        self.app(args=arguments, prog_name=self.name)

    def _code_of(self, function: Callable[[], int]) -> int:
        with _signals() as seen:
            try:
                return self._answered(function)
            except KeyboardInterrupt:
                self.complain("stopped; wells that were published stay whole, and the next run does the rest.")
                code = TERMINATED if signal.SIGTERM in seen() else INTERRUPTED
                _exit_beside_threads(code)
                return code

    def _answered(self, function: Callable[[], int]) -> int:
        try:
            return function()
        except CompilationError as error:
            self.complain("the pipeline cannot run on this plate:", *(f"  {found}" for found in error.violations))
        except BrokenPipeError:
            _drop_output()
            return OK  # who reads the output has seen enough, as head
        except OpenHCSError as error:
            self.complain(str(error))
        except OSError as error:
            self.complain(f"{explained_with_file(error, '' if named_file(error) else 'reading or writing')}.")
        return REFUSED

    def warn_of_open_folders(self, what: str, folders: Iterable[Path]) -> None:
        """Say of each folder, once a command, that everybody may write to it, and so run code as this user.

        Parameters
        ----------
        what
            What they are, e.g. ``the home``.
        folders
            Those that code or settings are read from; ones that do not exist are no risk.
        """
        for folder in folders:
            writable = _open_to_everybody(folder.resolve())
            if writable is not None and writable not in self._warned:
                self._warned.add(writable)
                holds = "" if writable == folder.resolve() else f", which holds {folder}"
                self.complain(
                    f"warning: everybody on this host may write to {what} {writable}{holds}, and so run code as you; "
                    f"take that right away with: chmod o-w {writable}"
                )

    def complain(self, *lines: str) -> None:
        """Write sentences to standard error."""
        sys.stderr.write(f"{self.name}: " + "\n".join(lines) + "\n")


def search_path() -> list[Path]:
    """Where a command's pipelines are looked for: the current folder, then those of PYTHONPATH."""
    return [Path.cwd(), *(Path(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder)]


def _open_to_everybody(folder: Path) -> Path | None:
    """The folder, or the one above it in which everybody may rename it; None if others can change neither."""
    for path in (folder, *folder.parents):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        # In a sticky folder, such as /tmp, everybody may add files but nobody may replace those of others.
        if mode & stat.S_IWOTH and (path == folder or not mode & stat.S_ISVTX):
            return path
    return None


@contextmanager
def _signals() -> Iterator[Callable[[], bytes]]:
    """Let SIGTERM end a command as Ctrl-C does; yield what gives the numbers of the signals that came.

    The system writes them down, for a library that holds signals back for a while does not say later which it was.
    """
    if threading.current_thread() is not threading.main_thread():
        yield bytes
        return
    read_end, write_end = os.pipe()
    for end in (read_end, write_end):
        os.set_blocking(end, False)
    former = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    default = signal.getsignal(signal.SIGTERM)
    if default is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    seen = bytearray()

    def numbers() -> bytes:
        with suppress(BlockingIOError):  # none came since this was asked last
            seen.extend(os.read(read_end, 4096))
        return bytes(seen)

    try:
        yield numbers
    finally:
        signal.set_wakeup_fd(former)
        if default is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, default)
        os.close(read_end)
        os.close(write_end)


def _exit_beside_threads(code: int) -> None:
    """End at once where threads still run: they cannot be ended, and Python would wait for them."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if any(not thread.daemon for thread in others):
        os._exit(code)


def _drop_output() -> None:
    """Nobody reads standard output any more: what Python flushes at its end goes nowhere."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 # a descriptor, not a path
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
