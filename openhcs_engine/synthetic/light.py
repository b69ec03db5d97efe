"""Uneven light of a synthetic microscope."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=16)
def light(seed: int, vignette: float, shape: tuple[int, int], channel: int) -> NDArray[np.float32]:
    """Light of each pixel of a channel, in the mean of all pixels.

    A vignette that falls off as the fourth power of a cosine, about a centre off the middle, times a gradient, times
    the ring of a dust grain: no polynomial fits it exactly.

    Parameters
    ----------
    seed
        Of the plate; with the channel, it places centre, gradient and ring.
    vignette
        Share of the light that the vignette takes from the farthest corner; 0 gives ones.
    shape
        ``(y, x)`` in pixels.
    channel
        Counted from 0.

    Returns
    -------
    numpy.ndarray
        float32 ``(y, x)`` with mean 1; not to be written to.
    """
    if vignette == 0:
        field = np.ones(shape)
    else:
        generator = np.random.default_rng([seed, 7, channel])
        y, x = (np.linspace(-1, 1, edge) for edge in shape)
        down, across = np.meshgrid(y, x, indexing="ij")
        centre_y, centre_x = generator.uniform(-0.2, 0.2, 2)
        distance = (down - centre_y) ** 2 + (across - centre_x) ** 2
        # cos(a)^4 = 1 / (1 + tan(a)^2)^2, with the farthest corner at 1 - vignette.
        field = (1 + ((1 - vignette) ** -0.5 - 1) * distance / distance.max()) ** -2
        turn = generator.uniform(0, 2 * np.pi)
        field *= 1 + vignette / 6 * (down * np.sin(turn) + across * np.cos(turn))
        ring_y, ring_x = generator.uniform(-0.5, 0.5, 2)
        ring = np.hypot(down - ring_y, across - ring_x)
        field *= 1 - vignette / 8 * np.exp(-0.5 * ((ring - 0.15) / 0.03) ** 2)
    lit: NDArray[np.float32] = (field / field.mean()).astype(np.float32)
    lit.setflags(write=False)
    return lit
