"""Where callers connect: TLS, HTTP/2 by ALPN, Unix sockets, and the deadlines of a connection."""

import json
import shutil
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import expect
import h2.connection
import h2.events
import httpx
import pytest
from client import Raw, head
from upstream import leaf
from weir import request


@pytest.fixture
def tls(run, chaos, tmp_path):
    """A Weir that serves TLS, with the files its certificate is read from."""
    files = {"certificate": tmp_path / "chain.pem", "key": tmp_path / "key.pem"}
    install(chaos, "good", files)
    return run("ab", {"listener": {"tls": {name: str(path) for name, path in files.items()}}}), files


def install(chaos, name: str, files: dict[str, Path]) -> None:
    """Puts a certificate and its key where the configuration names them."""
    certs = chaos.ca.parent
    shutil.copy(certs / f"{name}.pem", files["certificate"])
    shutil.copy(certs / f"{name}.key", files["key"])
    files["key"].chmod(0o600)


def trusting(chaos, alpn: list[str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(chaos.ca))
    context.set_alpn_protocols(alpn or ["h2", "http/1.1"])
    return context


def served(weir, chaos) -> int:
    """Serial number of the certificate a new connection is shown."""
    with socket.create_connection(("127.0.0.1", weir.port), timeout=5) as plain:
        with trusting(chaos).wrap_socket(plain, server_hostname="localhost") as sock:
            return int(sock.getpeercert()["serialNumber"], 16)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_tls_serves_either_protocol_by_alpn(tls, chaos, version, path, stream):
    weir, _ = tls
    id, body = weir.body({"a": {"do": "reset"}}, stream=stream)
    both = {"http1": version == 1, "http2": version == 2}
    with httpx.Client(verify=trusting(chaos), timeout=10, **both) as client:
        url = f"https://localhost:{weir.port}{path}"
        reply = client.post(url, content=body, headers=dict([weir.bearer]))
    assert reply.http_version == f"HTTP/{'1.1' if version == 1 else '2'}"
    assert reply.status_code == 200, reply.text
    assert reply.text.endswith("data: [DONE]\n\n") == stream
    assert [row["provider"] for row in weir.rows(id, 2)] == ["a", "b"]


def test_tls_prefers_h2_and_refuses_other_protocols(tls, chaos):
    weir, _ = tls
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
        with socket.create_connection(("127.0.0.1", weir.port), timeout=5) as plain:
            context = trusting(chaos, offered)
            with context.wrap_socket(plain, server_hostname="localhost") as sock:
                assert sock.selected_alpn_protocol() == chosen


def test_a_new_certificate_is_served_after_sighup_and_cuts_nothing(tls, chaos):
    weir, files = tls
    leaf(chaos.ca.parent, "renewed", "ca", "localhost", "20990101000000Z")
    before = served(weir, chaos)
    id, body = weir.body({"a": {"text": ["word "] * 10, "pace": 0.1}}, stream=True)
    with httpx.Client(verify=trusting(chaos), timeout=10, http2=True) as client:
        url = f"https://localhost:{weir.port}/v1/chat/completions"
        with client.stream("POST", url, content=body, headers=dict([weir.bearer])) as reply:
            pieces = reply.iter_text()
            first = next(pieces)
            install(chaos, "renewed", files)
            weir.process.send_signal(signal.SIGHUP)
            weir.settles(1, "reload_total", result="applied")
            after = served(weir, chaos)
            text = first + "".join(pieces)
    assert before != after
    assert text.count("word ") == 10 and text.endswith("data: [DONE]\n\n")


def test_a_key_that_does_not_fit_its_certificate_is_refused_and_the_old_pair_stays(tls, chaos):
    weir, files = tls
    before = served(weir, chaos)
    shutil.copy(chaos.ca.parent / "unknown.key", files["key"])
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="rejected")
    weir.logged("listener[0].tls.key: it cannot be used with this certificate")
    assert served(weir, chaos) == before
    assert weir.check().returncode == 1


def test_a_unix_socket_serves(run, tmp_path):
    weir = run("ab")
    path = tmp_path / "weir.sock"
    settings = weir.conf / "weir.toml"
    settings.write_text(settings.read_text() + f'[[listener]]\naddress = "unix:{path}"\n')
    weir.stop()
    weir.launch()
    transport = httpx.HTTPTransport(uds=str(path))
    id, body = weir.body({"a": {"do": "reset"}}, stream=True)
    with httpx.Client(transport=transport, timeout=10) as client:
        reply = client.post("http://weir/v1/chat/completions", content=body, headers=dict([weir.bearer]))
    assert reply.status_code == 200 and reply.text.endswith("data: [DONE]\n\n")
    weir.rows(id, 2)


# Deadlines (P2, P3)


