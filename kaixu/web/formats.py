"""Values as people read them: money, numbers, moments. The exact value stands beside each, for whoever needs it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

NONE = "–"
MINUS = "−"
#: Between a number and its unit: a line does not break there.
UNBROKEN = "\u00a0"
CENT = Decimal("0.01")
#: The digits after the point that an amount below one cent shows at most.
MOST_DIGITS = 6


def money(usd: str | None, digits: int = 2, is_signed: bool = False) -> str:
    """An amount in USD: two digits after the point; up to six below one cent, so that it does not look like nothing."""
    if usd is None:
        return NONE
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        return usd
    if not amount.is_finite():
        return usd
    sign = MINUS if amount < 0 else "+" if is_signed and amount > 0 else ""
    size = abs(amount)
    if 0 < size < CENT and digits < MOST_DIGITS:
        return sign + small_money(size)
    return f"{sign}${size.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN):,}"


def counted(count: int, one: str) -> str:
    """A number of things: `1 call`, `2,300 calls`. `one`: the noun, with a plural in s."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def usd_of_cents(cents: int) -> str:
    """Cents as exact dollars, also below zero."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def money_of_cents(cents: int) -> str:
    """Cents as an amount in words."""
    return money(usd_of_cents(cents))


def plain_text(message: str | None) -> str:
    """A message of the gateway without its marks of code, which pages show as text."""
    return (message or "").replace("`", "")


def sentence(message: str) -> str:
    """A message of the gateway as a sentence."""
    text = plain_text(message)
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def small_money(size: Decimal) -> str:
    """A positive amount below one cent."""
    least = Decimal(1).scaleb(-MOST_DIGITS)
    if size < least:
        return f"<${least:f}"
    return f"${size.quantize(least, ROUND_HALF_EVEN).normalize():f}"


def plain_number(value: float) -> str:
    """A number as an attribute of HTML takes it."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def number(value: int | float | None, unit: str = "", digits: int = 0) -> str:
    """A number with thousands separated, and its unit."""
    if value is None:
        return NONE
    text = f"{abs(value):,.{digits}f}" if isinstance(value, float) or digits else f"{abs(value):,}"
    sign = MINUS if value < 0 else ""
    return f"{sign}{text}{UNBROKEN}{unit}" if unit else f"{sign}{text}"


#: The units of a distance in time, in seconds.
STEPS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
#: From this distance on a day is shown instead.
FAR_S = 30 * 86_400


def ago(at: str, now: datetime | None = None) -> str:
    """How long ago a moment was, in the words of `times.js`, which counts on from there."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return at
    if moment.tzinfo is None:
        return at
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    distance = abs(seconds)
    if distance >= FAR_S:
        return utc(at, "date")
    if distance < 5:
        return "now"
    unit, length = next((one for one in STEPS if distance >= one[1]), STEPS[-1])
    count = int(distance / length + 0.5)
    if unit == "day" and count == 1:
        return "yesterday" if seconds > 0 else "tomorrow"
    words = f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return f"{words} ago" if seconds > 0 else f"in {words}"


def utc(at: str, form: str = "moment") -> str:
    """A moment in UTC, without the zone; "exact" is to the second. What is no moment stays as it is."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return at
    if len(at) == len("2026-11-29"):
        return at
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    if form == "date":
        return f"{moment:%Y-%m-%d}"
    if form in ("time", "short"):
        return f"{moment:%H:%M:%S}" if form == "time" else f"{moment:%m-%d %H:%M:%S}"
    return f"{moment:%Y-%m-%d %H:%M:%S}" if form == "exact" else f"{moment:%Y-%m-%d %H:%M}"
