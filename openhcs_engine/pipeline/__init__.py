"""What users declare: steps, pipelines, function patterns. Nothing is checked against a plate here."""

from openhcs_engine.pipeline.load import load_pipeline
from openhcs_engine.pipeline.materialize import Materialize
from openhcs_engine.pipeline.pipeline import Pipeline
from openhcs_engine.pipeline.plate_step import PlateStep, Sample
from openhcs_engine.pipeline.step import FunctionStep, InputSource

__all__ = ["FunctionStep", "InputSource", "Materialize", "Pipeline", "PlateStep", "Sample", "load_pipeline"]
