"""The built-in library: plain functions on stacks ``(plane, y, x)``."""

from openhcs_engine.functions.composite import create_composite
from openhcs_engine.functions.histogram import percentile_from_histogram
from openhcs_engine.functions.normalize import stack_percentile_normalize
from openhcs_engine.functions.projection import create_max_projection

__all__ = [
    "create_composite",
    "create_max_projection",
    "percentile_from_histogram",
    "stack_percentile_normalize",
]
