-- login_attempt: count one try of the operator's password, or return how long to wait.
--
-- Called before the password is compared, so that concurrent tries are all counted. Returns null where the try is
-- allowed, else the seconds until the next one is. A refused try does not count. An address that had the right password
-- lately has ten times the tries and its own limit only, so that nobody can lock the operator out from elsewhere. A try
-- in the future was made before the clock was set back; it does not count.
-- Lock: the row for all addresses, then the address's own; one try at a time.
create or replace function kaixu.login_attempt(
    p_address_hash  bytea,
    p_per_address   integer,
    p_in_all        integer,
    p_window_s      integer
) returns integer
language plpgsql as $$
declare
    v_now       timestamptz;
    v_since     timestamptz;
    v_all       timestamptz[];
    v_own       timestamptz[];
    v_known     boolean;
    v_most      integer;
    v_free_at   timestamptz;
begin
    select t.tried_at into v_all from kaixu.login_try t where t.address_hash = '' for update;
    v_now := clock_timestamp();
    v_since := v_now - make_interval(secs => p_window_s);
    delete from kaixu.login_try t
     where t.address_hash <> '' and t.last_at not between v_now - interval '1 day' and v_now + interval '1 day'
       and coalesce(t.succeeded_at, '-infinity') < v_now - interval '30 days';

    select t.tried_at, coalesce(t.succeeded_at between v_now - interval '30 days' and v_now + interval '1 day', false) into v_own, v_known
      from kaixu.login_try t
     where t.address_hash = p_address_hash;
    v_known := coalesce(v_known, false);
    v_most := p_per_address * case when v_known then 10 else 1 end;
    v_own := array(select s from unnest(v_own) s where s > v_since and s <= v_now order by s);
    v_all := array(select s from unnest(v_all) s where s > v_since and s <= v_now order by s);

    if cardinality(v_own) >= v_most then
        v_free_at := v_own[cardinality(v_own) - v_most + 1];
    end if;
    if not v_known and cardinality(v_all) >= p_in_all then
        v_free_at := greatest(v_free_at, v_all[cardinality(v_all) - p_in_all + 1]);
    end if;
    if v_free_at is not null then
        return greatest(1, ceil(extract(epoch from v_free_at - v_since)))::integer;
    end if;

    insert into kaixu.login_try as t (address_hash, tried_at, last_at)
    values (p_address_hash, array[v_now], v_now)
    on conflict (address_hash) do update set tried_at = v_own || v_now, last_at = v_now;
    if not v_known then
        update kaixu.login_try t set tried_at = v_all || v_now, last_at = v_now where t.address_hash = '';
    end if;
    return null;
end
$$;
