"""Records through NATS JetStream into PostgreSQL, while either end stops, dies or forgets to answer."""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone

import pytest
from chaos import listening
from load import Load
from nats import SERVER, Nats
from relay import Relay
from sinks import drained, load, needs_postgres, postgres, same, server  # noqa: F401
from weir import Weir, binary

REPLAYS = int(os.environ.get("WEIR_REPLAYS", "3"))
pytestmark = [needs_postgres, pytest.mark.skipif(not SERVER, reason="nats-server is not installed")]


@pytest.fixture
def nats():
    nats = Nats()
    yield nats
    nats.remove()


def secret(place, text: str):
    place.write_text(text)
    place.chmod(0o400)
    return place


@pytest.fixture
def start(run, nats, tmp_path):
    """Starts a Weir that also delivers to NATS, at this address or the server's own."""

    def start(url: str | None = None) -> Weir:
        urls = secret(tmp_path / "nats.secret", url or nats.url)
        return run("a", settings={"ledger": {"nats": {"urls": {"file": str(urls)}}}})

    return start


@pytest.fixture
def drain(nats, postgres, tmp_path):
    """Starts `weir drain` from one server to the other."""
    urls, url = secret(tmp_path / "from.secret", nats.url), secret(tmp_path / "to.secret", postgres.url)
    running: list[subprocess.Popen] = []

    def drain(*more: str) -> subprocess.Popen:
        places = {"--nats": urls, "--postgres": url, "--dead-letters": tmp_path}
        if len(more) == 2:
            places, more = places | {more[0]: more[1]}, ()
        command = [binary(), "drain", "--from", "nats", "--to", "postgres", *sum(places.items(), ()), *more]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield drain
    for process in running:
        process.kill()
        process.communicate()


def emptied(drain) -> str:
    """Drains until nothing is left; what was said of it."""
    process = drain("--until-empty")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    return out


def test_rows_and_prices_arrive_as_they_were_sent(start, nats, drain, postgres):
    weir = start()
    load(weir, 1.0)
    drained(weir)
    assert nats.messages() > 20
    rows = len(weir.ledger.rows())
    assert emptied(drain) == f"{rows} rows, 0 known already, 0 known with other content, 0 laid aside\n"
    assert same(weir, postgres) == rows > 20
    assert len(postgres.ask("select * from weir.price")) == 1
    # What remains is the cursor.
    assert nats.messages() == 1
    weir.stop()
    weir.launch()
    drained(weir)
    assert weir.metric("ledger_duplicates_total") == 0, "the cursor is kept"
    assert emptied(drain).startswith("0 rows, 0 known")


def test_F66_a_server_that_is_away_costs_requests_nothing_and_catches_up(start, nats, drain, postgres):
    weir = start()
    nats.stop()
    slowest = 0.0
    for _ in range(30):
        began = time.monotonic()
        assert weir.ask(stream=False).status == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2
    assert len(weir.ledger.wait(30)) == 30
    weir.settles(30, "spool_rows")
    weir.kill()
    weir.launch()
    nats.start()
    drained(weir)
    emptied(drain)
    assert same(weir, postgres) == 30


def test_every_end_killed_again_and_again_leaves_each_row_once(start, nats, drain, postgres):
    weir = start()
    with Load(weir, 1):
        for number in range(4):
            process = drain()
            time.sleep(0.3 + 0.1 * number)
            process.kill()
            nats.stop(signal.SIGKILL)
            nats.start()
    drained(weir)
    emptied(drain)
    assert same(weir, postgres) > 20
    assert weir.metric("ledger_conflicts_total") == 0
    # Rows that the server had already are not counted as new ones.
    weir.stop()


