"""
The pages of an invoice: one to look at it, and the same as a PDF.

Source: https://docs.stripe.com/invoicing/hosted-invoice-page
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.money import Money
from atom_stripe.testing._state.browsing import Shown, escaped, page

if TYPE_CHECKING:
    from atom_stripe.testing._state.browsing import Visit
    from atom_stripe.testing._state.store import Row


@page("GET", "/i/{token}")
def show(visit: Visit) -> Shown:
    """Show an invoice."""
    invoice = _invoice(visit)
    if invoice is None:
        return _gone()
    lines = "".join(f"<li>{escaped(text)}</li>" for text in _lines(invoice))
    link = f'<p><a id="pdf" href="{escaped(invoice["invoice_pdf"])}">PDF</a></p>'
    return Shown.html(200, f"<h1>Invoice {escaped(invoice['number'])}</h1>\n<ul>{lines}</ul>\n{link}", title="Invoice")


@page("GET", "/i/{token}/pdf")
def download(visit: Visit) -> Shown:
    """Return an invoice as a PDF."""
    invoice = _invoice(visit)
    if invoice is None:
        return _gone()
    return Shown(200, {"content-type": "application/pdf"}, _pdf([f"Invoice {invoice['number']}", *_lines(invoice)]))


def _lines(invoice: Row) -> list[str]:
    currency = invoice["currency"]
    lines = [f"{line['description']}: {Money.from_minor(line['amount'], currency)}" for line in invoice["lines"]["data"]]
    return [*lines, f"Due: {Money.from_minor(invoice['amount_due'], currency)}", f"Status: {invoice['status']}"]


def _pdf(lines: list[str]) -> bytes:
    """Return one page of text."""
    safe = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in lines]
    text = "BT /F1 12 Tf 18 TL 72 760 Td " + " ".join(f"({line}) Tj T*" for line in safe) + " ET"
    stream = text.encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    document, places = b"%PDF-1.4\n", b""
    for number, entry in enumerate(objects, 1):
        places += b"%010d 00000 n \n" % len(document)
        document += b"%d 0 obj\n%s\nendobj\n" % (number, entry)
    size = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, places)
    return document + table + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(document))


def _invoice(visit: Visit) -> Row | None:
    for account in visit.machine.accounts.values():
        for row in account.table("invoice").values():
            if row["_token"] == visit.arguments["token"] and row["hosted_invoice_url"]:
                return row
    return None


def _gone() -> Shown:
    return Shown.html(404, "<h1>There is no such invoice</h1>")
