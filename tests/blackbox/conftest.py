"""Fixtures of the black-box suites."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import clients as sdks  # noqa: E402
import conf  # noqa: E402
import never  # noqa: E402
from upstream import Upstream  # noqa: E402
from weir import Weir  # noqa: E402



def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--repeat", type=int, default=1, help="run each test so many times")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = metafunc.config.getoption("--repeat")
    if times > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


@pytest.fixture(scope="session")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    """One chaos upstream for each test process."""
    upstream = Upstream(tmp_path_factory.mktemp("chaos"))
    yield upstream
    upstream.stop()


@pytest.fixture(scope="session")
def clients() -> dict[str, sdks.Client]:
    """Every client by name; each is started when it is first asked."""
    named = {name: sdks.Client(name) for name in sdks.OPENAI + sdks.OPENROUTER + sdks.OTHERS}
    yield named
    for client in named.values():
        client.stop()


def _deployment(models: dict[str, str], settings: dict | None, changes: dict) -> conf.Deployment:
    """Models by slug, each with its endpoints' providers as letters in order of price."""
    slugs = sorted({letter for letters in models.values() for letter in letters})
    providers = [conf.Provider(slug, **changes.get(slug, {})) for slug in slugs]
    named = [conf.Model(slug, list(letters)) for slug, letters in models.items()]
    return conf.Deployment(providers, named, settings or {})


@pytest.fixture
def run(chaos: Upstream, tmp_path: Path) -> Callable[..., Weir]:
    """Starts a Weir of the test's own: no cooldown or count of another test is in it.

    run("abc") serves `test/m` by three endpoints; run({...}) takes models by slug; keyword arguments
    named after a provider change it.
    """
    yield from _runner(chaos, tmp_path)


@pytest.fixture(scope="module")
def shared(chaos: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Weir:
    """One Weir for the well-behaved requests of a module."""
    runner = _runner(chaos, tmp_path_factory.mktemp("shared"))
    start = next(runner)
    yield start({"test/m": "ab", "test/n": "c"})
    next(runner, None)


def _runner(chaos: Upstream, directory: Path):
    started: list[Weir] = []

    def start(models: dict[str, str] | str = "ab", settings: dict | None = None,
              environment: dict | None = None, **changes: dict) -> Weir:
        models = {"test/m": models} if isinstance(models, str) else models
        deployment = _deployment(models, settings, changes)
        home = directory / f"weir{len(started)}"
        weir = Weir(chaos, deployment, home, environment or {})
        home.mkdir(parents=True, exist_ok=True)
        started.append(weir)
        return weir.start()

    yield start
    try:
        for weir in started:
            if weir.running():
                never.check(weir)
                weir.stop()
    finally:
        for weir in started:
            if weir.running():
                weir.kill()
