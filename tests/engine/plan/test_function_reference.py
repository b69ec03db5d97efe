"""Functions by name: what makes one another function, and what does not."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import ModuleType

import numpy as np
import pytest

from openhcs_engine import FunctionStep
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError
from openhcs_engine.memory.stack import Array
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.function_reference import source_sha256
from tests.engine.plates import add, make_plate, output_plan


def remembering(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A wrapper that keeps results."""
    kept: dict[bytes, Array] = {}

    @functools.wraps(function)
    def wrapper(stack: Array) -> Array:
        return kept.setdefault(stack.tobytes(), function(stack))

    return wrapper


@remembering
def remembers(stack: Array) -> Array:
    """Its results are kept."""
    return stack


def compiled(*steps: FunctionStep) -> dict[str, ProcessingContext]:
    """Contexts of the small plate."""
    plate, index = make_plate()
    return compile_plate(plate, index, steps, output=output_plan()).contexts


def adds(amount: int) -> Callable[[Array], Array]:
    """A function that is made by another, and knows its amount from there."""
    return lambda stack: stack + amount


def adds_by_default(amount: int) -> Callable[[Array], Array]:
    """The same, with a default."""

    def added(stack: Array, amount: int = amount) -> Array:
        return stack + amount

    return added


def adds_by_settings(amount: int) -> Callable[[Array], Array]:
    """The same, with its amount deep inside of what it knows."""
    settings = {"add": {"amounts": {amount}}, "path": PurePath("a")}

    def added(stack: Array) -> Array:
        return stack + min(settings["add"]["amounts"])  # type: ignore[index] # a user's dict

    return added


@dataclass
class Adder:
    """An object with a method that is a stack function."""

    amount: int

    def add(self, stack: Array) -> Array:
        """Brighter by the object's own amount."""
        return stack + self.amount


class PlainAdder:
    """Its attributes are not declared."""

    def __init__(self, amount: int) -> None:
        self.amounts = [amount]

    def add(self, stack: Array) -> Array:
        """Brighter by the object's own amount."""
        return stack + self.amounts[0]


def wrapped_to_add(amount: int) -> Callable[[Array], Array]:
    """A wrapper around a function that adds nothing."""

    def around(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        @functools.wraps(function)
        def added(stack: Array) -> Array:
            return function(stack) + amount

        return added

    @around
    @functools.wraps(add)
    def inside(stack: Array) -> Array:
        return stack

    return inside


@pytest.mark.parametrize(
    "make",
    [
        adds,
        adds_by_default,
        adds_by_settings,
        wrapped_to_add,
        lambda amount: Adder(amount).add,
        lambda amount: PlainAdder(amount).add,
    ],
    ids=["closure", "default", "settings", "wrapper", "dataclass", "object"],
)
def test_values_that_a_function_holds_change_the_fingerprint(make: Callable[[int], Callable[[Array], Array]]) -> None:
    """The same source text with another value makes other pixels."""
    one, same, other = (compiled(FunctionStep(make(amount)))["A01"].fingerprint for amount in (1, 1, 1000))
    assert one == same != other


def test_functions_on_one_line_are_different_functions() -> None:
    """Their source text is the same line."""
    both = (lambda stack: stack + 1, lambda stack: stack * 2)  # fmt: skip

    one, other = (compiled(FunctionStep(function))["A01"].fingerprint for function in both)

    assert one != other


MODULE = """
import functools

def around(function):
    @functools.wraps(function)
    def wrapper(stack):
        return function(stack) {after}
    return wrapper

@around
def wrapped(stack):
    return stack

class Caller:
    def __init__(self, function):
        functools.update_wrapper(self, function)

    def __call__(self, stack):
        return self.__wrapped__(stack) {after}

@Caller
def called(stack):
    return stack

def plain(stack):
    return stack
"""


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ModuleType]]:
    """Writes a module of a given name and what its wrapper does, and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written: list[str] = []

    def write(name: str, after: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(MODULE.format(after=after))
        importlib.invalidate_caches()
        written.append(name)
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["wrapped", "called"])
def test_a_wrapper_that_was_changed_makes_another_function(
    write_module: Callable[[str, str], ModuleType], name: str
) -> None:
    """The function inside is the same text; the wrapper is a function, or an object that can be called."""
    one, same, other = (
        source_sha256(getattr(write_module(f"lab_{name}", after), name)) for after in ("+ 1", "+ 1", "+ 2")
    )

    assert one == same != other


HELPERS = """
from lab_package import scale as scaling

