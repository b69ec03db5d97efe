"""The adapters of the six array libraries, each held to the one contract."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from openhcs_engine.memory import MemoryType
from openhcs_engine.memory.conversion.cast_loss import CastNote
from openhcs_engine.memory.decorators import PIXEL_DTYPES
from openhcs_engine.memory.libraries import LIBRARIES, library
from openhcs_engine.memory.libraries.casting import cast_array
from openhcs_engine.memory.libraries.contract import ArrayLibrary
from openhcs_engine.memory.libraries.cupy import CupyLibrary
from openhcs_engine.memory.libraries.jax import JaxLibrary
from openhcs_engine.memory.libraries.numpy import NumpyLibrary
from openhcs_engine.memory.libraries.pyclesperanto import PyclesperantoLibrary
from openhcs_engine.memory.libraries.tensorflow import TensorFlowLibrary
from openhcs_engine.memory.libraries.torch import TorchLibrary, operations
from openhcs_engine.testing import LibraryContract
from tests.engine.cast_law import assert_cast_as_by_law


class TestNumpy(LibraryContract):
    """NumPy, which is always there."""

    def make_adapter(self) -> ArrayLibrary:
        """Its adapter."""
        return NumpyLibrary()


class TestTorch(LibraryContract):
    """PyTorch."""

    def make_adapter(self) -> ArrayLibrary:
        """Its adapter."""
        return TorchLibrary()

    def test_functions_get_dtypes_with_arithmetic(self, adapter: ArrayLibrary) -> None:
        """Unsigned stacks enter as the next larger signed dtype; all others as they are."""
        assert adapter.entry_dtype("uint16") == "int32"
        assert adapter.entry_dtype("uint32") == "int64"
        assert adapter.entry_dtype("float32") == "float32"

    def test_the_law_for_gpus_is_the_same(self, adapter: ArrayLibrary) -> None:
        """What casts on a GPU is made of PyTorch's own operations; on the CPU they give what NumPy gives."""
        torch: Any = pytest.importorskip("torch")
        for given, wanted in product(PIXEL_DTYPES, PIXEL_DTYPES):

            def cast(array: Any, dtype: str, note: CastNote, given: str = given) -> Any:
                return cast_array(operations(torch), array, given, dtype, note)

            assert_cast_as_by_law(adapter, cast, given, wanted)

    def test_bfloat16_results_become_pixels(self, adapter: ArrayLibrary) -> None:
        """bfloat16, which NumPy lacks, is rounded and clipped as any float."""
        torch: Any = pytest.importorskip("torch")
        result = torch.tensor([[0.5, 1.5, -3, 1e6]], dtype=torch.bfloat16)

        assert adapter.cast(result, "uint16").tolist() == [[0, 2, 0, 65535]]


class TestTensorFlow(LibraryContract):
    """TensorFlow."""

    def make_adapter(self) -> ArrayLibrary:
        """Its adapter."""
        return TensorFlowLibrary()


class TestJax(LibraryContract):
    """JAX."""

    def make_adapter(self) -> ArrayLibrary:
        """Its adapter."""
        return JaxLibrary()


class TestPyclesperanto(LibraryContract):
    """pyclesperanto."""

    def make_adapter(self) -> ArrayLibrary:
        """Its adapter."""
        return PyclesperantoLibrary()


@pytest.mark.gpu
class TestCupy(LibraryContract):
    """CuPy, where there is a GPU."""

    device = "gpu:0"

    def make_adapter(self) -> ArrayLibrary:
        """Its adapter."""
        return CupyLibrary()


def test_every_library_has_its_adapter() -> None:
    """All six, by type and by name; another name is a ValueError."""
    assert list(LIBRARIES) == list(MemoryType)
    assert all(library(memory_type.value).memory_type is memory_type for memory_type in MemoryType)
    with pytest.raises(ValueError, match="cucim"):
        library("cucim")


@pytest.mark.parametrize("how", [ImportError, ValueError], ids=["a finder that blocks it", "a stand-in without a spec"])
def test_a_hidden_library_counts_as_not_installed(how: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hides it on the import path: the adapter says that it is not installed, and how to install it."""

    def hidden(name: str) -> None:
        raise how(name)

    monkeypatch.setattr("openhcs_engine.memory.loading.find_spec", hidden)

    assert not TorchLibrary().installed()
    assert "pip install 'openhcs-dagster[torch]'" in str(TorchLibrary().why_not())
