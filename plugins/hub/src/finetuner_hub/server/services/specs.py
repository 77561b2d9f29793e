"""What a run on the hub may ask for, and its digest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

import msgspec

from finetuner.artifacts.address import parse_address
from finetuner.contracts.runs import IN_PROCESS, RunSpec
from finetuner.errors import UnknownNameError, UsageError
from finetuner_hub.server.errors import UnusableError

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_BACKBONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_OWN_MACHINE = ("file", "memory")


@dataclass(frozen=True)
class CheckedSpec:
    """A spec that the hub takes, in canonical JSON, with the sha256 of that."""

    spec: RunSpec
    json: str
    digest: str


def check_spec(values: dict[str, Any], digest: str | None = None) -> CheckedSpec:
    """``values`` as a spec; ``UnusableError`` says what of it the hub cannot take.

    Data is named by content: an address ``STORE/NAME@sha256:…`` never changes its
    meaning, so that a run which is carried out twice is the same run. A model is named
    like that or is a backbone's name. Paths are refused: they would be the server's.
    ``digest`` is what the caller holds the spec's canonical form to have.
    """
    try:
        spec = _decode(values)
        _check(spec)
        # Not the spec itself: of one that msgspec made, it writes no field that was left out.
        canonical = msgspec.json.encode(asdict(spec), order="sorted")
    except (UsageError, msgspec.ValidationError, UnicodeEncodeError) as error:
        raise UnusableError(f"the run's spec: {error}") from None
    found = hashlib.sha256(canonical).hexdigest()
    if digest is not None and digest.removeprefix("sha256:") != found:
        raise UnusableError(
            f"the run's spec has the digest sha256:{found}, and {digest!r} was announced: it was "
            "changed on its way, or made by another version of finetuner"
        )
    return CheckedSpec(spec, canonical.decode(), found)


def _decode(values: dict[str, Any]) -> RunSpec:
    known = {field.name for field in fields(RunSpec)}
    for name in values:
        if name not in known:
            raise UnknownNameError("field", name, known)
    return msgspec.convert(values, RunSpec)


def _check(spec: RunSpec) -> None:
    if not _RUN_NAME.fullmatch(spec.name):
        raise UsageError(
            f"run name {spec.name!r}: use letters, digits, '.', '_' and '-', at most 128, "
            "beginning with a letter or digit"
        )
    if not (0 < len(spec.experiment_name) <= 128 and spec.experiment_name.isprintable()):
        raise UsageError(f"experiment_name {spec.experiment_name!r}: use 1 to 128 characters")
    if spec.executor not in ("local", "hub"):
        raise UsageError(f"executor {spec.executor!r}: the hub chooses one, use 'hub'")
    if spec.store is not None:
        raise UsageError(f"store {spec.store!r}: the hub chooses where it is kept, leave it out")
    if "@" in spec.model:
        _check_address("model", spec.model)
    elif spec.model == IN_PROCESS or not _BACKBONE.fullmatch(spec.model):
        raise UsageError(
            f"model {spec.model!r}: expected a backbone's name, or the address of one that was "
            "pushed, as in STORE/NAME@sha256:DIGEST"
        )
    _check_address("train_data", spec.train_data)
    if spec.eval_data is not None:
        _check_address("eval_data", spec.eval_data)


def _check_address(what: str, text: str) -> None:
    try:
        address = parse_address(text)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None
    scheme = _SCHEME.match(address.store)
    if scheme is None or scheme[1].lower() in _OWN_MACHINE:
        raise UsageError(f"{what} {text!r} is on one machine: push it to a store the hub can reach")
    if address.digest is None:
        raise UsageError(
            f"{what} {text!r} can change its meaning: name it by content, STORE/NAME@sha256:DIGEST"
        )
