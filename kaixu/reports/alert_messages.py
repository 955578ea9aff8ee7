"""What receivers of alerts read: the JSON of webhooks, and the words of mails and of the monitor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.alerts import RaisedAlert

from .values import instant

#: What a customer may learn of its own account; everything else is the operator's business.
CUSTOMER_TYPES = frozenset(
    {
        "CAP_WARN_CUSTOMER",
        "CAP_WARN_KEY",
        "CAP_REACHED_CUSTOMER",
        "CAP_REACHED_KEY",
        "CALLS_REFUSED_CUSTOMER",
        "CALLS_REFUSED_KEY",
        "CAP_RECOVERED_CUSTOMER",
        "CAP_RECOVERED_KEY",
        "CAP_WARN_BOOK",
        "CAP_REACHED_BOOK",
        "CAP_RECOVERED_BOOK",
        "TOPPED_UP",
        "WEBHOOK_FAILING",
        "WEBHOOK_WORKS",
    }
)

GOOD_NEWS = frozenset(
    {
        "CAP_RECOVERED_CUSTOMER",
        "CAP_RECOVERED_KEY",
        "CAP_RECOVERED_BOOK",
        "TOPPED_UP",
        "VENDOR_BACK",
        "WEBHOOK_WORKS",
        "MONTH_CLOSED",
    }
)
BAD_NEWS = frozenset({"VENDOR_DOWN", "WEBHOOK_FAILING", "MARGIN_NEGATIVE"})

#: Suffix of money in the stored figures.
NUSD = "_nusd"

Level = Literal["info", "warn", "error"]


def level_of(alert_type: str) -> Level:
    """The level of an alert in the monitor."""
    return "info" if alert_type in GOOD_NEWS else "error" if alert_type in BAD_NEWS else "warn"


def alert_json(alert: RaisedAlert) -> dict[str, Any]:
    """An alert as webhooks get it: `type`, its figures with money in cents, whose it is, and its id.

    The caps' own names (`customer_cap_cents`, `key_spent_cents`) stand beside the shorter ones.
    """
    shown: dict[str, Any] = {"type": alert.type}
    for name, value in alert.body.items():
        if not name.endswith(NUSD) or not isinstance(value, int):
            shown[name] = value
            continue
        cents = f"{name.removesuffix(NUSD)}_cents"
        shown[cents] = cents_of_nusd(value)
        if alert.type in ("CAP_WARN_CUSTOMER", "CAP_WARN_KEY") and name in ("cap_nusd", "spent_nusd"):
            owner = "key" if alert.type.endswith("_KEY") else "customer"
            shown[f"{owner}_{cents}"] = shown[cents]
    if alert.customer_id is not None:
        shown |= {"customer_id": alert.customer_id, "api_key_id": alert.key_id}
    return shown | {"alert_id": alert.id, "created_at": instant(alert.created_at)}


class Words:
    """The sentences about one alert; `to_customer`: they are for the customer itself, else for the operator.

    `with_address`: name the customer's address, too.
    """

    def __init__(self, alert: RaisedAlert, *, to_customer: bool = False, with_address: bool = True) -> None:
        self.alert = alert
        self.body = alert.body
        self.to_customer = to_customer
        self.with_address = with_address

    @property
    def account(self) -> str:
        """The customer."""
        if self.to_customer:
            return "your account"
        address = f" ({self.alert.email})" if self.with_address and self.alert.email else ""
        return f"customer {self.alert.customer_id}{address}"

    @property
    def owner(self) -> str:
        """Whose cap it is: the customer's, or one of its keys'."""
        if self.alert.key_id is None:
            return self.account
        label = f", {self.alert.key_label}" if self.alert.key_label else ""
        key = f"key …{self.alert.key_last4}{label}"
        return f"your {key}" if self.to_customer else f"{key}, of {self.account}"

    def money(self, name: str) -> str:
        """An amount of the figures."""
        amount = self.body.get(f"{name}{NUSD}") or 0
        return f"-${usd(-amount)}" if amount < 0 else f"${usd(amount)}"

    @property
    def spent(self) -> str:
        """What is spent of the cap."""
        return f"{self.money('spent')} of {self.money('cap')} are spent in {self.body['month']}."

    @property
    def subject(self) -> str:
        """The alert in one line."""
        return one_line(self.sentences()[0])

    @property
    def text(self) -> str:
        """The alert in a few sentences."""
        subject, more = self.sentences()
        return f"{one_line(subject)}.\n\n{more}\n"

    def sentences(self) -> tuple[str, str]:
        """The alert in one line, and what there is to know besides.

        A newer gateway's alert, of a type or with figures that are not known here, is told without words: it must not
        hold up the others.
        """
        try:
            return WORDS[self.alert.type](self)
        except (KeyError, TypeError, ValueError, AttributeError):
            about = "" if self.alert.customer_id is None else f" of {self.account}"
            return f"alert {self.alert.type}{about}", "See `kaixu alerts list --json`."


def one_line(text: str) -> str:
    """The first letter large, without line breaks and control characters: labels are the customer's own words."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown[:1].upper() + shown[1:]


