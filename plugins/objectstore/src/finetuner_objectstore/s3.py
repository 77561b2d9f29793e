"""``s3://``: S3 and what speaks its language, found and signed in to as the AWS tools do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from os import environ
from typing import Any
from urllib.parse import urlsplit

from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from obstore.store import S3Store

from finetuner.errors import StoreError
from finetuner_objectstore.cloud_store import CloudStore
from finetuner_objectstore.failures import Words
from finetuner_objectstore.obstore_bucket import ObstoreBucket, connect
from finetuner_objectstore.place import Place, parse_place
from finetuner_objectstore.s3_uploads import abort_uploads

TIMEOUT = 60.0
_REFRESH = timedelta(minutes=6)
"""How long credentials that end some day are used before botocore is asked again."""


def open_s3(url: str, *, endpoint: str | None = None, timeout: float = TIMEOUT) -> CloudStore:
    """The store at ``s3://BUCKET/PREFIX``.

    Profile, region, endpoint and credentials are botocore's: environment, files of
    ``~/.aws``, single sign-on, containers, instance metadata; ``endpoint`` goes before
    them. ``timeout`` is for one request, in seconds. Raises ``UsageError`` for a URL
    that is none and ``StoreError`` where there are no credentials.
    """
    place = parse_place(url, "s3")
    try:
        session = Session()
        profile = session.get_scoped_config()
        endpoint = endpoint or _endpoint(session, profile)
        config = _config(session, profile, place, endpoint)
    except BotoCoreError as error:
        raise StoreError(
            f"{place.url}: the AWS configuration cannot be used ({type(error).__name__}): look "
            "at it with 'aws configure list', and at AWS_PROFILE and ~/.aws"
        ) from None
    make = partial(connect, S3Store, place, config)
    words = _words(place, endpoint, config["region"])
    aborts = partial(abort_uploads, session, place, endpoint, config["region"])
    return CloudStore(place, ObstoreBucket(make, words, timeout, aborts))


def _endpoint(session: Session, profile: Mapping[str, Any]) -> str | None:
    found: str | None = ConfiguredEndpointProvider(
        full_config=session.full_config, scoped_config=profile, client_name="s3"
    ).provide()
    return found


def _config(
    session: Session, profile: Mapping[str, Any], place: Place, endpoint: str | None
) -> dict[str, Any]:
    region = environ.get("AWS_REGION") or session.get_config_variable("region") or "us-east-1"
    style = dict(profile.get("s3") or {}).get("addressing_style", "auto")
    on_aws = endpoint is None or (urlsplit(endpoint).hostname or "").endswith(".amazonaws.com")
    in_host = style == "virtual" or (style == "auto" and on_aws and "." not in place.bucket)
    config: dict[str, Any] = {"region": region, "virtual_hosted_style_request": in_host}
    config["unsigned_payload"] = _is_private(endpoint)
    if endpoint is not None:
        config["endpoint"] = _with_bucket(endpoint, place.bucket) if in_host else endpoint
    if environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        return config | {"skip_signature": True}
    return config | {"credential_provider": _credentials(session, place)}


def _is_private(endpoint: str | None) -> bool:
    """Whether nobody can change a body on its way, so that no digest of it needs a signature."""
    parts = urlsplit(endpoint or "https://s3.amazonaws.com")
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def _with_bucket(endpoint: str, bucket: str) -> str:
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{bucket}.{host}"


def _credentials(session: Session, place: Place) -> Callable[[], dict[str, Any]]:
    found = session.get_credentials()
    if found is None:
        raise StoreError(
            f"{place.url}: no AWS credentials are found: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run 'aws configure' or 'aws sso login'; "
            "for a public bucket set AWS_SKIP_SIGNATURE=true"
        )
    lasting = type(found).__name__ == "Credentials"

    def provide() -> dict[str, Any]:
        now = found.get_frozen_credentials()
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": None if lasting else datetime.now(UTC) + _REFRESH,
        }

    return provide


def _words(place: Place, endpoint: str | None, region: str) -> Words:
    at = f" --endpoint-url {endpoint}" if endpoint else ""
    return Words(
        server=endpoint or f"S3 in {region}",
        bucket="bucket",
        make_bucket=f"'aws s3 mb s3://{place.bucket}{at}'",
        credentials="see with 'aws configure list' which are used, and that both halves belong "
        "together and to this server",
        renew="run 'aws sso login', or fetch new ones as you did before, and start again",
        permissions="s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket are needed "
        "(without the last, S3 also says so of what is not there)",
        region="set AWS_REGION to the region of the bucket ('aws s3api head-bucket')",
    )
