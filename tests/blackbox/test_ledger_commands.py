"""`weir ledger`, `weir reconcile` and the forms of `weir usage`, against a Weir that has served."""

import csv
import io
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from load import Load
from sinks import drained, load, needs_postgres, postgres, same, server  # noqa: F401
from weir import Weir, binary


def weir_says(*arguments: object, input: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [binary(), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, input=input, cwd=cwd)


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
    assert re.search(r"sums of epoch \d+, the one that runs, 0 differ", done.stdout), done.stdout
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
        lines.append("Total,,,,0")
        export.write_text("\n".join(["date,model,requests,input_tokens,Tokens out", *lines]) + "\n")
        return weir_says("reconcile", "--conf", weir.conf, "--usage", export, "--provider", "a",
                         "--column", "tokens out=completion")

    assert sum(own[2] for own in sums.values()) > 0
    done = compared(0)
    assert done.returncode == 0 and f"export: {3 * len(sums)} sums, 0 differ" in done.stdout, done.stdout + done.stderr
    assert done.stderr == "weir: 1 lines without a day, as of totals, are passed over\n"
    done = compared(7)
    assert done.returncode == 1 and done.stdout.count("exported (+7)") == len(sums), done.stdout


def test_an_export_that_cannot_differ_is_no_agreement(run, tmp_path):
    weir = served(run)
    export = tmp_path / "export.csv"
    export.write_text("date,model,requests\n")
    done = weir_says("reconcile", "--conf", weir.conf, "--usage", export, "--provider", "a")
    assert done.returncode == 1 and done.stdout == "", done.stdout
    assert done.stderr == f"weir: {export}: it has no line but its header: there is nothing to compare\n"
    export.write_text("date,model,requests\n2026-11-20,m,0\n")
    done = weir_says("reconcile", "--conf", weir.conf, "--usage", export, "--provider", "A")
    assert done.returncode == 1 and done.stderr.startswith("weir: the ledger has no row of a provider A, but of these: a")
    missing = tmp_path / "missing.csv"
    done = weir_says("reconcile", "--conf", weir.conf, "--usage", missing, "--provider", "a")
    assert done.returncode == 1 and done.stderr.startswith(f"weir: {missing}: No such file")


def test_reports_need_no_secret_and_say_where_the_state_is_missing(run, tmp_path):
    weir = served(run)
    conf = tmp_path / "reports"
    shutil.copytree(weir.conf, conf)
    providers = conf / "providers.toml"
    providers.write_text(providers.read_text().replace("[[provider]]", "[[provider]]\ncredential = { credential = \"none\" }"))
    settings = conf / "weir.toml"
    settings.write_text("\n".join(line for line in settings.read_text().splitlines() if "state_directory" not in line))
    (conf / "keys.toml").unlink()
    state = weir.ledger.path.parent
    rows = len(weir.ledger.rows())
    for command in (["usage"], ["ledger", "verify"], ["ledger", "export"], ["reconcile"]):
        done = weir_says(*command, "--conf", conf, cwd=tmp_path)
        assert done.returncode == 1 and "name it with --state DIR" in done.stderr, (command, done.stderr)
        for place in (["--conf", conf, "--state", state], ["--state", state]):
            done = weir_says(*command, *place, cwd=tmp_path)
            assert done.returncode == 0 and str(rows) in done.stdout + str(done.stdout.count("\n")), (command, done.stderr)
    done = weir_says("reconcile", "--ledger", weir.ledger.path)
    assert done.returncode == 1 and "name it with --state DIR, or --conf DIR" in done.stderr


def test_errors_name_what_they_are_of(run, tmp_path):
    weir = served(run)
    missing = tmp_path / "missing"
    done = weir_says("reconcile", "--conf", weir.conf, "--metrics", missing)
    assert done.returncode == 1 and done.stderr.startswith(f"weir: {missing}: No such file"), done.stderr
    done = weir_says("reconcile", "--conf", weir.conf, "--metrics", "-", input="<html>")
    assert done.returncode == 1 and done.stderr.startswith("weir: -: there is no metric of Weir's in it"), done.stderr
    done = weir_says("usage", "--ledger", missing)
    assert done.stderr == f"weir: {missing}: there is no ledger here; `weir run` begins one when it starts\n"
    done = weir_says("usage", "--ledger", tmp_path)
    assert done.stderr == f"weir: {tmp_path}: this is no file: name the database itself with --ledger FILE\n"
    with open("/dev/full", "w") as full:
        for command in (["usage"], ["ledger", "verify"], ["ledger", "export"], ["reconcile"]):
            done = subprocess.run([binary(), *command, "--conf", weir.conf], stdout=full, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 1 and done.stderr.startswith("weir: standard output: No space"), (command, done.stderr)


def test_one_row_that_cannot_be_read_is_named_and_the_others_are_not_kept_back(run):
    weir = served(run)
    rows = len(weir.ledger.rows())
    with sqlite3.connect(weir.ledger.path) as base:
        base.execute("update attempt set source = 'hearsay' where seq = 2")
    done = weir_says("ledger", "verify", "--conf", weir.conf)
    assert done.returncode == 1 and f"sqlite {rows} rows, 1 wrong" in done.stdout
    assert "/2: column source holds what no row has there" in done.stdout
    done = weir_says("ledger", "export", "--conf", weir.conf)
    assert done.returncode == 1 and done.stdout.count("\n") == rows - 1
    assert "/2: column source holds" in done.stderr and "1 rows cannot be read and are not printed" in done.stderr


def test_usage_and_reconcile_count_what_waits_in_the_spool(run):
    weir = served(run)
    stored = len(weir.ledger.rows())
    with closing(sqlite3.connect(weir.ledger.path, isolation_level=None)) as base:
        # The sink cannot write, so that rows stay in the spool; readers can.
        base.execute("begin immediate")
        for _ in range(7):
            weir.ask(stream=False)
        weir.settles(7, "spool_rows")
        done = weir_says("usage", "--conf", weir.conf, "--by", "workspace", "--json")
        (total,) = json.loads(done.stdout)
        assert total["attempts"] > stored and done.returncode == 0
        waiting = total["attempts"] - stored
        assert done.stderr == f"weir: {waiting} attempts are counted that wait in the spool and are not in the database yet\n"
        done = weir_says("reconcile", "--conf", weir.conf)
        assert f"{total['attempts']} rows, {waiting} of them only in the spool, 0 differ" in done.stdout, done.stdout
        base.execute("rollback")
    assert len(weir.ledger.wait(total["attempts"])) == total["attempts"]
    done = weir_says("usage", "--conf", weir.conf, "--by", "workspace", "--json")
    assert json.loads(done.stdout) == [total] and done.stderr == ""


def test_a_line_that_is_no_dead_letter_is_named_with_its_file(run):
    weir = served(run)
    aside = weir.ledger.path.parent / "dead-letter-sqlite.jsonl"
    aside.write_text('{"message":"what is this"}\n')
    for command in (["usage"], ["reconcile"]):
        done = weir_says(*command, "--conf", weir.conf)
        assert done.returncode == 0 and f"weir: {aside}, line 1: this is no row\n" in done.stderr, done.stderr


def test_reconcile_goes_through_every_epoch(run):
    weir = served(run)
    first = len(weir.ledger.rows())
    for _ in range(2):
        weir.stop()
        weir.launch()
    weir.ask(stream=False)
    rows = len(weir.ledger.wait(first + 1))
    done = weir_says("reconcile", "--conf", weir.conf, "--metrics", "-", input=weir.get_admin("/metrics"))
    assert done.returncode == 0, done.stdout + done.stderr
    old, new = (weir.ledger.rows()[at]["epoch"] for at in (0, -1))
    assert f"epochs {old} to {old}: {first} rows of 1 epochs, in the sink alone" in done.stdout
    assert f"epoch {new}: {rows - first} rows, 0 of them" in done.stdout and f"sums of epoch {new}, the one" in done.stdout


@needs_postgres
def test_reports_of_postgresql_say_what_those_of_sqlite_say(run, postgres, tmp_path):
    url = tmp_path / "url"
    url.write_text(postgres.url)
    url.chmod(0o400)
    weir = run("ab", settings={"ledger": {"postgres": {"file": str(url)}}})
    load(weir, 1.0)
    drained(weir)
    rows = same(weir, postgres)
    here, there = ["--conf", weir.conf], ["--conf", weir.conf, "--postgres"]
    exported = weir_says("ledger", "export", *here).stdout
    assert exported.count("\n") == rows and weir_says("ledger", "export", *there).stdout == exported
    for by in ("key", "workspace", "model", "provider", "day"):
        one, other = (weir_says("usage", *place, "--by", by, "--csv") for place in (here, there))
        assert one.stdout == other.stdout and one.stdout.count("\n") > 1 and other.stderr == "", other.stderr
    done = weir_says("ledger", "verify", *there)
    assert done.returncode == 0 and f"postgres {rows} rows, 0 wrong, 1 price versions" in done.stdout, done.stdout
    done = weir_says("reconcile", *there, "--metrics", "-", input=weir.get_admin("/metrics"))
    assert done.returncode == 0 and f"{rows} rows, 0 of them only in the spool" in done.stdout, done.stdout
    export = tmp_path / "export.csv"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    export.write_text(f"date,requests,input_tokens\n{day},1,1\n")
    one, other = (weir_says("reconcile", *place, "--usage", export, "--provider", "a") for place in (here, there))
    assert one.stdout == other.stdout and "exported" in one.stdout, other.stderr

    postgres.stop()
    for _ in range(5):
        weir.ask(stream=False)
    count = len(weir.ledger.wait(rows + 5))
    done = weir_says("usage", *there)
    assert done.returncode == 1 and done.stderr.startswith("weir: the PostgreSQL ledger: error connecting"), done.stderr
    weir.kill()
    postgres.start()
    # What waits for PostgreSQL is counted beside it.
    usage = weir_says("usage", *there, "--by", "workspace", "--json")
    assert json.loads(usage.stdout) == json.loads(weir_says("usage", *here, "--by", "workspace", "--json").stdout)
    assert usage.stderr.startswith(f"weir: {count - rows} attempts are counted that wait"), usage.stderr
    done = weir_says("reconcile", *there)
    assert done.returncode == 0 and f"{count} rows, {count - rows} of them only in the spool" in done.stdout, done.stdout
    postgres.ask("update weir.attempt set cost_pico = cost_pico + 1 where seq = 2; "
                 "update weir.attempt set outcome = 'odd' where seq = 3; delete from weir.attempt where seq = 4")
    done = weir_says("ledger", "verify", *there)
    assert done.returncode == 1 and f"postgres {rows - 1} rows, 2 wrong" in done.stdout, done.stdout
    postgres.ask("update weir.meta set value = 99")
    done = weir_says("usage", "--postgres", url)
    assert done.returncode == 1 and "schema 99, this version knows" in done.stderr, done.stderr
    postgres.ask("drop schema weir cascade")
    done = weir_says("usage", "--postgres", url)
    assert done.returncode == 1 and "this is no ledger of Weir's" in done.stderr, done.stderr


@needs_postgres
def test_reports_need_few_rights_and_wait_for_no_lock(run, postgres, tmp_path):
    url, readers = tmp_path / "url", tmp_path / "readers"
    url.write_text(postgres.url)
    readers.write_text(postgres.url.replace("user=postgres", "user=reader"))
    for file in (url, readers):
        file.chmod(0o400)
    weir = run("a", settings={"ledger": {"postgres": {"file": str(url)}}})
    weir.ask()
    drained(weir)
    here = ["--conf", weir.conf, "--postgres", readers]
    postgres.ask("drop owned by reader; drop role reader" if postgres.ask("select 1 from pg_roles where rolname = 'reader'") else "select 1")
    postgres.ask("create role reader login; alter role reader set default_transaction_read_only = on;"
                 "revoke temporary on database postgres from public; grant usage on schema weir to reader;"
                 "grant select on weir.meta to reader")
    try:
        done = weir_says("usage", *here)
        assert done.returncode == 1 and "42501" in done.stderr, done.stderr
        assert "grant this user USAGE on schema weir and SELECT on its tables" in done.stderr, done.stderr
        postgres.ask("grant select on all tables in schema weir to reader")
        done = weir_says("usage", *here, "--csv")
        assert done.returncode == 0 and done.stdout.count("\n") == 2, done.stderr
        done = weir_says("ledger", "verify", *here)
        assert done.returncode == 0 and "postgres 1 rows, 0 wrong" in done.stdout, done.stderr
        done = weir_says("reconcile", *here)
        assert done.returncode == 1 and "GRANT TEMPORARY on the database" in done.stderr, done.stderr
        postgres.ask("grant temporary on database postgres to reader")
        done = weir_says("reconcile", *here)
        assert done.returncode == 0 and "1 rows, 0 of them only in the spool" in done.stdout, done.stderr
        holder = subprocess.Popen(["psql", "-h", postgres.home, "-U", "postgres", "-Xq", "-c",
                                   "begin; lock weir.attempt in access exclusive mode; select pg_sleep(60)"],
                                  stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not postgres.ask("select 1 from pg_locks where mode = 'AccessExclusiveLock' and granted and "
                                   "relation = 'weir.attempt'::regclass"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            done = weir_says("usage", *here)
            assert done.returncode == 1 and "another process keeps it locked: try again" in done.stderr, done.stderr
        finally:
            holder.kill()
            holder.wait()
            postgres.ask("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)%' "
                         "and pid <> pg_backend_pid()")
    finally:
        postgres.ask("grant temporary on database postgres to public; drop owned by reader; drop role reader")


def on_terminal(command: list) -> bytes:
    """All that a command draws; a terminal holds no more than 4 KiB that nobody has read."""
    ours, its = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=its) as process:
        os.close(its)
        drawn = b""
        try:
            while piece := os.read(ours, 1 << 16):
                drawn += piece
        except OSError:
            pass  # how Linux says that the other side is closed
        process.wait(timeout=20)
    os.close(ours)
    return drawn


def test_progress_is_drawn_on_a_terminal_only(run):
    weir = served(run)
    for command in (["usage"], ["reconcile"], ["ledger", "verify"]):
        command = [binary(), *command, "--conf", weir.conf]
        drawn = on_terminal(command)
        assert b"adding up" in drawn or b"rows, " in drawn, (command, drawn)
        assert subprocess.run(command, capture_output=True, timeout=20).stderr == b""


def test_usage_says_the_same_in_every_form(run):
    weir = served(run)
    rows = json.loads(weir_says("usage", "--conf", weir.conf, "--by", "provider", "--json").stdout)
    table = list(csv.DictReader(io.StringIO(weir_says("usage", "--conf", weir.conf, "--by", "provider", "--csv").stdout)))
    assert [(row["label"], str(row["attempts"]), row["cost_usd"]) for row in rows] == [
        (row["label"], row["attempts"], row["cost_usd"]) for row in table
    ]
    assert sum(row["attempts"] for row in rows) == len(weir.ledger.rows())
    assert sum(row["completion"] for row in rows) == sum(row["output"] for row in weir.ledger.rows())


def test_F65_what_is_gone_of_spool_or_database_is_told_before_and_after_the_next_start(run):
    weir = served(run)
    stored = len(weir.ledger.rows())
    state = weir.ledger.path.parent
    with closing(sqlite3.connect(weir.ledger.path, isolation_level=None)) as base:
        # The sink cannot write, so that rows stay in the spool.
        base.execute("begin immediate")
        for _ in range(7):
            weir.ask(stream=False)
        weir.settles(7, "spool_rows")
        waiting = int(weir.metric("spool_rows"))
        weir.kill()
        base.execute("rollback")
    for segment in state.glob("spool-*.log"):
        segment.unlink()
    for _ in range(2):
        for command in (["reconcile"], ["ledger", "verify"]):
            done = weir_says(*command, "--conf", weir.conf)
            assert done.returncode == 1 and f"0 rows, {waiting} lost" in done.stdout, done.stdout + done.stderr
    weir.launch()
    weir.ask(stream=False)
    rows = len(weir.ledger.wait(stored + 1))
    for command in (["reconcile"], ["ledger", "verify"]):
        done = weir_says(*command, "--conf", weir.conf)
        assert done.returncode == 1 and "0 lost" in done.stdout and f"  {waiting} rows were lost earlier" in done.stdout, done.stdout
    done = weir_says("reconcile", "--conf", weir.conf, "--metrics", "-", input=weir.get_admin("/metrics"))
    assert f"  {waiting} rows lost, say the metrics" in done.stdout
    assert "are gone from it" not in done.stdout, done.stdout
    (state / "losses.jsonl").unlink()
    with sqlite3.connect(weir.ledger.path) as base:
        base.execute("delete from attempt where epoch = (select min(epoch) from attempt) and seq <= 5")
    done = weir_says("reconcile", "--conf", weir.conf)
    gone = rows - len(weir.ledger.rows())
    assert done.returncode == 1 and f"0 were lost before: {waiting + gone} are gone from it" in done.stdout, done.stdout
    done = weir_says("reconcile", "--conf", weir.conf, "--partial")
    assert done.returncode == 0, done.stdout + done.stderr
    # What was lost stays told, and is no alarm of the next start.
    weir.stop()
    weir.launch()


def test_no_row_is_gone_or_lost_after_kills_under_load(run):
    weir = run("ab")
    for seed in range(4):
        with Load(weir, seed):
            time.sleep(0.4)
            weir.kill()
        weir.launch()
    drained(weir)
    for command in (["reconcile"], ["ledger", "verify"]):
        done = weir_says(*command, "--conf", weir.conf)
        assert done.returncode == 0, done.stdout + done.stderr
