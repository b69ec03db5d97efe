"""What all tests share: the folder of real plates, and an object store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.object_store import s3_bucket

_REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real plate exports; read only. Skips where they are absent."""
    folder = Path(os.environ.get("OPENHCS_TEST_DATA", _REPO.parent / "shared" / "data"))
    if not (folder / "facts.json").is_file():
        pytest.skip(f"no plate exports at {folder} (set OPENHCS_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket in an S3 server on this machine."""
    with s3_bucket("plates") as url:
        yield url
