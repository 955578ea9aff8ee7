-- Mails to be sent, whichever gateway gets to it: written in one transaction with what they report, so that a crash
-- loses none. `kaixu.enqueue_mail` writes them.
create table kaixu.mail (
    id              uuid        primary key,                -- also in its Message-ID, the same at each attempt
    idempotency_key text        not null,
    kind            text        not null,                   -- what it is about: 'invoice', 'key_link', 'test'
    customer_id     bigint,                                 -- whom it is about; null: nobody, or not known
    recipient       text        not null,
    subject         text        not null,
    body_text       text,
    body_html       text,
    sealed          bytea,                                  -- in place of both bodies, where they hold a secret
    attachments     jsonb       not null default '[]',      -- [{"kind": "invoice", "id": 7}]: made when it is sent
    state           text        not null default 'waiting' check (state in ('waiting', 'sent', 'failed')),
    attempts        integer     not null default 0,
    next_attempt_at timestamptz default now(),              -- null: sent, or given up
    send_before     timestamptz,                            -- of no use later: it is given up then
    sent_at         timestamptz,
    last_error      text,
    created_at      timestamptz not null default now(),
    check ((next_attempt_at is null) = (state <> 'waiting'))
);
create unique index mail_idempotency_key on kaixu.mail (idempotency_key);
create index mail_due_idx on kaixu.mail ((send_before is null), next_attempt_at) where state = 'waiting';
create index mail_created_idx on kaixu.mail (created_at);
create index mail_customer_idx on kaixu.mail (customer_id) where customer_id is not null;

-- Requests for keys by mail address: each that was not refused counts against the limits, whatever came of it.
create table kaixu.key_request (
    id              uuid        primary key,
    address         text        not null,                   -- as it was requested, in its normal form
    mailbox         text        not null,                   -- the same without +tag, and at Gmail without dots
    network         bytea       not null,                   -- HMAC of the client's network
    state           text        not null
                                check (state in ('issued', 'link', 'used', 'replaced', 'held', 'repeated', 'denied',
                                                 'suspended', 'unsendable')),
    recipient       text        not null,                   -- whom a link is for: the customer's own address, if there is one
    spellings       text[]      not null,                   -- of the recipient, to find the customer again
    token_hash      bytea,                                  -- HMAC of the link's token
    expires_at      timestamptz,
    customer_id     bigint,                                 -- whose key came of it
    key_id          bigint,
    counted_at      timestamptz not null,                   -- a link counts again when its key is made, in its own place
    decided_by      text,                                   -- the operator who approved or denied
    decided_at      timestamptz,
    created_at      timestamptz not null
);
create unique index key_request_token_key on kaixu.key_request (token_hash) where token_hash is not null;
create index key_request_mailbox_idx on kaixu.key_request (mailbox, counted_at);
create index key_request_network_idx on kaixu.key_request (network, created_at);
create index key_request_created_idx on kaixu.key_request (created_at, id);
create index key_request_held_idx on kaixu.key_request (created_at) where state = 'held';
create index key_request_customer_idx on kaixu.key_request (customer_id) where customer_id is not null;

-- The self-service key of a customer: the newest of its chain. A link replaces this one and no other.
create table kaixu.selfservice_account (
    customer_id     bigint      primary key references kaixu.customer (id),
    address         text        not null,                   -- the customer's address at that time, in lower case
    mailbox         text        not null,
    chain_id        bigint      not null,
    created_at      timestamptz not null default now()
);
create index selfservice_account_mailbox_idx on kaixu.selfservice_account (mailbox);

-- Whether the customer's invoices are mailed to it; null: as kaixu.yaml says.
alter table kaixu.billing_account add column mail_invoices boolean;
