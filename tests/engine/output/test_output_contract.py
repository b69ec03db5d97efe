"""Outputs of every kind, each held to the one contract."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.opening import open_output
from openhcs_engine.testing import PlateOutputContract


class TestFolder(PlateOutputContract):
    @pytest.fixture(params=["zarr", "disk"])
    def output(self, request: pytest.FixtureRequest, tmp_path: Path) -> PlateOutput:
        return open_output(tmp_path / "results" / "plate", request.param)


class TestFolderOnTheDisk(PlateOutputContract):
    """With ``fsync``."""

    @pytest.fixture
    def output(self, tmp_path: Path) -> PlateOutput:
        return open_output(tmp_path / "results" / "plate", fsync=True)


class TestBucketInMemory(PlateOutputContract):
    @pytest.fixture(params=["zarr", "disk"])
    def output(self, request: pytest.FixtureRequest) -> PlateOutput:
        return open_output(f"memory://outputs/{uuid.uuid4().hex}/plate", request.param)


class TestBucketOfS3(PlateOutputContract):
    @pytest.fixture
    def output(self, bucket: str) -> PlateOutput:
        return open_output(f"{bucket}/{uuid.uuid4().hex}/plate")
