"""A deployment in a temporary folder, small synthetic plates and pipelines for them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry
from openhcs_dagster.catalogue.registration import register
from openhcs_dagster.cli.in_process import PlateRun, materialize_plate
from openhcs_dagster.settings import Settings
from openhcs_engine.plan.run_options import RunOptions
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

PIPELINE = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection, stack_percentile_normalize

pipeline = Pipeline([
    FunctionStep(
        func=[(stack_percentile_normalize, {{"high_percentile": {high}}}), create_max_projection],
        name="Project",
        variable_components=[VariableComponents.Z_INDEX],
    ),
])
"""


@dataclass(frozen=True)
class Deployment:
    """Everything a deployment has, below one folder."""

    root: Path
    settings: Settings
    instance: dg.DagsterInstance

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.settings.catalogue)

    def plate(self, name: str = "P001", **spec: object) -> Path:
        """Write a plate of 2 x 3 wells, two channels, two z."""
        wanted = {"rows": 2, "columns": 3, "sites": 1, "z": 2, "shape": (64, 64), "thumbnails": False, **spec}
        return write_imagexpress(self.root / "raw" / name, SyntheticPlate(name=name, **wanted))  # type: ignore[arg-type]

    def pipeline(self, name: str, high: float = 99.0, text: str | None = None) -> str:
        """Write a module with a pipeline; return its reference."""
        folder = self.root / "lab"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(PIPELINE.format(high=high) if text is None else text))
        return f"{name}:pipeline"

    def add(
        self, plate: Path | str, pipeline: str, plate_id: str | None = None, options: RunOptions | None = None
    ) -> CatalogueEntry:
        return register(
            self.catalogue,
            plate,
            pipeline=pipeline,
            output=self.root / "out",
            plate_id=plate_id,
            search_path=[self.root / "lab"],
            options=options or RunOptions(runner="threads", workers=1),
        )

    def run(self, entry: CatalogueEntry, *wells: str) -> PlateRun:
        return materialize_plate(entry, self.settings, self.instance, wells=wells)


STALENESS = """
query Staleness($key: AssetKeyInput!, $well: String) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode { staleStatus(partition: $well) staleCauses(partition: $well) { reason } }
  }
}
"""


PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses {
          materializedPartitions failedPartitions unmaterializedPartitions materializingPartitions
        }
      }
    }
  }
}
"""


StaleStatus = Callable[..., str]


def ask(deployment: Deployment, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The answer of GraphQL, which the UI shows; the code location is loaded anew."""
    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
    from dagster_graphql.test.utils import execute_dagster_graphql

    file = deployment.root / "code_location.py"
    settings = deployment.settings
    file.write_text(
        "from pathlib import Path\n"
        "from openhcs_dagster.definitions import build_definitions\n"
        "from openhcs_dagster.settings import Settings\n"
        f"defs = build_definitions(Settings(home=Path({str(settings.home)!r}), "
        f"catalogue=Path({str(settings.catalogue)!r})))\n"
    )
    target = LoadableTargetOrigin(python_file=str(file), attribute="defs", working_directory=str(deployment.root))
    origin = InProcessCodeLocationOrigin(target, location_name="openhcs")
    with WorkspaceProcessContext(deployment.instance, InProcessWorkspaceLoadTarget(origin)) as process:
        answer = execute_dagster_graphql(process.create_request_context(), query, variables)
    return dict(answer.data)


def stale_status(deployment: Deployment, key: dg.AssetKey, well: str | None) -> str:
    node = ask(deployment, STALENESS, {"key": {"path": list(key.path)}, "well": well})["assetNodeOrError"]
    reasons = ", ".join(cause["reason"] for cause in node["staleCauses"])
    return f"{node['staleStatus']} {reasons}".strip()


def partition_states(deployment: Deployment, key: dg.AssetKey) -> dict[str, list[str]]:
    """Partitions of an asset by the state in which the UI shows them."""
    node = ask(deployment, PARTITIONS, {"key": {"path": list(key.path)}})["assetNodeOrError"]
    return {state.removesuffix("Partitions"): wells for state, wells in node["assetPartitionStatuses"].items()}
