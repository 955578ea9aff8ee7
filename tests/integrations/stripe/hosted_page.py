"""The page of a checkout session, where a browser pays."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from .stand_in import Stripe

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pay</title><link rel="icon" href="data:,"></head>
<body><h1>{name}</h1><p>${dollars}</p>
<form method="post"><label>Card number <input name="card" value="4242"></label>
<button name="do" value="pay">Pay</button> <button name="do" value="debit">Pay by bank</button></form>
<a href="{cancel}">Cancel</a></body></html>"""


DONE = """<!doctype html><html lang="en"><head><title>Done</title><link rel="icon" href="data:,"></head>
<body><a href="{back}">Return to the shop</a></body></html>"""


async def hosted_page(stripe: Stripe, request: web.Request) -> web.StreamResponse:
    """Show it, or pay and send the browser back."""
    session = stripe.objects[request.path.removeprefix("/pay/")]
    if session["status"] != "open":
        return web.Response(text="This page was used before.", status=410)
    if request.method == "POST":
        form = await request.post()
        stripe.pay(session["id"], str(form["card"])[-4:], later=form["do"] == "debit")
        back = html.escape(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))
        return web.Response(text=DONE.format(back=back), content_type="text/html")
    text = PAGE.format(
        name=html.escape(session["_name"]),
        dollars=f"{session['amount_total'] / 100:.2f}",
        cancel=html.escape(session["cancel_url"]),
    )
    return web.Response(text=text, content_type="text/html")
