"""The section `selfservice:` of kaixu.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .addresses import ascii_domain
from .values import Duration, Section, Whole


def allowed_domain(value: str) -> str:
    """A domain, or `*.` and a domain: the domains below it."""
    prefix, name = ("*.", value[2:]) if value.startswith("*.") else ("", value)
    return prefix + ascii_domain(name)


AllowedDomain = Annotated[str, AfterValidator(allowed_domain), Field(max_length=255)]


class SelfserviceSection(Section):
    """Keys that people request themselves (`request-key`)."""

    mode: Literal["open", "email", "approval", "off"] = Field(
        default="open",
        description="`open`: a new address gets a key at once, a known one a link by mail; `email`: every address gets "
        "a link; `approval`: an operator decides, then a link is mailed; `off`: nobody gets one",
    )
    domains: list[AllowedDomain] = Field(
        default=[],
        max_length=1000,
        description="only addresses of these domains; `*.example.com`: of those below it; default: all",
    )
    link_valid: Duration = Field(default=1800, description="how long a link is valid: seconds, or 30m, 2h")
    approved_link_valid: Duration = Field(
        default=3 * 86_400, description="how long a link is valid that an operator has approved"
    )
    per_address: Whole = Field(default=5, ge=1, le=100, description="keys and links of one address in an hour")
    per_address_a_day: Whole = Field(default=15, ge=1, le=1000, description="the same in a day")
    per_network: Whole = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="requests from one network in an hour: an IPv4 address, or the /64 of an IPv6 address",
    )
    per_network_a_day: Whole = Field(default=60, ge=1, le=10_000_000, description="the same in a day")
    in_all: Whole = Field(default=500, ge=1, le=10_000_000, description="requests of everybody together in an hour")

    def allows(self, domain: str) -> bool:
        """Whether addresses of a domain, in lower case and ASCII, may request keys."""
        return not self.domains or any(
            domain == one or (one.startswith("*.") and domain.endswith(one[1:])) for one in self.domains
        )
