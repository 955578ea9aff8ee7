-- usage_bucket: the quarter of an hour (UTC) of a call in the roll-ups, by its admission.
--
-- The gateway's clock says when it admitted a call, the database's to which month the call belongs. Close to the end of a
-- month they may differ: the bucket then is the first or the last one of the month, so that sums by month agree.
create or replace function kaixu.usage_bucket(p_admitted_at timestamptz, p_month date)
returns timestamptz
language sql immutable parallel safe as $$
    select greatest(p_month::timestamp at time zone 'UTC',
                    least((p_month::timestamp + interval '1 month' - interval '15 minutes') at time zone 'UTC',
                          date_bin('15 minutes', p_admitted_at, '2000-01-01 00:00:00+00')))
$$;
