"""The HTTP side that operators use: `/metrics`, `/livez` and `/readyz`."""

import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from guard.errors import CornerguardError
from guard.serving.certificates import Certificates
from guard.serving.metrics import Metrics

__all__ = ["OperationsServer"]

log = logging.getLogger(__name__)
Page = tuple[int, str, bytes]


class OperationsServer:
    """Serves on threads of its own, so that it answers however busy the models are.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one, see `port`.
        metrics: what `/metrics` shows.
        ready: whether requests are welcome, for `/readyz`.
        tls: what connections are encrypted with; None for plain ones.

    Raises:
        CornerguardError: the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        ready: Callable[[], bool],
        tls: Certificates | None = None,
    ) -> None:
        def page(path: str) -> Page:
            if path == "/metrics":
                return 200, CONTENT_TYPE_PLAIN_0_0_4, metrics.exposition()
            if path == "/livez":
                return 200, "text/plain", b"live\n"
            if path == "/readyz":
                is_ready = ready()
                return (200, "text/plain", b"ready\n") if is_ready else _NOT_READY
            return 404, "text/plain", b"there are /metrics, /livez and /readyz\n"

        try:
            self._server = _Server((host, port), _handler(page, tls))
        except OSError as error:
            raise CornerguardError(f"{host}:{port}: {error.strerror}") from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="operations")
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_NOT_READY: Page = (503, "text/plain", b"not ready\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a slow reader does not hold up the end

    def handle_error(self, request: object, client_address: object) -> None:
        """Note what went wrong with one connection, such as a handshake, and live on."""
        log.debug("a connection to the operations port failed", exc_info=True)


def _handler(page: Callable[[str], Page], tls: Certificates | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds until a silent connection is dropped

        def setup(self) -> None:
            # Here, on the connection's own thread, so that a slow handshake holds up no other.
            if tls is not None:
                self.request.settimeout(self.timeout)
                self.request = tls.context().wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.request.close()  # the server closes the plain socket, which TLS took over

        def do_GET(self) -> None:
            status, kind, body = page(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep probes out of the log."""

    return Handler
