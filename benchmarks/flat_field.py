"""Errors and CPU time of ``flat_field`` beside basicpy's with ``get_darkfield=True``, on images whose field is known.

    make basicpy && python benchmarks/flat_field.py [--images 96] [--size 512] [--seeds 1]

The field is a slope, a vignette and a ring of dust; the offset is unknown to both, and the images' backgrounds vary by
15 %. Each runs in a process of its own with one thread: it is CPU time, without the start of the process and its
imports. Claims: the error at most 1.1 times basicpy's where cells cover 7 % and 2 times where they cover a third, for
at most 0.1 and 0.2 of its CPU time; and an error of at most 0.7 % and 2 % (RMS).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from openhcs_engine.functions.illumination.basic_environment import basic_folder, basic_is_missing, basic_python
from tests.engine.lit_images import Light, rms_percent

ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
OURS: Final = """
from openhcs_engine.functions import flat_field
def fit(images):
    return flat_field(images).field
"""
BASIC: Final = """
from basicpy import BaSiC
def fit(images):
    basic = BaSiC(get_darkfield=True, device="cpu")
    basic.fit(images)
    return basic.flatfield
"""
FIT: Final = """
import sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
fit(np.load("warm.npy"))  # what is imported late, or compiled
images = np.load("images.npy")
before = time.process_time()
field = fit(images)
print(time.process_time() - before)
np.save("field.npy", field)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is claimed where cells cover that share of the images."""

    covered: float
    error_percent: float
    error_ratio: float
    cpu_ratio: float


CLAIMS: Final = (
    Claim(covered=0.07, error_percent=0.7, error_ratio=1.1, cpu_ratio=0.1),
    Claim(covered=0.33, error_percent=2.0, error_ratio=2.0, cpu_ratio=0.2),
)


def measured(python: Path, program: str, folder: Path, light: Light) -> tuple[float, float]:
    """Error in percent and CPU-s of one fit."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [python, "-c", program + FIT], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    field = np.load(folder / "field.npy")
    return rms_percent(field / field.mean(), light.field), float(done.stdout.split()[-1])


def compare(claim: Claim, images: int, size: int, seed: int) -> str:
    """A line of the table."""
    light = Light(images=images, shape=(size, size), covered=claim.covered, seed=seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "images.npy", np.stack(list(light)))
        np.save(folder / "warm.npy", np.stack(list(Light(images=8, shape=(64, 64)))))
        ours, ours_s = measured(Path(sys.executable), OURS, folder, light)
        basic, basic_s = measured(basic_python(basic_folder()), BASIC, folder, light)
    errors, cpu = ours / basic, ours_s / basic_s
    missed = [
        name
        for name, value, limit in (
            ("error", ours, claim.error_percent),
            ("error ratio", errors, claim.error_ratio),
            ("CPU ratio", cpu, claim.cpu_ratio),
        )
        if value > limit
    ]
    return (
        f"{claim.covered:>7.0%} {seed:>4} {ours:>8.2f} % {basic:>8.2f} % {errors:>7.2f} {ours_s:>8.2f} s "
        f"{basic_s:>8.2f} s {cpu:>7.3f}" + (f"  missed: {', '.join(missed)}" if missed else "")
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--size", type=int, default=512, help="pixels of an edge")
    parser.add_argument("--seeds", type=int, default=1, help="other images, so many times")
    chosen = parser.parse_args(arguments)
    if (missing := basic_is_missing(basic_folder())) is not None:
        sys.exit(missing)
    print("covered seed      ours    basicpy   ratio   ours CPU basicpy CPU ratio")
    for claim in CLAIMS:
        for seed in range(1, chosen.seeds + 1):
            print(compare(claim, chosen.images, chosen.size, seed), flush=True)


if __name__ == "__main__":
    main()
