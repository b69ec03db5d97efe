"""Contracts as classes of tests: inherit one, give it your implementation, and pytest says what is wrong.

Nothing of the product imports this package. It needs pytest: ``pip install 'openhcs-dagster[testing]'``.
"""

try:
    import pytest
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "The contracts of openhcs_engine.testing need pytest; install it with: pip install 'openhcs-dagster[testing]'.",
        name="pytest",
    ) from missing

# So that a failed assertion shows its values: pytest rewrites of itself only what lies in test files.
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("array_library", "microscope", "plate_output", "runner", "storage"))
)

from openhcs_engine.testing.array_library import LibraryContract  # noqa: E402 # they are rewritten when imported
from openhcs_engine.testing.microscope import MicroscopeContract  # noqa: E402
from openhcs_engine.testing.plate_output import PlateOutputContract  # noqa: E402
from openhcs_engine.testing.runner import RunnerContract  # noqa: E402
from openhcs_engine.testing.storage import StorageContract  # noqa: E402

__all__ = ["LibraryContract", "MicroscopeContract", "PlateOutputContract", "RunnerContract", "StorageContract"]