def test_F68_lost_acknowledgements_and_no_window_for_repeats_change_nothing(start, nats, drain, postgres):
    dropped = []

    def ends(data: bytes) -> bool:
        """The first records of a connection get no answer, four times."""
        if b"HPUB weir.ledger" not in data or len(dropped) == 4:
            return False
        dropped.append(data)
        return True

    nats.request("$JS.API.STREAM.CREATE.weir", {
        "name": "weir", "subjects": ["weir.>"], "retention": "workqueue", "discard": "new", "storage": "file",
        "allow_rollup_hdrs": True, "num_replicas": 1, "duplicate_window": 100_000_000,
    })
    relay = Relay(listening(), ("127.0.0.1", nats.port), ends)
    weir = start(f"nats://127.0.0.1:{relay.listener.getsockname()[1]}")
    load(weir, 1.0)
    drained(weir)
    relay.close()
    assert len(dropped) == 4 and weir.metric("sink_errors_total") >= 2
    rows = len(weir.ledger.rows())
    told = emptied(drain)
    assert told.startswith(f"{rows} rows, ") and not told.startswith(f"{rows} rows, 0 known already")
    assert same(weir, postgres) == rows


def test_F68_the_same_spool_replayed_leaves_the_same_ledger(start, nats, drain, postgres, tmp_path):
    weir = start()
    nats.stop()
    load(weir, 0.5)
    weir.kill()
    saved, state = tmp_path / "saved", weir.directory / "state"
    shutil.copytree(state, saved)
    nats.start()
    hashes = set()
    for _ in range(REPLAYS):
        shutil.rmtree(state)
        shutil.copytree(saved, state)
        # Whatever the server knew of earlier ones is gone with its stream.
        nats.request("$JS.API.STREAM.DELETE.weir")
        weir.launch()
        drained(weir)
        weir.kill()
        emptied(drain)
        hashes.add(postgres.hash())
    assert len(hashes) == 1 and postgres.count() > 10
    weir.launch()


def test_F65_a_cursor_that_is_put_back_while_weir_is_connected_is_noticed(start, nats, drain, postgres):
    weir = start()
    load(weir, 0.3)
    drained(weir)
    node = weir.ledger.rows()[0]["node"].hex()
    asked = {"last_by_subj": f"weir.cursor.{node}"}
    kept = base64.b64decode(nats.request("$JS.API.STREAM.MSG.GET.weir", asked)["message"]["data"])
    load(weir, 0.3, seed=2)
    drained(weir)
    answer = nats.request(f"weir.cursor.{node}", kept, {"Nats-Rollup": "sub"})
    assert "error" not in answer, answer
    weir.ask()
    weir.logged("its cursor is not where it was left")
    drained(weir)
    emptied(drain)
    assert same(weir, postgres) > 20
    assert weir.metric("ledger_lost_total") == 0
    # What was sent before its cursor was refused counts as a repeat afterwards: no longer as a row.
    weir.stop()
    weir.launch()


def test_F65_a_stream_that_is_emptied_gets_again_what_the_spool_has(start, nats, drain, postgres):
    """Within the time in which the server still knows the ids of what it has no more."""
    weir = start()
    load(weir, 0.3)
    drained(weir)
    assert nats.request("$JS.API.STREAM.PURGE.weir")["success"]
    load(weir, 0.3, seed=2)
    drained(weir)
    assert weir.metric("ledger_lost_total") == 0
    assert nats.count("weir.ledger.attempt.>") >= len(weir.ledger.rows()), "the segment was still there"
    assert nats.count("weir.ledger.price") >= 1
    emptied(drain)
    assert same(weir, postgres) > 20
    weir.stop()
    weir.launch()


