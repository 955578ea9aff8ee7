-- claim_jobs_v2: claim up to p_most jobs of the given kinds, each with a claim id and a lease of its own.
--
-- Fair: of the accounts that wait, the one with the fewest running jobs comes first, then the job that waited longest.
-- A job whose lease has expired is claimed again at once; one that was lost p_most_losses times ends as failed.
-- A time in the future was written before the clock was set back: the wait (retry, delay, lease) begins anew now.
-- old_ticket is the ticket of the attempt that was lost: its hold is to be released.
-- Of jobs with the same `serial` only the first unended one runs, and none while another of them runs; of an account's
-- jobs of a kind with `at_once`, as many as that. See docs/decisions/0041.
-- Lock: the jobs' rows, skipping locked ones. Whoever claims a job with `serial` or `at_once` holds the advisory lock of
-- its line, or leaves the job to the one who does. No customer's row: see docs/decisions/0009.
create or replace function kaixu.claim_jobs_v2(
    p_owner         uuid,
    p_kinds         text[],
    p_lease_s       double precision,
    p_most          integer,
    p_most_losses   integer
) returns table (
    id              uuid,
    claim           uuid,
    kind            text,
    customer_id     bigint,
    key_id          bigint,
    install_id      text,
    request_id      text,
    payload         bytea,
    attempts        integer,
    most_attempts   integer,
    old_ticket      uuid,
    batch_id        uuid,
    created_at      timestamptz,
    app_id          text,
    build_id        text
)
language plpgsql
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_now   timestamptz := clock_timestamp();
    v_ids   uuid[];
    c_skew  constant interval := '5 seconds';   -- others' statements read the clock later than this one
begin
    update kaixu.job j
       set leased_until = v_now + (j.leased_until - j.heartbeat_at), heartbeat_at = v_now
     where j.id in (select x.id from kaixu.job x
                     where x.status = 'running' and x.leased_until > v_now and x.heartbeat_at > v_now + c_skew
                     limit 100
                       for update skip locked);
    update kaixu.job j
       set run_after = j.run_after - (greatest(j.created_at, j.heartbeat_at) - v_now),
           created_at = least(j.created_at, v_now), heartbeat_at = least(j.heartbeat_at, v_now)
     where j.id in (select x.id from kaixu.job x
                     where x.status = 'queued' and greatest(x.created_at, x.heartbeat_at) > v_now + c_skew
                     limit 1000
                       for update skip locked);

    -- Lost jobs go back into the queue, in front.
    update kaixu.job j
       set status = l.status, losses = j.losses + 1, claim = null, owner = null, leased_until = null,
           run_after = least(j.run_after, v_now), error_code = l.code, error_message = l.message,
           completed_at = case when l.status <> 'queued' then v_now end,
           failure_due_at = case when l.status <> 'queued' and j.reports_failure then v_now end,
           webhook_after = case when l.status <> 'queued' and j.webhook is not null then v_now end
      from (select x.id,
                   case when x.cancel_asked then 'cancelled' when x.losses + 1 >= p_most_losses then 'failed'
                        else 'queued' end as status,
                   case when x.cancel_asked then 'JOB_CANCELLED' when x.losses + 1 >= p_most_losses then 'JOB_LOST' end
                       as code,
                   case when x.cancel_asked then 'the job was cancelled'
                        when x.losses + 1 >= p_most_losses then 'every worker that took it up was lost' end as message
              from kaixu.job x
             where x.status = 'running' and x.leased_until < v_now
             order by x.leased_until
             limit 100
               for update skip locked) l
     where j.id = l.id;

    with recursive waiting as (
        (select q.account from kaixu.job q where q.status = 'queued' order by q.account limit 1)
        union all
        select (select q.account from kaixu.job q
                 where q.status = 'queued' and q.account > w.account order by q.account limit 1)
          from waiting w
         where w.account is not null
    ), busy as (
        select b.account, count(*) as jobs from kaixu.job b where b.status = 'running' group by b.account
    ), next_ones as (
        select q.id, q.run_after,
               coalesce(b.jobs, 0) + row_number() over (partition by q.account order by q.run_after, q.id) as turn
          from waiting w
          left join busy b on b.account = w.account
         cross join lateral (select x.id, x.account, x.run_after from kaixu.job x
                              where x.status = 'queued' and x.account = w.account and x.run_after <= v_now
                                and x.kind = any (p_kinds)
                                and (x.serial is null
                                     or (not exists (select from kaixu.job b
                                                      where b.provider = x.provider and b.serial = x.serial
                                                        and b.completed_at is null and b.serial_no < x.serial_no)
                                         and not exists (select from kaixu.job b
                                                          where b.provider = x.provider and b.serial = x.serial
                                                            and b.status = 'running')))
                                and (x.at_once is null
                                     or (select count(*) from kaixu.job b
                                          where b.status = 'running' and b.account = x.account and b.kind = x.kind)
                                        < x.at_once)
                              order by x.run_after, x.id
                              limit p_most * 2) q
         where w.account is not null
    )
    select array_agg(n.id order by n.turn, n.run_after, n.id) into v_ids
      from (select o.* from next_ones o order by o.turn, o.run_after, o.id limit p_most * 4) n;

    -- What others have claimed meanwhile is seen only by a statement that begins under the lock of the line.
    select array_agg(u.id order by u.at) into v_ids
      from unnest(v_ids) with ordinality u (id, at)
      join kaixu.job j on j.id = u.id
     where (j.serial is null
            or pg_try_advisory_xact_lock(hashtextextended('kaixu.job/' || j.provider || '/' || j.serial, 0)))
       and (j.at_once is null
            or pg_try_advisory_xact_lock(hashtextextended('kaixu.job:' || j.kind || ':' || j.account, 0)));
    select array_agg(c.id order by c.at) into v_ids
      from (select u.id, u.at, j.at_once, row_number() over (partition by j.account, j.kind order by u.at) as turn,
                   case when j.at_once is not null
                        then (select count(*) from kaixu.job b
                               where b.status = 'running' and b.account = j.account and b.kind = j.kind) end as running
              from unnest(v_ids) with ordinality u (id, at)
              join kaixu.job j on j.id = u.id
             where j.serial is null or kaixu.is_first_in_line(p_job => j)) c
     where c.at_once is null or c.running + c.turn <= c.at_once;

    return query
    with taken as (
        select j.id, j.ticket
          from unnest(v_ids) with ordinality u (id, at)
          join kaixu.job j on j.id = u.id
         where j.status = 'queued' and j.run_after <= v_now
         order by u.at
         limit p_most
           for update of j skip locked
    )
    update kaixu.job j
       set status = 'running', claim = gen_random_uuid(), owner = p_owner, ticket = null, pause = null,
           leased_until = v_now + make_interval(secs => p_lease_s), heartbeat_at = v_now,
           started_at = coalesce(j.started_at, v_now)
      from taken t
     where j.id = t.id
    returning j.id, j.claim, j.kind, j.customer_id, j.key_id, j.install_id, j.request_id, j.payload, j.attempts,
              j.most_attempts, t.ticket, j.batch_id, j.created_at, j.app_id, j.build_id;
end
$$;
