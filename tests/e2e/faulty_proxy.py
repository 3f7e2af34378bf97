"""A proxy on 127.0.0.1 in front of an S3 server that answers the way storage does on a bad day."""

import contextlib
import enum
import http.client
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, list[tuple[str, str]], bytes]


class Fault(enum.Enum):
    """What is done to one answer."""

    SLOW_DOWN = enum.auto()  # 503
    INTERNAL = enum.auto()  # 500
    RESET = enum.auto()  # half of the body, then a reset of the connection
    SHORT = enum.auto()  # half of the body, then an orderly end
    CUT = enum.auto()  # half of the body, under headers that say so: nothing but its size is wrong
    EXPIRED = enum.auto()  # 400: the session's token is no longer good
    DENIED = enum.auto()  # 403


BAD_DAY = (Fault.SLOW_DOWN, Fault.INTERNAL, Fault.RESET, Fault.SHORT, Fault.CUT)
_ERRORS = {
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.INTERNAL: (500, "InternalError"),
    Fault.EXPIRED: (400, "ExpiredToken"),
    Fault.DENIED: (403, "AccessDenied"),
}
Chooser = Callable[[int], Fault | None]
"""The fault of the request with a number (0, 1, …), or none."""


def sometimes(rate: float, seed: int, faults: tuple[Fault, ...] = BAD_DAY) -> Chooser:
    """A fault of these for a share of the requests."""
    generator = random.Random(seed)
    return lambda _: generator.choice(faults) if generator.random() < rate else None


def first(*faults: Fault | None) -> Chooser:
    """These faults, one a request, then none."""
    return lambda number: faults[number] if number < len(faults) else None


class FaultyProxy:
    """A running proxy."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._lock = threading.Lock()
        self.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        self.choose: Chooser = first()
        self.requests: list[tuple[str, Fault | None]] = []
        """Method and fault of each request so far."""
        self.statuses: list[int] = []
        """What the server behind answered to those that reached it."""

    def next(self, method: str) -> Fault | None:
        """The fault of a request that has just come."""
        with self._lock:
            fault = self.choose(len(self.requests))
            self.requests.append((method, fault))
            return fault

    def plan(self, choose: Chooser) -> None:
        """Forgets the requests so far, and takes the faults of those to come from `choose`."""
        with self._lock:
            self.choose, self.requests, self.statuses = choose, [], []


@contextlib.contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """A proxy to a server on `http://host:port` that is stopped with the block."""
    address = upstream.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fault = proxy.next(self.command)
            if fault in _ERRORS:
                status, code = _ERRORS[fault]
                body = f"<Error><Code>{code}</Code><Message>a test</Message></Error>".encode()
                self._send((status, [("Content-Length", str(len(body)))], body), len(body))
                return
            if self.command == "HEAD" and fault in (Fault.RESET, Fault.SHORT):
                self._hang_up()
                return
            status, headers, body = self._upstream()
            half = len(body) // 2
            if fault is Fault.CUT and body:
                headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
                headers.append(("Content-Length", str(half)))
            self._send((status, headers, body), half if fault else len(body))
            if fault is Fault.RESET:
                self._hang_up()
            elif fault is Fault.SHORT:
                self.close_connection = True

        do_HEAD = do_GET

        def _upstream(self) -> Answer:
            connection = http.client.HTTPConnection(address, timeout=30)
            with contextlib.closing(connection):
                # The Host header goes on as it came: it is part of what the client has signed.
                connection.request(self.command, self.path, headers=dict(self.headers.items()))
                answer = connection.getresponse()
                proxy.statuses.append(answer.status)
                return answer.status, answer.getheaders(), answer.read()

        def _hang_up(self) -> None:
            linger = struct.pack("ii", 1, 0)  # closing then sends RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())
            self.close_connection = True

        def _send(self, answer: Answer, count: int) -> None:
            status, headers, body = answer
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[:count])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = FaultyProxy(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