AMOUNT = {amount}
_calls = 0
NEVER_NAMED = 0

class Adder:
    by = {by}

def inner(stack):
    return stack + {inner}

def helper(stack):
    return inner(stack)

def brighter(stack):
    global _calls
    _calls += 1
    return scaling.scale(helper(stack)) + AMOUNT + Adder.by
"""
AS_IT_IS = {"amount": "1", "by": "2", "inner": "3", "scale": "4"}


@pytest.mark.parametrize("changed", [*AS_IT_IS, None])
def test_what_a_function_names_in_its_own_package_is_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str | None
) -> None:
    """Helpers of helpers, constants, classes and other modules; not what is only remembered between calls."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def brighter(values: dict[str, str]) -> Callable[[Array], Array]:
        folder = tmp_path / "lab_package"
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text("")
        (folder / "scale.py").write_text(f"def scale(stack):\n    return stack * {values['scale']}\n")
        (folder / "steps.py").write_text(HELPERS.format(**values))
        for name in [name for name in sys.modules if name.partition(".")[0] == "lab_package"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        found: Callable[[Array], Array] = importlib.import_module("lab_package.steps").brighter
        return found

    one = brighter(AS_IT_IS)
    before = source_sha256(one)
    one(np.zeros((1, 2, 2), np.uint16))

    assert source_sha256(one) == before
    assert (source_sha256(brighter(AS_IT_IS | ({changed: "9"} if changed else {}))) == before) is (changed is None)


def test_a_module_that_was_changed_after_it_was_imported_is_refused(
    write_module: Callable[[str, str], ModuleType],
) -> None:
    """Its functions do what their text no longer says: lines of the new text would be taken for their source."""
    module = write_module("lab_changed", "+ 1")
    assert compiled(FunctionStep(module.plain), FunctionStep(module.wrapped))
    assert module.__file__ is not None
    file = Path(module.__file__)
    file.write_text(f"# one line more\n{file.read_text()}")

    with pytest.raises(CompilationError) as caught:
        compiled(FunctionStep(module.plain), FunctionStep(module.wrapped))

    assert [(found.step_number, found.key) for found in caught.value.violations] == [(1, "plain"), (2, "wrapped")]
    assert f"plain is not what {file} says now" in str(caught.value) and "reload the module" in str(caught.value)
    importlib.reload(module)
    assert compiled(FunctionStep(module.plain), FunctionStep(module.wrapped))


def test_a_helper_that_was_changed_after_it_was_imported_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step's function calls it, and would be recorded with the new text of it."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "lab_calls.py"
    file.write_text("def helper(stack):\n    return stack\n\ndef calls(stack):\n    return helper(stack)\n")
    module = importlib.import_module("lab_calls")
    file.write_text(file.read_text().replace("return stack", "return stack + 1000"))

    with pytest.raises(CompilationError, match=r"calls is not what .*lab_calls\.py says now"):
        compiled(FunctionStep(module.calls))
    del sys.modules["lab_calls"]


def test_what_a_named_functions_wrapper_remembers_is_no_part_of_it() -> None:
    """Results kept by a wrapper differ between processes, and change no pixel."""
    before = source_sha256(remembers)

    remembers(np.zeros((1, 2, 2), np.uint16))

    assert source_sha256(remembers) == before
