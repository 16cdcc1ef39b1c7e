"""What Weir accepts, every JSON parser reads the same in what steers and bills (S12, S13, F53 to F55).

The documents and the judges are in `tests/json`; `tests/soak/json_differential.py` judges millions.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/json"))

from cases import cases  # noqa: E402
from differential import check  # noqa: E402
from generate import Generator  # noqa: E402
from judges import Judges, weir_judge  # noqa: E402
from cluster import Postgres  # noqa: E402

GENERATED = 20_000
BATCH = 2_500


@pytest.fixture(scope="module")
def judges() -> Iterator[Judges]:
    with Postgres() as postgres:
        yield Judges(weir_judge(ROOT), postgres)


def test_documents_written_by_hand(judges: Judges) -> None:
    written = list(cases())
    assert len(written) >= 800
    told = judges.weir([case.document for case in written])
    wrong = [(case.place, case.document[:200], case.refused, judged.get("refused"))
             for case, judged in zip(written, told) if judged.get("refused") != case.refused]
    assert not wrong, "\n".join(map(str, wrong))
    assert check(judges, [case.document for case in written]).disagreements == []


def test_documents_made_by_chance(judges: Judges) -> None:
    seed = os.environ.get("WEIR_SEED") or secrets.token_hex(8)
    print(f"WEIR_SEED={seed}")
    generator = Generator(seed)
    accepted = 0
    for _ in range(GENERATED // BATCH):
        report = check(judges, [generator.document() for _ in range(BATCH)])
        assert report.disagreements == [], seed
        accepted += report.accepted
    assert GENERATED * 0.3 < accepted < GENERATED * 0.9, seed
