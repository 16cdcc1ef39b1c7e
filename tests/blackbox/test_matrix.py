"""The fault matrix is whole: every fault has its row in `tests/FAULTS.md` and a test with its id."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAULTS = [f"F{number:02}" for number in [*range(1, 70), *range(71, 84)]]

PYTHON = re.compile(r"^def test_((?:F\d\d_)+)", re.MULTILINE)
RUST = re.compile(r"^\s*(?:async )?fn ((?:f\d\d_)+)", re.MULTILINE)


def covered() -> dict[str, set[str]]:
    """The files that have a test of a fault."""
    found: dict[str, set[str]] = {}
    sources = [(path, PYTHON) for path in (ROOT / "tests").rglob("*.py")]
    sources += [(path, RUST) for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.rs")]
    for path, pattern in sources:
        for ids in pattern.findall(path.read_text()):
            for id in ids.upper().strip("_").split("_"):
                shown = path.name if path.suffix == ".py" else str(path.relative_to(ROOT))
                found.setdefault(id, set()).add(shown)
    return found


def rows() -> dict[str, list[str]]:
    """The cells of each fault's row."""
    text = (ROOT / "tests/FAULTS.md").read_text()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| F"]
    return {row[0]: row for row in cells}


def test_every_fault_has_a_test():
    assert set(FAULTS) <= covered().keys(), f"no test carries the name of {sorted(set(FAULTS) - covered().keys())}"


def test_the_table_names_every_fault_and_where_its_tests_are():
    table = rows()
    assert list(table) == FAULTS
    wrong = []
    for id, files in covered().items():
        if id in table and not set(re.findall(r"`([^`]+)`", table[id][-1])) >= files:
            wrong.append(f"{id} is tested in {sorted(files)}")
    for id, row in table.items():
        wrong += [f"{id}: {file} has no test of it" for file in re.findall(r"`([^`]+)`", row[-1])
                  if file not in covered().get(id, set())]
    assert not wrong, "\n".join(wrong)


def test_every_metric_of_the_table_exists():
    families = (ROOT / "src/metrics/families.rs").read_text()
    named = {name for row in rows().values() for name in re.findall(r"`(\w+)`", row[3])}
    assert len(named) > 20
    assert {name for name in named if f'"weir_{name}"' not in families} == set()
