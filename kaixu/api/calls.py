"""Prepare a chat call for admission: parse the request and, with `retrieve`, add passages to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from kaixu.catalog.catalog import Deployment, RequestedModel
from kaixu.collections.retrieval import Retrieval, Retrieved, retrieve
from kaixu.edge.request import IncomingRequest
from kaixu.edge.services import Services
from kaixu.edge.threads import run_in_thread
from kaixu.metering.admission import Admission
from kaixu.metering.chat import admit_chat
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.types import ChatRequest

from .collections.bill import bill_on_failure
from .collections.retrieve import add_passages


class ChatCall(msgspec.Struct, frozen=True):
    """A chat call before admission. `requested_provider`: the provider name that the client used."""

    caller: Caller
    deployment: Deployment
    requested_provider: str
    request: ChatRequest


def chat_admission(
    services: Services, call: ChatCall, feature_fields: Mapping[str, str], *, operation: str = "chat"
) -> Admission[ChatTicket]:
    """See `admit_chat`. `feature_fields`: the request's field for each feature, for errors.

    Raises `Unsupported` for a feature that the model's lane does not have.
    """
    try:
        return admit_chat(
            services.gate, call.caller, call.deployment, call.requested_provider, call.request, operation=operation
        )
    except Unsupported as error:
        field = error.field or ""
        raise Unsupported(feature_fields.get(field, field), error.why) from None


class ParseChatRequest(Protocol):
    """Translates the body of a request. Raises `Invalid`, `Unprocessable`, `Unsupported`."""

    def __call__(self, body: dict[str, Any], deployment: Deployment, /, *, most_messages: int) -> ChatRequest: ...


class PreparedChat(msgspec.Struct, frozen=True):
    """A chat call with its admission. `retrieved`: the passages that were added to its messages."""

    call: ChatCall
    admission: Admission[ChatTicket]
    retrieved: Retrieved | None = None


async def prepare_chat(
    services: Services,
    request: IncomingRequest,
    body: dict[str, Any],
    *,
    caller: Caller,
    requested: RequestedModel,
    parse: ParseChatRequest,
    feature_fields: Mapping[str, str],
    retrieval: Retrieval | None = None,
    operation: str = "chat",
) -> PreparedChat:
    """Parse the body and prepare the call's admission. With `retrieval`, search for the last question first.

    The search costs money, so errors in the chat request are raised before it. `feature_fields`: see `chat_admission`.
    """
    size, most_messages = len(request.body), services.gateway.max_messages

    async def prepare(body: dict[str, Any]) -> PreparedChat:
        chat_request = await run_in_thread(size, lambda: parse(body, requested.deployment, most_messages=most_messages))
        call = ChatCall(caller, requested.deployment, requested.provider, chat_request)
        return PreparedChat(
            call, await run_in_thread(size, lambda: chat_admission(services, call, feature_fields, operation=operation))
        )

    prepared = await prepare(body)
    if retrieval is None:
        return prepared
    retrieved = await retrieve(
        services.pool,
        services.searches,
        services.gate,
        services.catalog,
        caller,
        retrieval,
        prepared.call.request,
        bill_on_failure,
    )
    with_passages = await prepare(add_passages(body, retrieved))
    return msgspec.structs.replace(with_passages, retrieved=retrieved)
