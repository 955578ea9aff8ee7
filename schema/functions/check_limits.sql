-- check_limits: decide one call by the limits of limits_of, and say what they leave for it.
--
-- refused is null, 'RATE_LIMITED' or 'CAP_REACHED'; scope says which limit: '', 'key_', 'model_' or 'group_' with 'minute'
-- (requests), 'tokens' or 'day' (money), or 'group' for its month's cap. bound_limit, bound_used and bound_held are that
-- limit, what is used of it and what calls in flight hold of it: requests, tokens or nano-dollars. retry_after_s null
-- with RATE_LIMITED: the call is too large for the limit and can never run.
-- room_nusd and room_tokens are the most the call may be granted; null: no limit. takes_call: take_limits must count it.
-- token_limit and token_room are those of the tightest token limit, for the reply's headers.
--
-- Tokens: what settled calls have used, in the second of their admission, and the most that calls in flight can. A call
-- that could use more than the whole limit is let in where half of it is free, or the least it needs, and granted what
-- is. A limit of 0 refuses every call.
-- A job's rates (p_is_job) are neither checked nor counted, as those of the key.
-- p_pending_nusd: what was admitted of the key's chain just now and is not in its month yet.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.check_limits(
    p_customer_id   bigint,
    p_key_id        bigint,
    p_provider      text,
    p_model         text,
    p_names         text,
    p_month         date,
    p_now           timestamptz,
    p_is_job        boolean,
    p_pending_nusd  bigint,
    p_least_nusd    bigint,
    p_most_tokens   bigint,
    p_least_tokens  bigint,
    out refused         text,
    out scope           text,
    out retry_after_s   integer,
    out bound_limit     bigint,
    out bound_used      bigint,
    out bound_held      bigint,
    out room_nusd       bigint,
    out room_tokens     bigint,
    out token_limit     bigint,
    out token_room      bigint,
    out takes_call      boolean
)
language plpgsql as $$
declare
    v_second    constant bigint := floor(extract(epoch from p_now));
    v_day       constant timestamptz := date_trunc('day', p_now at time zone 'UTC') at time zone 'UTC';
    s           record;
    f           record;
    v_use       kaixu.limit_use;
    v_calls     integer[];
    v_tokens    bigint[];
    v_settled   bigint;
    v_used      bigint;
    v_need      bigint;
    v_held      bigint;     -- money of the day that calls in flight hold
    v_spent     bigint;
begin
    takes_call := false;
    for s in
        select l.*, min(l.tpm) over () as least_tpm
          from kaixu.limits_of(
                   p_customer_id => p_customer_id, p_key_id => p_key_id, p_provider => p_provider, p_model => p_model,
                   p_names => p_names) l
         order by l.place
    loop
        v_use := kaixu.limit_use_on(
            p_customer_id => p_customer_id, p_subject => s.subject, p_chains => s.chains, p_provider => p_provider,
            p_model => s.model, p_names => p_names, p_now => p_now);

        if s.rpm is not null and not p_is_job then
            v_calls := kaixu.window_now(v_use.call_counts, v_use.call_slot, v_second, 61);
            v_used := (select sum(c) from unnest(v_calls) c);
            takes_call := true;
            if v_used >= s.rpm then
                refused := 'RATE_LIMITED'; scope := s.prefix || 'minute';
                retry_after_s := kaixu.window_frees_in(v_calls, v_second, s.rpm);
                bound_limit := s.rpm; bound_used := v_used; bound_held := 0;
                return;
            end if;
        end if;

        v_tokens := kaixu.token_window(v_use.token_counts, v_use.token_slot, v_second);
        v_settled := (select sum(t) from unnest(v_tokens) t);
        v_held := 0;
        -- No loop where only a month's cap is set.
        for f in
            select floor(extract(epoch from r.created_at))::bigint as second, sum(r.most_tokens)::bigint as tokens,
                   coalesce(sum(r.held_nusd) filter (
                       where r.created_at >= v_day
                         and (r.book = 'ai' or not kaixu.book_has_own_cap(
                                  p_customer_id => r.customer_id, p_month => r.month, p_book => r.book))), 0)::bigint
                       as held_nusd
              from kaixu.reservation r
             where (s.tpm is not null or s.day_cap_nusd is not null) and r.is_limited
               and r.customer_id = p_customer_id and (s.chains is null or r.chain_id = any (s.chains))
               and (s.model is null or (r.provider = p_provider and r.model = s.model))
             group by 1
        loop
            v_held := v_held + f.held_nusd;
            v_tokens := kaixu.add_tokens(v_tokens, v_second, array[f.second], array[f.tokens]);
        end loop;

        if s.tpm is not null and not p_is_job then
            v_used := (select sum(t) from unnest(v_tokens) t);
            v_need := case when p_most_tokens <= s.least_tpm then p_most_tokens
                           else greatest(p_least_tokens, (s.least_tpm + 1) / 2) end;
            if token_room is null or s.tpm - v_used < token_room then
                token_limit := s.tpm;
                token_room := greatest(0, s.tpm - v_used);
            end if;
            if s.tpm = 0 or v_used + v_need > s.tpm then
                refused := 'RATE_LIMITED'; scope := s.prefix || 'tokens';
                retry_after_s := kaixu.tokens_free_in(v_tokens, v_second, s.tpm, v_need);
                bound_limit := s.tpm; bound_used := v_settled; bound_held := v_used - v_settled;
                token_limit := s.tpm; token_room := greatest(0, s.tpm - v_used);
                return;
            end if;
            room_tokens := least(room_tokens, s.tpm - v_used);
        end if;

        -- Caps come after all rates. A cap of 0 refuses every call, even at a price of 0, but not an operation that is
        -- Free (p_least_nusd -1).
        if s.month_cap_nusd is not null then
            select coalesce(sum(m.spent_nusd), 0), coalesce(sum(m.held_nusd), 0) + p_pending_nusd into v_spent, v_used
              from kaixu.key_month m
             where m.chain_id = any (s.chains) and m.month = p_month and not m.has_own_cap;
            if refused is null and p_least_nusd >= 0
               and (s.month_cap_nusd = 0 or greatest(0, s.month_cap_nusd - v_spent - v_used) < p_least_nusd) then
                refused := 'CAP_REACHED'; scope := 'group';
                bound_limit := s.month_cap_nusd; bound_used := v_spent; bound_held := v_used;
            end if;
            room_nusd := least(room_nusd, s.month_cap_nusd - v_spent - v_used);
        end if;
        if s.day_cap_nusd is not null then
            if refused is null and p_least_nusd >= 0
               and (s.day_cap_nusd = 0 or greatest(0, s.day_cap_nusd - v_use.day_spent_nusd - v_held) < p_least_nusd) then
                refused := 'CAP_REACHED'; scope := s.prefix || 'day';
                retry_after_s := ceil(extract(epoch from v_day + interval '1 day' - p_now));
                bound_limit := s.day_cap_nusd; bound_used := v_use.day_spent_nusd; bound_held := v_held;
            end if;
            room_nusd := least(room_nusd, s.day_cap_nusd - v_use.day_spent_nusd - v_held);
        end if;
    end loop;
end
$$;
