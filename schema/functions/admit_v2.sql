-- admit_v2: decide a group of calls, all limits at once, and reserve the most that each can cost.
--
-- Parallel arrays, one element a call. The caller is p_key_hash with p_legacy_hash, or p_key_id (a session).
-- p_legacy_hash is what the key may be stored under instead: its plain SHA-256 (older keys); while KEY_PEPPER is being
-- replaced, then its hash under the other pepper, 32 bytes each, and the id of the present pepper. An admitted key that was
-- found by one of these is stored under p_key_hash from then on (docs/decisions/0069).
-- p_most is what the call could cost, p_least the least worth granting (= p_most where it cannot be
-- lowered; -1: an operation that is Free, which passes at any cap, and with debt; -2: one of these that rates do not count);
-- granted_nusd lies between them, and granted_tokens between p_most_tokens and p_least_tokens. p_provider is the lane,
-- p_asked the name that the client used for it (a lane may have a second one): an allowlist may hold either. '': the call
-- needs no vendor.
-- Returns a row a call. refused is a code; null: admitted. A refused call writes nothing.
-- An operation 'job:…' was counted when it was submitted: rates are neither checked for it nor counted.
-- Checks in the order in which a client should learn of them: key, customer, role, allowlists, device, minute, day, caps,
-- and then the limits of check_limits, which are looked at only where there are any. p_names: see model_limits.
-- bound_limit, bound_used and bound_held are the figures of such a limit that refused.
-- The caps hold for all books together, except for those with a cap of their own (docs/decisions/0043): the figures, here
-- and in the result, are sums over the others. A call in a book with its own cap is decided by that alone, scope 'book';
-- bound_limit, bound_used and bound_held are then the book's figures.
-- p_app_id, p_build_id, p_end_user are the call's tags; null: none. An end user may have a monthly cap: its own, in
-- end_user_cap, or the customer's for each of its end users. What is held for an end user is in end_user_month.
-- A rate window that ends in the future was written before the clock was set back, see window_now.
-- Lock: takes the customers' rows, ascending by id, in one statement; everything below (months, windows,
-- seats) is read and written only under it. Commits without waiting for the disk: a reservation that a
-- crash forgets costs nothing, for settle inserts what it does not find.
-- Plans are made once for any group: planning anew costs more than the work itself (measured: 2 ms of 2.5), and
-- a plan made while a table was small must not scan it when it has grown.
create or replace function kaixu.admit_v2(
    p_ticket        uuid[],
    p_key_hash      bytea[],
    p_legacy_hash   bytea[],
    p_key_id        bigint[],
    p_install_id    text[],
    p_agent         text[],
    p_role_rank     integer[],
    p_operation     text[],
    p_provider      text[],
    p_asked         text[],
    p_model         text[],
    p_book          text[],
    p_price_id      bigint[],
    p_most_nusd     bigint[],
    p_least_nusd    bigint[],
    p_request_id    text[],
    p_app_id        text[],
    p_build_id      text[],
    p_end_user      text[],
    p_most_tokens   bigint[],
    p_least_tokens  bigint[],
    p_names         text[],
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
    c_seat_bound    constant integer := 1000;   -- devices of a key without a seat limit: a bound on what is stored
    v_key_ids       bigint[];
    v_now           timestamptz;
    v_second        bigint;
    v_ten_minute    bigint;
    v_month         date;
    r               record;
    v_customer_id   bigint;
    v_chain_id      bigint;
    v_book          text;
    v_c_extra       bigint;                     -- of this and the next: all books of the month together
    v_c_spent       bigint;
    v_c_held        bigint;
    v_k_spent       bigint;
    v_k_held        bigint;
    v_added         bigint := 0;                -- reserved for this key and book, not yet written
    v_seconds       integer[];
    v_ten_minutes   integer[];
    v_minute_count  integer;
    v_day_count     integer;
    v_taken         integer := 0;               -- calls admitted for this key and book, not yet written
    v_rpm           integer;
    v_uncounted     boolean;                    -- rates neither stop nor count the call
    v_seats         integer;
    v_required      boolean;
    v_device        text;                       -- '': the anonymous seat; null: no seat is needed
    v_known_device  text;                       -- the last device of this chain that was admitted
    v_revoked       boolean;
    v_new_seat      boolean;
    v_touch         boolean;
    v_room          bigint;
    v_user_room     bigint;                     -- null: no cap of the end user
    v_own           record;                     -- the figures of a book with a cap of its own
    v_has_own_cap   boolean;
    v_done          boolean := false;
    v_nothing       text;                       -- an assignment calls a function without planning a query around it
    v_in_ticket     uuid[] := '{}';
    v_in_granted    bigint[] := '{}';
    v_in_customer   bigint[] := '{}';
    v_in_key        bigint[] := '{}';
    v_in_chain      bigint[] := '{}';
    v_in_at         integer[] := '{}';
    v_limited       boolean;                    -- whether the call has limits that check_limits knows
    v_limits        record;
begin
    perform set_config('synchronous_commit', 'off', true);

    select array_agg(
               coalesce(
                   a.key_id,
                   (select k.id from kaixu.virtual_key k where k.key_hash = a.key_hash),
                   (select k.id from kaixu.virtual_key k where k.key_hash = substr(a.legacy_hash, 1, 32)),
                   (select k.id from kaixu.virtual_key k where k.key_hash = substr(a.legacy_hash, 33, 32))
               ) order by a.at)
      into v_key_ids
      from unnest(p_key_id, p_key_hash, p_legacy_hash) with ordinality a (key_id, key_hash, legacy_hash, at);

    perform 1
       from kaixu.customer c
      where c.id in (select k.customer_id from kaixu.virtual_key k where k.id = any (v_key_ids))
      order by c.id
        for no key update;

    -- Under the lock: from here on every committed change of an operator is seen.
    v_now := clock_timestamp();
    v_second := floor(extract(epoch from v_now));
    v_ten_minute := v_second / 600;
    v_month := date_trunc('month', v_now at time zone 'UTC');

    for r in
        select a.*, k.id as found_id, k.chain_id, k.customer_id, k.key_hash as stored_hash, k.key_last4, k.revoked_at,
               k.expires_at, k.tpm_limit, k.day_cap_nusd, k.limits, k.group_id, c.tpm_limit as customer_tpm,
               c.day_cap_nusd as customer_day_cap,
               k.monthly_cap_nusd as key_cap, k.rpm_limit, k.rpd_limit, k.max_devices,
               k.require_install_id as key_requires, k.allowed_providers as key_providers, k.allowed_models as key_models,
               case k.role when 'viewer' then 0 when 'deployer' then 1 when 'admin' then 2 else 3 end as role_rank,
               c.is_active, c.carry_from, c.monthly_cap_nusd as customer_cap, c.end_user_cap_nusd as each_user_cap, c.max_devices_per_key,
               c.require_install_id as customer_requires, c.allowed_providers, c.allowed_models
          from unnest(v_key_ids, p_ticket, p_key_hash, p_install_id, p_agent, p_role_rank, p_operation, p_provider, p_asked,
                      p_model, p_book, p_most_nusd, p_least_nusd, p_end_user, p_most_tokens, p_least_tokens, p_names)
               with ordinality
               a (asked_id, ticket, key_hash, install_id, agent, asked_rank, operation, provider, asked, model, book, most,
                  least, end_user, most_tokens, least_tokens, names, at)
          left join kaixu.virtual_key k on k.id = a.asked_id
          left join kaixu.customer c on c.id = k.customer_id
         order by k.customer_id, k.chain_id, a.book, a.at
    loop
        ticket := r.ticket;
        refused := null; scope := null; retry_after_s := null; granted_nusd := null;
        customer_id := r.customer_id; key_id := r.found_id; chain_id := r.chain_id; key_last4 := r.key_last4;
        month := v_month; rate_limit := null; rate_remaining := null;
        customer_cap_nusd := null; customer_spent_nusd := null; customer_held_nusd := null;
        key_cap_nusd := null; key_spent_nusd := null; key_held_nusd := null;
        end_user_cap_nusd := null; end_user_spent_nusd := null; end_user_held_nusd := null;
        admitted_at := v_now; granted_tokens := coalesce(r.most_tokens, 0); token_limit := null; token_room := null;
        bound_limit := null; bound_used := null; bound_held := null;

        if r.found_id is null then
            refused := 'UNAUTHENTICATED';
            return next;
            continue;
        end if;

        -- The next key, or its next book: write what the last one took.
        if (v_chain_id is distinct from r.chain_id or v_book is distinct from r.book) and v_taken > 0 then
            v_nothing := kaixu.write_admitted(
                p_customer_id => v_customer_id, p_chain_id => v_chain_id, p_month => v_month, p_book => v_book,
                p_added_nusd => v_added, p_second => v_second, p_seconds => v_seconds,
                p_ten_minute => v_ten_minute, p_ten_minutes => v_ten_minutes, p_now => v_now, p_install_id => v_known_device)::text;
            v_taken := 0;
            v_added := 0;
        end if;
        v_book := r.book;

        -- The next customer, the next key: read what they have used of their caps and of their rates.
        if v_customer_id is distinct from r.customer_id then
            v_customer_id := r.customer_id;
            if r.carry_from < v_month then
                perform kaixu.carry_credit(p_customer_id => v_customer_id, p_month => v_month);
            end if;
            select coalesce(sum(m.extra_nusd), 0), coalesce(sum(m.spent_nusd), 0), coalesce(sum(m.held_nusd), 0)
              into v_c_extra, v_c_spent, v_c_held
              from kaixu.customer_month m
             where m.customer_id = v_customer_id and m.month = v_month and not m.has_own_cap;
        end if;
        if v_chain_id is distinct from r.chain_id then
            v_chain_id := r.chain_id;
            v_known_device := null;

            select coalesce(sum(m.spent_nusd), 0), coalesce(sum(m.held_nusd), 0) into v_k_spent, v_k_held
              from kaixu.key_month m
             where m.chain_id = v_chain_id and m.month = v_month and not m.has_own_cap;

            select x.seconds, x.ten_minutes, (select sum(s) from unnest(x.seconds) s),
                   (select sum(s) from unnest(x.ten_minutes) s)
              into v_seconds, v_ten_minutes, v_minute_count, v_day_count
              from (select kaixu.window_now(w.second_counts, w.second_slot, v_second, 61) as seconds,
                           kaixu.window_now(w.ten_minute_counts, w.ten_minute_slot, v_ten_minute, 145) as ten_minutes
                      from kaixu.rate_window w
                     where w.chain_id = v_chain_id
                    offset 0) x;
            if v_seconds is null then
                v_seconds := array_fill(0, array[61]);
                v_ten_minutes := array_fill(0, array[145]);
                v_minute_count := 0;
                v_day_count := 0;
            end if;
        end if;

        customer_cap_nusd := r.customer_cap + v_c_extra;
        customer_spent_nusd := v_c_spent;
        customer_held_nusd := v_c_held;
        key_cap_nusd := r.key_cap;
        key_spent_nusd := v_k_spent;
        key_held_nusd := v_k_held;
        if r.end_user is not null then
            end_user_cap_nusd := coalesce(
                (select u.monthly_cap_nusd from kaixu.end_user_cap u
                  where u.customer_id = r.customer_id and u.end_user = r.end_user), r.each_user_cap);
            select m.spent_nusd, m.held_nusd into end_user_spent_nusd, end_user_held_nusd
              from kaixu.end_user_month m
             where m.customer_id = r.customer_id and m.month = v_month and m.end_user = r.end_user;
            end_user_spent_nusd := coalesce(end_user_spent_nusd, 0);
            end_user_held_nusd := coalesce(end_user_held_nusd, 0);
            v_user_room := end_user_cap_nusd - end_user_spent_nusd - end_user_held_nusd;
        else
            v_user_room := null;
        end if;
        v_has_own_cap := r.book <> 'ai'
                         and kaixu.book_has_own_cap(p_customer_id => v_customer_id, p_month => v_month, p_book => r.book);
        v_rpm := coalesce(r.rpm_limit, p_default_rpm);
        v_uncounted := r.operation like 'job:%' or r.least = -2;
        rate_limit := v_rpm;
        rate_remaining := greatest(v_rpm - v_minute_count, 0);

        -- The key, its customer, and the allowlists.
        if r.revoked_at is not null then
            refused := 'KEY_REVOKED';
        elsif r.expires_at <= v_now then
            refused := 'KEY_EXPIRED';
        elsif not r.is_active then
            refused := 'CUSTOMER_DISABLED';
        elsif r.role_rank < r.asked_rank then
            refused := 'ROLE_TOO_LOW';
        elsif r.provider = '' then
            null;
        elsif not (kaixu.provider_allowed(r.allowed_providers, r.provider, r.asked)
                   and kaixu.provider_allowed(r.key_providers, r.provider, r.asked)) then
            refused := 'PROVIDER_NOT_ALLOWED';
        elsif not (kaixu.model_allowed(r.allowed_models, r.provider, r.asked, r.model)
                   and kaixu.model_allowed(r.key_models, r.provider, r.asked, r.model)) then
            refused := 'MODEL_NOT_ALLOWED';
        end if;
        if refused is not null then
            return next;
            continue;
        end if;

        -- The device: known, or a seat is free.
        v_required := r.customer_requires or coalesce(r.key_requires, false);
        v_seats := nullif(coalesce(r.max_devices, r.max_devices_per_key, 0), 0);
        v_device := coalesce(r.install_id, case when v_seats is not null then '' end);
        v_new_seat := false;
        v_touch := false;
        if v_required and r.install_id is null then
            refused := 'INSTALL_ID_REQUIRED';
        elsif v_device is not null and v_device is distinct from v_known_device then
            select d.revoked_at is not null, d.last_seen_at not between v_now - interval '1 minute' and v_now
              into v_revoked, v_touch
              from kaixu.device d
             where d.chain_id = v_chain_id and d.install_id = v_device;
            if v_revoked then
                refused := 'DEVICE_REVOKED';
            elsif v_revoked is null then
                v_new_seat := true;
                if (select count(*) from kaixu.device d where d.chain_id = v_chain_id and d.revoked_at is null)
                       >= coalesce(v_seats, c_seat_bound) then
                    refused := 'SEATS_FULL';
                    scope := coalesce(v_seats, c_seat_bound)::text;
                end if;
            end if;
        end if;

        -- The rates.
        if refused is not null then
            null;
        elsif v_minute_count >= v_rpm and not v_uncounted then
            refused := 'RATE_LIMITED';
            scope := 'minute';
            retry_after_s := kaixu.window_frees_in(v_seconds, v_second, v_rpm);
        elsif v_day_count >= r.rpd_limit and not v_uncounted then
            refused := 'RATE_LIMITED';
            scope := 'day';
            rate_limit := r.rpd_limit;
            rate_remaining := 0;
            retry_after_s := kaixu.window_frees_in(v_ten_minutes, v_ten_minute, r.rpd_limit) * 600 - (v_second % 600)::integer;

        -- The caps. Who owes credit that was taken back can call what costs nothing, and what a book of its own pays for.
        -- A cap of 0 refuses even calls at a price of 0, but not operations that are Free: who has no money must be able
        -- to pay.
        elsif r.least < 0 then
            null;
        elsif v_has_own_cap then
            v_own := kaixu.book_room(p_customer_id => v_customer_id, p_month => v_month, p_book => r.book);
            if v_own.cap_nusd <= 0 or greatest(0, v_own.room_nusd - v_added) < r.least then
                refused := 'CAP_REACHED';
                scope := 'book';
                bound_limit := v_own.cap_nusd; bound_used := v_own.spent_nusd; bound_held := v_own.held_nusd + v_added;
            end if;
        elsif v_c_extra < 0 and r.most > 0 then
            refused := 'CAP_REACHED';
            scope := 'debt';
        elsif (customer_cap_nusd <= 0 and v_c_extra >= 0) or greatest(0, customer_cap_nusd - v_c_spent - v_c_held) < r.least then
            refused := 'CAP_REACHED';
            scope := 'customer';
        elsif r.key_cap <= 0 or (r.key_cap is not null and greatest(0, r.key_cap - v_k_spent - v_k_held) < r.least) then
            refused := 'CAP_REACHED';
            scope := 'key';
        elsif end_user_cap_nusd <= 0 or (v_user_room is not null and greatest(0, v_user_room) < r.least) then
            refused := 'CAP_REACHED';
            scope := 'end_user';
        end if;

        -- Other limits of the customer, the key, the model and the group.
        v_limited := coalesce(r.customer_tpm, r.customer_day_cap, r.tpm_limit, r.day_cap_nusd, r.group_id) is not null
                     or r.limits is not null;
        if v_limited and refused is null then
            v_limits := kaixu.check_limits(
                p_customer_id => r.customer_id, p_key_id => r.found_id, p_provider => r.provider, p_model => r.model,
                p_names => coalesce(nullif(r.names, ''), lower(r.provider) || '/' || r.model), p_month => v_month,
                p_now => v_now, p_is_job => v_uncounted, p_pending_nusd => case when v_has_own_cap then 0 else v_added end,
                p_least_nusd => case when v_has_own_cap then least(r.least, 0) else r.least end,
                p_most_tokens => granted_tokens, p_least_tokens => coalesce(r.least_tokens, 0));
            refused := v_limits.refused;
            scope := v_limits.scope;
            retry_after_s := v_limits.retry_after_s;
            bound_limit := v_limits.bound_limit;
            bound_used := v_limits.bound_used;
            bound_held := v_limits.bound_held;
            token_limit := v_limits.token_limit;
            token_room := v_limits.token_room;
        end if;
        if refused is not null then
            return next;
            continue;
        end if;

        -- Admitted: from here on, writes.
        if v_has_own_cap then
            v_room := v_own.room_nusd - v_added;
        else
            v_room := least(customer_cap_nusd - v_c_spent - v_c_held, r.key_cap - v_k_spent - v_k_held, v_user_room);
        end if;
        if v_limited then
            v_room := case when v_has_own_cap then v_room else least(v_room, v_limits.room_nusd) end;
            granted_tokens := least(granted_tokens, v_limits.room_tokens);
            token_room := greatest(0, v_limits.token_room - granted_tokens);
        end if;
        granted_nusd := least(r.most, greatest(0, v_room));  -- a free call is admitted where a cap was lowered
        if not v_has_own_cap then
            v_c_held := v_c_held + granted_nusd;
            v_k_held := v_k_held + granted_nusd;
        end if;
        v_added := v_added + granted_nusd;
        if r.end_user is not null then
            insert into kaixu.end_user_month as m (customer_id, month, end_user, held_nusd)
            values (r.customer_id, v_month, r.end_user, granted_nusd)
            on conflict (customer_id, month, end_user) do update set held_nusd = m.held_nusd + excluded.held_nusd;
            end_user_held_nusd := end_user_held_nusd + granted_nusd;
        end if;
        v_taken := v_taken + 1;
        if not v_uncounted then
            v_minute_count := v_minute_count + 1;
            v_day_count := v_day_count + 1;
            v_seconds[v_second % 61 + 1] := v_seconds[v_second % 61 + 1] + 1;
            v_ten_minutes[v_ten_minute % 145 + 1] := v_ten_minutes[v_ten_minute % 145 + 1] + 1;
        end if;
        if v_new_seat then
            insert into kaixu.device (chain_id, install_id, customer_id, last_seen_agent)
            values (v_chain_id, v_device, r.customer_id, r.agent);
        elsif v_touch then
            update kaixu.device d
               set last_seen_at = v_now, last_seen_agent = r.agent
             where d.chain_id = v_chain_id and d.install_id = v_device;
        end if;
        v_known_device := coalesce(v_device, v_known_device);
        if r.key_hash is not null and r.stored_hash <> r.key_hash then
            update kaixu.virtual_key k
               set key_hash = r.key_hash, pepper_id = nullif(substr(p_legacy_hash[r.at], 65), '')
             where k.id = r.found_id;
        end if;
        customer_held_nusd := v_c_held;
        key_held_nusd := v_k_held;
        rate_remaining := greatest(v_rpm - v_minute_count, 0);
        if v_limited then
            -- At once: the limits count calls in flight from their reservations, also for the next call of this group.
            insert into kaixu.reservation (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider,
                                           model, price_id, install_id, request_id, owner, created_at, expires_at, app_id,
                                           build_id, end_user, most_tokens, is_limited)
            values (r.ticket, r.customer_id, r.found_id, r.chain_id, v_month, r.book, granted_nusd, r.operation, r.provider,
                    r.model, p_price_id[r.at], r.install_id, p_request_id[r.at], p_owner, v_now,
                    v_now + make_interval(secs => p_lifetime_s), p_app_id[r.at], p_build_id[r.at], r.end_user,
                    case when v_uncounted then 0 else granted_tokens end, true);
            if v_limits.takes_call then
                perform kaixu.take_limits(
                    p_customer_id => r.customer_id, p_key_id => r.found_id, p_provider => r.provider, p_model => r.model,
                    p_names => coalesce(nullif(r.names, ''), lower(r.provider) || '/' || r.model), p_now => v_now);
            end if;
        else
            v_in_ticket := v_in_ticket || r.ticket;
            v_in_granted := v_in_granted || granted_nusd;
            v_in_customer := v_in_customer || r.customer_id;
            v_in_key := v_in_key || r.found_id;
            v_in_chain := v_in_chain || r.chain_id;
            v_in_at := v_in_at || r.at::integer;
        end if;
        return next;
    end loop;

    if v_taken > 0 then
        v_nothing := kaixu.write_admitted(
            p_customer_id => v_customer_id, p_chain_id => v_chain_id, p_month => v_month, p_book => v_book,
            p_added_nusd => v_added, p_second => v_second, p_seconds => v_seconds,
            p_ten_minute => v_ten_minute, p_ten_minutes => v_ten_minutes, p_now => v_now, p_install_id => v_known_device)::text;
    end if;

    if cardinality(v_in_ticket) > 0 then
        insert into kaixu.reservation (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider,
                                       model, price_id, install_id, request_id, owner, created_at, expires_at, app_id,
                                       build_id, end_user, most_tokens, is_limited)
        select i.ticket, i.customer_id, i.key_id, i.chain_id, v_month, p_book[i.at], i.granted, p_operation[i.at],
               p_provider[i.at], p_model[i.at], p_price_id[i.at], p_install_id[i.at], p_request_id[i.at], p_owner, v_now,
               v_now + make_interval(secs => p_lifetime_s), p_app_id[i.at], p_build_id[i.at], p_end_user[i.at],
               case when p_operation[i.at] like 'job:%' then 0 else coalesce(p_most_tokens[i.at], 0) end,
               -- As it is now: a later call of the group may have been the first with a limit.
               (select c.has_limits from kaixu.customer c where c.id = i.customer_id)
          from unnest(v_in_ticket, v_in_granted, v_in_customer, v_in_key, v_in_chain, v_in_at)
               i (ticket, granted, customer_id, key_id, chain_id, at);
    end if;
end
$$;
