"""``gs://``: Google Cloud Storage, found and signed in to as Google's tools do."""

from __future__ import annotations

from os import environ
from typing import Any

import google.auth
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from finetuner.errors import StoreError
from finetuner_objectstore.cloud_store import CloudStore
from finetuner_objectstore.failures import Words
from finetuner_objectstore.gcs_bucket import GcsBucket
from finetuner_objectstore.place import Place, parse_place

TIMEOUT = 60.0
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_CONNECTIONS = 32


def open_gcs(url: str, *, endpoint: str | None = None, timeout: float = TIMEOUT) -> CloudStore:
    """The store at ``gs://BUCKET/PREFIX``.

    Credentials are Google's application default: ``GOOGLE_APPLICATION_CREDENTIALS``, the
    login of gcloud, a workload's or a machine's identity. ``STORAGE_EMULATOR_HOST`` names
    another server, which is asked without any; ``endpoint`` goes before it. Raises
    ``UsageError`` for a URL that is none, ``StoreError`` where there are no credentials.
    """
    place = parse_place(url, "gs")
    emulator = endpoint or environ.get("STORAGE_EMULATOR_HOST", "")
    if emulator and "://" not in emulator:
        emulator = f"http://{emulator}"
    session = _session(place, anonymous=bool(emulator))
    host = emulator.rstrip("/") or "https://storage.googleapis.com"
    return CloudStore(place, GcsBucket(session, host, place, _words(place, host), timeout))


def _session(place: Place, anonymous: bool) -> Any:
    credentials: Any = AnonymousCredentials()  # type: ignore[no-untyped-call]
    if not anonymous:
        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
        except (GoogleAuthError, OSError, ValueError):
            raise StoreError(
                f"{place.url}: no Google credentials are found: run 'gcloud auth "
                "application-default login', or set GOOGLE_APPLICATION_CREDENTIALS to the file "
                "of a service account"
            ) from None
    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    # A connection of the pool may be dead by now, which shows when it is used again.
    again = Retry(total=1, connect=0, read=1, status=0, allowed_methods=("GET",))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=again))
    return session


def _words(place: Place, host: str) -> Words:
    return Words(
        server=host,
        bucket="bucket",
        make_bucket=f"'gcloud storage buckets create gs://{place.bucket}'",
        credentials="see with 'gcloud auth application-default print-access-token' whether they "
        "are good",
        renew="run 'gcloud auth application-default login' and start again",
        permissions="the role 'Storage Object User' on the bucket is needed",
    )
