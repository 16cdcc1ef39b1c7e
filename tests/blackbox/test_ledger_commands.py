"""`weir ledger`, `weir reconcile` and the forms of `weir usage`, against a Weir that has served."""

import csv
import io
import json
import sqlite3
import subprocess
import time

from load import Load
from weir import Weir, binary


def weir_says(*arguments: object, input: str | None = None) -> subprocess.CompletedProcess:
    command = [binary(), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, input=input)


def served(run) -> Weir:
    weir = run("ab")
    with Load(weir, 1):
        time.sleep(0.5)
    deadline = time.monotonic() + 10
    while weir.metric("slots_used") + weir.metric("spool_rows") > 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    return weir


def test_a_sound_ledger_verifies_and_one_changed_by_hand_does_not(run):
    weir = served(run)
    done = weir_says("ledger", "verify", "--conf", weir.conf)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"sqlite {len(weir.ledger.rows())} rows, 0 wrong" in done.stdout
    with sqlite3.connect(weir.ledger.path) as base:
        base.execute("update attempt set cost_pico = cost_pico + 1 where seq = 2")
    done = weir_says("ledger", "verify", "--conf", weir.conf)
    assert done.returncode == 1 and "its cost is not that of its usage" in done.stdout, done.stdout


def test_every_row_is_exported_in_both_forms(run):
    weir = served(run)
    rows = weir.ledger.rows()
    lines = [json.loads(line) for line in weir_says("ledger", "export", "--conf", weir.conf).stdout.splitlines()]
    table = list(csv.DictReader(io.StringIO(weir_says("ledger", "export", "--csv", "--ledger", weir.ledger.path).stdout)))
    assert len(lines) == len(table) == len(rows)
    for row, line, cells in zip(rows, lines, table):
        assert (line["seq"], line["session"], line["input"]) == (row["seq"], row["session"], row["input"])
        assert (int(cells["seq"]), cells["session"], int(cells["cost_pico"])) == (row["seq"], row["session"], row["cost_pico"])


def test_rows_and_metrics_agree_to_the_last_token(run):
    weir = served(run)
    metrics = weir.get_admin("/metrics")
    done = weir_says("reconcile", "--conf", weir.conf, "--metrics", "-", input=metrics)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(weir.ledger.rows())} rows, 0 of them only in the spool, 0 differ" in done.stdout
    cost = next(line for line in metrics.splitlines() if line.startswith("weir_cost_picodollars_total{"))
    wrong = metrics.replace(cost, cost + "0")
    done = weir_says("reconcile", "--conf", weir.conf, "--metrics", "-", input=wrong)
    assert done.returncode == 1 and "cost of test/m at" in done.stdout
    with sqlite3.connect(weir.ledger.path) as base:
        base.execute("delete from attempt where seq = 2")
    done = weir_says("reconcile", "--conf", weir.conf)
    assert done.returncode == 1 and "1 are gone from the sink" in done.stdout, done.stdout


def test_a_providers_export_is_compared_by_day_and_model(run, tmp_path):
    weir = served(run)
    sums: dict[tuple, list[int]] = {}
    for row in weir.ledger.rows(provider="a"):
        day = time.strftime("%Y-%m-%d", time.gmtime(row["ended_us"] / 1e6))
        own = sums.setdefault((day, row["upstream_model"]), [0, 0, 0])
        counts = (row["source"] != "none", row["input"] + row["cache_read"], row["output"] + row["reasoning"])
        sums[day, row["upstream_model"]] = [a + b for a, b in zip(own, counts)]

    def compared(more: int) -> subprocess.CompletedProcess:
        lines = [f"{day},{model},{calls},{prompt},{tokens + more}" for (day, model), (calls, prompt, tokens) in sums.items()]
        export = tmp_path / "export.csv"
        export.write_text("\n".join(["date,model,requests,input_tokens,Tokens out", *lines]) + "\n")
        return weir_says("reconcile", "--conf", weir.conf, "--usage", export, "--provider", "a",
                         "--column", "tokens out=completion")

    assert sum(own[2] for own in sums.values()) > 0
    done = compared(0)
    assert done.returncode == 0 and f"export: {3 * len(sums)} sums, 0 differ" in done.stdout, done.stdout + done.stderr
    done = compared(7)
    assert done.returncode == 1 and done.stdout.count("exported (+7)") == len(sums), done.stdout


def test_usage_says_the_same_in_every_form(run):
    weir = served(run)
    rows = json.loads(weir_says("usage", "--conf", weir.conf, "--by", "provider", "--json").stdout)
    table = list(csv.DictReader(io.StringIO(weir_says("usage", "--conf", weir.conf, "--by", "provider", "--csv").stdout)))
    assert [(row["label"], str(row["attempts"]), row["cost_usd"]) for row in rows] == [
        (row["label"], row["attempts"], row["cost_usd"]) for row in table
    ]
    assert sum(row["attempts"] for row in rows) == len(weir.ledger.rows())
    assert sum(row["completion"] for row in rows) == sum(row["output"] for row in weir.ledger.rows())
