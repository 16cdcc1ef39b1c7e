"""Records through NATS JetStream into PostgreSQL, while either end stops, dies or forgets to answer."""

import json
import os
import shutil
import signal
import subprocess
import time

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
        command = [binary(), "drain", "--from", "nats", "--to", "postgres", "--nats", urls,
                   "--postgres", url, "--dead-letters", tmp_path, *more]
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


def test_a_server_that_is_away_costs_requests_nothing_and_catches_up(start, nats, drain, postgres):
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


def test_lost_acknowledgements_and_no_window_for_repeats_change_nothing(start, nats, drain, postgres):
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


def test_the_same_spool_replayed_leaves_the_same_ledger(start, nats, drain, postgres, tmp_path):
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


def test_what_cannot_be_carried_or_read_is_laid_aside_and_the_rest_goes_on(start, nats, drain, postgres, tmp_path):
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
    nats.request("weir.ledger.attempt.stranger", {"node": "nobody's"})
    process = drain("--until-empty")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == "11 rows, 0 known already, 0 known with other content, 1 laid aside\n"
    laid = [json.loads(line) for line in (tmp_path / "dead-letter-postgres.jsonl").read_text().splitlines()]
    assert [line["message"] for line in laid] == ['{"node": "nobody\'s"}'] and "node" in laid[0]["refused"]
    assert postgres.count() == 11


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
    nats.request("$JS.API.STREAM.DELETE.weir")
    drained(weir)
