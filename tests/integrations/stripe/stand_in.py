"""A stand-in of Stripe: checkout sessions with a page to pay on, payment intents, refunds, disputes, signed events.

It has a state, as Stripe does: idempotency keys for 24 hours, a clock of its own, events that are listed and can be sent
as often and as late as a test wants. Requests with parameters that Stripe's library does not know are refused.
"""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import time
from typing import Any

import stripe
from aiohttp import web

from .hosted_page import hosted_page
from .objects import made
from .parameters import nested, problems

KEY = "sk_test_stand_in"

#: Where the pages of sessions are, as browsers see it: tests of browsers route it to the stand-in.
HOSTED = "https://checkout.stripe.test"
SECRET = "whsec_of_the_stand_in"

#: How long an idempotency key is known.
REMEMBERED_S = 24 * 3600

#: Cards by their last digits, and what happens when one is charged off session.
CARDS = {"4242": None, "0341": "card_declined", "3184": "authentication_required", "9995": "insufficient_funds"}

Json = dict[str, Any]


class Refused(Exception):
    """Stripe's error."""

    def __init__(self, status: int, kind: str, code: str | None = None, **more: Any) -> None:
        super().__init__(kind)
        self.status = status
        self.body = {
            "error": {"type": kind, "code": code, "message": "secret words of Stripe sk_test_stand_in", **more}
        }


