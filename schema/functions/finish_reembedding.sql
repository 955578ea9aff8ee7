-- finish_reembedding: replace a collection by its new copy, if every vector is there.
--
-- Returns whether it did. Lock: both collections' rows, ascending.
create or replace function kaixu.finish_reembedding(p_id bigint)
returns boolean
language plpgsql as $$
declare
    v_work kaixu.reembedding;
    v_old  kaixu.collection;
    v_new  kaixu.collection;
begin
    select e.* into v_work from kaixu.reembedding e where e.id = p_id and e.state = 'running';
    if not found then
        return false;
    end if;
    perform 1 from kaixu.collection x where x.id in (v_work.collection_id, v_work.copy_id) order by x.id for no key update;
    select x.* into v_old from kaixu.collection x where x.id = v_work.collection_id and x.deleted_at is null;
    select x.* into v_new from kaixu.collection x where x.id = v_work.copy_id and x.deleted_at is null;
    if v_old.id is null or v_new.id is null or v_old.vectors <> v_new.vectors then
        return false;
    end if;
    update kaixu.collection x set deleted_at = clock_timestamp(), vectors = 0 where x.id = v_old.id;
    update kaixu.collection x
       set name = v_old.name, replaces_id = null, created_at = v_old.created_at, updated_at = clock_timestamp()
     where x.id = v_new.id;
    update kaixu.reembedding e
       set state = 'done', done = v_new.vectors, updated_at = clock_timestamp()
     where e.id = p_id and e.state = 'running';
    return true;
end
$$;
