"""A small upstream that speaks HTTP/2 over TLS, which the chaos upstream does not.

One stream at a time is enough for a test: it answers what a scripted step would, whole, and remembers
what arrived.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
from chaos import listening
from script import TEXT, USAGE


@dataclass
class H2Upstream:
    """`status` 0 resets the stream instead of answering; `trailers` end it instead of its last data."""

    certificate: Path
    key: Path
    status: int = 200
    trailers: bool = False
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> H2Upstream:
        self.sock = listening()
        self.port = self.sock.getsockname()[1]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, self.key)
        self.context.set_alpn_protocols(["h2"])
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self.context.wrap_socket(plain, server_side=True) as sock:
                self.connections += 1
                self._speak(sock)
        except OSError:
            pass

    def _speak(self, sock: ssl.SSLSocket) -> None:
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        conn.initiate_connection()
        sock.sendall(conn.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytearray] = {}
        while data := sock.recv(65536):
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = {n.decode(): v.decode() for n, v in event.headers}
                    bodies[event.stream_id] = bytearray()
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.requests.append((heads[event.stream_id], bytes(bodies[event.stream_id])))
                    self._answer(conn, event.stream_id, json.loads(bodies[event.stream_id]))
            sock.sendall(conn.data_to_send())

    def _answer(self, conn: h2.connection.H2Connection, stream: int, asked: dict) -> None:
        if self.status == 0:
            conn.reset_stream(stream, error_code=2)
            return
        kind = "text/event-stream" if asked.get("stream") else "application/json"
        conn.send_headers(stream, [(":status", str(self.status)), ("content-type", kind), ("set-cookie", "a=b")])
        for part in _parts(asked) if self.status == 200 else [b'{"error":{"message":"no"}}']:
            conn.send_data(stream, part)
        if self.trailers:
            conn.send_headers(stream, [("x-checksum", "0")], end_stream=True)
        else:
            conn.end_stream(stream)


def _parts(asked: dict) -> list[bytes]:
    base = {"id": "up-1", "created": 1700000000, "model": asked["model"]}
    if not asked.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "".join(TEXT)}, "finish_reason": "stop"}
        document = base | {"object": "chat.completion", "choices": [choice], "usage": USAGE}
        return [json.dumps(document).encode()]
    deltas = [({"content": text}, None) for text in TEXT] + [({}, "stop")]
    choices = [[{"index": 0, "delta": delta, "finish_reason": finish}] for delta, finish in deltas]
    events = [base | {"object": "chat.completion.chunk", "choices": choice} for choice in choices]
    events.append(base | {"object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]
