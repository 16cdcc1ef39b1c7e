"""kill -9 under load: the ledger against the truth log, attempt by attempt (section 4.4)."""

import random
import time

import pytest
from ledger import TERMINAL, Row
from load import Call, Load, shards
from weir import Weir

CRASH_RECOVERED = 1
SHOWN = ["epoch", "seq", "outcome", "source", "input", "output", "charge", "flags"]


def kill_once(weir: Weir, seed: int) -> list[Call]:
    """Load, a kill at a random moment, a new start."""
    dice = random.Random(seed)
    with Load(weir, seed) as load:
        time.sleep(0.05 + dice.random() * 0.4)
        weir.kill()
    weir.launch()
    return load.calls


def reconcile(weir: Weir, calls: list[Call]) -> list[str]:
    """Everything in which ledger and truth differ."""
    sent = {}
    for line in weir.chaos.truth.lines():
        sent.setdefault(line.get("id"), {}).setdefault(line["event"], []).append(line)
    rows: dict[str, list[Row]] = {}
    for row in weir.ledger.rows():
        rows.setdefault(row["session"], []).append(row)
    wrong = []
    for call in calls:
        truth, found = sent.get(call.id, {}), rows.get(call.id, [])
        if complaint := judge(call, truth, found):
            shown = [{key: row[key] for key in SHOWN} for row in found]
            wrong.append(f"{call} {complaint}: {shown}")
    return wrong


def judge(call: Call, truth: dict, found: list[Row]) -> str:
    """What is wrong with the rows of one call, if anything."""
    dispatched = len(truth.get("request", []))
    if call.whole:
        usage = truth["usage"][0]["usage"]
        numbers = (usage["prompt_tokens"], usage["completion_tokens"], "reported", True)
        have = [(row["input"], row["output"], row["source"], ended_well(row)) for row in found]
        return "" if have == [numbers] else "a complete attempt is not in the ledger as it was"
    if dispatched > 1:
        return "dispatched twice"
    if dispatched == 0:
        # Killed between its dispatch mark and its first byte: flagged, and free.
        marked = [row for row in found if row["outcome"] == "crash_recovered"]
        free = all(row["source"] == "none" and row["charge"] == 0 for row in marked)
        return "" if len(found) == len(marked) <= 1 and free else "a row for what was never sent"
    if len(found) != 1:
        return "a cut attempt has not one row"
    (row,) = found
    recovered = row["flags"] & CRASH_RECOVERED
    if row["outcome"] == "crash_recovered" and (not recovered or row["flags"] & TERMINAL):
        return "flag and outcome differ"
    most = truth["usage"][0]["usage"]["completion_tokens"] if truth.get("usage") else 60
    return "" if row["output"] <= max(most, 60) else "more tokens than were ever sent"


def ended_well(row: Row) -> bool:
    """Also when it was killed between the last byte and its seal (reliability 4.4)."""
    return bool(row["flags"] & TERMINAL) and row["outcome"] == "ok"


@pytest.mark.parametrize("seeds", shards("WEIR_KILLS", 200), ids=lambda seeds: str(seeds[0]))
def test_F72_every_attempt_survives_kill_9(run, seeds):
    weir = run("a", a={"first_content": "5s", "idle": "5s"})
    calls = [call for seed in seeds for call in kill_once(weir, seed)]
    settled(weir)
    wrong = reconcile(weir, calls)
    assert not wrong, f"{len(wrong)} of {len(calls)} differ:\n" + "\n".join(wrong[:20])
    # One alone may come before anything is whole.
    assert sum(call.whole for call in calls) > 2 * len(seeds) or len(seeds) == 1, "too little came through to prove anything"
    keys = [(row["node"], row["epoch"], row["seq"]) for row in weir.ledger.rows()]
    assert len(keys) == len(set(keys))


def settled(weir: Weir) -> None:
    """Waits until the spool has nothing left for the sink."""
    deadline = time.monotonic() + 60
    while weir.metric("spool_rows") > 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert weir.metric("spool_rows") == 0
