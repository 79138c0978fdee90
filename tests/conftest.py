"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# Kernels compile inside the first example: a time limit would measure the compiler.
settings.register_profile("pinjoin", deadline=None)
settings.load_profile("pinjoin")

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data, which is not in the repository."""
    folder = Path(os.environ.get("PINJOIN_DATA", REPOSITORY / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set PINJOIN_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped catalogue, built. Nobody may change it."""
    from pinjoin.cli.demo import build_demo
    from pinjoin.core.progress import silent

    folder = tmp_path_factory.mktemp("demo") / "workspace"
    build_demo(folder, silent)
    return folder


@pytest.fixture
def shop(demo: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(demo, tmp_path / "shop"))
