"""How functions declare the arrays they speak."""

from __future__ import annotations

import functools
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from openhcs_engine.memory import (
    FunctionContract,
    MemoryType,
    contract_of,
    cupy,
    jax,
    numpy,
    pyclesperanto,
    tensorflow,
    torch,
)
from openhcs_engine.memory.decorators import MemoryDecorator, memory_decorator

DECORATORS: dict[MemoryType, MemoryDecorator] = {
    MemoryType.NUMPY: numpy,
    MemoryType.CUPY: cupy,
    MemoryType.TORCH: torch,
    MemoryType.TENSORFLOW: tensorflow,
    MemoryType.JAX: jax,
    MemoryType.PYCLESPERANTO: pyclesperanto,
}


@numpy
def brighten(stack: Any, by: int = 3) -> Any:
    """Add a constant."""
    return stack + by


@torch
def bare_torch(stack: Any, gain: float = 2.0) -> Any:
    """Scale."""
    return stack * gain


@tensorflow(dtype="native")
def optional_tensorflow(stack: Any) -> Any:
    """Nothing."""
    return stack


@numpy(collapses=True, dtype="float32")
def mean_plane(stack: Any) -> Any:
    """Average the planes."""
    return stack.mean(axis=0, keepdims=True)


def test_the_bare_decorator_returns_the_same_function() -> None:
    """A decorated function is the user's own: same object, signature, docstring and pickle."""

    def plain(stack: Any, sigma: float = 2.0) -> Any:
        """Blur."""
        return stack, sigma

    decorated = numpy(plain)

    assert decorated is plain
    assert list(inspect.signature(decorated).parameters) == ["stack", "sigma"]
    assert decorated.__doc__ == "Blur."
    assert pickle.loads(pickle.dumps(brighten)) is brighten


@pytest.mark.parametrize("memory_type", MemoryType)
def test_each_library_has_its_decorator_bare_and_with_arguments(memory_type: MemoryType) -> None:
    """Six names, one behaviour: the function itself comes back, and its contract names the library."""

    def plain(stack: Any, sigma: float = 2.0) -> Any:
        """Blur."""
        return stack, sigma

    def other(stack: Any) -> Any:
        return stack

    assert DECORATORS[memory_type](plain) is plain
    assert DECORATORS[memory_type](dtype="float32", slice_by_slice=True, output_type="numpy", cpu=plain)(other) is other

    assert contract_of(plain) == FunctionContract(input_type=memory_type, output_type=memory_type)
    assert contract_of(other) == FunctionContract(
        input_type=memory_type, output_type=MemoryType.NUMPY, dtype="float32", slice_by_slice=True, cpu=plain
    )
    assert str(inspect.signature(plain)) == "(stack: 'Any', sigma: 'float' = 2.0) -> 'Any'"
    assert (plain.__doc__, plain.__name__, plain(1)) == ("Blur.", "plain", (1, 2.0))


@pytest.mark.parametrize("function", [brighten, bare_torch, optional_tensorflow])
def test_decorated_functions_pickle_by_name(function: Any) -> None:
    """What comes out of a pickle is the function itself, contract included."""
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("memory_type", MemoryType)
def test_a_decorator_explains_every_option(memory_type: MemoryType) -> None:
    """help() of each decorator names its library and all of its options."""
    told = DECORATORS[memory_type].__doc__ or ""
    options = list(inspect.signature(DECORATORS[memory_type]).parameters)[1:]

    assert f"{memory_type} stacks" in told
    assert [option for option in options if f"    {option}" not in told and f", {option}\n" not in told] == []


def test_options_are_carried_by_the_function() -> None:
    """What the decorator was given stands in the function's contract."""
    assert contract_of(mean_plane) == FunctionContract(dtype="float32", collapses=True)
    assert contract_of(brighten) == FunctionContract(
        input_type=MemoryType.NUMPY, output_type=MemoryType.NUMPY, dtype="preserve", collapses=False, declared=True
    )


def test_a_plain_function_counts_as_numpy_and_says_so() -> None:
    """Without a decorator: NumPy, dtype preserved, not collapsing, not declared."""
    contract = contract_of(len)

    assert contract == FunctionContract(declared=False)
    assert contract.input_type is MemoryType.NUMPY


def test_each_memory_type_makes_its_own_decorator() -> None:
    """The factory works for every library, none of which need be installed; types may be mixed."""
    for memory_type in MemoryType:

        @memory_decorator(memory_type)(output_type="numpy")
        def process(stack: Any) -> Any:
            return stack

        assert contract_of(process).input_type is memory_type
        assert contract_of(process).output_type is MemoryType.NUMPY


def test_a_contract_cannot_be_changed() -> None:
    """Contracts are frozen."""
    with pytest.raises(FrozenInstanceError):
        contract_of(brighten).dtype = "native"  # type: ignore[misc]


