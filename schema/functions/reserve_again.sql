-- reserve_again: put back the holds of running calls that a crash of the database forgot.
--
-- Admissions commit without waiting for the disk; a gateway that finds the database back calls this for
-- what it has in flight before it admits anything new. What is still there, or settled, is left alone.
-- Returns how many were put back.
-- Lock: the customers' rows, ascending by id.
create or replace function kaixu.reserve_again(
    p_ticket        uuid[],
    p_customer_id   bigint[],
    p_key_id        bigint[],
    p_chain_id      bigint[],
    p_month         date[],
    p_book          text[],
    p_held_nusd     bigint[],
    p_operation     text[],
    p_provider      text[],
    p_model         text[],
    p_price_id      bigint[],
    p_install_id    text[],
    p_request_id    text[],
    p_owner         uuid,
    p_lifetime_s    integer
) returns integer
language plpgsql as $$
declare
    v_put_back integer;
begin
    perform 1
       from kaixu.customer c
      where c.id = any (p_customer_id)
      order by c.id
        for no key update;

    with missing as (
        insert into kaixu.reservation (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider,
                                       model, price_id, install_id, request_id, owner, expires_at)
        select a.ticket, a.customer_id, a.key_id, a.chain_id, a.month, a.book, a.held_nusd, a.operation, a.provider,
               a.model, a.price_id, a.install_id, a.request_id, p_owner,
               clock_timestamp() + make_interval(secs => p_lifetime_s)
          from unnest(p_ticket, p_customer_id, p_key_id, p_chain_id, p_month, p_book, p_held_nusd, p_operation,
                      p_provider, p_model, p_price_id, p_install_id, p_request_id)
               a (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider, model, price_id,
                  install_id, request_id)
         where not exists (select from kaixu.usage_event e where e.month = a.month and e.ticket = a.ticket)
        on conflict (ticket) do nothing
        returning ticket, customer_id, chain_id, month, book, held_nusd
    ), customers as (
        insert into kaixu.customer_month as m (customer_id, month, book, held_nusd)
        select x.customer_id, x.month, x.book, sum(x.held_nusd) from missing x group by 1, 2, 3
        on conflict (customer_id, month, book) do update set held_nusd = m.held_nusd + excluded.held_nusd
    ), keys as (
        insert into kaixu.key_month as m (chain_id, month, book, customer_id, held_nusd)
        select x.chain_id, x.month, x.book, x.customer_id, sum(x.held_nusd) from missing x group by 1, 2, 3, 4
        on conflict (chain_id, month, book) do update set held_nusd = m.held_nusd + excluded.held_nusd
    )
    select count(*) into v_put_back from missing;
    return v_put_back;
end
$$;
