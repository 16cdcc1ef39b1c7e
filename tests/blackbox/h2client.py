"""A caller that speaks HTTP/2 by prior knowledge and decides itself when to read, reset or stall."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
from client import connected


class H2Caller:
    """One connection; what came of each stream is kept by its number."""

    def __init__(self, port: int, timeout: float = 10.0, room: int = 0) -> None:
        self.sock = connected(port, timeout, room)
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        _survive_goaway(self.conn)
        self.conn.initiate_connection()
        self.status: dict[int, int] = {}
        self.body: dict[int, bytes] = {}
        self.ended: dict[int, str] = {}
        """end | reset, by stream"""
        self.gone = False

    def __enter__(self) -> H2Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def post(self, path: str, headers: list[tuple[str, str]], body: bytes) -> int:
        """Sends a request; its stream's number."""
        stream = self.conn.get_next_available_stream_id()
        fixed = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "w")]
        self.conn.send_headers(stream, [*fixed, *headers])
        self.body[stream] = b""
        while body:
            room = min(self.conn.local_flow_control_window(stream), self.conn.max_outbound_frame_size)
            self.conn.send_data(stream, body[:room], end_stream=len(body) <= room)
            body = body[room:]
            self.flush()
            if body and self.conn.local_flow_control_window(stream) == 0:
                self.read()
        return stream

    def reset(self, stream: int) -> None:
        self.conn.reset_stream(stream, error_code=8)
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.conn.data_to_send())

    def read(self, take: bool = True, most: int = 65536) -> None:
        """Waits for some bytes. Without `take` their room is not given back: the window fills."""
        data = self.sock.recv(most)
        self.gone = not data
        for event in self.conn.receive_data(data) if data else []:
            stream = getattr(event, "stream_id", 0)
            if isinstance(event, h2.events.ResponseReceived):
                self.status[stream] = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.body[stream] += event.data
                if take:
                    self.conn.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.setdefault(stream, "end")
            elif isinstance(event, h2.events.StreamReset):
                self.ended.setdefault(stream, "reset")
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Sends what reading calls for. A server that has said all and gone takes none of it, and what it
        sent is still to be read."""
        try:
            self.flush()
        except (BrokenPipeError, ConnectionResetError):
            pass

    def until(self, stream: int, mark: bytes) -> None:
        """Reads until this stream has had these bytes."""
        while mark not in self.body[stream]:
            assert not self.gone and stream not in self.ended, self.body[stream][-500:]
            self.read()


def _survive_goaway(conn: h2.connection.H2Connection) -> None:
    """The library gives up at GOAWAY; the streams that stand are still served (RFC 9113, 6.8)."""
    machine = conn.state_machine
    state = h2.connection.ConnectionState.CLIENT_OPEN
    goaway = h2.connection.ConnectionInputs.RECV_GOAWAY
    machine._transitions = machine._transitions | {(state, goaway): (None, state)}
