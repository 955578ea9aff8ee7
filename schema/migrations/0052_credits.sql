-- Credits by integrations, what is taken back, debt, and unspent credit that is carried into the next month.

-- Negative: taken back. What is carried may come to nothing when a month is corrected.
alter table kaixu.topup drop constraint topup_amount_nusd_check;
alter table kaixu.topup add constraint topup_amount_nusd_check check (amount_nusd <> 0 or source in ('rollover', 'carried'));
alter table kaixu.topup
    add column integration  text,                           -- that booked it; null: the gateway itself
    add column reference    text,                           -- its name at the vendor's, to be found by
    add column named_month  date;                           -- the month that was asked for, where that was over

create unique index topup_carried_key on kaixu.topup (customer_id, month, source) where source in ('rollover', 'carried');

-- The first month whose unspent credit, or debt, is still to be carried into the present one; null: none.
alter table kaixu.customer add column carry_from date;
create index customer_carry_idx on kaixu.customer (carry_from) where carry_from is not null;
update kaixu.customer c
   set carry_from = t.month
  from (select x.customer_id, min(x.month) as month
          from kaixu.topup x
         where x.month >= date_trunc('month', now() at time zone 'UTC')::date
         group by x.customer_id) t
 where t.customer_id = c.id;

-- Whether unspent credit is carried into the next month, or ends with its own: `gateway.rollover` of kaixu.yaml.
create table kaixu.credit_rule (
    only_row    boolean primary key default true check (only_row),
    rolls_over  boolean not null default false
);
insert into kaixu.credit_rule default values;

-- Credits on their way through an integration's transaction: the gateway writes them for one call; the integration's
-- transaction may take them, once. A crash may forget them all.
create unlogged table kaixu.plugin_credit (
    id              uuid        primary key,
    integration     text        not null,
    caller          bigint,                                 -- the call's own customer, whose row is locked, too
    customers       bigint[]    not null,
    amounts_nusd    bigint[]    not null,
    keys            text[]      not null,
    months          date[]      not null,                   -- null: the present one
    sources         text[]      not null,
    references_     text[]      not null,
    most_nusd       bigint      not null,                   -- of a month's credits, either way
    request_id      text        not null,
    made_at         timestamptz not null default clock_timestamp()
);