def test_F69_what_cannot_be_carried_or_read_is_laid_aside_and_the_rest_goes_on(start, nats, drain, postgres, tmp_path):
    weir = start()
    weir.ask()
    drained(weir)
    nats.update(max_msg_size=nats.size("weir.ledger.attempt.>") + 40)
    for number in range(12):
        weir.ask(headers=[("x-title", "long" * 16 if number in (3, 7) else "short")])
    drained(weir)
    assert weir.metric("dead_letters_total") == 2
    laid = (weir.directory / "state/dead-letter-nats.jsonl").read_text().splitlines()
    assert all(json.loads(line)["app"].startswith("long") for line in laid)
    message = nats.request("$JS.API.STREAM.MSG.GET.weir", {"last_by_subj": "weir.ledger.attempt.>"})["message"]
    row = json.loads(base64.b64decode(message["data"]))
    nats.update(max_msg_size=-1)
    strange = [{"node": "nobody's"}, row | {"epoch": "x"}, row | {"seq": 1_000, "outcome": "enlightened"}, row | {"mood": "good"}]
    for message in strange:
        nats.request("weir.ledger.attempt.stranger", message)
    nats.request("weir.ledger.price", b"dream=5 input=1")
    process = drain("--until-empty")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == "11 rows, 0 known already, 0 known with other content, 5 laid aside\n"
    aside = tmp_path / "dead-letter-postgres.jsonl"
    assert f"weir: {aside}: what was laid aside" in err, err
    laid = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [json.loads(line["message"]) for line in laid[:4]] == strange
    for line, why in zip(laid, ["node", "column epoch holds", "column outcome holds", "no row has a column mood", "price text"], strict=True):
        assert why in line["refused"], line
    assert postgres.count() == 11
    command = [binary(), "reconcile", "--state", weir.directory / "state", "--postgres", tmp_path / "to.secret"]
    for more, strange in ((), 0), (("--dead-letters", tmp_path), 5):
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60)
        assert ": 13 rows, 0 of them only in the spool" in done.stdout and "2 are dead letters" in done.stdout, done.stdout
        assert "the database has no cursor of this node" in done.stderr
        assert done.stderr.count("this is no row") == strange, done.stderr
    command[1:2] = ["ledger", "redeliver"]
    for taken, known in ((2, 0), (0, 2)):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.stdout.startswith(f"{taken} rows, {known} known already"), done.stdout + done.stderr
    assert postgres.count() == 13


@pytest.mark.parametrize("newer", ["row", "price"])
def test_what_a_newer_version_wrote_ends_the_drain_and_stays_in_the_stream(start, nats, drain, postgres, tmp_path, newer):
    weir = start()
    weir.ask()
    drained(weir)
    message = nats.request("$JS.API.STREAM.MSG.GET.weir", {"last_by_subj": "weir.ledger.attempt.>"})["message"]
    assert b"Weir-Version: 1\r\n" in base64.b64decode(message["hdrs"])
    subject, text = "weir.ledger.price", b"dream=5 input=1"
    if newer == "row":
        subject = "weir.ledger.attempt.later"
        text = json.dumps(json.loads(base64.b64decode(message["data"])) | {"seq": 1_000, "mood": "good"}).encode()
    sent = nats.request(subject, text, {"Weir-Version": "2"})
    held = nats.messages()
    process = drain()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and f"{subject} holds what a newer version wrote (number 2, this one reads 1)" in err, err
    assert nats.messages() == held and not list(tmp_path.glob("dead-letter-*")), "nothing is acknowledged or laid aside"
    nats.request("$JS.API.STREAM.MSG.DELETE.weir", {"seq": sent["seq"]})
    emptied(drain)
    assert postgres.count() == 1, "the rest comes again"


def test_an_end_that_refuses_is_named_with_what_to_do(start, nats, drain, postgres, tmp_path):
    weir = start()
    weir.ask()
    drained(weir)
    nowhere = tmp_path / "nowhere"
    process = drain("--dead-letters", nowhere)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.startswith(f"weir: {nowhere}: No such file") and "--dead-letters" in err, err
    secret(tmp_path / "garbage.secret", "postgresql://:none")
    process = drain("--postgres", tmp_path / "garbage.secret")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.startswith("weir: the PostgreSQL server: invalid connection string"), err
    # What no waiting helps ends it, with and without --until-empty.
    secret(tmp_path / "other.secret", postgres.url.replace("///postgres", "///missing"))
    process = drain("--postgres", tmp_path / "other.secret")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "the PostgreSQL server: " in err and "3D000" in err, err
    assert ": create the database that the connection string names\n" in err and "trying again" not in err, err
    # What passes is tried again.
    for server, name in ((postgres, "the PostgreSQL server"), (nats, "the NATS servers")):
        server.stop()
        process = drain("--until-empty")
        said = process.stderr.readline()
        assert said.startswith(f"weir: {name}: ") and "find out whether the server runs" in said, said
        assert said.endswith("; trying again\n"), said
        server.start()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    assert postgres.count() == 1
    # For as long as it is to, and no longer.
    nats.stop()
    began = time.monotonic()
    process = drain("--until-empty", "--patience", "1", "--stream", "weir")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "; trying again\n" in err and "the NATS servers: " in err.splitlines()[-2], err
    assert time.monotonic() - began > 1


