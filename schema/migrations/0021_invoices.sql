-- Invoices: who is billed, drafts, issued invoices and credit notes.
--
-- What is issued is never changed: rows are only added, and a void is a row of its own.

-- Who is billed, as the operator says. Its row is the lock of everything about a customer's invoices.
create table kaixu.billing_account (
    customer_id     bigint      primary key references kaixu.customer (id),
    name            text,
    address         text[]      not null default '{}',
    country         text,                   -- ISO 3166, two capitals
    tax_id          text,
    email           text,
    tax_rate        integer     check (tax_rate between 0 and 10000),  -- hundredths of a percent; null: the rules of kaixu.yaml
    tax_note        text,                   -- why there is no tax, or none of the usual rate
    updated_at      timestamptz not null default now()
);

-- That an operator made a draft. Its figures are computed whenever it is shown.
create table kaixu.invoice_draft (
    customer_id     bigint      not null references kaixu.customer (id),
    month           date        not null,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    primary key (customer_id, month)
);

-- The last number of each series. Taken in the transaction that issues, so that a rollback leaves no gap.
create table kaixu.invoice_series (
    series          text        primary key,
    last_number     bigint      not null check (last_number > 0)
);

create table kaixu.invoice (
    id              bigint generated always as identity primary key,
    kind            text        not null check (kind in ('invoice', 'credit_note')),
    customer_id     bigint      not null references kaixu.customer (id),
    month           date        not null,
    attempt         integer     not null,           -- invoices of this month before it, all void; credit notes: of this invoice
    credited_id     bigint      references kaixu.invoice (id),     -- the invoice that a credit note reduces
    series          text        not null,
    number          bigint      not null,
    name            text        not null,           -- the number as it is printed
    net_nusd        bigint      not null,           -- exact; of a credit note: what it credits
    net_cents       bigint      not null,
    tax_cents       bigint      not null,
    total_cents     bigint      not null,
    credited_lines  integer[]   not null default '{}',
    snapshot        text        not null,           -- JSON, byte for byte as it was hashed
    sha256          text        not null,           -- of the snapshot
    pdf             bytea       not null,
    pdf_sha256      text        not null,
    actor           text        not null,
    issued_at       timestamptz not null,
    unique (series, number),
    unique (name),
    check ((kind = 'credit_note') = (credited_id is not null))
);
create unique index invoice_month_key on kaixu.invoice (customer_id, month, attempt) where kind = 'invoice';
create unique index invoice_credit_key on kaixu.invoice (credited_id, attempt) where kind = 'credit_note';
create index invoice_customer_idx on kaixu.invoice (customer_id, id);
create index invoice_month_idx on kaixu.invoice (month, id);

-- What an invoice bills: the usage of a month, in nano-dollars. A difference to what was billed before is a line, too.
create table kaixu.invoice_line (
    invoice_id      bigint      not null references kaixu.invoice (id),
    line            integer     not null,
    customer_id     bigint      not null,
    month           date        not null,           -- of the usage: for corrections another month than the invoice's
    book            text        not null,
    provider        text        not null,
    model           text        not null,
    amount_nusd     bigint      not null,
    primary key (invoice_id, line)
);
create index invoice_line_customer_idx on kaixu.invoice_line (customer_id, month);

create table kaixu.invoice_void (
    invoice_id      bigint      primary key references kaixu.invoice (id),
    reason          text        not null,
    actor           text        not null,
    voided_at       timestamptz not null default now()
);

create function kaixu.refuse_change_of_invoices() returns trigger
language plpgsql as $$
begin
    raise exception 'an issued invoice is never changed';
end
$$;

create trigger invoice_is_never_changed before update or delete or truncate on kaixu.invoice
    for each statement execute function kaixu.refuse_change_of_invoices();
create trigger invoice_line_is_never_changed before update or delete or truncate on kaixu.invoice_line
    for each statement execute function kaixu.refuse_change_of_invoices();
create trigger invoice_void_is_never_changed before update or delete or truncate on kaixu.invoice_void
    for each statement execute function kaixu.refuse_change_of_invoices();
