"""A vendor's keys, one or several: used in turn, each with a cool-down of its own when the vendor refuses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import httpx
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from kaixu.plugin.errors import UpstreamBusy, UpstreamError
from kaixu.plugin.lane import Options

#: The most keys of one lane.
MOST_KEYS = 50

#: Cool-downs in seconds: of a key over its rate, where the vendor names no time; of one whose quota is used up; of one
#: that is not accepted. A time that the vendor names counts up to the longest of them.
BUSY_S = 10.0
QUOTA_S = 300.0
CREDENTIAL_S = 600.0

#: Under this name a request carries the key that it was signed with, among its extensions.
EXTENSION = "kaixu.key"


class Key:
    """One key. `label` is what operators see of it."""

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
        """The vendor has taken a request with it."""
        self.accepted_calls += 1
        self.free_at, self.reason = 0.0, None

    def refused(self, error: UpstreamError) -> None:
        """The vendor has refused a request; where the key is why, it cools down, and `error` says if there is another.

        A key that the vendor does not accept, or whose quota is used up, says nothing of the others.
        """
        if not isinstance(error, UpstreamBusy) and error.reason not in ("quota", "credential"):
            return
        if error.upstream_status in (503, 529):
            return  # the vendor is overloaded, whoever asks
        self.refused_calls += 1
        pause_s = {"quota": QUOTA_S, "credential": CREDENTIAL_S}.get(error.reason or "", BUSY_S)
        if isinstance(error, UpstreamBusy) and error.wait_told and error.retry_after_s is not None:
            pause_s = min(error.retry_after_s, CREDENTIAL_S)
        self.free_at, self.reason = self.keys.clock() + pause_s, error.reason
        error.another_key = any(one is not self and one.is_free for one in self.keys.keys)

    @property
    def is_free(self) -> bool:
        """Whether it is not cooling down."""
        return self.free_at <= self.keys.clock()


class Keys:
    """The keys of one lane, and where a request carries one: `header: prefix + key`.

    A lane signs each request that goes out. The wire tells the keys what became of it: one that is refused for its
    own sake (429, its quota, 401 or 403) cools down, and the next try is signed with another.
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
        self.turn = 0

    def next(self) -> Key:
        """The key whose turn it is, of those that are not cooling down; if all are, the one that is free first."""
        count = len(self.keys)
        for step in range(count):
            key = self.keys[(self.turn + step) % count]
            if key.is_free:
                self.turn = (self.turn + step + 1) % count
                return key
        return min(self.keys, key=lambda one: one.free_at)

    def first(self) -> dict[str, str]:
        """The header with the first key, for what a lane sends everywhere; `sign` replaces it."""
        return {self.header: self.value_of(self.keys[0])}

    def value_of(self, key: Key) -> str:
        """What the header holds for a key."""
        return self.prefix + key.secret.get_secret_value()

    def sign(self, request: httpx.Request) -> httpx.Request:
        """The same request with the next key; as it is, where its header holds something else than one of these."""
        held = request.headers.get(self.header)
        if held is not None and held not in map(self.value_of, self.keys):
            return request
        key = self.next()
        request.headers[self.header] = self.value_of(key)
        request.extensions = {**request.extensions, EXTENSION: key}
        return request

    def states(self) -> dict[str, dict[str, Any]]:
        """How each key stands, for operators: by its label, never the key."""
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
    """The key of a request; one that has cooled since it was signed is replaced, for a request that is sent again."""
    key = request.extensions.get(EXTENSION)
    if not isinstance(key, Key):
        return None
    if not key.is_free:
        key.keys.sign(request)
        replaced: Key = request.extensions[EXTENSION]
        return replaced
    return key


def label_of(request: httpx.Request) -> str | None:
    """The label of a request's key, where its lane has several."""
    key = request.extensions.get(EXTENSION)
    return key.label if isinstance(key, Key) and len(key.keys.keys) > 1 else None


class KeyOptions(Options):
    """Options of a lane whose vendor is asked with a key, or with one of several."""

    api_keys: list[SecretStr] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_KEYS,
        description="several keys instead of `api_key`, used in turn; one that is refused is left alone for a while",
    )
    api_key: SecretStr | None = Field(
        default=None, validate_default=True, description="the operator's key with the vendor"
    )

    @field_validator("api_keys")
    @classmethod
    def are_different(cls, keys: list[SecretStr] | None) -> list[SecretStr] | None:
        """No key twice, and none empty."""
        given = [key.get_secret_value() for key in keys or ()]
        if not all(given) or len(set(given)) < len(given):
            raise ValueError("must not hold a key twice, nor an empty one")
        return keys

    @field_validator("api_key")
    @classmethod
    def is_one_or_several(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """`api_key` or `api_keys`, not both."""
        if "api_keys" not in info.data:
            return key  # what is wrong with them is said already
        if key is None and info.data["api_keys"] is None:
            raise PydanticKnownError("missing")
        if key is not None and info.data["api_keys"] is not None:
            raise ValueError("must not stand beside `api_keys`")
        return key

    @property
    def secrets(self) -> list[SecretStr]:
        """All of them."""
        return self.api_keys or ([] if self.api_key is None else [self.api_key])

    def keys(self, header: str = "authorization", prefix: str = "Bearer ") -> Keys:
        """The keys, for a lane to sign its requests with."""
        return Keys(self.secrets, header=header, prefix=prefix)
