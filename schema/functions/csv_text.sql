-- csv_text: a text for a cell of a CSV file. A spreadsheet runs a text that begins with = + - @ (or their full-width
-- forms), a tab or a line break as a formula: an apostrophe before it makes it text. Never for numbers: a negative one
-- would become text.
--
-- One expression, so that Postgres puts it in place of the call. kaixu/reports/table.py does the same.
create or replace function kaixu.csv_text(p_text text) returns text
language sql immutable parallel safe
return case when p_text <> '' and strpos(E'=+-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20', left(p_text, 1)) > 0 then '''' || p_text else p_text end;
