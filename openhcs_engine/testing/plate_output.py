"""What every output of a plate must do; subclass it and give it an output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_engine.errors import NotAnOutputError, OutputPlaceError
from openhcs_engine.functions import create_max_projection, create_mean_projection
from openhcs_engine.model.components import VariableComponents
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.options import DEFAULT_OPTIONS
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.orchestrator import PipelineOrchestrator
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.image_sets import KnownManifests
from openhcs_engine.output.manifest import WellManifest
from openhcs_engine.output.writing.well_writer import write_well
from openhcs_engine.pipeline.step import FunctionStep
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_to_json
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

WELLS = ("A01", "A02", "A03")


@dataclass(frozen=True, slots=True)
class Published:
    """A synthetic plate of three wells that is published by hand."""

    output: PlateOutput
    folder: Path
    contexts: Mapping[str, ProcessingContext]
    others: Mapping[str, ProcessingContext]
    """Of another pipeline."""

    @classmethod
    def of(cls, output: PlateOutput, folder: Path) -> Published:
        """The plate, and its output made ready."""
        spec = SyntheticPlate(name="plate", rows=1, columns=3, sites=1, channels=("DAPI",), z=2, shape=(32, 32))
        plate = write_imagexpress(folder / "plate", spec)
        orchestrator = PipelineOrchestrator(plate, output=folder, backend=output.backend).initialize()
        contexts, others = (
            orchestrator.compile_pipelines([FunctionStep(each, variable_components=[VariableComponents.Z_INDEX])])
            for each in (create_max_projection, create_mean_projection)
        )
        output.prepare(orchestrator.plate)
        return cls(output, plate, contexts, others)

    def publish(self, well: str, seed: int = 0) -> WellManifest:
        """Write and publish one well, and list it; returns what the output has of it then."""
        context = self.contexts[well]
        with self.output.staging(f"run-{seed}") as staging:
            staged = write_well(staging, context, [(ImageKey(well, 1, 1, None, 1), pixels(seed))])
            manifest = WellManifest.of(context, staged, seconds=1.0, device="cpu:0")
            self.output.publish(staged, manifest)
        self.list_wells()
        published = self.output.published(well)
        # An output may give files other names, which groups of OME-Zarr name in turn.
        assert published is not None and replace(published, files=()) == replace(manifest, files=())
        assert len(published.files) == len(manifest.files)
        return published

    def list_wells(self) -> None:
        """As a run does after it has published wells."""
        group = PlateGroup.of(next(iter(self.contexts.values())).plate, DEFAULT_OPTIONS, WELLS)
        self.output.list_wells(group, self.output.zarr_sets(()))


def pixels(seed: int) -> NDArray[np.uint16]:
    """An image that no other seed has."""
    return np.random.default_rng(seed).integers(0, 60_000, (32, 32), np.uint16)


class PlateOutputContract:
    """Inherited by the test class of each kind of output."""

    @pytest.fixture
    def output(self, tmp_path: Path) -> PlateOutput:
        """A new output whose address ends with ``plate``, the plate's id; nothing was made there."""
        raise AssertionError("a subclass gives the output")

    @pytest.fixture
    def plate(self, output: PlateOutput, tmp_path: Path) -> Published:
        """A plate to publish in it."""
        return Published.of(output, tmp_path / "raw")

    def test_at_first_there_is_nothing(self, output: PlateOutput) -> None:
        """To ask for wells is no error, and makes nothing."""
        assert output.wells() == () and output.published("A01") is None and output.present(KnownManifests()) == {}
        output.drop("A01")
        output.sweep()
        with pytest.raises(NotAnOutputError):
            output.open_images()

    def test_it_refuses_the_raw_plate(self, output: PlateOutput, tmp_path: Path) -> None:
        """Results never go into a plate."""
        output.check_usable(tmp_path / "elsewhere")
        with pytest.raises(OutputPlaceError):
            output.check_usable(output.address)

    def test_preparing_publishes_no_well(self, plate: Published) -> None:
        """Neither the first time nor again."""
        plate.output.prepare(plate.contexts["A01"].plate)
        assert plate.output.wells() == ()
        manifest = plate.publish("A01")
        plate.output.prepare(plate.contexts["A01"].plate)
        assert plate.output.published("A01") == manifest

    def test_a_published_well_is_found_by_its_fingerprint(self, plate: Published) -> None:
        """And by none at all; by another it is not."""
        manifest = plate.publish("A02")
        mine, other = plate.contexts["A02"].fingerprint, plate.others["A02"].fingerprint

        assert plate.output.published("A02") == plate.output.published("A02", mine) == manifest
        assert plate.output.published("A02", other) is None and plate.output.published("A01", mine) is None
        assert plate.output.unchanged({"A01": None, "A02": mine, "A03": other}) == {"A02": manifest}

    def test_wells_come_in_plate_order_with_all_their_files(self, plate: Published) -> None:
        """However they were published; one listing says so."""
        for well in reversed(WELLS):
            plate.publish(well)
        present = plate.output.present(KnownManifests())

        assert plate.output.wells() == WELLS and sorted(present) == sorted(WELLS)
        assert all(each.known is not None and each.lacking == () for each in present.values())

    def test_what_is_not_published_is_seen_by_nobody(self, plate: Published) -> None:
        """A staged well is on this host, in a folder that goes with its run, however that ends."""
        with pytest.raises(ZeroDivisionError), plate.output.staging("broken") as staging:
            write_well(staging, plate.contexts["A01"], [(ImageKey("A01", 1, 1, None, 1), pixels(0))])
            assert staging.is_dir() and plate.output.wells() == ()
            raise ZeroDivisionError
        assert not staging.exists() and plate.output.wells() == ()

    def test_publishing_again_replaces(self, plate: Published) -> None:
        """The well is the new one as a whole; its neighbour stays."""
        neighbour = plate.publish("A01")
        before, after = plate.publish("A02", 1), plate.publish("A02", 2)

        assert before.files != after.files
        assert plate.output.published("A02") == after and plate.output.published("A01") == neighbour
        for file in after.files:
            assert len(plate.output.files.read(file.path)) == file.size

    def test_images_are_read_back(self, plate: Published) -> None:
        """Pixel for pixel; the group lists the published wells and no other."""
        if plate.output.backend != "zarr":
            pytest.skip("images of the disk backend are no OME-Zarr plate")
        plate.publish("A01", 1)
        plate.publish("A03", 3)
        images = plate.output.open_images()

        assert list(images) == ["A01", "A03"]
        for well, seed in (("A01", 1), ("A03", 3)):
            (field,) = images[well].values()
            np.testing.assert_array_equal(np.asarray(field.array()[...]).squeeze(), pixels(seed))

    def test_a_dropped_well_is_made_again(self, plate: Published) -> None:
        """It is gone from wells and groups, others stay, and it may be published again."""
        plate.publish("A01")
        plate.publish("A02")
        plate.output.drop("A01", "A03")
        plate.list_wells()

        assert plate.output.wells() == ("A02",) and plate.output.published("A01") is None
        assert plate.publish("A01") == plate.output.published("A01")

    def test_sweeping_leaves_what_is_published(self, plate: Published) -> None:
        """And a run that lives."""
        manifest = plate.publish("A01")
        with plate.output.staging("alive") as staging:
            plate.output.sweep()
            assert staging.is_dir()

        assert plate.output.published("A01") == manifest

    def test_a_plan_is_stored_under_its_fingerprint(self, plate: Published) -> None:
        """Storing it again changes nothing."""
        document = contexts_to_json(plate.contexts)
        stored = plate.output.save_contexts(document, "0123abcd")

        assert "0123abcd" in str(stored) and plate.output.save_contexts(document, "0123abcd") == stored
        assert plate.output.wells() == ()

    def test_a_log_is_written_on_this_host(self, plate: Published) -> None:
        """Before it is taken, and beside other logs; it changes no well."""
        for name in ("run-1.log", "run-2.log"):
            log = plate.output.log_folder() / name
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("run ended\n", encoding="utf-8")
            plate.output.keep_log(log)

        assert plate.output.wells() == ()

    def test_what_will_not_fit_is_refused(self, output: PlateOutput) -> None:
        """Where results take space of this host; a byte always fits."""
        output.check_free_space(1)
        if output.results_folder is not None:
            with pytest.raises(OutputPlaceError):
                output.check_free_space(2**70)
