"""What every chat endpoint does before admission: reads the request and, with `retrieve`, adds passages to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kaixu.catalog.catalog import RequestedModel
from kaixu.collections.retrieval import Retrieval, Retrieved, retrieve
from kaixu.edge.off_loop import off_loop
from kaixu.edge.request import IncomingRequest
from kaixu.edge.services import Services
from kaixu.metering.admission import Admission
from kaixu.metering.gate import Caller
from kaixu.plugin.types import ChatRequest

from .calls import ChatCall, admission
from .collections.bill import telling
from .collections.retrieve import add_passages

#: Translates the body of a request. Raises `Invalid`, `Unprocessable`, `Unsupported`.
ParseChat = Callable[[dict[str, Any]], ChatRequest]


class PreparedChat(msgspec.Struct, frozen=True):
    """A chat call whose admission can be entered. `retrieved`: the passages that were added to its messages."""

    call: ChatCall
    admission: Admission
    retrieved: Retrieved | None = None


async def prepare_chat(
    services: Services,
    request: IncomingRequest,
    body: dict[str, Any],
    *,
    caller: Caller,
    requested: RequestedModel,
    parse: ParseChat,
    features: Mapping[str, str],
    retrieval: Retrieval | None = None,
    operation: str = "chat",
) -> PreparedChat:
    """Read the body and prepare the call's admission. With `retrieval`, the last question is searched for first.

    The search is paid for, so what is wrong with the chat request is raised before it. `features`: see `admission`.
    """
    size = len(request.body)

    async def prepare(body: dict[str, Any]) -> PreparedChat:
        chat_request = await off_loop(size, lambda: parse(body))
        call = ChatCall(caller, requested.deployment, requested.provider, chat_request)
        return PreparedChat(
            call, await off_loop(size, lambda: admission(services, call, features, operation=operation))
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
        telling,
    )
    with_passages = await prepare(add_passages(body, retrieved))
    return msgspec.structs.replace(with_passages, retrieved=retrieved)
