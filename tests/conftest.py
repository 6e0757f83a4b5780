"""Shared fixtures.  Warnings are errors (see pyproject.toml)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of measured and published data: $PERFMODEL_SHARED, else the sibling folder ``shared``."""
    folder = Path(os.environ.get("PERFMODEL_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        if os.environ.get("CI"):  # never skipped in silence where it counts
            pytest.fail(f"no data folder {folder} (set PERFMODEL_SHARED)")
        pytest.skip(f"no data folder {folder} (set PERFMODEL_SHARED)")
    return folder
