"""Fixtures of the black-box suites."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from upstream import Upstream  # noqa: E402


@pytest.fixture(scope="session")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    """One chaos upstream for each test process."""
    upstream = Upstream(tmp_path_factory.mktemp("chaos"))
    yield upstream
    upstream.stop()
