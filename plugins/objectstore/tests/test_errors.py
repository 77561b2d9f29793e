"""What goes wrong in a cloud is told clearly, with the URL, and without a secret."""

from __future__ import annotations

import io
import logging
import re
import secrets
import traceback
from collections.abc import Callable, Iterator

import pytest

from finetuner.contracts import Store
from finetuner.errors import NotFoundError, StoreError, TransientStoreError, UsageError
from finetuner.testing import Fault, FaultProxy
from finetuner_objectstore.azure import open_azure
from finetuner_objectstore.gcs import open_gcs
from finetuner_objectstore.s3 import open_s3
from servers.azurite import ACCOUNT
from servers.process import Server

SECRET = "aSecretThatNobodyMaySee+/=="
CALLS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("a", io.BytesIO(b"x")),
    "create": lambda store: store.put("a", io.BytesIO(b"x"), if_absent=True),
    "large": lambda store: store.put("a", io.BytesIO(bytes(20 << 20))),
    "get": lambda store: store.get("a"),
    "stat": lambda store: store.stat("a"),
    "list": lambda store: list(store.list()),
    "delete": lambda store: store.delete("a"),
}


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[..., StoreError]:
    """``told(store, call)``: the error of a call, after a look for secrets in all that is seen."""
    caplog.set_level(logging.DEBUG)

    def fail(store: Store, call: str = "put", *hidden: str) -> StoreError:
        with pytest.raises(StoreError) as caught:
            CALLS[call](store)
        seen = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(store)
        for secret in (SECRET, *hidden):
            assert secret not in seen
        assert store.url in str(caught.value)
        assert not isinstance(caught.value, NotFoundError)
        return caught.value

    return fail


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy with nothing behind it, and credentials for every cloud."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-{SECRET}")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "shop")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"sv=2024-01-01&sig={SECRET}")
    with FaultProxy("http://127.0.0.1:9") as proxy:
        yield proxy


def s3_answer(status: int, code: str) -> Fault:
    """An answer of S3, with all that it likes to repeat."""
    body = (
        f"<Error><Code>{code}</Code><Message>no: {SECRET}</Message>"
        f"<StringToSign>{SECRET}</StringToSign></Error>"
    )
    return Fault("answer", status=status, body=body.encode())


