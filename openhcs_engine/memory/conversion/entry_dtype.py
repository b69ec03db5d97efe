"""In which pixel type a stack is given to a function: known at compile, obeyed at execution."""

from __future__ import annotations

import numpy as np

from openhcs_engine.memory.decorators import NATIVE, PRESERVE
from openhcs_engine.memory.libraries.contract import ArrayLibrary


def entry_dtype(takes: ArrayLibrary, policy: str, dtype: str) -> str:
    """The pixel type in which a stack of ``dtype`` enters a function that takes arrays of a library.

    Its own, if the library can compute with it. Otherwise a wider one; or the one that the function promises, if that
    can hold all values. Under ``native`` always its own: that policy leaves every dtype to the function.

    Parameters
    ----------
    takes
        The function's library.
    policy
        The function's dtype: ``preserve``, ``native`` or a NumPy name.
    dtype
        NumPy name of the stack's dtype.
    """
    wider = takes.entry_dtype(dtype)
    if policy == NATIVE or wider == dtype:
        return dtype
    return policy if policy != PRESERVE and np.can_cast(dtype, policy) else wider


__all__ = ["entry_dtype"]
