"""The built-in library: plain functions on stacks ``(plane, y, x)``, in folders by family. None writes a file, but for
those that go to another program and are removed; a field of light may be read from one.

In a pipeline they are NumPy functions. Called directly, they take a stack of any array library and return one of
the same.
"""

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.illumination.basic import basic_flat_field
from openhcs_engine.functions.illumination.correct import correct_illumination
from openhcs_engine.functions.illumination.flat_field import FlatField, flat_field
from openhcs_engine.functions.intensity.background import subtract_background
from openhcs_engine.functions.intensity.contrast import enhance_contrast
from openhcs_engine.functions.intensity.denoise import denoise_images
from openhcs_engine.functions.intensity.histogram import percentile_from_histogram
from openhcs_engine.functions.intensity.normalize import stack_percentile_normalize
from openhcs_engine.functions.measurement.measure import measure
from openhcs_engine.functions.measurement.quality import measure_quality
from openhcs_engine.functions.measurement.translocation import measure_translocation
from openhcs_engine.functions.objects.cells import cytoplasm, segment_cells
from openhcs_engine.functions.objects.nuclei import segment_nuclei
from openhcs_engine.functions.objects.nuclei_fit import fit_nuclei
from openhcs_engine.functions.objects.spots import spots
from openhcs_engine.functions.planes.composite import create_composite
from openhcs_engine.functions.planes.projection import create_max_projection, create_mean_projection
from openhcs_engine.functions.tiles.positions import generate_positions, stage_tile_positions, tile_positions
from openhcs_engine.functions.tiles.refinement import refine_tile_positions

__all__ = [
    "FlatField",
    "any_library",
    "basic_flat_field",
    "correct_illumination",
    "create_composite",
    "create_max_projection",
    "create_mean_projection",
    "cytoplasm",
    "denoise_images",
    "enhance_contrast",
    "fit_nuclei",
    "flat_field",
    "generate_positions",
    "measure",
    "measure_quality",
    "measure_translocation",
    "percentile_from_histogram",
    "refine_tile_positions",
    "segment_cells",
    "segment_nuclei",
    "spots",
    "stack_percentile_normalize",
    "stage_tile_positions",
    "subtract_background",
    "tile_positions",
]
