"""A proxy on loopback that stands before an HTTP server and does it harm on demand."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Harm = Literal["answer", "refuse", "stall", "tear-request", "lose-answer", "tear-answer", "skew"]

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})
_ALWAYS = 1 << 30


@dataclass
class Fault:
    """One harm, done to the next ``times`` requests that ``matches(method, path)``.

    ``answer`` answers ``status`` with ``body`` and asks nobody; ``refuse`` hangs up;
    ``stall`` hangs up after ``seconds``; ``tear-request`` hands half of the body on and hangs up on
    both sides; ``lose-answer`` lets the request be carried out and hangs up;
    ``tear-answer`` hangs up in the middle of the answer's body; ``skew`` moves every
    date in the answer's headers by ``seconds``.
    """

    harm: Harm
    matches: Callable[[str, str], bool] = lambda method, path: True
    times: int = _ALWAYS
    status: int = 500
    body: bytes = b""
    seconds: float = 0.0
    done: int = field(default=0, init=False)


class FaultProxy:
    """Forwards to ``upstream`` (``http://host:port``), as it is or with faults.

    Headers go on as they came, ``Host`` included, so that signatures stay right.
    Use it as a context manager; ``endpoint`` is where it listens.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "", parts.port or 80)
        self.requests: list[tuple[str, str]] = []
        self.closing = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.endpoint = f"http://{self.address}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def inject(self, fault: Fault) -> Fault:
        """From now on do ``fault``, in place of those before it."""
        with self._lock:
            self._faults = [fault]
        return fault

    def heal(self) -> None:
        """From now on do no harm."""
        with self._lock:
            self._faults = []

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self._faults:
                if fault.done < fault.times and fault.matches(method, path):
                    fault.done += 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(1 << 16)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        proxy = self.server.proxy
        body = self._body()
        fault = proxy.take(self.command, self.path)
        harm = fault.harm if fault else None
        if fault and harm == "answer":
            self._answer(fault.status, [("Content-Length", str(len(fault.body)))], fault.body)
        elif harm == "refuse":
            self._hang_up()
        elif fault and harm == "stall":
            proxy.closing.wait(fault.seconds)
            self._hang_up()
        elif harm == "tear-request":
            self._tear(body)
        else:
            self._forward(body, fault)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what passes here may be signed."""

    def _body(self) -> bytes:
        if "100-continue" in self.headers.get("Expect", "").lower():
            self.send_response_only(100)
            self.end_headers()
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, body: bytes, length: int) -> http.client.HTTPConnection:
        upstream = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP | {"content-length", "expect"}:
                upstream.putheader(name, value)
        if body or length or self.command in ("PUT", "POST"):
            upstream.putheader("Content-Length", str(length))
        upstream.endheaders(body or None)
        return upstream

    def _tear(self, body: bytes) -> None:
        upstream = self._send(body[: len(body) // 2], len(body))
        upstream.close()
        self._hang_up()

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        upstream = self._send(body, len(body))
        answer = upstream.getresponse()
        data = answer.read()
        headers = [pair for pair in answer.getheaders() if pair[0].lower() not in _HOP_BY_HOP]
        upstream.close()
        if fault and fault.harm == "lose-answer":
            self._hang_up()
            return
        if fault and fault.harm == "skew":
            headers = [(name, _moved(name, value, fault.seconds)) for name, value in headers]
        host, port = self.server.proxy.upstream
        here = self.server.proxy.address
        headers = [
            (name, value.replace(f"{host}:{port}", here) if name.lower() == "location" else value)
            for name, value in headers
        ]
        if not any(name.lower() == "content-length" for name, _ in headers):
            headers.append(("Content-Length", str(len(data))))
        torn = fault is not None and fault.harm == "tear-answer"
        self._answer(answer.status, headers, data[: len(data) // 2] if torn else data)
        if torn:
            self._hang_up()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _moved(name: str, value: str, seconds: float) -> str:
    if name.lower() not in ("date", "last-modified"):
        return value
    moved = parsedate_to_datetime(value) + timedelta(seconds=seconds)
    return format_datetime(moved, usegmt=True)
