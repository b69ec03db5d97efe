"""What every microscope's handler must do; subclass it, and give it a handler and a plate of its format."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import fsspec
import pytest

from openhcs_engine.errors import NotAPlateError, PlateIdError, SeveralPlatesError
from openhcs_engine.functions import create_max_projection
from openhcs_engine.microscopes.handler import MicroscopeHandler
from openhcs_engine.microscopes.listing import FolderListing, list_folder, list_url
from openhcs_engine.model.components import VariableComponents
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import normalise_well, plate_id_of_folder, plate_order
from openhcs_engine.orchestrator import PipelineOrchestrator
from openhcs_engine.pipeline.step import FunctionStep


class MicroscopeContract:
    """Inherited by the test class of each format."""

    @pytest.fixture
    def handler(self) -> MicroscopeHandler:
        """The handler."""
        raise AssertionError("a subclass gives the handler")

    @pytest.fixture
    def folder(self) -> Path:
        """A folder that is one plate of the format, with images of a size and type; no test writes into it."""
        raise AssertionError("a subclass gives the plate's folder")

    @pytest.fixture
    def listing(self, folder: Path) -> FolderListing:
        """The folder, listed."""
        return list_folder(folder)

    def test_it_says_what_it_is(self, handler: MicroscopeHandler) -> None:
        """By the name that ``--microscope`` takes, and by what it looks for."""
        assert handler.name and handler.name == handler.name.strip() and handler.looks_for

    def test_it_recognises_its_plate_alone(
        self, handler: MicroscopeHandler, listing: FolderListing, tmp_path: Path
    ) -> None:
        """A folder of other files is none, which reading it says with the folder."""
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.txt").write_text("no plate", encoding="utf-8")
        other = list_folder(tmp_path / "other")

        assert handler.recognises(listing) and handler.plate_folders(listing) == ("",)
        assert not handler.recognises(other)
        with pytest.raises(NotAPlateError) as caught:
            handler.read_plate(other)
        assert other.root in str(caught.value)

    def test_plate_and_planes_agree(self, handler: MicroscopeHandler, listing: FolderListing) -> None:
        """Wells are canonical and in plate order; planes lie in what the plate declares, each once."""
        plate, index = handler.read_plate(listing)
        keys = [plane.key for plane in index]

        assert plate.microscope == handler.name and plate.root == listing.root
        assert plate.wells and list(plate.wells) == sorted(map(normalise_well, plate.wells), key=plate_order)
        assert len(set(keys)) == len(keys) and len(index.present())
        assert {key.well for key in keys} <= set(plate.wells)
        assert {key.site for key in keys} - {None} <= set(plate.sites)
        assert {key.channel for key in keys} - {None} <= {channel.index for channel in plate.channels}
        assert {key.z_index for key in keys} - {None} <= set(plate.z_indexes)
        assert {key.timepoint for key in keys} - {None} <= set(plate.timepoints)

    def test_planes_that_are_present_are_there(
        self, handler: MicroscopeHandler, listing: FolderListing, folder: Path
    ) -> None:
        """Their paths start at the listing's root and do not leave it."""
        _, index = handler.read_plate(listing)

        for plane in index.present():
            assert plane.path is not None
            assert os.path.normpath(plane.path) == plane.path and not plane.path.startswith(("/", ".."))
            assert (folder / plane.path).exists()

    def test_reading_again_gives_the_same(self, handler: MicroscopeHandler, folder: Path) -> None:
        """Whatever was read before: a handler remembers nothing."""
        assert handler.read_plate(list_folder(folder)) == handler.read_plate(list_folder(folder))

    def test_reading_writes_nothing(self, handler: MicroscopeHandler, folder: Path) -> None:
        """A raw plate is only ever read: the same files, of the same times."""
        before = _files(folder)
        listing = list_folder(folder)
        _, index = handler.read_plate(listing)
        handler.locate(listing, index)

        assert _files(folder) == before

    def test_the_folders_name_decides_nothing(self, handler: MicroscopeHandler, folder: Path, tmp_path: Path) -> None:
        """The same plate under another name, and below another folder, has the same wells and planes."""
        plate, index = handler.read_plate(list_folder(folder))
        shutil.copytree(folder, tmp_path / "outer" / "Z09 renamed", symlinks=True)

        renamed = handler.read_plate(list_folder(tmp_path / "outer" / "Z09 renamed"))
        below = handler.read_plate(list_folder(tmp_path / "outer"))

        assert _paths(renamed[1]) == _paths(index)
        assert _paths(below[1]) == {(key, path and f"Z09 renamed/{path}") for key, path in _paths(index)}
        assert renamed[0].wells == below[0].wells == plate.wells

    def test_of_two_plates_none_is_chosen(self, handler: MicroscopeHandler, folder: Path, tmp_path: Path) -> None:
        """The error names both."""
        for name in ("first", "second"):
            shutil.copytree(folder, tmp_path / "both" / name, symlinks=True)

        with pytest.raises(SeveralPlatesError) as caught:
            handler.read_plate(list_folder(tmp_path / "both"))

        assert caught.value.plates == ("first", "second")

    def test_a_plate_has_the_id_that_it_is_given(self, handler: MicroscopeHandler, listing: FolderListing) -> None:
        """Else its folder's name; what cannot be a folder's name is refused."""
        assert handler.read_plate(listing, "P-7")[0].plate_id == "P-7"
        assert handler.read_plate(listing)[0].plate_id == plate_id_of_folder(listing.name)
        with pytest.raises(PlateIdError):
            handler.read_plate(listing, "a/b")

    def test_locating_changes_positions_alone(self, handler: MicroscopeHandler, listing: FolderListing) -> None:
        """The planes are the same, in the same order."""
        _, index = handler.read_plate(listing)
        located = handler.locate(listing, index)

        unlocated = {"x_um": None, "y_um": None, "z_um": None}
        assert [plane.replace(**unlocated) for plane in located] == [plane.replace(**unlocated) for plane in index]

    def test_a_plate_behind_a_url_is_the_same(self, handler: MicroscopeHandler, folder: Path) -> None:
        """Files are opened by the listing, which knows where they are."""
        url = f"memory://openhcs-testing/{uuid.uuid4().hex}/{folder.name}"
        storage, path = fsspec.url_to_fs(url)
        try:
            storage.put(f"{folder}/", path, recursive=True)
            plate, index = handler.read_plate(list_url(url))
        finally:
            storage.rm(path, recursive=True)
        here, planes = handler.read_plate(list_folder(folder))

        assert _paths(index) == _paths(planes)
        assert _declared(plate) == _declared(here)

    def test_a_pipeline_runs_on_it(self, handler: MicroscopeHandler, folder: Path, tmp_path: Path) -> None:
        """Every well whose planes are there can be read, in the size and type that the plate declares."""
        orchestrator = PipelineOrchestrator(
            folder, output=tmp_path / "results", microscopes=[handler], runner="threads", on_missing="skip"
        ).initialize()
        steps = [FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])]
        results = orchestrator.execute_compiled_plate(steps, orchestrator.compile_pipelines(steps), 1)
        failed = {well: result.error for well, result in results.items() if not result.success}

        damaged = {well for well, _ in orchestrator.plate.damaged_wells}
        assert failed.keys() <= damaged, failed


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def _paths(index: ImageIndex) -> set[tuple[object, str | None]]:
    return {(plane.key, plane.path) for plane in index}


def _declared(plate: Plate) -> tuple[object, ...]:
    """What does not depend on where the plate lies."""
    return plate.wells, plate.sites, plate.channels, plate.z_indexes, plate.timepoints, plate.shape, plate.dtype