def closed_after(raw: Raw, at_most: float) -> float:
    """Seconds until Weir closes the connection."""
    began = time.monotonic()
    raw.sock.settimeout(at_most)
    try:
        while raw.sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nhost: w\r\n"])
def test_P2_a_kept_connection_does_not_stay_for_ever(run, sent):
    """Neither silent nor with half a head after the first request."""
    weir = run("a", {"limits": {"keepalive_idle": "1s", "head_timeout": "1s"}})
    with weir.connect() as raw:
        for _ in range(2):
            _, body = weir.body(stream=False)
            expect.whole(raw.ask("POST", "/v1/chat/completions", [weir.bearer], body))
        raw.send(sent)
        assert 0.5 < closed_after(raw, 5) < 3


# A refusal must arrive, whatever the caller is still sending.


@pytest.mark.parametrize("size", [4 << 20, 40 << 20])
@pytest.mark.parametrize("path, key, status", [
    ("/api/v1/chat/completions", "sk-or-v1-nope", 401), ("/api/v1/nope", None, 404),
    ("/v1/chat/completions", None, 413),
])
def test_a_refusal_reaches_a_caller_who_reads_only_what_comes_after_its_body(run, path, key, status, size):
    """As urllib does, and requests: a write that fails costs it the answer."""
    weir = run("a", {"limits": {"body_bytes": "1MiB"}})
    url = f"http://127.0.0.1:{weir.port}{path}"
    headers = {"authorization": f"Bearer {key or weir.deployment.key}"}
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(url, b" " * size, headers), timeout=20)
    assert raised.value.code == status
    assert json.load(raised.value)["error"]["code"] == status


def test_401_comes_whole_before_an_h2_stream_is_reset(run):
    """With code 0: stop sending, the answer stands (RFC 9113, section 8.1). The rest of the body is
    read off first, for a while, because many callers lose the answer to an early reset."""
    weir = run("a", {"listener": {"h2c": True}})
    conn = h2.connection.H2Connection()
    conn.initiate_connection()
    fields = {":method": "POST", ":path": "/v1/chat/completions", ":scheme": "http", ":authority": "w"}
    conn.send_headers(1, [*fields.items(), ("authorization", "Bearer nope"), ("content-length", str(48 << 20))])
    for _ in range(3):
        conn.send_data(1, b"x" * 16_000)
    came = []
    with socket.create_connection(("127.0.0.1", weir.port), timeout=15) as sock:
        sock.sendall(conn.data_to_send())
        while not any(isinstance(event, h2.events.StreamReset) for event in came):
            came += conn.receive_data(sock.recv(65536))
    kinds = (h2.events.ResponseReceived, h2.events.DataReceived, h2.events.StreamEnded, h2.events.StreamReset)
    response, data, _, reset = [event for event in came if isinstance(event, kinds)]
    assert (b":status", b"401") in response.headers
    assert json.loads(data.data)["error"]["message"] == "User not found."
    assert reset.error_code == 0


# What a broken caller says stays out of the log (P14), and what it sends too early is no request (P22).


def test_P14_a_head_that_cannot_be_parsed_is_not_logged(run):
    weir = run("a")
    key = weir.deployment.key.encode()
    for line in (b"authorization Bearer " + key, b"x\x01y: " + key, b"x: " + weir.canary.encode() + b"\x00"):
        with weir.connect(3) as raw:
            raw.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: w\r\n" + line + b"\r\n\r\n")
            closed_after(raw, 3)
    expect.whole(weir.ask())  # and the end of this test reads the log


def pipelined(weir, pace: float) -> tuple[bytes, bytes, str]:
    """A request that is answered slowly, a second one, and the id of the second."""
    _, first = weir.body({"a": {"text": ["word "] * 5, "pace": pace}}, stream=True)
    other, second = weir.body(stream=True)
    return tuple(request("/v1/chat/completions", [weir.bearer], body) for body in (first, second)) + (other,)


def test_P22_a_request_sent_together_with_another_is_dropped_and_the_first_answered(run):
    weir = run("a")
    first, second, other = pipelined(weir, 0.05)
    with weir.connect() as raw:
        raw.send(first + second)
        expect.whole(raw.read(), "word " * 5)
        closed_after(raw, 3)
    assert weir.chaos.truth.requests(other) == []


def test_P22_a_request_sent_during_an_answer_is_never_served(run):
    """It may cost its caller the answer, and leaves one row all the same."""
    weir = run("a")
    first, second, other = pipelined(weir, 0.2)
    with weir.connect() as raw:
        raw.send(first)
        raw.read_until(b"word")
        raw.send(second)
        raw.read()
    assert weir.chaos.truth.requests(other) == []
    assert len(weir.ledger.wait(1)) == 1
    weir.settles(0, "in_flight")
