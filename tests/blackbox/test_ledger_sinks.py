"""Several sinks at once: PostgreSQL that stops, dies, forgets to answer and refuses; files of JSON lines."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from load import Load
from relay import Relay
from postgres import Postgres
from sinks import drained, load, needs_postgres, postgres, same, server  # noqa: F401
from upstream import certificates
from weir import Weir, binary

REPLAYS = int(os.environ.get("WEIR_REPLAYS", "5"))


def says(*words: object) -> subprocess.CompletedProcess:
    """What the command says."""
    return subprocess.run([binary(), *map(str, words)], capture_output=True, text=True, timeout=20)


@pytest.fixture
def start(run, tmp_path):
    """Starts a Weir that also delivers to this connection string."""

    def start(url: str, **settings: object) -> Weir:
        secret = tmp_path / "postgres.secret"
        secret.write_text(url)
        secret.chmod(0o400)
        return run("a", settings={"ledger": {"postgres": {"file": str(secret)}} | settings})

    return start


@needs_postgres
def test_both_databases_have_the_same_rows_in_partitions_of_a_month(start, postgres):
    weir = start(postgres.url)
    load(weir, 1.0)
    drained(weir)
    assert same(weir, postgres) > 20
    now = time.strftime("%Y_%m", time.gmtime())
    names = {name for (name,) in postgres.ask("select inhrelid::regclass::text from pg_inherits where "
                                              "inhparent = 'weir.attempt'::regclass")}
    assert f"weir.attempt_{now}" in names
    assert len(postgres.ask("select * from weir.price")) == 1
    weir.stop()
    weir.launch()
    drained(weir)
    assert weir.metric("ledger_duplicates_total") == 0, "the cursor is kept"


@needs_postgres
def test_F66_a_server_that_is_away_costs_requests_nothing_and_catches_up(start, postgres):
    weir = start(postgres.url)
    postgres.stop()
    slowest = 0.0
    for _ in range(30):
        began = time.monotonic()
        assert weir.ask(stream=False).status == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2
    # SQLite has its rows all the same.
    assert len(weir.ledger.wait(30)) == 30
    weir.settles(30, "spool_rows")
    deadline = time.monotonic() + 10
    while not weir.metric("sink_errors_total"):
        assert time.monotonic() < deadline, "nobody says that the server is away"
        time.sleep(0.05)
    weir.kill()
    weir.launch()
    postgres.start()
    drained(weir)
    assert same(weir, postgres) == 30


@needs_postgres
@pytest.mark.parametrize("seed", range(2))
def test_a_server_killed_in_the_middle_of_commits_has_each_row_once(start, postgres, seed):
    weir = start(postgres.url)
    with Load(weir, seed):
        for number in range(4):
            time.sleep(0.3 + 0.1 * number)
            postgres.stop(signal.SIGKILL)
            (postgres.home / "data" / "postmaster.pid").unlink(missing_ok=True)
            postgres.start()
    drained(weir)
    same(weir, postgres)
    assert weir.metric("ledger_conflicts_total") == 0


class Unanswered:
    """Every third commit is carried out, and its answer dropped."""

    def __init__(self) -> None:
        self.commits = self.dropped = 0

    def ends(self, data: bytes) -> bool:
        if b"COMMIT\0" not in data:
            return False
        self.commits += 1
        self.dropped += self.commits % 3 == 0
        return self.commits % 3 == 0


@needs_postgres
def test_F68_a_lost_acknowledgement_is_delivered_again_and_changes_nothing(start, postgres, tmp_path):
    place = Path("/tmp") / f"weir-relay-{tmp_path.name}-{id(tmp_path)}"
    place.mkdir()
    answers = Unanswered()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / ".s.PGSQL.5432"))
    relay = Relay(listener, str(postgres.home / ".s.PGSQL.5432"), answers.ends)
    try:
        weir = start(f"postgresql:///postgres?host={place}&user=postgres")
        load(weir, 2.0)
        drained(weir)
        assert answers.dropped >= 2 and same(weir, postgres) > 20
        assert weir.metric("ledger_conflicts_total") == 0
        assert weir.metric("sink_errors_total") >= 2
        weir.stop()
    finally:
        relay.close()
        shutil.rmtree(place)


# The table first, as those who write rows lock it: a drop alone locks the other way round.
UNTRIGGER = "begin; lock table weir.attempt in access exclusive mode; drop function if exists mine cascade; commit"
FIRST = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
NEXT = (FIRST + timedelta(days=32)).replace(day=1)
MONTH = f"attempt_{FIRST:%Y_%m}"
ATTACH = (f"alter table weir.attempt attach partition weir.{MONTH} for values"
          f" from ({int(FIRST.timestamp()) * 1_000_000}) to ({int(NEXT.timestamp()) * 1_000_000})")


def trigger(body: str, when: str = "before") -> str:
    """A trigger of the operator's on every row."""
    return (f"create or replace function mine() returns trigger language plpgsql as $$ begin {body} return new; end $$;"
            f"create trigger mine {when} insert on weir.attempt for each row execute function mine()")


