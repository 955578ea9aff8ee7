-- start_reembedding: begin to embed a collection anew with another model, or go on with a copy that had failed.
--
-- Meanwhile storing is refused; searches use the old vectors until all new ones are there.
-- Returns the id of the work; refused is a code, or null. Lock: the collection's row, so that no call that was admitted
-- before stores into it.
create or replace function kaixu.start_reembedding(
    p_collection_id bigint,
    p_customer_id   bigint,
    p_key_id        bigint,
    p_install_id    text,
    p_provider      text,
    p_model         text,
    p_dimensions    integer,
    p_request_id    text
) returns table (refused text, reembedding_id bigint)
language plpgsql as $$
declare
    v_collection kaixu.collection;
    v_before     kaixu.reembedding;
    v_copy_id    bigint;
begin
    select x.* into v_collection
      from kaixu.collection x
     where x.id = p_collection_id and x.customer_id = p_customer_id and x.deleted_at is null and x.replaces_id is null
       for no key update;
    if not found then
        refused := 'UNKNOWN_COLLECTION';
        return next;
        return;
    end if;

    select e.* into v_before
      from kaixu.reembedding e
     where e.collection_id = p_collection_id
     order by e.id desc
     limit 1;
    if v_before.state = 'running' then
        refused := 'COLLECTION_BUSY';
        return next;
        return;
    end if;

    -- Vectors are not paid for twice: an unfinished copy for the same model is continued, if nothing has changed.
    if v_before.state = 'failed' then
        select x.id into v_copy_id
          from kaixu.collection x
         where x.id = v_before.copy_id and x.replaces_id = p_collection_id and x.deleted_at is null
           and x.provider = p_provider and x.model = p_model and x.dimensions = p_dimensions
           and v_collection.updated_at <= v_before.updated_at;
    end if;
    if v_copy_id is null then
        update kaixu.collection x
           set deleted_at = clock_timestamp(), vectors = 0
         where x.replaces_id = p_collection_id and x.deleted_at is null;
        insert into kaixu.collection as x (customer_id, name, provider, model, dimensions, language, replaces_id)
        values (p_customer_id, v_collection.name, p_provider, p_model, p_dimensions, v_collection.language, p_collection_id)
        returning x.id into v_copy_id;
    end if;
    insert into kaixu.reembedding as e (customer_id, key_id, install_id, collection_id, copy_id, done, total, request_id)
    values (p_customer_id, p_key_id, p_install_id, p_collection_id, v_copy_id,
            (select x.vectors from kaixu.collection x where x.id = v_copy_id), v_collection.vectors, p_request_id)
    returning e.id into reembedding_id;
    return next;
end
$$;
