-- operator_login_attempt: count one try to log in to an account, or return how long to wait.
--
-- Called before the password is compared, so that concurrent tries are all counted. Returns null where the try is
-- allowed, else the seconds until the next one is. A refused try does not count. Limits: of the address, of the account,
-- and of all together. An address from which this account has logged in lately (`p_known_hash`: both together) has ten
-- times the address's tries and no other limit, so that nobody can lock an operator out from elsewhere. A try in the
-- future was made before the clock was set back; it does not count.
-- Lock: the row for all addresses, then those of the address and of the account; one try at a time.
create or replace function kaixu.operator_login_attempt(
    p_address_hash  bytea,
    p_account_hash  bytea,
    p_known_hash    bytea,
    p_per_address   integer,
    p_per_account   integer,
    p_in_all        integer,
    p_window_s      integer
) returns integer
language plpgsql as $$
declare
    v_now       timestamptz;
    v_since     timestamptz;
    v_all       timestamptz[];
    v_own       timestamptz[];
    v_account   timestamptz[];
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

    v_known := exists (
        select from kaixu.login_try t
         where t.address_hash = p_known_hash
           and t.succeeded_at between v_now - interval '30 days' and v_now + interval '1 day');
    v_most := p_per_address * case when v_known then 10 else 1 end;
    select t.tried_at into v_own from kaixu.login_try t where t.address_hash = p_address_hash;
    select t.tried_at into v_account from kaixu.login_try t where t.address_hash = p_account_hash;
    v_own := array(select s from unnest(v_own) s where s > v_since and s <= v_now order by s);
    v_account := array(select s from unnest(v_account) s where s > v_since and s <= v_now order by s);
    v_all := array(select s from unnest(v_all) s where s > v_since and s <= v_now order by s);

    if cardinality(v_own) >= v_most then
        v_free_at := v_own[cardinality(v_own) - v_most + 1];
    end if;
    if not v_known and cardinality(v_account) >= p_per_account then
        v_free_at := greatest(v_free_at, v_account[cardinality(v_account) - p_per_account + 1]);
    end if;
    if not v_known and cardinality(v_all) >= p_in_all then
        v_free_at := greatest(v_free_at, v_all[cardinality(v_all) - p_in_all + 1]);
    end if;
    if v_free_at is not null then
        return greatest(1, ceil(extract(epoch from v_free_at - v_since)))::integer;
    end if;

    insert into kaixu.login_try as t (address_hash, tried_at, last_at)
    values (p_address_hash, v_own || v_now, v_now)
    on conflict (address_hash) do update set tried_at = excluded.tried_at, last_at = v_now;
    if not v_known then
        insert into kaixu.login_try as t (address_hash, tried_at, last_at)
        values (p_account_hash, v_account || v_now, v_now)
        on conflict (address_hash) do update set tried_at = excluded.tried_at, last_at = v_now;
        update kaixu.login_try t set tried_at = v_all || v_now, last_at = v_now where t.address_hash = '';
    end if;
    return null;
end
$$;
