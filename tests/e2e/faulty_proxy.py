"""A proxy on 127.0.0.1 in front of an S3 server that injects the faults of real storage.

Everything that clients sign (method, path, headers such as Host, the bytes of a body) is passed on unchanged.
"""

import contextlib
import enum
import http.client
import os
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UPSTREAM_S = 60
OF_THE_CONNECTION = ("connection", "expect", "transfer-encoding", "content-length")
"""Headers that are not passed on unchanged."""


class Fault(enum.Enum):
    """What happens to a request or its response."""

    SLOW_DOWN = enum.auto()  # 503; the request does not reach the server
    INTERNAL = enum.auto()  # 500; the request does not reach the server
    RESET = enum.auto()  # a reset in the middle of the body of a PUT or POST, else of the response
    SHORT = enum.auto()  # like RESET, but the connection is closed in the normal way
    CUT = enum.auto()  # half of the response's body, with a matching Content-Length
    LOST = enum.auto()  # the server executes the request; a reset replaces the response
    LOST_500 = enum.auto()  # the server executes the request; 500 replaces the response
    EXPIRED = enum.auto()  # 400: the session token has expired
    DENIED = enum.auto()  # 403
    OTHER_REGION = enum.auto()  # 301: the bucket is in another region


BAD_DAY = (Fault.SLOW_DOWN, Fault.INTERNAL, Fault.RESET, Fault.SHORT, Fault.CUT)
LOST_ANSWERS = (Fault.LOST, Fault.LOST_500)
_ERRORS = {
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.INTERNAL: (500, "InternalError"),
    Fault.LOST_500: (500, "InternalError"),
    Fault.EXPIRED: (400, "ExpiredToken"),
    Fault.DENIED: (403, "AccessDenied"),
    Fault.OTHER_REGION: (301, "PermanentRedirect"),
}


@dataclass(frozen=True)
class Request:
    """A request that has just arrived."""

    number: int
    """Counts from 0 since the proxy started or got another plan."""
    method: str
    path: str
    """The path with the query."""

    @property
    def writes(self) -> bool:
        """Whether it has a body that changes something."""
        return self.method in ("PUT", "POST")


Chooser = Callable[[Request], Fault | None]
"""Chooses the fault of a request, or None; the request waits until it returns."""


def sometimes(rate: float, seed: int, faults: tuple[Fault, ...] = BAD_DAY) -> Chooser:
    """A random one of these faults, for a share of the requests."""

    def choose(request: Request) -> Fault | None:
        generator = random.Random(f"{seed} {request.number}")
        return generator.choice(faults) if generator.random() < rate else None

    return choose


def first(*faults: Fault | None) -> Chooser:
    """These faults, one for each request, then none."""
    return lambda request: faults[request.number] if request.number < len(faults) else None


def since(number: int, fault: Fault) -> Chooser:
    """No fault at first, and this fault for every request from `number` on."""
    return lambda request: fault if request.number >= number else None


@dataclass(frozen=True)
class Answer:
    """The response of the server."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class FaultyProxy:
    """A running proxy."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._lock = threading.Lock()
        self.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        self.choose: Chooser = first()
        self.requests: list[tuple[str, Fault | None]] = []
        """Method and fault of each request so far."""
        self.statuses: list[int] = []
        """Status codes of the server for the requests that reached it."""

    def next(self, method: str, path: str) -> Fault | None:
        """Records a request that has just arrived, and returns its fault."""
        with self._lock:
            number, choose, requests = len(self.requests), self.choose, self.requests
            requests.append((method, None))
        fault = choose(Request(number, method, path))
        requests[number] = (method, fault)
        return fault

    def plan(self, choose: Chooser) -> None:
        """Clears the recorded requests; `choose` chooses the faults of all later ones."""
        with self._lock:
            self.choose, self.requests, self.statuses = choose, [], []

    @property
    def faults(self) -> Counter[Fault]:
        """The number of requests with each fault."""
        return Counter(fault for _, fault in self.requests if fault)


@contextlib.contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """A proxy to a server on `http://host:port` that is stopped at the end of the block."""
    address = upstream.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            fault = proxy.next(self.command, self.path)
            half_way = self.command in ("PUT", "POST") and fault in (Fault.RESET, Fault.SHORT)
            sent = self._received(half_way)
            if half_way or (self.command == "HEAD" and fault in (Fault.RESET, Fault.SHORT)):
                self._hang_up(orderly=fault is Fault.SHORT)
                return
            answer = self._upstream(sent) if fault in (*LOST_ANSWERS, None) or fault not in _ERRORS else None
            if fault is Fault.LOST:
                self._hang_up()
            elif fault in _ERRORS:
                self._send_error(*_ERRORS[fault])
            elif answer:
                self._send(answer, fault)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def _received(self, half: bool) -> bytes:
            """The body, or half of it."""
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                chunks = list(self._chunks())
                return b"".join(chunks)
            length = int(self.headers.get("Content-Length", 0))
            return self.rfile.read(length // 2 if half else length)

        def _chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():  # trailers
                pass

        def _upstream(self, body: bytes) -> Answer:
            passed = {n: v for n, v in self.headers.items() if n.lower() not in OF_THE_CONNECTION}
            if body or self.command in ("PUT", "POST"):
                passed["Content-Length"] = str(len(body))
            connection = http.client.HTTPConnection(address, timeout=UPSTREAM_S)
            with contextlib.closing(connection):
                connection.request(self.command, self.path, body=body, headers=passed)
                answer = connection.getresponse()
                proxy.statuses.append(answer.status)
                return Answer(answer.status, answer.getheaders(), answer.read())

        def _send(self, answer: Answer, fault: Fault | None) -> None:
            body, half = answer.body, len(answer.body) // 2
            if fault is Fault.CUT:
                body = body[:half]
            self.send_response_only(answer.status)
            kept = ("Content-Length",) if self.command == "HEAD" else ()
            for name, value in answer.headers:
                if name.title() in kept or name.lower() not in OF_THE_CONNECTION:
                    self.send_header(name, value)
            if self.command != "HEAD" and answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(body[:half] if fault in (Fault.RESET, Fault.SHORT) else body)
            if fault in (Fault.RESET, Fault.SHORT):
                self._hang_up(orderly=fault is Fault.SHORT)

        def _send_error(self, status: int, code: str) -> None:
            body = f"<Error><Code>{code}</Code><Message>a test</Message></Error>".encode()
            headers = [("Content-Type", "application/xml")]
            if status == 301:
                headers.append(("x-amz-bucket-region", "eu-central-1"))
            self._send(Answer(status, headers, body), None)

        def _hang_up(self, orderly: bool = False) -> None:
            if not orderly:
                linger = struct.pack("ii", 1, 0)  # closing then sends RST instead of FIN
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                os.close(self.connection.detach())
            self.close_connection = True

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # if a client was killed
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy = FaultyProxy(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
