-- check_books: raise the alerts of books with a cap of their own, as check_caps does for the caps of customers.
--
-- Parallel arrays of customers and months. The thresholds are those of the customer. CAP_WARN_BOOK, CAP_REACHED_BOOK and,
-- after that, CAP_RECOVERED_BOOK name the book and its title. Of a cap of 0, and of none, nothing is told.
-- Returns how many alerts were raised.
-- Lock: the rows of book_alert, ascending; after those of cap_alert, and who holds one waits for nothing else.
create or replace function kaixu.check_books(p_customer_id bigint[], p_month date[], p_thresholds integer[])
returns integer
language plpgsql as $$
#variable_conflict use_column
declare
    r           record;
    v_cap       bigint;
    v_spent     bigint;
    v_pct       integer;
    v_told      integer;
    v_passed    integer;
    v_body      jsonb;
    v_count     integer := 0;
begin
    for r in
        select m.customer_id, m.book, m.month, b.title, coalesce(c.alert_thresholds, p_thresholds) as thresholds
          from (select distinct a.customer_id, a.month
                  from unnest(p_customer_id, p_month) a (customer_id, month)) a
          join kaixu.customer_month m on m.customer_id = a.customer_id and m.month = a.month and m.has_own_cap
          join kaixu.book b on b.name = m.book
          join kaixu.customer c on c.id = m.customer_id
          left join kaixu.book_alert t on t.customer_id = m.customer_id and t.book = m.book and t.month = m.month
         cross join lateral (select kaixu.book_cap(p_customer_id => m.customer_id, p_book => m.book) as cap_nusd) k
         cross join lateral (
               select least(floor(m.spent_nusd::numeric * 100 / nullif(k.cap_nusd, 0)), 1000000)::integer as pct) p
         where k.cap_nusd > 0 and m.month > (now() at time zone 'UTC' - interval '2 days' - interval '1 month')::date
           and (p.pct < t.told_pct
                or exists (select from unnest(coalesce(c.alert_thresholds, p_thresholds)) h
                            where h <= p.pct and h > coalesce(t.told_pct, 0)))
         order by m.customer_id, m.book, m.month
    loop
        insert into kaixu.book_alert (customer_id, book, month) values (r.customer_id, r.book, r.month)
        on conflict do nothing;
        select t.told_pct into v_told
          from kaixu.book_alert t
         where t.customer_id = r.customer_id and t.book = r.book and t.month = r.month
           for update;
        -- Read again under the lock: whoever held it before has seen no later figures than these.
        select kaixu.book_cap(p_customer_id => r.customer_id, p_book => r.book), m.spent_nusd into v_cap, v_spent
          from kaixu.customer_month m
         where m.customer_id = r.customer_id and m.book = r.book and m.month = r.month;
        if v_told is null or v_cap is null or v_cap <= 0 then
            continue;
        end if;
        v_pct := least(floor(v_spent::numeric * 100 / v_cap), 1000000);
        v_body := jsonb_build_object('month', to_char(r.month, 'YYYY-MM'), 'book', r.book, 'title', r.title,
                                     'cap_nusd', v_cap, 'spent_nusd', v_spent, 'pct', v_pct);
        if v_told >= 100 and v_spent < v_cap then
            perform kaixu.raise_alert(p_type => 'CAP_RECOVERED_BOOK', p_customer_id => r.customer_id, p_body => v_body);
            v_count := v_count + 1;
        end if;
        v_told := least(v_told, v_pct);
        select max(h) into v_passed from unnest(r.thresholds) h where h <= v_pct;
        if v_passed > v_told then
            perform kaixu.raise_alert(
                p_type => case when v_passed >= 100 then 'CAP_REACHED_BOOK' else 'CAP_WARN_BOOK' end,
                p_customer_id => r.customer_id, p_body => v_body || jsonb_build_object('threshold_pct', v_passed));
            v_count := v_count + 1;
            v_told := v_passed;
        end if;
        update kaixu.book_alert t set told_pct = v_told, updated_at = clock_timestamp()
         where t.customer_id = r.customer_id and t.book = r.book and t.month = r.month and t.told_pct <> v_told;
    end loop;
    return v_count;
end
$$;
