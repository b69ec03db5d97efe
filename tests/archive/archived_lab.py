"""The pipelines of the lab in the archive: built-ins, functions of its own, a helper beside them, tables and labels."""

import archived_helpers
import numpy as np

from openhcs_engine import FunctionStep, Pipeline, VariableComponents, special_outputs
from openhcs_engine.functions import create_composite, create_max_projection, stack_percentile_normalize
from openhcs_engine.memory import numpy

OFFSET = 7
GAINS = {"DAPI": 2, "GFP": 3}


def shifted(stack):
    """Brighter by what the module says."""
    return stack + OFFSET


@numpy
def by_helper(stack):
    """Uses a function of its module, one of a module beside it, and a dict."""
    return shifted(archived_helpers.darkened(stack)) * GAINS["DAPI"]


@numpy
@special_outputs(("bright", "table"), ("regions", "labels"))
def find_bright(stack, threshold=700):
    """Pixels above a threshold, as a table and as labels."""
    regions = (stack > threshold).astype(np.uint32)
    return stack, {"pixels": [int(regions.sum())]}, regions


images = Pipeline(
    [
        FunctionStep(
            (stack_percentile_normalize, {"low_percentile": 1.0}), variable_components=[VariableComponents.Z_INDEX]
        ),
        FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX]),
        FunctionStep(create_composite, name="Composite", variable_components=[VariableComponents.CHANNEL]),
    ],
    name="images",
)
tables = Pipeline(
    [
        FunctionStep([by_helper, find_bright], name="Measure", variable_components=[VariableComponents.Z_INDEX]),
        FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX]),
    ],
    name="tables",
)