def test_a_server_that_takes_no_such_user_ends_the_drain_at_once(nats, drain, tmp_path):
    nats.stop()
    nats.more = ["--user", "weir", "--pass", "right"]
    nats.start()
    secret(tmp_path / "wrong.secret", nats.url.replace("://", "://weir:wrong@"))
    process = drain("--nats", tmp_path / "wrong.secret")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "trying again" not in err and "wrong" not in err, err
    assert "authorization violation: correct user, password or certificates of the NATS servers\n" in err, err


def test_a_mistyped_stream_is_not_made(start, nats, drain):
    start()
    deadline = time.monotonic() + 20
    while not nats.request("$JS.API.STREAM.NAMES").get("streams"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process = drain("--stream", "wier")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "the servers have no stream wier: they have weir\n" in err, err
    assert nats.request("$JS.API.STREAM.NAMES")["streams"] == ["weir"]


def us(text: str) -> int:
    """Microseconds of a moment in UTC."""
    since = datetime.fromisoformat(text).replace(tzinfo=timezone.utc) - datetime.fromtimestamp(0, timezone.utc)
    return since // timedelta(microseconds=1)


def test_rows_lie_in_the_month_of_their_end_however_late_they_come(start, nats, drain, postgres):
    weir = start()
    weir.ask()
    drained(weir)
    message = nats.request("$JS.API.STREAM.MSG.GET.weir", {"last_by_subj": "weir.ledger.attempt.>"})["message"]
    emptied(drain)
    row = json.loads(base64.b64decode(message["data"]))
    ends = {  # The last come a year and more after the months before them have begun.
        "2025-11-30T23:59:59.999999": "2025_11", "2025-12-01T00:00:00": "2025_12", "2025-12-31T23:59:59.999999": "2025_12",
        "2026-01-01T00:00:00": "2026_01", "2024-02-29T23:59:59.999999": "2024_02", "2024-03-01T00:00:00": "2024_03",
        "1970-01-01T00:00:00": "1970_01",
    }
    for seq, end in enumerate(ends, 1_000):
        nats.request(message["subject"], row | {"seq": seq, "ended_us": us(end)})
        if seq == 1_003:
            emptied(drain)
    emptied(drain)
    found = postgres.ask("select tableoid::regclass, ended_us from weir.attempt where seq >= 1000 order by seq")
    assert found == [[f"weir.attempt_{month}", str(us(end))] for end, month in ends.items()]
    # A key is one row whatever month another row of it claims, in one batch and later.
    for seq, end in [(1_000, "2025-11-02T00:00:00"), (1_000, "2026-03-01T00:00:00"), (2_000, "2026-03-01T00:00:00"),
                     (2_000, "2026-04-01T00:00:00"), (2_000, "2026-03-01T00:00:00")]:
        nats.request(message["subject"], row | {"seq": seq, "ended_us": us(end)})
    process = drain("--until-empty")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "1 rows, 1 known already, 3 known with other content, 0 laid aside\n"), err
    found = postgres.ask("select seq, ended_us from weir.attempt where seq in (1000, 2000) order by seq")
    assert found == [["1000", str(us("2025-11-30T23:59:59.999999"))], ["2000", str(us("2026-03-01T00:00:00"))]]


@pytest.mark.parametrize("wrong", [{"max_age": 60_000_000_000}, {"discard": "old", "max_msgs": 10},
                                   {"allow_rollup_hdrs": False}, {"retention": "interest"}])
def test_a_stream_that_would_lose_records_is_refused_by_name(start, nats, wrong):
    answer = nats.request("$JS.API.STREAM.CREATE.weir", {
        "name": "weir", "subjects": ["weir.>"], "retention": "limits", "discard": "new", "storage": "file",
        "allow_rollup_hdrs": True, "num_replicas": 1} | wrong)
    assert "error" not in answer, answer
    weir = start()
    weir.ask()
    weir.logged("stream weir d")
    weir.settles(1, "spool_rows")
    assert len(weir.ledger.wait(1)) == 1
    assert nats.request("$JS.API.STREAM.DELETE.weir").get("success"), "the stream is still there"
    drained(weir)
