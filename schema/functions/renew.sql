-- renew: extend the reservations of calls that are still running.
--
-- Returns how many were extended. A row that is being settled is skipped, so that neither waits for the other.
create or replace function kaixu.renew(p_owner uuid, p_ticket uuid[], p_lifetime_s integer)
returns integer
language plpgsql as $$
declare
    v_renewed integer;
begin
    with mine as (
        select r.ticket
          from kaixu.reservation r
         where r.ticket = any (p_ticket) and r.owner = p_owner
           for update skip locked
    )
    update kaixu.reservation r
       set expires_at = clock_timestamp() + make_interval(secs => p_lifetime_s)
      from mine m
     where r.ticket = m.ticket;
    get diagnostics v_renewed = row_count;
    return v_renewed;
end
$$;