@needs_postgres
@pytest.mark.parametrize("sql, said", [
    ("alter table weir.attempt add check (app <> 'poison')", "23514"),
    (trigger("if new.app = 'poison' then raise exception 'not that one'; end if;"), "not that one (P0001)"),
    (trigger("if new.app = 'poison' then raise exception 'mine' using errcode = 'MY001'; end if;", "after"), "MY001"),
    (trigger("if new.app = 'poison' then perform 1 / 0; end if;"), "22012"),
    (trigger("if new.app = 'poison' then return null; end if;"), "drops it"),
], ids=["check", "exception", "own code", "division", "dropped"])
def test_F69_a_poison_row_is_laid_aside_and_the_rest_goes_on(start, postgres, sql, said):
    weir = start(postgres.url)
    weir.ask()
    drained(weir)
    postgres.ask(sql)
    for number in range(12):
        weir.ask(headers=[("x-title", "poison" if number in (3, 7) else "sound")])
    drained(weir)
    # Alone in its batch as well.
    weir.ask(headers=[("x-title", "poison")])
    drained(weir)
    assert postgres.count() == 11 and len(weir.ledger.rows()) == 14
    assert weir.metric("dead_letters_total") == 3 and weir.metric("ledger_duplicates_total") == 0
    laid = (weir.directory / "state/dead-letter-postgres.jsonl").read_text().splitlines()
    assert [json.loads(line)["app"] for line in laid] == ["poison"] * 3
    assert all(said in json.loads(line)["refused"] for line in laid)
    done = says("usage", "--conf", weir.conf, "--postgres", "--by", "workspace", "--json")
    assert json.loads(done.stdout)[0]["attempts"] == 14, "what was laid aside was served all the same"
    assert done.stderr.startswith("weir: 3 attempts are counted that the database refused"), done.stderr
    done = says("reconcile", "--conf", weir.conf, "--postgres")
    assert done.returncode == 1 and "0 are gone from the sink, 3 are dead letters" in done.stdout, done.stdout + done.stderr
    done = says("reconcile", "--conf", weir.conf)
    assert done.returncode == 0 and "14 rows" in done.stdout, "the other database has them"
    done = says("ledger", "redeliver", "--conf", weir.conf, "--postgres")
    assert done.returncode == 1 and ", 3 refused again" in done.stdout, done.stdout + done.stderr
    postgres.ask(UNTRIGGER + "; alter table weir.attempt drop constraint if exists attempt_app_check")
    for fresh, known in ((3, 0), (0, 3)):
        done = says("ledger", "redeliver", "--conf", weir.conf, "--postgres")
        assert done.returncode == 0 and done.stdout.startswith(f"{fresh} rows, {known} known"), done.stdout + done.stderr
    assert same(weir, postgres) == 14
    done = says("reconcile", "--conf", weir.conf, "--postgres")
    assert done.returncode == 0 and "0 are dead letters" in done.stdout, done.stdout + done.stderr


