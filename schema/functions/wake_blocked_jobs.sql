-- wake_blocked_jobs: queue blocked jobs of these customers for which there may be room under their caps again.
--
-- Called when caps are checked that a credit, a change or spending has noted. A job that needs room in a book with a cap of
-- its own waits for that alone; any other one for the caps of the customer and of its key, if it has one. Whether a job
-- really fits is decided when it is admitted, or when it holds; one that does not is blocked again. Every blocked job is
-- also tried from time to time, and in a new month.
-- Lock: the jobs' rows, skipping locked ones. No customer's row.
create or replace function kaixu.wake_blocked_jobs(p_customer_id bigint[])
returns void
language sql as $$
    update kaixu.job j
       set run_after = clock_timestamp(), pause = null
     where j.id in (
        select x.id
          from kaixu.job x
         cross join (select date_trunc('month', clock_timestamp() at time zone 'UTC')::date as month) t
          join kaixu.customer c on c.id = x.customer_id
          left join kaixu.virtual_key k on k.id = x.key_id
         where x.customer_id = any (p_customer_id) and x.status = 'queued' and x.pause = 'blocked'
           and case
                   when x.needs_book <> 'ai'
                        and kaixu.book_has_own_cap(p_customer_id => c.id, p_month => t.month, p_book => x.needs_book) then
                       (select r.cap_nusd is null or (r.cap_nusd > 0 and r.room_nusd >= x.needs_nusd)
                          from kaixu.book_room(p_customer_id => c.id, p_month => t.month, p_book => x.needs_book) r)
                   else
                       (select c.monthly_cap_nusd + coalesce(sum(m.extra_nusd - m.spent_nusd - m.held_nusd), 0)
                                   >= greatest(x.needs_nusd, 1)
                               and coalesce(sum(m.extra_nusd), 0) >= 0      -- debt refuses them
                          from kaixu.customer_month m
                         where m.customer_id = c.id and not m.has_own_cap and m.month = t.month)
                       and (k.monthly_cap_nusd is null
                            or k.monthly_cap_nusd - (select coalesce(sum(m.spent_nusd + m.held_nusd), 0)
                                                       from kaixu.key_month m
                                                      where m.chain_id = k.chain_id and not m.has_own_cap
                                                        and m.month = t.month)
                               >= x.needs_nusd)
               end
         order by x.created_at
         limit 1000
           for update of x skip locked)
$$;
