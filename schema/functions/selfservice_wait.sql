-- selfservice_wait: how many seconds until a request for a key is within its limits; null: it is now.
--
-- A request in the future was made before the clock was set back; it does not count.
-- Lock: the caller holds the advisory lock 'kaixu.key_request' (see request_key), so that requests are counted exactly.
create or replace function kaixu.selfservice_wait(
    p_now               timestamptz,
    p_mailbox           text,
    p_network           bytea,          -- null: the request was counted against its network before
    p_per_address       integer,
    p_per_address_a_day integer,
    p_per_network       integer,
    p_per_network_a_day integer,
    p_in_all            integer
) returns integer
language plpgsql as $$
declare
    v_free_at timestamptz;
begin
    -- Of each limit: the oldest of the newest requests that fill it; when it is over, there is room for one more.
    select max(w.free_at) into v_free_at
      from (
        select min(s.at) + interval '1 hour' as free_at, count(*) as filled, p_per_address as most
          from (select r.counted_at as at from kaixu.key_request r
                 where r.mailbox = p_mailbox and r.counted_at > p_now - interval '1 hour' and r.counted_at <= p_now
                 order by r.counted_at desc limit p_per_address) s
        union all
        select min(s.at) + interval '1 day', count(*), p_per_address_a_day
          from (select r.counted_at as at from kaixu.key_request r
                 where r.mailbox = p_mailbox and r.counted_at > p_now - interval '1 day' and r.counted_at <= p_now
                 order by r.counted_at desc limit p_per_address_a_day) s
        union all
        select min(s.at) + interval '1 hour', count(*), p_per_network
          from (select r.created_at as at from kaixu.key_request r
                 where r.network = p_network and r.created_at > p_now - interval '1 hour' and r.created_at <= p_now
                 order by r.created_at desc limit p_per_network) s
        union all
        select min(s.at) + interval '1 day', count(*), p_per_network_a_day
          from (select r.created_at as at from kaixu.key_request r
                 where r.network = p_network and r.created_at > p_now - interval '1 day' and r.created_at <= p_now
                 order by r.created_at desc limit p_per_network_a_day) s
        union all
        select min(s.at) + interval '1 hour', count(*), p_in_all
          from (select r.created_at as at from kaixu.key_request r
                 where p_network is not null
                   and r.created_at > p_now - interval '1 hour' and r.created_at <= p_now
                 order by r.created_at desc limit p_in_all) s
      ) w
     where w.filled >= w.most;
    return case when v_free_at is not null then greatest(1, ceil(extract(epoch from v_free_at - p_now))) end;
end
$$;
