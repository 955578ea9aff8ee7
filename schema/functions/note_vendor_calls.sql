-- note_vendor_calls: what one gateway has seen of its deployments since its last report; tells each change once.
--
-- Parallel arrays, one element a deployment: p_is_failing says that this gateway's alarm is on (calls in a row have
-- failed), p_has_failed and p_has_answered what has happened since the last report.
-- A deployment goes down (VENDOR_DOWN) when a gateway whose alarm is on reports another failure. It is back (VENDOR_BACK)
-- when it has answered and no gateway has reported a failure for p_back_s seconds; twice as long after each outage that
-- followed within an hour of the last one, at most ten minutes.
-- Returns the deployments that are down: only of these, answers must be reported.
-- Lock: the advisory lock 'kaixu.vendor_state', so that two gateways which report different deployments do not wait for
-- each other when both look which ones are back; then rows of vendor_state.
create or replace function kaixu.note_vendor_calls(
    p_lane          text[],
    p_upstream      text[],
    p_is_failing    boolean[],
    p_has_failed    boolean[],
    p_has_answered  boolean[],
    p_reason        text[],             -- of the last failure: a code
    p_back_s        float8
) returns table (lane text, upstream text)
language plpgsql as $$
#variable_conflict use_column
declare
    r       record;
    s       kaixu.vendor_state;
    v_now   timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.vendor_state', 0));
    for r in
        select a.* from unnest(p_lane, p_upstream, p_is_failing, p_has_failed, p_has_answered, p_reason)
                        a (lane, upstream, is_failing, has_failed, has_answered, reason)
         order by a.lane, a.upstream
    loop
        if r.is_failing and r.has_failed then
            insert into kaixu.vendor_state (lane, upstream) values (r.lane, r.upstream) on conflict do nothing;
        end if;
        select v.* into s from kaixu.vendor_state v
         where v.lane = r.lane and v.upstream = r.upstream
           for update;
        if not found then
            continue;
        end if;
        v_now := clock_timestamp();
        if r.has_failed then
            s.failed_at := v_now;
            s.answered_at := null;
        elsif r.has_answered and s.is_down then
            s.answered_at := coalesce(s.answered_at, v_now);
        end if;
        if r.is_failing and r.has_failed and not s.is_down then
            s.outages := case when s.outages > 0 and s.since > v_now - interval '1 hour' then s.outages + 1 else 1 end;
            s.is_down := true;
            s.since := v_now;
            perform kaixu.raise_alert(
                p_type => 'VENDOR_DOWN',
                p_body => jsonb_build_object('provider', r.lane, 'upstream', r.upstream, 'reason', r.reason));
        end if;
        update kaixu.vendor_state v
           set is_down = s.is_down, since = s.since, failed_at = s.failed_at, answered_at = s.answered_at,
               outages = s.outages
         where v.lane = r.lane and v.upstream = r.upstream;
    end loop;

    for s in
        select v.* from kaixu.vendor_state v
         where v.is_down and v.answered_at is not null
         order by v.lane, v.upstream
           for update
    loop
        v_now := clock_timestamp();
        if s.answered_at > v_now then   -- written before the clock was set back
            update kaixu.vendor_state v set answered_at = v_now where v.lane = s.lane and v.upstream = s.upstream;
        elsif s.answered_at <= v_now - make_interval(secs => least(600, p_back_s * 2 ^ least(s.outages - 1, 10))) then
            update kaixu.vendor_state v
               set is_down = false, since = v_now
             where v.lane = s.lane and v.upstream = s.upstream;
            perform kaixu.raise_alert(
                p_type => 'VENDOR_BACK',
                p_body => jsonb_build_object('provider', s.lane, 'upstream', s.upstream,
                                             'down_s', floor(extract(epoch from v_now - s.since))::bigint));
        end if;
    end loop;

    return query select v.lane, v.upstream from kaixu.vendor_state v where v.is_down order by v.lane, v.upstream;
end
$$;
