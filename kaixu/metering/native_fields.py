"""Checks a request in its vendor's own protocol: drops unknown fields, and refuses those that could cost more.

What remains is what goes out, and what the hold counts.
"""

from __future__ import annotations

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.protocols import PROTOCOLS, dearer_fields, family_of, filtered, is_text_alone, shape_of
from kaixu.plugin.types import ChatRequest

#: Strictest first: of a model's deployments, the lane with the strictest policy decides.
POLICIES = ("refuse", "drop", "pass")


def with_known_fields(request: ChatRequest, deployment: Deployment) -> ChatRequest:
    """`request` as it may go out to every deployment of the model, at least one of which is on.

    Raises `Unsupported`, naming the field, for what could cost more than the hold and is not in the model's `allow`,
    and for unknown fields where a lane says `unknown_fields: refuse`.
    """
    native = request.native
    if native is not None and native.protocol != deployment.native:
        # It waited as a job, and the model's lanes now have another protocol than when it was read.
        return msgspec.structs.replace(request, native=None)
    if native is None or native.protocol not in PROTOCOLS:
        return request
    if is_text_alone(native):
        return request
    choices = deployment.ready
    lanes = [one.lane for one in choices if one.lane is not None]
    allowed = []
    allow = deployment.allow | frozenset.intersection(*(lane.allows for lane in lanes))
    for name, why, may_be_allowed in dearer_fields(native):
        if not may_be_allowed or (name not in allow and family_of(name) not in allow):
            raise Unsupported(name, why)
        allowed.append(name)
    policy = min((one.unknown_fields for one in choices), key=POLICIES.index)
    dropped: list[str] = []
    if policy != "pass":
        known = frozenset.intersection(*(one.known_fields for one in choices))
        known |= frozenset.intersection(*(lane.known_fields for lane in lanes))
        body, dropped = filtered(native.body, shape_of(native.protocol), known)
        if dropped and policy == "refuse":
            raise Unsupported(dropped[0], "this lane does not know it")
        native = msgspec.structs.replace(native, body=body)
    return msgspec.structs.replace(
        request,
        native=native,
        dropped=(*request.dropped, *dropped),
        allowed=tuple(dict.fromkeys(allowed)),
    )
