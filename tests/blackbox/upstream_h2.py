"""An upstream that speaks HTTP/2 without TLS: prints its port and answers each request alike.

    python upstream_h2.py "with the data" | "in a frame of its own" | "in trailers"

The argument says how it ends a stream.
"""

import json
import socket
import sys
import threading

from chaos import listening
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
BODY = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                   "choices": [CHOICE], "usage": USAGE}).encode()


def answer(http: H2Connection, stream: int, end: str) -> None:
    http.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
    http.send_data(stream, BODY, end_stream=end == "with the data")
    if end == "in a frame of its own":
        http.send_data(stream, b"", end_stream=True)
    elif end == "in trailers":
        http.send_headers(stream, [("x-checksum", "0")], end_stream=True)


def serve(conn: socket.socket, end: str) -> None:
    http = H2Connection(H2Configuration(client_side=False))
    http.initiate_connection()
    conn.sendall(http.data_to_send())
    while data := conn.recv(65536):
        for event in http.receive_data(data):
            if isinstance(event, DataReceived):
                http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, StreamEnded):
                answer(http, event.stream_id, end)
        conn.sendall(http.data_to_send())


def main() -> None:
    sock = listening()
    print(sock.getsockname()[1], flush=True)
    while True:
        conn, _ = sock.accept()
        threading.Thread(target=serve, args=(conn, sys.argv[1]), daemon=True).start()


if __name__ == "__main__":
    main()
