"""A pipeline: a list of steps with a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from openhcs_engine.errors import PipelineError
from openhcs_engine.pipeline.plate_step import PlateStep
from openhcs_engine.pipeline.step import FunctionStep

PipelineStep: TypeAlias = FunctionStep | PlateStep
"""What a pipeline is a list of."""


class Pipeline(list[PipelineStep]):
    """A real list of steps (append, slice, iterate), with a name, a description and the time of its creation.

    Name, description and metadata describe; they change no pixel and no fingerprint.

    Raises
    ------
    PipelineError
        If it is given a step instead of a list of steps.
    """

    def __init__(
        self,
        steps: Iterable[PipelineStep] | None = None,
        *,
        name: str = "Pipeline",
        description: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        if isinstance(steps, FunctionStep | PlateStep):
            raise PipelineError(f"Pipeline(…) takes a list of steps, but got {steps!r}; write Pipeline([step]).")
        super().__init__(steps or ())
        self.name = name
        self.description = description
        self.metadata: dict[str, object] = {"created_at": datetime.now(UTC).isoformat(), **(metadata or {})}

    @property
    def steps(self) -> list[PipelineStep]:
        """The list itself."""
        return self

    @property
    def created_at(self) -> str:
        """ISO time of creation, UTC."""
        return str(self.metadata["created_at"])

    def add_step(self, step: PipelineStep) -> Pipeline:
        """Append a step and return the pipeline."""
        self.append(step)
        return self

    def clone(self) -> Pipeline:
        """A second pipeline with the same steps."""
        return Pipeline(self, name=self.name, description=self.description, metadata=self.metadata)

    def to_dict(self) -> dict[str, object]:
        """Name, description, metadata and the names of the steps."""
        return {
            "name": self.name,
            "description": self.description,
            "metadata": dict(self.metadata),
            "steps": [step.name for step in self],
        }

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r}, {len(self)} steps)"
