-- count_operator_try: count one try of a second factor or of one's own password, or return how long to wait.
--
-- Returns null where the try is allowed, else the seconds until the next one is; a refused try does not count. Called
-- only for somebody who is known by another factor already, so nobody else can use the tries up.
-- Lock: the row for all addresses, as in operator_login_attempt, then the subject's.
create or replace function kaixu.count_operator_try(
    p_subject_hash  bytea,
    p_most          integer,
    p_window_s      integer
) returns integer
language plpgsql as $$
declare
    v_now       timestamptz;
    v_since     timestamptz;
    v_own       timestamptz[];
begin
    perform 1 from kaixu.login_try t where t.address_hash = '' for update;
    v_now := clock_timestamp();
    v_since := v_now - make_interval(secs => p_window_s);
    select t.tried_at into v_own from kaixu.login_try t where t.address_hash = p_subject_hash;
    v_own := array(select s from unnest(v_own) s where s > v_since and s <= v_now order by s);
    if cardinality(v_own) >= p_most then
        return greatest(1, ceil(extract(epoch from v_own[cardinality(v_own) - p_most + 1] - v_since)))::integer;
    end if;
    insert into kaixu.login_try as t (address_hash, tried_at, last_at)
    values (p_subject_hash, v_own || v_now, v_now)
    on conflict (address_hash) do update set tried_at = excluded.tried_at, last_at = v_now;
    return null;
end
$$;