@needs_postgres
@pytest.mark.parametrize("sql, back, said", [
    (trigger("raise exception 'frozen';"), UNTRIGGER, "it takes no row at all"),
    ("alter table weir.attempt rename to elsewhere", "alter table weir.elsewhere rename to attempt", "rights on schema weir"),
    ("alter table weir.attempt rename column app to app2", "alter table weir.attempt rename column app2 to app", "42703"),
    (trigger("insert into nowhere values (1);"), UNTRIGGER, "42P01"),
    ("do $$ begin execute format('alter table weir.attempt add constraint mine check (started_us <= %s)', "
     "(select max(started_us) from weir.attempt)); end $$", "alter table weir.attempt drop constraint mine", "takes no row at all"),
    (f"alter table weir.attempt detach partition weir.{MONTH}", ATTACH, "attach the table of the month"),
], ids=["frozen", "no table", "no column", "trigger's table", "no new row", "partition taken away"])
def test_F69_a_fault_of_the_whole_server_lays_nothing_aside(start, postgres, sql, back, said):
    weir = start(postgres.url)
    weir.ask()
    drained(weir)
    postgres.ask(sql)
    refused(weir, said)
    postgres.ask(back)
    drained(weir)
    assert same(weir, postgres) == 4 and weir.metric("dead_letters_total") == 0


def refused(weir: Weir, said: str) -> None:
    """Three rows wait, for a reason that the log says."""
    for number in range(3):
        weir.ask()
    weir.logged(said)
    assert len(weir.ledger.wait(4)) == 4, "SQLite has its rows all the same"
    weir.settles(3, "spool_rows")


@needs_postgres
def test_F69_a_server_that_takes_no_writes_lays_nothing_aside(start, postgres):
    weir = start(postgres.url)
    weir.ask()
    drained(weir)
    postgres.stop()
    postgres.start("-c", "default_transaction_read_only=on")
    refused(weir, "25006")
    postgres.stop()
    postgres.start()
    drained(weir)
    assert same(weir, postgres) == 4 and weir.metric("dead_letters_total") == 0


@needs_postgres
def test_reports_tell_of_rows_that_the_databases_encoding_lacks(start, postgres):
    postgres.ask("drop database if exists latin")
    postgres.ask("create database latin encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'")
    weir = start(postgres.url.replace("///postgres", "///latin"))
    for user in ("plain", "日本", "plain"):
        weir.ask(path="/v1/chat/completions", user=user)
    drained(weir)
    assert weir.metric("dead_letters_total") == 1
    done = says("usage", "--conf", weir.conf, "--postgres", "--by", "workspace", "--json")
    assert json.loads(done.stdout)[0]["attempts"] == 2
    assert done.stderr.startswith("weir: 1 rows or files of spool and dead letters cannot be counted"), done.stderr


@needs_postgres
def test_a_server_over_tls_needs_a_certificate_for_its_name(run, tmp_path):
    certificates(tmp_path / "certificates")
    postgres = Postgres()
    try:
        url = postgres.encrypted(tmp_path / "certificates", "wronghost")
        secret = tmp_path / "postgres.secret"
        secret.write_text(url)
        secret.chmod(0o400)
        weir = run("a", settings={"ledger": {"postgres": {"file": str(secret)}}},
                   environment={"SSL_CERT_FILE": str(tmp_path / "certificates/ca.pem")})
        weir.ask()
        weir.logged("not valid for name")
        weir.settles(1, "spool_rows")
        postgres.encrypted(tmp_path / "certificates", "good")
        drained(weir)
        assert same(weir, postgres) == 1
        assert int(postgres.ask("select count(*) from pg_stat_ssl where ssl")[0][0]) >= 1
    finally:
        postgres.remove()


