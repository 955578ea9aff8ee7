-- take_reading_rate: let a key read or poll once, or return how long to wait.
--
-- For requests that need a key and call no model: p_units of p_per_minute are taken from the reading window of the
-- key's chain, not from the rates of its calls. A key with a call rate of 0 cannot read either.
-- p_legacy_hash: see admit_v2.
-- Returns one row: refused is a code; null: allowed.
--
-- Lock: takes the customer's row; the window is read and written only under it.
create or replace function kaixu.take_reading_rate(
    p_key_hash      bytea,
    p_legacy_hash   bytea,
    p_key_id        bigint,
    p_units         integer,
    p_per_minute    integer,
    p_default_rpm   integer
) returns table (
    refused         text,
    retry_after_s   integer,
    rate_limit      integer,
    customer_id     bigint,
    key_id          bigint
)
language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    v_key       kaixu.virtual_key;
    v_active    boolean;
    v_second    bigint;
    v_head      bigint;
    v_counts    integer[];
    v_units     integer := greatest(1, least(p_units, p_per_minute));
begin
    perform set_config('synchronous_commit', 'off', true);
    key_id := coalesce(p_key_id,
                       (select k.id from kaixu.virtual_key k where k.key_hash = p_key_hash),
                       (select k.id from kaixu.virtual_key k where k.key_hash = substr(p_legacy_hash, 1, 32)),
                       (select k.id from kaixu.virtual_key k where k.key_hash = substr(p_legacy_hash, 33, 32)));
    select c.is_active into v_active
      from kaixu.customer c
     where c.id = (select k.customer_id from kaixu.virtual_key k where k.id = key_id)
       for no key update;
    select * into v_key from kaixu.virtual_key k where k.id = key_id;
    customer_id := v_key.customer_id;
    rate_limit := p_per_minute;

    if v_active is null then
        refused := 'UNAUTHENTICATED';
    elsif v_key.revoked_at is not null then
        refused := 'KEY_REVOKED';
    elsif v_key.expires_at <= clock_timestamp() then
        refused := 'KEY_EXPIRED';
    elsif not v_active then
        refused := 'CUSTOMER_DISABLED';
    elsif coalesce(v_key.rpm_limit, p_default_rpm) <= 0 or v_key.rpd_limit <= 0 then
        refused := 'RATE_LIMITED';
        rate_limit := 0;
        retry_after_s := 60;
    end if;
    if refused is not null then
        return next;
        return;
    end if;

    v_second := floor(extract(epoch from clock_timestamp()));
    select w.second_slot, w.second_counts into v_head, v_counts
      from kaixu.reading_window w
     where w.chain_id = v_key.chain_id;
    -- A head in the future means that the clock was set back: its counts are of no use now.
    if v_counts is null or v_head <= v_second - 61 or v_head > v_second + 2 then
        v_counts := array_fill(0, array[61]);
    else
        v_second := greatest(v_second, v_head);
        while v_head < v_second loop
            v_head := v_head + 1;
            v_counts[v_head % 61 + 1] := 0;
        end loop;
    end if;
    if (select sum(s) from unnest(v_counts) s) + v_units > p_per_minute then
        refused := 'RATE_LIMITED';
        retry_after_s := kaixu.window_frees_in(v_counts, v_second, p_per_minute - v_units + 1);
        return next;
        return;
    end if;

    v_counts[v_second % 61 + 1] := v_counts[v_second % 61 + 1] + v_units;
    insert into kaixu.reading_window as w (chain_id, customer_id, second_slot, second_counts)
    values (v_key.chain_id, v_key.customer_id, v_second, v_counts)
    on conflict (chain_id) do update set second_slot = v_second, second_counts = v_counts;
    return next;
end
$$;
