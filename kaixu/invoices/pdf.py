"""The PDF of an invoice, made from its snapshot alone: the same snapshot gives the same bytes.

PDF/A-3 with the snapshot attached, so that the file is its own machine-readable twin.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fpdf import FPDF
from fpdf.enums import WrapMode

FONTS = Path(__file__).parent / "fonts"
FONT = "NotoSans"

#: Shown for characters that the font lacks.
MISSING = "\ufffd"

#: Widths of the columns of lines, in millimetres.
WIDTHS = (10, 92, 22, 34, 22)
MARGIN = 15

LIGHT = 225
PRODUCER = "kAIxU Gateway"

#: What makes it PDF/A-3; fpdf2's own would have the time of printing in it.
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:pdf="http://ns.adobe.com/pdf/1.3/"
 xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
<rdf:Description rdf:about="" xmp:CreateDate="{at}" xmp:ModifyDate="{at}" xmp:MetadataDate="{at}"
 pdf:Producer="{producer}">
<pdfaid:part>3</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


@cache
def characters() -> frozenset[int]:
    """The characters that the font has."""
    with TTFont(FONTS / f"{FONT}-Regular.ttf") as font:
        return frozenset(font.getBestCmap())


def printable(text: object) -> str:
    """Text with only characters that the font has."""
    known = characters()
    return "".join(one if ord(one) in known else MISSING for one in str(text))


def money(cents: int) -> str:
    """Cents as dollars: -1,234.56."""
    sign = "-" if cents < 0 else ""
    whole, part = divmod(abs(cents), 100)
    return f"{sign}{whole:,}.{part:02d}"


class Page(FPDF):
    """Pages with the number and the page in the last line."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        super().__init__(format="A4", enforce_compliance="PDF/A-3B")
        self.snapshot = snapshot
        self.add_font(FONT, "", FONTS / f"{FONT}-Regular.ttf")
        self.add_font(FONT, "B", FONTS / f"{FONT}-Bold.ttf")
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(True, margin=20)
        self.alias_nb_pages("{pages}")

    def footer(self) -> None:
        """The last line of each page."""
        self.set_y(-14)
        self.set_font(FONT, size=7)
        self.cell(0, 4, printable(f"{self.snapshot['number']} · page {self.page_no()} of {{pages}}"), align="C")

    def text_line(self, text: object, *, bold: bool = False, size: float = 9) -> None:
        """A paragraph; long words are broken."""
        self.set_font(FONT, "B" if bold else "", size)
        self.multi_cell(
            0,
            size * 0.5,
            printable(text),
            new_x="LMARGIN",
            new_y="NEXT",
            wrapmode=WrapMode.CHAR if longest(text) > 60 else WrapMode.WORD,
        )

    def amount_line(self, label: str, amount: str, *, bold: bool = False) -> None:
        """A total at the right."""
        self.set_font(FONT, "B" if bold else "", 9)
        self.set_x(85)
        self.cell(75, 5, printable(label))
        self.cell(35, 5, printable(amount), align="R", new_x="LMARGIN", new_y="NEXT")


def longest(text: object) -> int:
    """The length of the longest word."""
    return max(map(len, str(text).split()), default=0)


def invoice_pdf(snapshot_text: str) -> bytes:
    """The PDF of a snapshot."""
    snapshot: dict[str, Any] = msgspec.json.decode(snapshot_text)
    page = Page(snapshot)
    at = datetime.fromisoformat(snapshot["generated_at"])
    page.set_creation_date(at)
    page.set_lang("en")
    name = f"{title(snapshot)} {snapshot['number']}"
    page.set_title(name)
    page.set_producer(PRODUCER)
    page.set_xmp_metadata(xmp(name, at))
    page.add_page()
    heading(page, snapshot)
    lines(page, snapshot)
    totals(page, snapshot)
    page.embed_file(
        bytes=snapshot_text.encode(),
        basename="invoice.json",
        modification_date=at,
        creation_date=at,
        mime_type="application/json",
        associated_file_relationship="Data",
        desc="The same invoice for programs",
        compress=True,
    )
    return bytes(page.output())


def xmp(name: str, at: datetime) -> str:
    """The PDF's description of itself."""
    return XMP.format(at=at.isoformat(timespec="seconds"), producer=PRODUCER, title=escape(name))


def title(snapshot: dict[str, Any]) -> str:
    """The kind of document."""
    return "Credit note" if snapshot["kind"] == "credit_note" else "Invoice"


