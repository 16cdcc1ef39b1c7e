"""Between Weir and a server: hands everything on, until the server's answer is to be lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Relay:
    """Carries the callers of a listening socket to a server's address.

    `ends` is asked about everything a caller says: where it says yes, that still reaches the server, but
    nothing comes back any more and the connection ends.
    """

    def __init__(self, listener: socket.socket, server: str | tuple, ends: Callable[[bytes], bool]) -> None:
        self.listener, self.server, self.ends = listener, server, ends
        listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(caller,), daemon=True).start()

    def _carry(self, caller: socket.socket) -> None:
        server = socket.socket(self.listener.family)
        ended = threading.Event()
        with caller, server, contextlib.suppress(OSError):
            server.connect(self.server)
            back = threading.Thread(target=self._back, args=(server, caller, ended), daemon=True)
            back.start()
            while data := caller.recv(65536):
                if not ended.is_set() and self.ends(data):
                    ended.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
            back.join()

    @staticmethod
    def _back(server: socket.socket, caller: socket.socket, ended: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if ended.is_set():
                    break  # it was done, and nobody is told
                caller.sendall(data)
        with contextlib.suppress(OSError):
            caller.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()