@pytest.mark.parametrize("call", ["put", "create", "large", "get", "list"])
@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "NoSuchBucket", "has no bucket 'shop'.*aws s3 mb s3://shop"),
        (403, "SignatureDoesNotMatch", "does not accept the credentials.*aws configure list"),
        (403, "InvalidAccessKeyId", "does not accept the credentials"),
        (400, "ExpiredToken", "credentials have expired.*aws sso login"),
        (403, "AccessDenied", "do not permit this.*s3:PutObject"),
        (403, "RequestTimeTooSkewed", "clock"),
        (301, "PermanentRedirect", "another region.*AWS_REGION"),
        (403, "QuotaExceeded", "no room left.*as it was"),
        (400, "InvalidBucketName", r"refused \(400 InvalidBucketName\)"),
    ],
)
def test_what_s3_refuses_is_told_with_what_to_do(
    no_server: FaultProxy,
    told: Callable[..., StoreError],
    status: int,
    code: str,
    words: str,
    call: str,
) -> None:
    no_server.inject(s3_answer(status, code))
    error = told(open_s3("s3://shop/models", endpoint=no_server.endpoint), call)
    assert re.search(words, str(error)), error
    assert not isinstance(error, TransientStoreError)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"", "does not accept the credentials.*gcloud"),
        (403, b'{"error": {"errors": [{"reason": "forbidden"}]}}', "do not permit this"),
        (404, b'{"error": {"message": "The specified bucket does not exist."}}', "has no bucket"),
        (507, b"", "no room left"),
    ],
)
def test_what_gcs_refuses_is_told_with_what_to_do(
    no_server: FaultProxy,
    told: Callable[..., StoreError],
    status: int,
    body: bytes,
    words: str,
) -> None:
    no_server.inject(Fault("answer", status=status, body=body))
    error = told(open_gcs("gs://shop/models", endpoint=no_server.endpoint))
    assert re.search(words, str(error)), error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ContainerNotFound", "has no container 'shop'.*az storage container create"),
        ("AuthenticationFailed", "does not accept the credentials.*az login"),
        ("AuthorizationPermissionMismatch", "Storage Blob Data Contributor"),
    ],
)
def test_what_azure_refuses_is_told_with_what_to_do(
    no_server: FaultProxy, told: Callable[..., StoreError], code: str, words: str
) -> None:
    no_server.inject(s3_answer(404 if "NotFound" in code else 403, code))
    error = told(open_azure("az://shop/models", endpoint=no_server.endpoint))
    assert re.search(words, str(error)), error


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("harm", ["refuse", "tear-request"])
def test_no_secret_is_seen_when_the_line_breaks(
    no_server: FaultProxy, told: Callable[..., StoreError], harm: str, call: str
) -> None:
    no_server.inject(Fault(harm))  # type: ignore[arg-type]
    stores = (
        open_s3("s3://shop/models", endpoint=no_server.endpoint, timeout=1),
        open_azure("az://shop/models", endpoint=no_server.endpoint, timeout=1),
        open_gcs("gs://shop/models", endpoint=no_server.endpoint, timeout=1),
    )
    for store in stores:
        error = told(store, call)
        assert isinstance(error, TransientStoreError)
        assert "check the network and the endpoint" in str(error)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_url_with_credentials_is_refused_and_not_repeated(scheme: str) -> None:
    opened = {"s3": open_s3, "gs": open_gcs, "az": open_azure}[scheme]
    with pytest.raises(UsageError, match="holds no credentials") as caught:
        opened(f"{scheme}://AKIAEXAMPLE:{SECRET}@shop/models")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("call", CALLS)
def test_a_real_server_refuses_a_wrong_secret(
    radosgw_server: Server,
    use: Callable[[Server], Server],
    monkeypatch: pytest.MonkeyPatch,
    told: Callable[..., StoreError],
    call: str,
) -> None:
    use(radosgw_server)
    bucket = f"test-{secrets.token_hex(6)}"
    radosgw_server.make_bucket(bucket)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    error = told(open_s3(f"s3://{bucket}"), call, radosgw_server.secret)
    expected = "do not permit" if call in ("stat", "delete") else "does not accept the credentials"
    assert expected in str(error)  # the answer to HEAD has no words


@pytest.mark.parametrize("call", ["put", "get", "list"])
def test_a_real_server_refuses_a_stranger(
    radosgw_server: Server,
    use: Callable[[Server], Server],
    monkeypatch: pytest.MonkeyPatch,
    told: Callable[..., StoreError],
    call: str,
) -> None:
    use(radosgw_server)
    bucket = f"test-{secrets.token_hex(6)}"
    radosgw_server.make_bucket(bucket)
    for name, value in radosgw_server.stranger.items():
        monkeypatch.setenv(name, value)
    error = told(open_s3(f"s3://{bucket}"), call, *radosgw_server.stranger.values())
    assert "do not permit this: s3:GetObject" in str(error)


def test_the_emulator_of_azure_refuses_a_wrong_key(
    azurite_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    told: Callable[..., StoreError],
) -> None:
    key = "YSB3cm9uZyBrZXk="
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_KEY", key)
    store = open_azure("az://shop", endpoint=f"{azurite_server.endpoint}/{ACCOUNT}")
    # Azure itself says AuthenticationFailed, its emulator that this is not permitted.
    assert "credentials do not permit this" in str(told(store, "put", key))


def test_a_full_disk_for_what_is_uploaded_is_told(
    no_server: FaultProxy, told: Callable[..., StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetuner_objectstore import parts

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts.tempfile, "TemporaryFile", Full)
    store = open_s3("s3://shop", endpoint=no_server.endpoint)
    with pytest.raises(StoreError, match=r"No space left on device.*TMPDIR"):
        store.put("a", io.BytesIO(bytes(20 << 20)), if_absent=True)
