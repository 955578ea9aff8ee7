"""What a spreadsheet takes for a formula, in files that are made to be opened with one."""

from __future__ import annotations

#: Text that begins with one of these; in some languages also the full-width forms. schema/functions/csv_text.sql has
#: the same.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
