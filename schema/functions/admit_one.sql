-- admit_one: decide one call; what admit_v2 does for a group of one, at a third of its cost.
--
-- Only admits: the usual call of a known key and device, in the book 'ai', for which every cap leaves all that it can
-- cost, and of which neither end users' caps nor further limits count anything. Every other call, and each that may have
-- to be refused, is handed to admit_v2, before anything is written. Arguments and columns: see admit_v2.
-- Lock: takes the customer's row; all else is read and written only under it. Commits without waiting for the disk, as
-- admit_v2 does.
create or replace function kaixu.admit_one(
    p_ticket        uuid,
    p_key_hash      bytea,
    p_legacy_hash   bytea,
    p_key_id        bigint,
    p_install_id    text,
    p_agent         text,
    p_role_rank     integer,
    p_operation     text,
    p_provider      text,
    p_asked         text,
    p_model         text,
    p_book          text,
    p_price_id      bigint,
    p_most_nusd     bigint,
    p_least_nusd    bigint,
    p_request_id    text,
    p_app_id        text,
    p_build_id      text,
    p_end_user      text,
    p_most_tokens   bigint,
    p_least_tokens  bigint,
    p_names         text,
    p_owner         uuid,
    p_lifetime_s    integer,
    p_default_rpm   integer
) returns table (
    ticket              uuid,
    refused             text,
    scope               text,
    retry_after_s       integer,
    granted_nusd        bigint,
    customer_id         bigint,
    key_id              bigint,
    chain_id            bigint,
    key_last4           text,
    month               date,
    rate_limit          integer,
    rate_remaining      integer,
    customer_cap_nusd   bigint,
    customer_spent_nusd bigint,
    customer_held_nusd  bigint,
    key_cap_nusd        bigint,
    key_spent_nusd      bigint,
    key_held_nusd       bigint,
    end_user_cap_nusd   bigint,
    end_user_spent_nusd bigint,
    end_user_held_nusd  bigint,
    admitted_at         timestamptz,
    granted_tokens      bigint,
    token_limit         bigint,
    token_room          bigint,
    bound_limit         bigint,
    bound_used          bigint,
    bound_held          bigint
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    v_customer      record;     -- as it is under the lock
    v_key           record;     -- with its rates and the figures of the month
    v_key_id        bigint := p_key_id;
    v_customer_id   bigint;
    v_now           timestamptz;
    v_second        bigint;
    v_ten_minute    bigint;
    v_month         date;
    v_seats         integer;
    v_device        text;
    v_minute_count  integer := 0;
    v_slot          integer;
    v_seconds       integer[];
    v_ten_minutes   integer[];
    v_rpm           integer;
    v_nothing       text;       -- an assignment calls a function without planning a query around it
begin
    if p_key_id is null then
        select k.id, k.customer_id into v_key_id, v_customer_id from kaixu.virtual_key k where k.key_hash = p_key_hash;
    else
        select k.customer_id into v_customer_id from kaixu.virtual_key k where k.id = p_key_id;
    end if;

    <<usual>>
    begin
        exit usual when v_customer_id is null or p_book <> 'ai' or p_end_user is not null or p_least_nusd < 0
                        or p_operation like 'job:%';

        select c.is_active, c.has_limits, c.carry_from, c.monthly_cap_nusd as cap_nusd, c.max_devices_per_key,
               c.require_install_id, c.allowed_providers, c.allowed_models,
               coalesce(c.tpm_limit, c.day_cap_nusd) is not null as is_limited
          into v_customer
          from kaixu.customer c
         where c.id = v_customer_id
           for no key update;

        -- Under the lock: from here on every committed change of an operator is seen.
        v_now := clock_timestamp();
        v_second := floor(extract(epoch from v_now));
        v_ten_minute := v_second / 600;
        v_month := date_trunc('month', v_now at time zone 'UTC');
        exit usual when v_customer.is_active is not true or v_customer.is_limited or v_customer.carry_from < v_month;

        select k.chain_id, k.key_last4, k.revoked_at is null and (k.expires_at > v_now) is not false as is_valid,
               coalesce(k.tpm_limit, k.day_cap_nusd, k.group_id) is not null or k.limits is not null as is_limited,
               k.monthly_cap_nusd as cap_nusd, k.rpm_limit, k.rpd_limit, k.max_devices, k.require_install_id,
               k.allowed_providers, k.allowed_models,
               case k.role when 'viewer' then 0 when 'deployer' then 1 when 'admin' then 2 else 3 end as role_rank,
               w.second_slot, w.second_counts, w.ten_minute_slot, w.ten_minute_counts,
               cm.extra_nusd, cm.spent_nusd, cm.held_nusd, km.spent_nusd as key_spent_nusd, km.held_nusd as key_held_nusd
          into v_key
          from kaixu.virtual_key k
          left join kaixu.rate_window w on w.chain_id = k.chain_id
         cross join lateral (select coalesce(sum(m.extra_nusd), 0)::bigint as extra_nusd,
                                    coalesce(sum(m.spent_nusd), 0)::bigint as spent_nusd,
                                    coalesce(sum(m.held_nusd), 0)::bigint as held_nusd
                               from kaixu.customer_month m
                              where m.customer_id = v_customer_id and m.month = v_month and not m.has_own_cap) cm
         cross join lateral (select coalesce(sum(m.spent_nusd), 0)::bigint as spent_nusd,
                                    coalesce(sum(m.held_nusd), 0)::bigint as held_nusd
                               from kaixu.key_month m
                              where m.chain_id = k.chain_id and m.month = v_month and not m.has_own_cap) km
         where k.id = v_key_id;

        exit usual when not v_key.is_valid or v_key.is_limited or v_key.role_rank < p_role_rank or v_key.second_slot is null;
        if p_provider <> '' then  -- two conditions: what is not evaluated is not prepared either
            if v_customer.allowed_providers is not null or v_key.allowed_providers is not null then
                exit usual when not (kaixu.provider_allowed(v_customer.allowed_providers, p_provider, p_asked)
                                     and kaixu.provider_allowed(v_key.allowed_providers, p_provider, p_asked));
            end if;
            if v_customer.allowed_models is not null or v_key.allowed_models is not null then
                exit usual when not (kaixu.model_allowed(v_customer.allowed_models, p_provider, p_asked, p_model)
                                     and kaixu.model_allowed(v_key.allowed_models, p_provider, p_asked, p_model));
            end if;
        end if;

        -- The device: known, and written as seen within the last minute.
        v_seats := nullif(coalesce(v_key.max_devices, v_customer.max_devices_per_key, 0), 0);
        v_device := coalesce(p_install_id, case when v_seats is not null then '' end);
        exit usual when p_install_id is null and (v_customer.require_install_id or coalesce(v_key.require_install_id, false));
        if v_device is not null then
            perform 1
               from kaixu.device d
              where d.chain_id = v_key.chain_id and d.install_id = v_device and d.revoked_at is null
                and d.last_seen_at between v_now - interval '1 minute' and v_now;
            exit usual when not found;
        end if;

        -- The rates. A ring that was written in this very slot is as it is now.
        v_seconds := case when v_key.second_slot = v_second then v_key.second_counts
                          else kaixu.window_now(v_key.second_counts, v_key.second_slot, v_second, 61) end;
        v_ten_minutes := case when v_key.ten_minute_slot = v_ten_minute then v_key.ten_minute_counts
                              else kaixu.window_now(v_key.ten_minute_counts, v_key.ten_minute_slot, v_ten_minute, 145) end;
        v_rpm := coalesce(v_key.rpm_limit, p_default_rpm);
        foreach v_slot in array v_seconds loop
            v_minute_count := v_minute_count + v_slot;
        end loop;
        exit usual when v_minute_count >= v_rpm;
        exit usual when v_key.rpd_limit is not null and (select sum(s) from unnest(v_ten_minutes) s) >= v_key.rpd_limit;

        -- The caps: there is room for all that the call can cost, so all of it is granted.
        customer_cap_nusd := v_customer.cap_nusd + v_key.extra_nusd;
        exit usual when v_key.extra_nusd < 0 or customer_cap_nusd <= 0 or v_key.cap_nusd <= 0
                        or customer_cap_nusd - v_key.spent_nusd - v_key.held_nusd < greatest(p_most_nusd, p_least_nusd)
                        or v_key.cap_nusd - v_key.key_spent_nusd - v_key.key_held_nusd < greatest(p_most_nusd, p_least_nusd);

        -- Admitted: from here on, writes.
        v_seconds[v_second % 61 + 1] := v_seconds[v_second % 61 + 1] + 1;
        v_ten_minutes[v_ten_minute % 145 + 1] := v_ten_minutes[v_ten_minute % 145 + 1] + 1;
        v_nothing := kaixu.write_admitted(
            p_customer_id => v_customer_id, p_chain_id => v_key.chain_id, p_month => v_month, p_book => p_book,
            p_added_nusd => p_most_nusd, p_second => v_second, p_seconds => v_seconds, p_ten_minute => v_ten_minute,
            p_ten_minutes => v_ten_minutes, p_now => v_now, p_install_id => v_device)::text;
        insert into kaixu.reservation (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider,
                                       model, price_id, install_id, request_id, owner, created_at, expires_at, app_id,
                                       build_id, end_user, most_tokens, is_limited)
        values (p_ticket, v_customer_id, v_key_id, v_key.chain_id, v_month, p_book, p_most_nusd, p_operation, p_provider,
                p_model, p_price_id, p_install_id, p_request_id, p_owner, v_now,
                v_now + make_interval(secs => p_lifetime_s), p_app_id, p_build_id, p_end_user,
                coalesce(p_most_tokens, 0), v_customer.has_limits);
        v_nothing := set_config('synchronous_commit', 'off', true);

        ticket := p_ticket;
        granted_nusd := p_most_nusd;
        customer_id := v_customer_id; key_id := v_key_id; chain_id := v_key.chain_id; key_last4 := v_key.key_last4;
        month := v_month; rate_limit := v_rpm; rate_remaining := greatest(v_rpm - v_minute_count - 1, 0);
        customer_spent_nusd := v_key.spent_nusd;
        customer_held_nusd := v_key.held_nusd + p_most_nusd;
        key_cap_nusd := v_key.cap_nusd;
        key_spent_nusd := v_key.key_spent_nusd;
        key_held_nusd := v_key.key_held_nusd + p_most_nusd;
        admitted_at := v_now;
        granted_tokens := coalesce(p_most_tokens, 0);
        return next;
        return;
    end;

    return query
    select a.ticket, a.refused, a.scope, a.retry_after_s, a.granted_nusd, a.customer_id, a.key_id, a.chain_id, a.key_last4,
           a.month, a.rate_limit, a.rate_remaining, a.customer_cap_nusd, a.customer_spent_nusd, a.customer_held_nusd,
           a.key_cap_nusd, a.key_spent_nusd, a.key_held_nusd, a.end_user_cap_nusd, a.end_user_spent_nusd,
           a.end_user_held_nusd, a.admitted_at, a.granted_tokens, a.token_limit, a.token_room, a.bound_limit, a.bound_used,
           a.bound_held
      from kaixu.admit_v2(
               p_ticket => array[p_ticket], p_key_hash => array[p_key_hash], p_legacy_hash => array[p_legacy_hash],
               p_key_id => array[p_key_id], p_install_id => array[p_install_id], p_agent => array[p_agent],
               p_role_rank => array[p_role_rank], p_operation => array[p_operation], p_provider => array[p_provider],
               p_asked => array[p_asked], p_model => array[p_model], p_book => array[p_book],
               p_price_id => array[p_price_id], p_most_nusd => array[p_most_nusd], p_least_nusd => array[p_least_nusd],
               p_request_id => array[p_request_id], p_app_id => array[p_app_id], p_build_id => array[p_build_id],
               p_end_user => array[p_end_user], p_most_tokens => array[p_most_tokens],
               p_least_tokens => array[p_least_tokens], p_names => array[p_names], p_owner => p_owner,
               p_lifetime_s => p_lifetime_s, p_default_rpm => p_default_rpm) a;
end
$$;