def heading(page: Page, snapshot: dict[str, Any]) -> None:
    """Both parties, the number and the dates."""
    seller, customer = snapshot["seller"] or {}, snapshot["customer"]
    billing = customer["billing"]
    page.text_line(seller.get("name") or "", bold=True, size=12)
    for line in [*seller.get("address", []), seller.get("country")]:
        page.text_line(line or "")
    if seller.get("tax_id"):
        page.text_line(f"VAT/tax id: {seller['tax_id']}")
    if seller.get("email"):
        page.text_line(seller["email"])
    page.ln(6)
    page.text_line(f"{title(snapshot)} {snapshot['number']}", bold=True, size=14)
    page.ln(2)
    facts = [
        ("Issue date", snapshot["issue_date"]),
        ("Period", f"{snapshot['period']['from']} to {snapshot['period']['to']} ({snapshot['zone']})"),
        ("Due date", snapshot["due_date"]),
        ("Invoice", snapshot.get("credited_number")),
        ("Reason", snapshot.get("reason")),
        ("Currency", snapshot["currency"]),
    ]
    for name, value in facts:
        if value:
            page.text_line(f"{name}: {value}")
    page.ln(4)
    page.text_line("Billed to", bold=True)
    page.text_line(billing["name"] or customer["email"])
    for line in [*billing["address"], billing["country"] or ""]:
        page.text_line(line)
    if billing["tax_id"]:
        page.text_line(f"VAT/tax id: {billing['tax_id']}")
    page.text_line(f"Customer {customer['id']}, {billing['email'] or customer['email']}")
    page.ln(5)


def lines(page: Page, snapshot: dict[str, Any]) -> None:
    """The table of lines; its head is repeated on each page."""
    page.set_font(FONT, size=8)
    page.set_draw_color(LIGHT)
    with page.table(
        col_widths=WIDTHS, width=sum(WIDTHS), text_align=("L", "L", "R", "R", "R"), line_height=4.2, padding=0.8,
        borders_layout="HORIZONTAL_LINES", wrapmode="CHAR",
    ) as table:  # fmt: skip
        table.row(("No.", "Description", "Calls", "Tokens in / out", "USD"))
        for line in snapshot["lines"]:
            table.row(
                (
                    str(line["line"]),
                    printable(description(line)),
                    f"{line['calls']:,}" if line["kind"] == "usage" else "",
                    f"{line['input_tokens']:,} / {line['output_tokens']:,}" if line["kind"] == "usage" else "",
                    money(line["amount_cents"]),
                )
            )
    page.ln(4)


def description(line: dict[str, Any]) -> str:
    """What a line is for."""
    what = f"{line['provider']}/{line['model']} ({line['book']})"
    return what if line["kind"] == "usage" else f"Correction for {line['month']}: {what}"


#: What becomes of prepaid credit that the month has not used. Invoices from before this was said do not say it.
UNSPENT = {
    "ends": "Prepaid credit that was not used ends with this month.",
    "rolls_over": "Prepaid credit that was not used is carried into the next month.",
}


def totals(page: Page, snapshot: dict[str, Any]) -> None:
    """Net, tax, total, prepaid and due; what the law requires to be said."""
    amounts = snapshot["amounts"]
    if page.get_y() > 220:
        page.add_page()
    page.amount_line("Net", f"{money(amounts['net_cents'])} USD")
    for tax in snapshot["taxes"]:
        label = f"{tax['name']} {tax['rate']} on {money(tax['net_cents'])}"
        page.amount_line(label, f"{money(tax['tax_cents'])} USD")
    page.amount_line("Total", f"{money(amounts['total_cents'])} USD", bold=True)
    if snapshot["kind"] == "invoice":
        page.amount_line("Prepaid credit applied", f"{money(-amounts['prepaid_applied_cents'])} USD")
        page.amount_line("Amount due", f"{money(amounts['due_cents'])} USD", bold=True)
        if (unspent := UNSPENT.get(snapshot.get("unspent_credit") or "")) is not None:
            page.ln(1)
            page.text_line(unspent)
    second = snapshot["second_currency"]
    if second is not None:
        page.ln(2)
        page.text_line(
            f"In {second['currency']}: net {second['net']}, tax {second['tax']}, total {second['total']}, "
            f"due {second['due']} (1 USD = {second['rate']} {second['currency']}, {second['date']}, {second['source']})"
        )
    page.ln(3)
    for tax in snapshot["taxes"]:
        if tax["note"]:
            page.text_line(tax["note"])
    if snapshot["footer"]:
        page.text_line(snapshot["footer"])
    page.set_font(FONT, size=7)
    page.text_line(f"Exact net: {amounts['net_usd']} USD, rounded once.", size=7)