def test_decorating_twice_alike_is_allowed() -> None:
    """The same declaration again changes nothing."""
    assert numpy(brighten) is brighten
    assert contract_of(brighten) == FunctionContract()


@dataclass(frozen=True)
class Refusal:
    """A wrong use of a decorator."""

    options: dict[str, Any]
    sentence: str


REFUSALS = {
    "unknown type": Refusal(
        {"input_type": "cuda"},
        "'cuda' is not a memory type; the memory types are numpy, cupy, torch, tensorflow, jax, pyclesperanto.",
    ),
    "unknown dtype": Refusal({"dtype": "unit16"}, "dtype='unit16' is not known; dtype may be preserve, native, bool,"),
    "alias of a dtype": Refusal({"dtype": "float"}, "dtype='float' is not known"),
    "text for a truth": Refusal({"collapses": "no"}, "collapses='no' is neither True nor False; give one of them."),
    "a number for a truth": Refusal({"coordinates": 1}, "coordinates=1 is neither True nor False"),
    "lazy in batches": Refusal({"lazy": True, "slice_by_slice": True}, "leaves nothing to slice_by_slice=True"),
    "lazy of another library": Refusal(
        {"lazy": True, "output_type": "torch"}, "only a NumPy function can be lazy; use @numpy(lazy=True)"
    ),
    "contradiction": Refusal(
        {"collapses": True, "slice_by_slice": True}, "a function does one or the other, so leave one of them out"
    ),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_wrong_options_are_refused_with_the_valid_names(case: Refusal) -> None:
    """Unknown names raise ValueError and list what is known."""
    with pytest.raises(ValueError) as caught:
        numpy(**case.options)(lambda stack: stack)

    assert case.sentence in str(caught.value)


@pytest.mark.parametrize("memory_type", [each for each in MemoryType if each is not MemoryType.NUMPY])
def test_declaring_a_function_for_two_libraries_is_refused(memory_type: MemoryType) -> None:
    """The second decorator raises, names both declarations, and leaves the first in force."""

    def process(stack: Any) -> Any:
        return stack

    numpy(process)

    with pytest.raises(ValueError, match=rf"process is already declared as numpy -> numpy.* as {memory_type} -> "):
        DECORATORS[memory_type](process)
    assert contract_of(process).input_type is MemoryType.NUMPY


def test_a_second_declaration_is_refused_with_what_differs() -> None:
    """Options are part of a declaration: the sentence shows them."""

    def process(stack: Any) -> Any:
        return stack

    torch(slice_by_slice=True, cpu=brighten)(process)

    with pytest.raises(ValueError, match=r"dtype=preserve, slice_by_slice, cpu=brighten and .* dtype=preserve, coll"):
        torch(collapses=True)(process)


class Microscope:
    """Has methods."""

    def enhance(self, stack: Any) -> Any:
        return stack

    @staticmethod
    @torch
    def sharpen(stack: Any) -> Any:
        return stack


def test_functions_of_a_class_carry_their_declaration() -> None:
    """Below @staticmethod, or on a lambda or a partial: whatever can be called by itself can be declared."""
    unnamed = torch(lambda stack: stack)
    partial = torch(functools.partial(bare_torch, gain=3.0))

    for function in (Microscope.sharpen, Microscope().sharpen, unnamed, partial):
        assert contract_of(function).input_type is MemoryType.TORCH


@dataclass(frozen=True)
class NoFunction:
    """What a decorator cannot be put on."""

    thing: Any
    sentence: str


NO_FUNCTIONS = {
    "compiled": NoFunction(len, "len is compiled code and cannot be decorated"),
    "text": NoFunction("torch", "'torch' is not a function"),
    "class": NoFunction(Microscope, "Microscope is a class and cannot be decorated"),
    "bound method": NoFunction(Microscope().enhance, "Microscope.enhance is a bound method"),
    "staticmethod": NoFunction(staticmethod(Microscope.enhance), "put the decorator below @staticmethod"),
    "classmethod": NoFunction(classmethod(lambda cls, stack: stack), "put the decorator below @classmethod"),
}


@pytest.mark.parametrize("case", NO_FUNCTIONS.values(), ids=NO_FUNCTIONS.keys())
def test_what_cannot_carry_a_declaration_is_refused(case: NoFunction) -> None:
    """One sentence says what it is, and what to decorate instead."""
    with pytest.raises(TypeError) as caught:
        numpy(case.thing)

    assert case.sentence in str(caught.value)


def test_a_cpu_function_must_be_a_function() -> None:
    """A name instead of the function is refused when it is declared."""
    with pytest.raises(TypeError, match="cpu='brighten' is not a function"):
        cupy(cpu="brighten")  # type: ignore[call-overload]
