"""Invoices: drafts, numbers, credit notes, PDFs, and the proof that an invoice is what it was."""
