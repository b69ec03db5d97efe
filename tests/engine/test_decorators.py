"""How functions declare the arrays they speak."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from openhcs_engine.memory import FunctionContract, MemoryType, contract_of, numpy
from openhcs_engine.memory.decorators import memory_decorator


@numpy
def brighten(stack: Any, by: int = 3) -> Any:
    """Add a constant."""
    return stack + by


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
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_wrong_options_are_refused_with_the_valid_names(case: Refusal) -> None:
    """Unknown names raise ValueError and list what is known."""
    with pytest.raises(ValueError) as caught:
        numpy(**case.options)(lambda stack: stack)

    assert case.sentence in str(caught.value)


def test_declaring_a_function_for_two_libraries_is_refused() -> None:
    """The second decorator raises, names both declarations, and leaves the first in force."""

    def process(stack: Any) -> Any:
        return stack

    numpy(process)

    with pytest.raises(ValueError, match=r"process is already declared as numpy -> numpy.* as torch -> torch"):
        memory_decorator(MemoryType.TORCH)(process)
    assert contract_of(process).input_type is MemoryType.NUMPY


def test_compiled_functions_and_values_cannot_be_decorated() -> None:
    """What cannot carry a contract is refused in words."""
    with pytest.raises(TypeError, match=r"len is compiled code and cannot be decorated"):
        numpy(len)
    with pytest.raises(TypeError, match=r"'torch' is not a function"):
        numpy("torch")  # type: ignore[call-overload]
