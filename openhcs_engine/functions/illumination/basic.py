"""The field of light of one channel by BaSiC, real code, in an environment of its own."""

from __future__ import annotations

import inspect
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import ExecutionError
from openhcs_engine.functions.illumination.basic_environment import basic_folder, basic_is_missing, basic_python
from openhcs_engine.functions.illumination.basic_process import fit_in_folder
from openhcs_engine.functions.illumination.flat_field import is_number
from openhcs_engine.memory.parameter_check import Refusals, checked_by

_NAME: Final = "basic_flat_field"
_FEWEST: Final = 2
_LAST_LINES: Final = 3
"""Of what basicpy says when it fails."""


def _refusals(
    smoothness_field: object = None, smoothness_dark_field: object = None, dark_field: object = True, **_: object
) -> Refusals:
    if (missing := basic_is_missing(basic_folder())) is not None:
        yield _NAME, missing
    if not isinstance(dark_field, bool):
        yield "dark_field", f"dark_field={dark_field!r} must be True or False."
    for name, value in (
        ("smoothness_field", smoothness_field),
        ("smoothness_dark_field", smoothness_dark_field),
    ):
        if value is not None and not (is_number(value) and float(str(value)) > 0):
            yield name, f"{name}={value!r} must be a finite number above 0, or None."


@checked_by(_refusals)
def basic_flat_field(
    images: Iterable[NDArray[Any]],
    dark_field: bool = True,
    smoothness_field: float | None = None,
    smoothness_dark_field: float | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Fit the field of light of one channel with BaSiC, as basicpy implements it.

    basicpy needs an older NumPy and SciPy, and so has an environment of its own, which ``make basicpy`` creates: the
    images go there as one ``.npy`` file, and the fields come back. Compiling a plate refuses the step where it is
    absent.

    Parameters
    ----------
    images
        Planes ``(y, x)`` of one shape, of one channel, 2 or more.
    dark_field
        False: the dark field is 0 (basicpy's default).
    smoothness_field, smoothness_dark_field
        basicpy's ``smoothness_flatfield`` and ``smoothness_darkfield``. None: what it takes from the images.

    Returns
    -------
    dict
        ``field`` ``(y, x)``, float32, mean 1, and ``offset``: the dark field ``(y, x)`` in counts.

    Raises
    ------
    ValueError
        If there are fewer than 2 images, or they are no planes of one shape.
    ExecutionError
        If the environment is absent, or basicpy fails, or finds a field that is not finite and above 0.

    Notes
    -----
    T. Peng et al., Nature Communications 8 (2017) 14836. It works on images of 128 x 128 pixels, whatever their size,
    so that it does not see what is finer. It does not say whether the images tell the dark field; see ``flat_field``.
    """
    folder = basic_folder()
    if (missing := basic_is_missing(folder)) is not None:
        raise ExecutionError(f"{_NAME}: {missing}")
    settings = {
        "get_darkfield": dark_field,
        "smoothness_flatfield": smoothness_field,
        "smoothness_darkfield": smoothness_dark_field,
    }
    with TemporaryDirectory(prefix="openhcs-basicpy-") as name:
        exchange = Path(name)
        np.save(exchange / "images.npy", _stack(images))
        (exchange / "settings.json").write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
        _run(basic_python(folder), exchange)
        field, dark = (np.load(exchange / each).astype(np.float32) for each in ("field.npy", "dark_field.npy"))
    if not (np.isfinite(field).all() and np.isfinite(dark).all() and field.min() > 0):
        raise ExecutionError(
            f"{_NAME}: basicpy found no field on these images: its lowest value is {field.min()}, that of the dark "
            f"field {dark.min()}. Give images with background light, or fit with flat_field."
        )
    return {"field": field / field.mean(), "offset": dark}


def _stack(images: Iterable[NDArray[Any]]) -> NDArray[Any]:
    planes = [np.asarray(image) for image in images]
    shapes = {plane.shape for plane in planes}
    if len(planes) < _FEWEST or len(shapes) != 1 or planes[0].ndim != 2:
        raise ValueError(
            f"{_NAME} needs {_FEWEST} or more planes (y, x) of one shape, not {len(planes)} of {sorted(shapes)}."
        )
    return np.stack(planes)


def _run(python: Path, exchange: Path) -> None:
    script = inspect.getfile(fit_in_folder)
    done = subprocess.run([python, "-I", script, exchange], capture_output=True, text=True, check=False)
    if done.returncode:
        said = " / ".join(done.stderr.strip().splitlines()[-_LAST_LINES:]) or "nothing"
        raise ExecutionError(f"{_NAME}: basicpy ended with exit status {done.returncode} and said: {said}")


__all__ = ["basic_flat_field"]