class Stripe:
    """`faults`: what happens to the next requests that change something, first to last: "500", "429", "503", "hang",
    "lost" (it is done, and the answer is lost), "401". `reading_faults`: the same for requests that read.
    `slow_reading_s`: the next answer to a reading takes that long; `slow_readings` of them were read.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.ahead_s = 0.0
        self.port = 0
        self.faults: list[str] = []
        self.reading_faults: list[str] = []
        self.is_away = False
        self.requests: list[tuple[str, str, str | None]] = []
        self.complaints: list[str] = []
        self.objects: dict[str, Json] = {}
        self.events: list[Json] = []
        self.keys: dict[str, tuple[float, str, int, Json]] = {}
        self.versions: set[str] = set()
        self._number = 0
        self.slow_reading_s = 0.0
        self.slow_readings = 0
        self.session_amount: int | None = None
        self.session_currency: str | None = None

    # Time and names

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def now(self) -> int:
        return int(time.time() + self.ahead_s)

    def name(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}_{self._number:06}{id(self) % 10**6:06}"

    def of(self, kind: str) -> list[Json]:
        """All objects of a kind, the newest last."""
        with self.lock:
            return [one for one in self.objects.values() if one["object"] == kind]

    def session(self, session_id: str) -> Json:
        return self.objects[session_id]

    def by_reference(self, reference: str) -> Json:
        """The session of a payment."""
        return next(one for one in self.of("checkout.session") if one["client_reference_id"] == reference)

    # What people do at Stripe

    def pay(self, session_id: str, last4: str = "4242", *, later: bool = False) -> Json:
        """A customer pays on the page of a session; `later`: by a bank debit, which takes days."""
        with self.lock:
            session = self.objects[session_id]
            if session["status"] != "open" or session["expires_at"] < self.now():
                raise Refused(400, "invalid_request_error", "session_closed")
            asked = session["_intent"]
            method = self.new_method(last4, session["customer"] if asked.get("setup_future_usage") else None)
            intent = self.add(
                "payment_intent", "pi", amount=session["amount_total"], currency=session["currency"],
                customer=session["customer"], metadata=dict(asked.get("metadata", {})), payment_method=method["id"],
                setup_future_usage=asked.get("setup_future_usage"), status="processing",
            )  # fmt: skip
            session.update(status="complete", payment_status="unpaid", payment_intent=intent["id"], url=None)
            if later:
                self.tell("checkout.session.completed", session)
            else:
                self.succeed(intent)
                session["payment_status"] = "paid"
                self.tell("checkout.session.completed", session)
            return session

    def bank_pays(self, session_id: str) -> None:
        with self.lock:
            session = self.objects[session_id]
            self.succeed(self.objects[session["payment_intent"]])
            session["payment_status"] = "paid"
            self.tell("checkout.session.async_payment_succeeded", session)

    def bank_refuses(self, session_id: str) -> None:
        with self.lock:
            session = self.objects[session_id]
            self.objects[session["payment_intent"]]["status"] = "requires_payment_method"
            self.tell("checkout.session.async_payment_failed", session)

    def expire(self, session_id: str) -> None:
        with self.lock:
            session = self.objects[session_id]
            session.update(status="expired", url=None)
            self.tell("checkout.session.expired", session)

    def refund(self, intent_id: str, amount: int) -> None:
        with self.lock:
            charge = self.objects[self.objects[intent_id]["latest_charge"]]
            charge["amount_refunded"] += amount
            assert charge["amount_refunded"] <= charge["amount"]
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
            self.add("refund", "re", amount=amount, charge=charge["id"], payment_intent=intent_id, status="succeeded")
            self.tell("charge.refunded", charge)

    def dispute(self, intent_id: str, amount: int, status: str = "needs_response") -> str:
        with self.lock:
            charge = self.objects[self.objects[intent_id]["latest_charge"]]
            charge["disputed"] = True
            dispute = self.add(
                "dispute", "dp", amount=amount, charge=charge["id"], payment_intent=intent_id, status=status,
                reason="fraudulent",
            )  # fmt: skip
            self.tell("charge.dispute.created", dispute)
            return str(dispute["id"])

    def close_dispute(self, dispute_id: str, status: str) -> None:
        with self.lock:
            dispute = self.objects[dispute_id]
            dispute["status"] = status
            self.tell("charge.dispute.closed", dispute)

    # Its objects

    def add(self, kind: str, prefix: str, **values: Any) -> Json:
        one = made(kind, id=self.name(prefix), created=self.now(), **values)
        self.objects[one["id"]] = one
        return one

    def new_method(self, last4: str, customer: str | None) -> Json:
        method = self.add("payment_method", "pm", customer=customer)
        method["card"] |= {"last4": last4, "exp_month": 8, "exp_year": 2099, "brand": "visa"}
        return method

    def succeed(self, intent: Json) -> None:
        """The money of a payment intent has come."""
        method = self.objects[intent["payment_method"]]
        charge = self.add(
            "charge", "ch", amount=intent["amount"], amount_captured=intent["amount"], currency=intent["currency"],
            customer=intent["customer"], payment_intent=intent["id"], payment_method=method["id"], status="succeeded",
            metadata=dict(intent["metadata"]), receipt_url=f"https://pay.stripe.example/receipts/{intent['id']}",
        )  # fmt: skip
        charge["payment_method_details"]["card"] |= {"last4": method["card"]["last4"], "brand": "visa"}
        intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
        self.tell("payment_intent.succeeded", intent)

    def tell(self, kind: str, about: Json) -> None:
        """Note an event; a test sends it, or does not."""
        shown = {name: value for name, value in copy.deepcopy(about).items() if not name.startswith("_")}
        self.events.append(
            made(
                "event", id=self.name("evt"), created=self.now(), type=kind, data={"object": shown}, pending_webhooks=1
            )
        )

    def signed(self, event: Json, secret: str = SECRET, at: float | None = None) -> tuple[bytes, dict[str, str]]:
        """A delivery of an event: its body and headers, signed by Stripe's library."""
        body = json.dumps(event)
        moment = int(time.time() if at is None else at)
        header = stripe.WebhookSignature.generate_signature_header(body, secret, moment)
        return body.encode(), {"stripe-signature": header, "content-type": "application/json; charset=utf-8"}

    # Its API

    def answer(self, method: str, path: str, pairs: list[tuple[str, str]], headers: Any) -> tuple[int, Json]:
        """The status and body that answer a request."""
        if headers.get("authorization") != f"Bearer {KEY}":
            raise Refused(401, "invalid_request_error")
        self.versions.add(headers.get("stripe-version", ""))
        parts = path.strip("/").split("/")
        shape = path
        for at in (2, 3):
            if len(parts) > at and parts[at] not in ("sessions", "expire", "detach"):
                shape = path.replace(parts[at], "{id}", 1)
                break
        values = nested(pairs)
        wrong = problems(f"{method} {shape}", values)
        if wrong:
            self.complaints += wrong
            raise Refused(400, "invalid_request_error", "parameter_unknown", param=wrong[0])
        with self.lock:
            if method == "GET":
                return 200, self.read(shape, parts, values)
            key = headers.get("idempotency-key")
            if key is None or len(key) > 255:
                self.complaints.append(f"{method} {path} has no idempotency key")
                raise Refused(400, "invalid_request_error")
            same = json.dumps([method, path, values], sort_keys=True)
            known = self.keys.get(key)
            if known is not None and self.now() - known[0] < REMEMBERED_S:
                if known[1] != same:
                    self.complaints.append(f"the key {key} was used with other values")
                    raise Refused(400, "idempotency_error")
                return known[2], copy.deepcopy(known[3])
            try:
                status, body = 200, copy.deepcopy(self.write(shape, parts, values))
            except Refused as refused:
                status, body = refused.status, refused.body
            if status != 429:
                self.keys[key] = (self.now(), same, status, copy.deepcopy(body))
            return status, body

    def read(self, shape: str, parts: list[str], values: Json) -> Json:
        if "{id}" in shape:
            one = self.objects.get(parts[-1])
            if one is None:
                raise Refused(404, "invalid_request_error", "resource_missing")
            return self.expanded(one, values.get("expand", []))
        if parts[-1] == "disputes":
            found = [one for one in self.of("dispute") if one["payment_intent"] == values["payment_intent"]]
        elif parts[-1] == "payment_intents":
            found = self.of("payment_intent")
        else:
            found = [one for one in self.events if one["type"] in values["types"]]
        created = values.get("created", {})
        found = [
            one for one in reversed(found)
            if int(created.get("gte", 0)) <= one["created"] <= int(created.get("lte", 10**12))
        ]  # fmt: skip
        if "starting_after" in values:
            ids = [one["id"] for one in found]
            found = found[ids.index(values["starting_after"]) + 1 :]
        most = int(values.get("limit", 10))
        expand = [one.removeprefix("data.") for one in values.get("expand", [])]
        data = [self.expanded(one, expand) for one in found[:most]]
        return {"object": "list", "data": data, "has_more": len(found) > most, "url": "/" + "/".join(parts)}

    def expanded(self, one: Json, paths: list[str]) -> Json:
        shown = {name: value for name, value in copy.deepcopy(one).items() if not name.startswith("_")}
        deeper: dict[str, list[str]] = {}
        for path in paths:
            name, _, rest = path.partition(".")
            deeper.setdefault(name, []).extend([rest] if rest else [])
        for name, inner in deeper.items():
            if shown.get(name) is not None:
                shown[name] = self.expanded(self.objects[shown[name]], inner)
        return shown

    def write(self, shape: str, parts: list[str], values: Json) -> Json:
        match shape:
            case "/v1/customers":
                return self.add("customer", "cus", email=values.get("email"), metadata=values.get("metadata", {}))
            case "/v1/checkout/sessions":
                return self.new_session(values)
            case "/v1/payment_intents":
                return self.charge_off_session(values)
        one = self.objects.get(parts[-2])
        if one is None:
            raise Refused(404, "invalid_request_error", "resource_missing")
        if parts[-1] == "expire":
            if one["status"] != "open":
                raise Refused(400, "invalid_request_error")
            self.expire(one["id"])
        else:
            if one["customer"] is None:
                raise Refused(400, "invalid_request_error")
            one["customer"] = None
        return self.expanded(one, [])

    def require_customer(self, customer: str | None) -> None:
        if customer is not None and self.objects.get(customer, {"deleted": True}).get("deleted"):
            raise Refused(400, "invalid_request_error", "resource_missing", param="customer")

    def delete_customer(self, customer: str) -> None:
        """An operator deletes a customer at Stripe: the cards are detached."""
        with self.lock:
            self.objects[customer] = {"id": customer, "object": "customer", "deleted": True}
            for method in self.of("payment_method"):
                if method["customer"] == customer:
                    method["customer"] = None

    def new_session(self, values: Json) -> Json:
        [item] = values["line_items"]
        amount = int(item["price_data"]["unit_amount"]) * int(item["quantity"])
        if amount < 50:
            raise Refused(400, "invalid_request_error", "amount_too_small")
        expires_at = int(values["expires_at"])
        if not 1800 <= expires_at - self.now() <= 24 * 3600:
            raise Refused(400, "invalid_request_error", param="expires_at")
        if "customer" in values and "customer_email" in values:
            raise Refused(400, "invalid_request_error", param="customer_email")
        self.require_customer(values.get("customer"))
        session = self.add(
            "checkout.session", "cs_test", amount_total=self.session_amount or amount, amount_subtotal=amount,
            currency=self.session_currency or item["price_data"]["currency"], metadata=values.get("metadata", {}),
            client_reference_id=values["client_reference_id"], customer=values.get("customer"), mode=values["mode"],
            customer_email=values.get("customer_email"), success_url=values["success_url"],
            cancel_url=values["cancel_url"], expires_at=expires_at, status="open", payment_status="unpaid",
        )  # fmt: skip
        session["url"] = f"{HOSTED}/pay/{session['id']}"
        session["_intent"] = values.get("payment_intent_data", {})
        session["_name"] = item["price_data"]["product_data"]["name"]
        return self.expanded(session, [])

    def charge_off_session(self, values: Json) -> Json:
        self.require_customer(values["customer"])
        method = self.objects.get(values["payment_method"])
        if method is None or method["customer"] != values["customer"]:
            raise Refused(400, "invalid_request_error")
        intent = self.add(
            "payment_intent", "pi", amount=int(values["amount"]), currency=values["currency"],
            customer=values["customer"], metadata=values["metadata"], payment_method=method["id"],
            description=values["description"], status="requires_confirmation",
        )  # fmt: skip
        problem = CARDS.get(method["card"]["last4"])
        if problem is None:
            self.succeed(intent)
            return self.expanded(intent, [])
        error = {"type": "card_error", "code": problem, "decline_code": "generic_decline"}
        intent.update(status="requires_payment_method", last_payment_error=error)
        self.tell("payment_intent.payment_failed", intent)
        shown = self.expanded(intent, [])
        raise Refused(402, "card_error", problem, decline_code="generic_decline", payment_intent=shown)

    # Its server

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/pay/"):
            return await hosted_page(self, request)
        reads = request.method == "GET"
        pairs = list(request.query.items())
        if not reads:
            pairs += [(name, str(value)) for name, value in (await request.post()).items()]
        with self.lock:
            self.requests.append((request.method, request.path, request.headers.get("idempotency-key")))
            faults = self.reading_faults if reads else self.faults
            fault = "away" if self.is_away else faults.pop(0) if faults else ""
        if fault == "away":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault.isdigit():
            headers = {"retry-after": "1"} if fault == "429" else {}
            kind = "rate_limit_error" if fault == "429" else "api_error"
            return web.json_response(Refused(int(fault), kind).body, status=int(fault), headers=headers)
        try:
            status, body = self.answer(request.method, request.path, pairs, request.headers)
        except Refused as refused:
            status, body = refused.status, refused.body
        if reads and self.slow_reading_s:
            late_s, self.slow_reading_s = self.slow_reading_s, 0.0
            self.slow_readings += 1
            await asyncio.sleep(late_s)
        if fault == "lost":
            assert request.transport is not None
            request.transport.abort()
        headers = {"request-id": self.name("req")}
        return web.json_response(body, status=status, headers=headers)
