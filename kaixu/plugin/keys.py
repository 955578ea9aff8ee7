"""A lane's vendor keys, used in turn. A key that the vendor refuses cools down on its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import httpx
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from kaixu.plugin.errors import UpstreamBusy, UpstreamError
from kaixu.plugin.options import Options

#: The most keys of one lane.
MOST_KEYS = 50

#: Cool-downs in seconds: rate limit reached and no time from the vendor; quota used up; key not accepted. A time from
#: the vendor replaces them, up to the longest.
BUSY_S = 10.0
QUOTA_S = 300.0
CREDENTIAL_S = 600.0

#: The request extension that holds the key a request was signed with.
EXTENSION = "kaixu.key"


class Key:
    """One vendor key. Operators see only its `label`."""

    __slots__ = ("accepted_calls", "free_at", "keys", "label", "reason", "refused_calls", "secret")

    def __init__(self, keys: Keys, label: str, secret: SecretStr) -> None:
        self.keys = keys
        self.label = label
        self.secret = secret
        self.free_at = 0.0
        self.reason: str | None = None
        self.accepted_calls = 0
        self.refused_calls = 0

    def accepted(self) -> None:
        """Record that the vendor accepted a request signed with this key."""
        self.accepted_calls += 1
        self.free_at, self.reason = 0.0, None

    def refused(self, error: UpstreamError) -> None:
        """Record a refused request. If the key is the cause it cools down, and `error.another_key` is set.

        A bad key or a used-up quota does not affect the other keys.
        """
        if not isinstance(error, UpstreamBusy) and error.reason not in ("quota", "credential"):
            return
        if error.upstream_status in (503, 529):
            return  # the vendor is overloaded for every key
        self.refused_calls += 1
        pause_s = {"quota": QUOTA_S, "credential": CREDENTIAL_S}.get(error.reason or "", BUSY_S)
        if isinstance(error, UpstreamBusy) and error.wait_told and error.retry_after_s is not None:
            pause_s = min(error.retry_after_s, CREDENTIAL_S)
        self.free_at, self.reason = self.keys.clock() + pause_s, error.reason
        error.another_key = any(one is not self and one.is_free for one in self.keys.keys)

    @property
    def is_free(self) -> bool:
        """Whether the key is not cooling down."""
        return self.free_at <= self.keys.clock()


class Keys:
    """The keys of one lane. A request carries one as `header: prefix + key`.

    A lane signs each request. The wire reports the outcome: a key that causes a refusal (429, quota, 401, 403) cools
    down, and the next try is signed with another key.
    """

    def __init__(
        self,
        keys: Sequence[SecretStr],
        *,
        header: str = "authorization",
        prefix: str = "Bearer ",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.keys = [Key(self, f"key-{number}", secret) for number, secret in enumerate(keys, start=1)]
        self.header = header
        self.prefix = prefix
        self.clock = clock
        self.position = 0

    def next(self) -> Key:
        """The next key that is not cooling down; if all are, the one that is free first."""
        count = len(self.keys)
        for step in range(count):
            key = self.keys[(self.position + step) % count]
            if key.is_free:
                self.position = (self.position + step + 1) % count
                return key
        return min(self.keys, key=lambda one: one.free_at)

    def first(self) -> dict[str, str]:
        """The header with the first key, for a lane's default headers; `sign` replaces it."""
        return {self.header: self.value_of(self.keys[0])}

    def value_of(self, key: Key) -> str:
        """The header value for a key."""
        return self.prefix + key.secret.get_secret_value()

    def sign(self, request: httpx.Request) -> httpx.Request:
        """Put the next key into the request, unless the header has another value than one of these keys."""
        current = request.headers.get(self.header)
        if current is not None and current not in map(self.value_of, self.keys):
            return request
        key = self.next()
        value = self.value_of(key)
        if value != current:
            request.headers[self.header] = value
        request.extensions = {**request.extensions, EXTENSION: key}
        return request

    def states(self) -> dict[str, dict[str, Any]]:
        """The state of each key, by its label; for operators."""
        return {
            key.label: {
                "state": "ready" if key.is_free else "cooling",
                "why": None if key.is_free else key.reason,
                "accepted": key.accepted_calls,
                "refused": key.refused_calls,
            }
            for key in self.keys
        }


def signed_with(request: httpx.Request) -> Key | None:
    """The key of a request. If it is cooling down, the request is signed with another key first."""
    key = request.extensions.get(EXTENSION)
    if not isinstance(key, Key):
        return None
    if not key.is_free:
        key.keys.sign(request)
        replaced: Key = request.extensions[EXTENSION]
        return replaced
    return key


def label_of(request: httpx.Request) -> str | None:
    """The label of a request's key if its lane has several keys."""
    key = request.extensions.get(EXTENSION)
    return key.label if isinstance(key, Key) and len(key.keys.keys) > 1 else None


class KeyOptions(Options):
    """Options of a lane whose vendor needs a key: one, or several."""

    api_keys: list[SecretStr] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_KEYS,
        description="several keys instead of `api_key`, used in turn; a refused key is not used for a while",
    )
    api_key: SecretStr | None = Field(
        default=None, validate_default=True, description="the operator's key with the vendor"
    )

    @field_validator("api_keys")
    @classmethod
    def are_different(cls, keys: list[SecretStr] | None) -> list[SecretStr] | None:
        """No duplicate and no empty key."""
        values = [key.get_secret_value() for key in keys or ()]
        if not all(values) or len(set(values)) < len(values):
            raise ValueError("must not contain a key twice or an empty key")
        return keys

    @field_validator("api_key")
    @classmethod
    def is_one_or_several(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """`api_key` or `api_keys`, not both."""
        if "api_keys" not in info.data:
            return key  # it has an error of its own
        if key is None and info.data["api_keys"] is None:
            raise PydanticKnownError("missing")
        if key is not None and info.data["api_keys"] is not None:
            raise ValueError("must not be set together with `api_keys`")
        return key

    @property
    def secrets(self) -> list[SecretStr]:
        """All keys."""
        return self.api_keys or ([] if self.api_key is None else [self.api_key])

    def keys(self, header: str = "authorization", prefix: str = "Bearer ") -> Keys:
        """The keys, ready to sign requests."""
        return Keys(self.secrets, header=header, prefix=prefix)
