-- What was told about the caps of books that have one of their own.

create table kaixu.book_alert (
    customer_id bigint      not null,
    book        text        not null,
    month       date        not null,
    told_pct    integer     not null default 0,     -- thresholds up to it are not told again
    updated_at  timestamptz not null default now(),
    primary key (customer_id, book, month)
) with (fillfactor = 70);