def cap_warning(words: Words) -> tuple[str, str]:
    return f"{words.owner} has used {words.body['pct']} % of its monthly cap", words.spent


def cap_reached(words: Words) -> tuple[str, str]:
    return f"{words.owner} has used up its monthly cap", f"{words.spent} Further calls are refused."


def calls_refused(words: Words) -> tuple[str, str]:
    what = f"calls of {words.owner} are refused because of its monthly cap"
    return what, f"{words.spent} A higher cap or a top-up ends this; so does the next month (UTC)."


def cap_recovered(words: Words) -> tuple[str, str]:
    return f"calls of {words.owner} are accepted again", words.spent


def book_name(words: Words) -> str:
    """The book, by its title, with its owner."""
    title = words.body["title"]
    return f"your budget for {title}" if words.to_customer else f"the budget for {title} of {words.account}"


def book_warning(words: Words) -> tuple[str, str]:
    return f"{words.body['pct']} % of {book_name(words)} are used", words.spent


def book_reached(words: Words) -> tuple[str, str]:
    return f"{book_name(words)} is used up", f"{words.spent} What draws on it is refused."


def book_recovered(words: Words) -> tuple[str, str]:
    return f"{book_name(words)} has room again", words.spent


def topped_up(words: Words) -> tuple[str, str]:
    what = f"{words.money('amount')} were added to the cap of {words.account} for {words.body['month']}"
    return what, words.spent


def vendor_down(words: Words) -> tuple[str, str]:
    body = words.body
    what = f"lane {body['provider']}, model {body['upstream']}: calls fail"
    return what, f"The last failure: {body.get('reason') or 'not known'}. See `kaixu failures` and `kaixu doctor`."


def vendor_back(words: Words) -> tuple[str, str]:
    body = words.body
    what = f"lane {body['provider']}, model {body['upstream']}: calls are answered again"
    return what, f"It was down for {duration(body['down_s'])}."


def receiver_name(words: Words) -> str:
    """The receiver, as an operator or its customer knows it."""
    return webhook_name(str(words.body["receiver"]), words.account)


def webhook_name(name: str, account: str) -> str:
    """A receiver by its `name` in the database; `account`: the customer whose it is, in words."""
    if name == "alerts":
        return "the webhook of ALERT_WEBHOOK_URL"
    kind, _, rest = name.partition(":")
    if kind == "alerts":
        return f"the webhook `{rest}`"
    return f"the webhook of {account} for {'jobs' if kind == 'jobs' else 'alerts'}"


def webhook_failing(words: Words) -> tuple[str, str]:
    body = words.body
    lost = " At least one message was given up." if body["is_final"] else " Messages are tried again for a while."
    what = f"{receiver_name(words)} fails"
    return what, f"{body['failures']} attempts in a row have failed, the last one with: {body['error']}.{lost}"


def webhook_works(words: Words) -> tuple[str, str]:
    return f"{receiver_name(words)} works again", f"It has failed for {duration(words.body['failed_s'])}."


def margin_negative(words: Words) -> tuple[str, str]:
    body = words.body
    subject = words.account if body["subject"] == "customer" else f"model {body['name']}"
    what = f"{subject} has cost more than it has brought on {body['day']}"
    return what, (
        f"{body['calls']} calls, {words.money('spent')} billed, {words.money('vendor_cost')} charged by vendors, "
        f"margin {words.money('margin')}. See `kaixu top` and `kaixu prices`."
    )


def month_closed(words: Words) -> tuple[str, str]:
    body = words.body
    left = ", ".join(f"{code}: {count}" for code, count in sorted(body["not_issued"].items()))
    what = f"the invoices for {body['month']} are issued"
    total = f"${body['total_cents'] // 100:,}.{body['total_cents'] % 100:02}"
    return what, f"{body['invoices']} invoices, {total} in all. Not issued: {left or 'none'}."


def duration(seconds: int) -> str:
    """A time in words."""
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} minutes" if seconds < 7200 else f"{seconds // 3600} hours"


WORDS: dict[str, Callable[[Words], tuple[str, str]]] = {
    "CAP_WARN_CUSTOMER": cap_warning,
    "CAP_WARN_KEY": cap_warning,
    "CAP_REACHED_CUSTOMER": cap_reached,
    "CAP_REACHED_KEY": cap_reached,
    "CALLS_REFUSED_CUSTOMER": calls_refused,
    "CALLS_REFUSED_KEY": calls_refused,
    "CAP_RECOVERED_CUSTOMER": cap_recovered,
    "CAP_RECOVERED_KEY": cap_recovered,
    "CAP_WARN_BOOK": book_warning,
    "CAP_REACHED_BOOK": book_reached,
    "CAP_RECOVERED_BOOK": book_recovered,
    "TOPPED_UP": topped_up,
    "VENDOR_DOWN": vendor_down,
    "VENDOR_BACK": vendor_back,
    "WEBHOOK_FAILING": webhook_failing,
    "WEBHOOK_WORKS": webhook_works,
    "MARGIN_NEGATIVE": margin_negative,
    "MONTH_CLOSED": month_closed,
}
