"""A visit: one request of a page, with who asks, the API as they see it, and what a form sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from kaixu.accounts.operator_identity import Access, Identity
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply
from kaixu.edge.services import Services

from .api_calls import Api, QueryValue, query_text
from .file_form import FileForm
from .form_data import FormData
from .navigation import Tab
from .redirects import short_location

Audience = Literal["operator", "customer", "public"]

NO_STORE = {"cache-control": "no-store"}

#: Fields of one view of a page: where its list goes on, and what was done just before.
ONCE = frozenset({"cursor", "done", "done_id"})


@dataclass
class Visit:
    """One request of a page. `session`: the session's token, which form tokens are made from; empty without one.

    `customer`: the customer that the operator has selected, as in the list of customers; None: none. `summary`: the
    month of the customer who has signed in, as `user-summary` tells it, and `key` its key.
    """

    services: Services
    request: IncomingRequest
    api: Api
    audience: Audience
    tab: Tab | None
    form: FormData
    session: str = ""
    operator: Identity | None = None
    customer: dict[str, Any] | None = None
    key: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def query(self) -> dict[str, str]:
        """The fields of the address."""
        return self.request.args

    @property
    def is_post(self) -> bool:
        """Whether a form was sent."""
        return self.request.method == "POST"

    @property
    def file(self) -> FileForm | None:
        """The file of a form that is streamed; None for every other one."""
        return self.request.upload if isinstance(self.request.upload, FileForm) else None

    @property
    def path(self) -> str:
        """The path of the page."""
        return self.request.path

    @property
    def customer_id(self) -> int | None:
        """The id of the selected customer."""
        return None if self.customer is None else int(self.customer["id"])

    def may(self, access: Access) -> bool:
        """Whether the operator may do this; what they may not is not offered."""
        return self.operator is not None and self.operator.may(access)

    def url(self, path: str | None = None, /, **query: QueryValue) -> str:
        """The address of a page with exactly these fields."""
        text = query_text(query)
        return f"{path or self.path}?{text}" if text else path or self.path

    def changed(self, **query: QueryValue) -> str:
        """The address of this page with some fields changed (None removes one), from its first page on."""
        kept: dict[str, QueryValue] = {name: value for name, value in self.query.items() if name not in ONCE}
        return self.url(None, **(kept | query))

    def redirect(self, path: str | None = None, /, **query: QueryValue) -> Reply:
        """Go to a page after a change, so that reloading it does not repeat the change (303)."""
        return Reply(303, {"location": short_location(self.url(path, **query)), **NO_STORE}, b"")
