-- The book whose cap has no room for what a blocked job could cost; null: written by an earlier release.
alter table kaixu.job add column needs_book text;
