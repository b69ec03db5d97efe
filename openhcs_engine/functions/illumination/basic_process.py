"""BaSiC itself, as a program of another environment: it reads images and writes what it found, all as ``.npy``.

Imports nothing of this product, for the interpreter that runs it does not have it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def fit_in_folder(folder: Path) -> None:
    """Fit ``images.npy`` ``(image, y, x)`` by ``settings.json``; write ``field.npy`` and ``dark_field.npy``."""
    import numpy as np
    import torch
    from basicpy import BaSiC  # type: ignore[import-not-found] # lives in an environment of its own

    torch.set_num_threads(1)  # the same sums on each machine, and no more cores than the worker that waits has
    basic = BaSiC(device="cpu", **json.loads((folder / "settings.json").read_text()))
    basic.fit(np.load(folder / "images.npy", mmap_mode="r"))
    np.save(folder / "field.npy", basic.flatfield)
    np.save(folder / "dark_field.npy", basic.darkfield)


if __name__ == "__main__":
    fit_in_folder(Path(sys.argv[1]))
