"""The handlers of all formats, each held to the one contract."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.cellvoyager.handler import CellVoyagerHandler
from openhcs_engine.microscopes.file_names.handler import PresetHandler, pattern_handler
from openhcs_engine.microscopes.handler import MicroscopeHandler
from openhcs_engine.microscopes.harmony.handler import OperaPhenixHandler
from openhcs_engine.microscopes.imagexpress.handler import ImageXpressHandler
from openhcs_engine.microscopes.listing import list_folder
from openhcs_engine.microscopes.ome_zarr.handler import OmeZarrHandler
from openhcs_engine.synthetic import LAYOUTS, SyntheticPlate
from openhcs_engine.testing import MicroscopeContract


class SyntheticContract(MicroscopeContract):
    """A synthetic plate of the format."""

    layout: str

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        spec = SyntheticPlate(name="plate", rows=2, columns=2, sites=2, z=2, shape=(32, 32))
        return LAYOUTS[self.layout](tmp_path / "raw" / "plate", spec)


class TestImageXpress(SyntheticContract):
    layout = "imagexpress"

    @pytest.fixture
    def handler(self) -> MicroscopeHandler:
        return ImageXpressHandler()


class TestOperaPhenix(SyntheticContract):
    layout = "phenix"

    @pytest.fixture
    def handler(self) -> MicroscopeHandler:
        return OperaPhenixHandler()


class TestCellVoyager(SyntheticContract):
    layout = "cellvoyager"

    @pytest.fixture
    def handler(self) -> MicroscopeHandler:
        return CellVoyagerHandler()


class TestOmeZarr(SyntheticContract):
    layout = "omezarr"

    @pytest.fixture
    def handler(self) -> MicroscopeHandler:
        return OmeZarrHandler()


class NamesContract(MicroscopeContract):
    """Images that their names alone describe."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "raw" / "plate"
        folder.mkdir(parents=True)
        for number, name in enumerate(product(("B02", "B03"), (0, 1), (0, 1))):
            well, site, channel = name
            image = np.full((32, 32), number, np.uint16)
            tifffile.imwrite(folder / f"AS_1_{well}f{site:02d}d{channel}.tif", image)
        return folder


class TestPresets(NamesContract):
    @pytest.fixture
    def handler(self) -> MicroscopeHandler:
        return PresetHandler()


class TestPatterns(NamesContract):
    @pytest.fixture
    def handler(self) -> MicroscopeHandler:
        return pattern_handler(pattern=r"AS_1_(?P<well>[A-Z]\d\d)f(?P<site>\d\d)d(?P<channel>\d)\.tif")

    def test_of_two_plates_none_is_chosen(self, handler: MicroscopeHandler, folder: Path, tmp_path: Path) -> None:
        """A pattern speaks of all files below a folder: two of them for one plane are refused."""
        for name in ("first", "second"):
            shutil.copytree(folder, tmp_path / "both" / name)

        with pytest.raises(UnreadablePlateError, match=r"first/AS_1_B02f00d0\.tif and second/AS_1_B02f00d0\.tif"):
            handler.read_plate(list_folder(tmp_path / "both"))
