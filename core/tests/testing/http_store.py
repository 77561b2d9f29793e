"""A small object server on loopback and a store that speaks to it: HTTP and nothing else."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, quote, urlsplit

from finetuner.artifacts.keys import check_key
from finetuner.artifacts.streams import range_length
from finetuner.contracts import ObjectInfo
from finetuner.errors import ConflictError, NotFoundError, StoreError, TransientStoreError


class ObjectServer(ThreadingHTTPServer):
    """``PUT``, ``GET``, ``HEAD``, ``DELETE`` of ``/key``, ``GET /?list``; in memory."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.lock = threading.Lock()
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up."""


@contextlib.contextmanager
def object_server() -> Iterator[ObjectServer]:
    server = ObjectServer()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ObjectServer

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        data = self.rfile.read(length)
        if len(data) < length:
            self.close_connection = True
            return
        with self.server.lock:
            if self.headers.get("If-None-Match") == "*" and self.path[1:] in self.server.objects:
                self._answer(412)
                return
            self.server.objects[self.path[1:]] = (data, time.clock_gettime(time.CLOCK_REALTIME))
        self._answer(200)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        with self.server.lock:
            objects = dict(self.server.objects)
        if "list" in parse_qs(parts.query, keep_blank_values=True):
            rows = [[key, len(data), at] for key, (data, at) in sorted(objects.items())]
            self._answer(200, json.dumps(rows).encode())
        elif parts.path[1:] not in objects:
            self._answer(404)
        else:
            data, at = objects[parts.path[1:]]
            headers = {"Last-Modified": self.date_time_string(int(at)), "At": at}
            self._answer(200, data, headers)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        with self.server.lock:
            found = self.server.objects.pop(self.path[1:], None)
        self._answer(404 if found is None else 204)

    def _answer(self, status: int, body: bytes = b"", headers: Any = ()) -> None:
        self.send_response(status)
        for name, value in dict(headers, **{"Content-Length": len(body)}).items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class HttpStore:
    """A store at an ``ObjectServer``; reads whole objects, retries nothing."""

    def __init__(self, endpoint: str, timeout: float | None = 5.0) -> None:
        self.url, self.timeout = endpoint, timeout

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        check_key(key)
        headers = {"If-None-Match": "*"} if if_absent else {}
        self.request("PUT", f"/{key}", stream.read(), headers)

    def get(self, key: str, start: int = 0, end: int | None = None) -> BinaryIO:
        range_length(start, end)
        return io.BytesIO(self.request("GET", f"/{check_key(key)}")[0][start:end])

    def stat(self, key: str) -> ObjectInfo:
        _, headers = self.request("HEAD", f"/{check_key(key)}")
        return ObjectInfo(key, int(headers["Content-Length"]), float(headers["At"]))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        for key, size, at in json.loads(self.request("GET", "/?list")[0]):
            if key.startswith(prefix) and key > after:
                yield ObjectInfo(key, size, at)

    def delete(self, key: str) -> None:
        self.request("DELETE", f"/{check_key(key)}")

    def request(self, method: str, path: str, body: bytes | None = None, headers: Any = ()) -> Any:
        """Body and headers of the answer, or the error that its status means."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.timeout)
        try:
            connection.request(method, quote(path, safe="/?"), body, dict(headers))
            answer = connection.getresponse()
            data = self.read(answer)
        except (OSError, http.client.HTTPException) as error:
            raise TransientStoreError(f"{self.url}{path} failed: {error!r}") from error
        finally:
            connection.close()
        if answer.status == 404:
            raise NotFoundError(f"there is nothing at {self.url}{path}")
        if answer.status == 412:
            raise ConflictError(f"{self.url}{path} is already there")
        if answer.status == 429 or answer.status >= 500:
            raise TransientStoreError(f"{self.url}{path} answers {answer.status}")
        if answer.status >= 300:
            raise StoreError(f"{self.url}{path} answers {answer.status}")
        return data, answer.headers

    def read(self, answer: http.client.HTTPResponse) -> bytes:
        return answer.read()
