"""A bucket of Google Cloud Storage, through its JSON interface.

https://cloud.google.com/storage/docs/json_api
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import quote

from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from requests import RequestException, Response

from finetuner_objectstore.bucket import SLOWEST, Entry, Piece
from finetuner_objectstore.failures import CloudError, Kind, Words
from finetuner_objectstore.gcs_errors import check_answer
from finetuner_objectstore.gcs_upload import MultipartBody, send_parts
from finetuner_objectstore.place import Place


class GcsBucket:
    """The requests of ``Bucket``; a creation asks for generation 0 to be matched."""

    def __init__(self, session: Any, host: str, place: Place, words: Words, timeout: float) -> None:
        self.words, self._session, self._timeout = words, session, timeout
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        self._root = f"{host}/storage/v1/b/{quote(place.bucket)}"
        self._uploads = f"{host}/upload/storage/v1/b/{quote(place.bucket)}/o"

    def write(self, name: str, data: bytes, create: bool) -> None:
        self._write_at_once(name, io.BytesIO(data), len(data), create)

    def write_parts(self, name: str, parts: Iterator[bytes], size: int | None) -> None:
        query = {"uploadType": "resumable", "name": self._prefix + name}
        begun = self.request("POST", self._uploads, query, json={"name": query["name"]})
        session = begun.headers["Location"]

        def send(data: bytes, place: str) -> Response:
            return self.request("PUT", session, data=data, headers={"Content-Range": place})

        send_parts(send, parts)

    def create_from(self, name: str, file: BinaryIO, size: int) -> None:
        self._write_at_once(name, file, size, create=True)

    def read(self, name: str, start: int, end: int, version: str = "") -> Piece:
        answer = self.request(
            "GET",
            self._object(name),
            {"alt": "media"} | ({"ifGenerationMatch": version} if version else {}),
            headers={"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"},
        )
        data = memoryview(answer.content)
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if answer.status_code != 206 or not total.isdigit():
            # A server may answer a range of all with all.
            size = len(data)
            if start >= size > 0 or start > size:
                raise CloudError(Kind.RANGE)
            data, total = data[start:end], str(size)
        return Piece(data, int(total), answer.headers.get("X-Goog-Generation", ""))

    def head(self, name: str) -> Entry:
        return self._entry(self.request("GET", self._object(name)).json())

    def list(self, prefix: str, after: str) -> Iterator[Entry]:
        query = {"prefix": self._prefix + prefix, "maxResults": "1000"}
        if after:
            query["startOffset"] = self._prefix + after
        while True:
            page = self.request("GET", f"{self._root}/o", query).json()
            yield from map(self._entry, page.get("items", ()))
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def delete(self, name: str) -> None:
        self.request("DELETE", self._object(name))

    def check(self) -> None:
        try:
            self.request("GET", f"{self._root}/o", {"maxResults": "1"})
        except CloudError as error:
            kind = Kind.NO_BUCKET if error.kind is Kind.ABSENT else error.kind
            raise CloudError(kind, error.code) from None

    def tidy(self, before: float) -> int:
        """Nothing: the server forgets an upload that was not completed within a week."""
        return 0

    def request(
        self,
        method: str,
        url: str,
        query: Mapping[str, str] | None = None,
        creating: bool = False,
        seconds: float = 0.0,
        **options: Any,
    ) -> Response:
        """The answer, if it is a good one; else ``CloudError``."""
        try:
            answer: Response = self._session.request(
                method,
                url,
                params=query,
                timeout=self._timeout,
                max_allowed_time=seconds or 2 * self._timeout,
                allow_redirects=False,
                **options,
            )
        except RefreshError:
            raise CloudError(Kind.EXPIRED, "RefreshError") from None
        except (RequestException, TransportError) as error:
            raise CloudError(Kind.UNREACHABLE, type(error).__name__) from None
        except GoogleAuthError as error:
            raise CloudError(Kind.CREDENTIALS, type(error).__name__) from None
        check_answer(answer, creating)
        return answer

    def _write_at_once(self, name: str, file: BinaryIO, size: int, create: bool) -> None:
        body = MultipartBody({"name": self._prefix + name}, file, size)
        query = {"uploadType": "multipart"} | ({"ifGenerationMatch": "0"} if create else {})
        seconds = 2 * self._timeout + size / SLOWEST
        headers = {"Content-Type": body.content_type}
        self.request("POST", self._uploads, query, create, seconds, data=body, headers=headers)

    def _object(self, name: str) -> str:
        return f"{self._root}/o/{quote(self._prefix + name, safe='')}"

    def _entry(self, found: Mapping[str, Any]) -> Entry:
        when = datetime.fromisoformat(found["updated"]).timestamp()
        return Entry(found["name"][len(self._prefix) :], int(found["size"]), when)
