"""Uploads in parts that nobody completed: S3 keeps their parts, and charges for them."""

from __future__ import annotations

from typing import Any

from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from finetuner_objectstore.failures import CloudError, Kind
from finetuner_objectstore.place import Place


def abort_uploads(
    session: Session, place: Place, endpoint: str | None, region: str, before: float
) -> int:
    """Abort those below the place's prefix that were begun before a POSIX time; bytes freed."""
    style = {"addressing_style": "path"} if endpoint else {}
    client = session.create_client(
        "s3", region_name=region, endpoint_url=endpoint, config=Config(s3=style)
    )
    prefix = f"{place.prefix}/" if place.prefix else ""
    pages = client.get_paginator("list_multipart_uploads")
    try:
        return sum(
            _abort(
                client, {"Bucket": place.bucket, "Key": found["Key"], "UploadId": found["UploadId"]}
            )
            for page in pages.paginate(Bucket=place.bucket, Prefix=prefix)
            for found in page.get("Uploads", ())
            if found["Initiated"].timestamp() < before
        )
    except ClientError as error:
        raise CloudError(Kind.UNKNOWN, str(error.response["Error"]["Code"])) from None
    except BotoCoreError as error:
        raise CloudError(Kind.UNREACHABLE, type(error).__name__) from None


def _abort(client: Any, upload: dict[str, str]) -> int:
    pages = client.get_paginator("list_parts").paginate(**upload)
    size: int = sum(part["Size"] for page in pages for part in page.get("Parts", ()))
    client.abort_multipart_upload(**upload)
    return size
