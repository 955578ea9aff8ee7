-- cap_figures: caps with what is spent of them and the thresholds of their alerts.
--
-- Parallel arrays; chain 0 is the customer's own cap, which includes the month's top-ups. A key chain has the cap of its
-- newest key that is not revoked. Returns no row for what has no cap: a key without one, a revoked key, or one that does
-- not exist. pct is what is spent in whole percent; null: the cap is 0.
-- Lock: none.
create or replace function kaixu.cap_figures(
    p_customer_id   bigint[],
    p_chain_id      bigint[],
    p_month         date[],
    p_thresholds    integer[]           -- of customers and keys without thresholds of their own
) returns table (
    customer_id     bigint,
    chain_id        bigint,
    month           date,
    key_id          bigint,
    cap_nusd        bigint,
    spent_nusd      bigint,
    pct             integer,
    thresholds      integer[]
)
language sql stable as $$
    select a.customer_id, a.chain_id, a.month, f.key_id, f.cap_nusd, f.spent_nusd,
           case when f.cap_nusd > 0
                then least(floor(f.spent_nusd::numeric * 100 / f.cap_nusd), 1000000)::integer end, f.thresholds
      from (select distinct x.customer_id, x.chain_id, x.month
              from unnest(p_customer_id, p_chain_id, p_month) x (customer_id, chain_id, month)) a
     cross join lateral (
        select null::bigint as key_id, c.monthly_cap_nusd + m.extra_nusd as cap_nusd, m.spent_nusd,
               coalesce(c.alert_thresholds, p_thresholds) as thresholds
          from kaixu.customer c
         cross join lateral (select coalesce(sum(b.extra_nusd), 0)::bigint as extra_nusd,
                                    coalesce(sum(b.spent_nusd), 0)::bigint as spent_nusd
                               from kaixu.customer_month b
                              where b.customer_id = a.customer_id and b.month = a.month and not b.has_own_cap) m
         where a.chain_id = 0 and c.id = a.customer_id
         union all
        select k.id, k.monthly_cap_nusd,
               (select coalesce(sum(b.spent_nusd), 0)::bigint
                  from kaixu.key_month b where b.chain_id = a.chain_id and b.month = a.month and not b.has_own_cap),
               coalesce(k.alert_thresholds, c.alert_thresholds, p_thresholds)
          from (select x.id, x.customer_id, x.monthly_cap_nusd, x.alert_thresholds
                  from kaixu.virtual_key x
                 where x.chain_id = a.chain_id and x.revoked_at is null
                 order by x.id desc
                 limit 1) k
          join kaixu.customer c on c.id = k.customer_id
         where a.chain_id <> 0 and k.customer_id = a.customer_id and k.monthly_cap_nusd is not null
     ) f
$$;
