"""The field `retrieve` of chat requests: read it, add passages to the messages, show them in the reply.

The search and the chat are separate calls, each with its own admission and line in the bill.
"""

from __future__ import annotations

from typing import Any

from kaixu.collections.filters import parse_filter
from kaixu.collections.retrieval import Retrieval, Retrieved, passages_prompt
from kaixu.collections.search import Question
from kaixu.config.price import usd
from kaixu.edge.fields import Fields
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import Unprocessable

from .bill import collection_usage_reply
from .fields import collection_name

MAX_PASSAGES = 50
DEFAULT_PASSAGES = 4
MAX_CHARACTERS = 400_000
DEFAULT_CHARACTERS = 8_000


def take_retrieve(body: dict[str, Any]) -> Retrieval | None:
    """Read `retrieve` and remove it from the body, which vendors get. Raises `Unprocessable`, `Invalid`."""
    fields = Fields(body).nested("retrieve")
    body.pop("retrieve", None)
    if fields is None:
        return None
    question = Question(
        collection=collection_name(fields.get("collection"), "retrieve.collection"),
        text=None,
        vector=None,
        top_k=fields.integer("top_k", 1, MAX_PASSAGES) or DEFAULT_PASSAGES,
        threshold=fields.number("threshold", -1, 1),
        condition=parse_filter(fields.get("filter"), "retrieve.filter"),
        hybrid=fields.flag("hybrid") or False,
        parent=fields.flag("parent") or False,
    )
    max_characters = fields.integer("max_characters", 100, MAX_CHARACTERS) or DEFAULT_CHARACTERS
    if unknown := fields.unread():
        raise Unprocessable(f"`{unknown[0]}` is not a field of `retrieve`", field=unknown[0])
    return Retrieval(question, max_characters)


def add_passages(body: dict[str, Any], retrieved: Retrieved) -> dict[str, Any]:
    """The body with the passages before the last question; other messages are unchanged."""
    messages = list(body["messages"])
    last = max(at for at, message in enumerate(messages) if isinstance(message, dict) and is_question(message))
    content, prompt = messages[last].get("content"), passages_prompt(retrieved.hits)
    with_passages = [{"type": "text", "text": prompt}, *content] if isinstance(content, list) else f"{prompt}{content}"
    messages[last] = messages[last] | {"content": with_passages}
    return body | {"messages": messages}


def is_question(message: dict[str, Any]) -> bool:
    """Whether it is a user message with text."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(message.get("role", "")).lower() == "user" and isinstance(content, str) and bool(content.strip())


def citations_reply(retrieved: Retrieved) -> list[dict[str, Any]]:
    """The passages of the prompt, with their numbers."""
    return [
        {
            "rank": rank,
            "score": hit.score,
            "doc_id": hit.doc_id,
            "chunk": hit.chunk,
            "text": hit.text,
            "metadata": hit.metadata,
        }
        for rank, hit in enumerate(retrieved.hits, start=1)
    ]


def retrieval_reply(retrieved: Retrieved) -> dict[str, Any]:
    """The search: its collection, duration and cost."""
    usage = collection_usage_reply(retrieved.ticket)
    return {"collection": retrieved.collection, "query_ms": retrieved.query_ms, "usage": usage}


def joint_bill(retrieved: Retrieved, chat: Ticket) -> dict[str, Any]:
    """The bill of search and chat: a line for each, and the total."""
    tickets = (retrieved.ticket, chat)
    total = sum(ticket.settlement.cost_nusd for ticket in tickets if ticket.settlement is not None)
    return {"lines": [bill_line(ticket) for ticket in tickets], "cost_usd": usd(total)}


def bill_line(ticket: Ticket) -> dict[str, Any]:
    """One line of the bill."""
    bill = ticket.settlement
    assert bill is not None
    return {
        "operation": bill.operation,
        "provider": bill.provider if ticket.deployment is None else ticket.deployment.shown_provider,
        "model": bill.model,
        "input_tokens": bill.input_tokens,
        "output_tokens": bill.output_tokens,
        "cost_usd": usd(bill.cost_nusd),
    }