@needs_postgres
def test_F67_a_lock_held_by_another_delays_rows_and_no_request(start, postgres):
    weir = start(postgres.url)
    weir.ask()
    drained(weir)
    holder = subprocess.Popen(["psql", "-h", postgres.home, "-U", "postgres", "-Xq", "-c",
                               "begin; lock weir.attempt in access exclusive mode; select pg_sleep(4); rollback"],
                              stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    began = time.monotonic()
    assert [weir.ask(stream=False).status for _ in range(10)] == [200] * 10
    assert time.monotonic() - began < 3.5, "requests wait for the lock"
    assert holder.wait(timeout=10) == 0
    drained(weir)
    assert same(weir, postgres) == 11


@needs_postgres
def test_F67_a_deadlock_gives_the_same_batch_again(start, postgres):
    weir = start(postgres.url)
    with Load(weir, 1):
        time.sleep(0.5)
        # Weir has the cursor and wants to write rows; this has the rows and wants the cursor, and came second.
        other = subprocess.run(["psql", "-h", postgres.home, "-U", "postgres", "-Xq", "-c",
                                "begin; lock weir.attempt in exclusive mode; select pg_sleep(0.6);"
                                "lock weir.cursor in access exclusive mode; rollback"],
                               stdout=subprocess.DEVNULL, timeout=30)
    assert other.returncode == 0, "the other one was the victim"
    drained(weir)
    assert same(weir, postgres) > 20
    assert "40P01" in weir.log.read_text() and weir.metric("ledger_conflicts_total") == 0


@needs_postgres
def test_F67_a_serialization_failure_gives_the_same_batch_again(start, postgres):
    postgres.ask("alter role postgres set default_transaction_isolation = 'repeatable read'")
    try:
        weir = start(postgres.url)
        weir.ask()
        drained(weir)
        with Load(weir, 1):
            deadline = time.monotonic() + 30
            # Whoever changes the cursor between Weir's first look and its own change makes that fail.
            while "40001" not in weir.log.read_text():
                assert time.monotonic() < deadline, "no serialization failure"
                postgres.ask('begin isolation level read committed; update weir.cursor set "offset" = "offset"; select pg_sleep(0.7); commit')
        drained(weir)
        assert same(weir, postgres) > 20
        assert weir.metric("ledger_conflicts_total") == 0
    finally:
        postgres.ask("alter role postgres reset default_transaction_isolation")


@needs_postgres
def test_a_partition_that_was_dropped_is_made_again_and_no_row_laid_aside(start, postgres):
    weir = start(postgres.url)
    weir.ask()
    drained(weir)
    [[dropped]] = postgres.ask("select inhrelid::regclass from pg_inherits where inhparent = 'weir.attempt'::regclass")
    postgres.ask(f"drop table {dropped}")
    weir.ask()
    drained(weir)
    assert postgres.count() == 1 and weir.metric("dead_letters_total") == 0


SCHEMA = [Path(__file__).parents[2] / f"src/ledger/sink/postgres/schema_{version}.sql" for version in (1, 2, 3)]
SUMS = "select count(*), sum(input), sum(output), sum(cost_pico), sum(charge_pico), min(seq), max(ended_us) from "


@needs_postgres
@pytest.mark.parametrize("version", range(1, len(SCHEMA) + 1))
def test_rows_of_every_older_schema_stay_as_they_were(start, postgres, version):
    assert not SCHEMA[-1].with_name(f"schema_{len(SCHEMA) + 1}.sql").exists(), "a schema without its test"
    weir = start(postgres.url)
    load(weir, 0.5)
    drained(weir)
    weir.stop()
    postgres.ask("drop table if exists saved, places; create table saved as select * from weir.attempt;"
                 "create table places as select * from weir.cursor")
    sums = postgres.ask(SUMS + "saved")
    parts = postgres.ask("select inhrelid::regclass, pg_get_expr(c.relpartbound, c.oid) from pg_inherits "
                         "join pg_class c on c.oid = inhrelid where inhparent = 'weir.attempt'::regclass")
    postgres.ask("drop schema weir cascade; create schema weir;"
                 "create table weir.meta (name text primary key, value bigint not null);"
                 f"insert into weir.meta values ('schema', {version})")
    for step in SCHEMA[:version]:
        postgres.ask(step.read_text())
    for name, bounds in parts:
        postgres.ask(f"create table {name} partition of weir.attempt {bounds}")
    [[columns]] = postgres.ask("select string_agg(quote_ident(attname), ',') from pg_attribute "
                               "where attrelid = 'weir.attempt'::regclass and attnum > 0 and not attisdropped")
    [[places]] = postgres.ask("select string_agg(quote_ident(attname), ',' order by attnum) from pg_attribute "
                              "where attrelid = 'weir.cursor'::regclass and attnum > 0 and not attisdropped")
    postgres.ask(f"insert into weir.attempt ({columns}) select {columns} from saved;"
                 f"insert into weir.cursor select {places} from places")
    weir.launch()
    weir.ask()
    drained(weir)
    assert postgres.ask("select value from weir.meta") == [[str(len(SCHEMA))]]
    newest = "(select * from weir.attempt where epoch = (select max(epoch) from saved)) a"
    assert postgres.ask(SUMS + newest) == sums
    assert same(weir, postgres) == int(sums[0][0]) + 1
    assert weir.metric("ledger_conflicts_total") == weir.metric("ledger_duplicates_total") == 0
    postgres.ask("drop table saved, places")


@needs_postgres
def test_F68_the_same_spool_replayed_leaves_the_same_ledger(start, postgres, tmp_path):
    weir = start(postgres.url)
    load(weir, 0.5)
    drained(weir)
    postgres.stop()
    load(weir, 0.5, seed=2)
    weir.kill()
    saved = tmp_path / "saved"
    shutil.copytree(weir.directory / "state", saved)
    postgres.start()
    hashes = set()
    for number in range(REPLAYS):
        shutil.rmtree(weir.directory / "state")
        shutil.copytree(saved, weir.directory / "state")
        if number % 2:
            postgres.ask("delete from weir.cursor")
        weir.launch()
        drained(weir)
        hashes.add(postgres.hash())
        assert weir.metric("ledger_conflicts_total") == 0
        weir.kill()
    assert len(hashes) == 1
    weir.launch()


@needs_postgres
def test_F65_a_server_that_is_put_back_while_it_is_connected_is_noticed(start, postgres):
    """Rows and cursor as they were, by a transaction that ends no connection."""
    weir = start(postgres.url)
    load(weir, 0.3)
    drained(weir)
    for table in ("attempt", "cursor"):
        postgres.ask(f"create table kept_{table} as table weir.{table}")
    for round in range(2):
        load(weir, 0.3, seed=2 + round)
        drained(weir)
        kept = "; ".join(f"delete from weir.{table}; insert into weir.{table} table kept_{table}"
                         for table in ("attempt", "cursor"))
        postgres.ask(f"do $$ begin {kept}; end $$")
        before = len(weir.log.read_text())
        weir.ask()
        weir.logged("its cursor is not where it was left", before)
        drained(weir)
        assert same(weir, postgres) > 10, "the spool still had them"
    for table in ("attempt", "cursor"):
        postgres.ask(f"drop table kept_{table}")
    assert weir.metric("ledger_lost_total") == 0


def test_files_of_json_lines_hold_each_row_once_through_kills(run, tmp_path):
    place = tmp_path / "attempts"
    weir = run("a", settings={"ledger": {"jsonl": {"directory": str(place), "rotate": "8KiB"}}})
    for seed in range(3):
        with Load(weir, seed):
            time.sleep(0.4)
            weir.kill()
        weir.launch()
    load(weir, 0.3)
    drained(weir)
    files = sorted(place.glob("attempts-*.jsonl"))
    assert len(files) > 2
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    rows = {(row["epoch"], row["seq"]): row for row in weir.ledger.rows()}
    assert len(lines) == len(rows)
    for line in lines:
        row = rows[line["epoch"], line["seq"]]
        assert row["node"].hex() == line["node"] and row["cost_pico"] == line["cost_pico"]
        assert json.loads(row["delivered"]) == line["delivered"]
