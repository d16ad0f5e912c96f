"""A relay between client and server whose connections a test can cut."""

import socket
import threading
from contextlib import suppress
from types import TracebackType

__all__ = ["Relay"]


class Relay:
    """Passes bytes on between its own port and a server's."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        self._cut = 0
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self) -> int:
        """End every connection without a word; return how many there were."""
        ends, self._cut = self._ends[self._cut :], len(self._ends)
        for end in ends:
            _end(end)
        return len(ends) // 2

    def __enter__(self) -> "Relay":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _end(self._listening)
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (self._listening, *self._ends):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            self._start(self._pass, near, far)
            self._start(self._pass, far, near)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            with suppress(OSError):  # cut
                while data := source.recv(65536):
                    sink.sendall(data)
        finally:
            _end(source)
            _end(sink)

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_RDWR)
