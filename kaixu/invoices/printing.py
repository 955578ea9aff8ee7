"""PDFs of invoices, without loading what makes them before the first is made."""

from __future__ import annotations


def printed(snapshot_text: str) -> bytes:
    """The PDF of a snapshot.

    fpdf2 and its fonts' library take 30 MB, which a gateway that issues no invoice does not need.
    """
    from .pdf import invoice_pdf

    return invoice_pdf(snapshot_text)
