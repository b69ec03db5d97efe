"""The same small functions in every array library, for pipelines of tests. Libraries are imported when called."""

from __future__ import annotations

from typing import Any

import numpy as np

from openhcs_engine.memory import jax, numpy, pyclesperanto, tensorflow, torch
from openhcs_engine.memory.stack import Array

Stack = Any  # an array of the function's library


@numpy
def normalise_numpy(stack: Array) -> Array:
    """Stretch a stack to the full range of uint16, by its own choice."""
    low, high = float(stack.min()), float(stack.max())
    return (stack.astype(np.float32) - low) * (65535 / (high - low))


@numpy(collapses=True)
def project_numpy(stack: Array) -> Array:
    """The brightest plane's value of each pixel."""
    return stack.max(axis=0, keepdims=True)


@torch
def normalise_torch(stack: Stack) -> Stack:
    """As in NumPy."""
    import torch as th

    low, high = float(stack.min()), float(stack.max())
    return (stack.to(th.float32) - low) * (65535 / (high - low))


@torch(collapses=True)
def project_torch(stack: Stack) -> Stack:
    """As a user writes it."""
    import torch as th

    return th.max(stack, dim=0, keepdim=True)[0]


@tensorflow
def normalise_tensorflow(stack: Stack) -> Stack:
    """As in NumPy."""
    import tensorflow as tf

    low, high = float(tf.reduce_min(stack)), float(tf.reduce_max(stack))
    return (tf.cast(stack, tf.float32) - low) * (65535 / (high - low))


@tensorflow(collapses=True)
def project_tensorflow(stack: Stack) -> Stack:
    """As in NumPy."""
    import tensorflow as tf

    return tf.reduce_max(stack, axis=0, keepdims=True)


@jax
def normalise_jax(stack: Stack) -> Stack:
    """As in NumPy."""
    import jax.numpy as jnp

    low, high = float(stack.min()), float(stack.max())
    return (stack.astype(jnp.float32) - low) * (65535 / (high - low))


@jax(collapses=True)
def project_jax(stack: Stack) -> Stack:
    """As in NumPy."""
    import jax.numpy as jnp

    return jnp.max(stack, axis=0, keepdims=True)


@pyclesperanto
def normalise_pyclesperanto(stack: Stack) -> Stack:
    """As in NumPy."""
    import pyclesperanto as cle

    low, high = cle.minimum_of_all_pixels(stack), cle.maximum_of_all_pixels(stack)
    return cle.multiply_image_and_scalar(cle.add_image_and_scalar(stack, scalar=-low), scalar=65535 / (high - low))


@pyclesperanto(collapses=True)
def project_pyclesperanto(stack: Stack) -> Stack:
    """As in NumPy."""
    import pyclesperanto as cle

    return cle.maximum_z_projection(stack, cle.create((1, *stack.shape[1:]), dtype=stack.dtype))


@numpy
def brighten(stack: Array) -> Array:
    """First of the mixed pipeline; writes into its stack."""
    stack += 1
    return stack


@torch
def double(stack: Stack) -> Stack:
    """Second."""
    stack *= 2
    return stack


@tensorflow
def darken(stack: Stack) -> Stack:
    """Third."""
    import tensorflow as tf

    return stack - tf.constant(1, stack.dtype)


@jax
def floor(stack: Stack) -> Stack:
    """Fourth."""
    import jax.numpy as jnp

    return jnp.maximum(stack, jnp.asarray(300, stack.dtype))


@numpy
def lift(stack: Array) -> Array:
    """Last; writes into its stack."""
    stack += 5
    return stack
