-- open_collection: find the collection that a call will store into, and reserve room for its vectors.
--
-- p_make false: called before anything is spent; collection_id is null where the collection does not exist yet. p_make
-- true: called again with the vectors at hand, and then it is created: a call that fails leaves no empty collection.
-- p_dimensions null: not known before the vendor has answered.
-- Returns one row; refused is a code; null: the reservation of p_ticket holds the room, and frees it when it ends.
-- Lock: the customer's row; collections are created and counted only under it.
create or replace function kaixu.open_collection(
    p_ticket        uuid,
    p_customer_id   bigint,
    p_key_id        bigint,
    p_name          text,
    p_provider      text,
    p_model         text,
    p_dimensions    integer,
    p_language      text,
    p_vectors       integer,
    p_doc_id        text[],     -- the documents that these vectors belong to: what is there under their ids is replaced
    p_make          boolean,
    p_most_vectors  bigint,     -- where the customer has no limit of its own
    p_most_collections integer
) returns table (
    refused         text,
    collection_id   bigint,
    provider        text,
    model           text,
    dimensions      integer,
    most            bigint,
    used            bigint
)
language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    v_found     kaixu.collection;
    v_allowed   text[];
    v_known     boolean;
    v_added     integer := p_vectors;
begin
    select coalesce(c.max_vectors, p_most_vectors) into most
      from kaixu.customer c
     where c.id = p_customer_id
       for no key update;

    select k.allowed_collections into v_allowed from kaixu.virtual_key k where k.id = p_key_id;
    select x.* into v_found
      from kaixu.collection x
     where x.customer_id = p_customer_id
       and x.name = p_name
       and x.deleted_at is null
       and x.replaces_id is null;
    v_known := found;
    if v_known then
        collection_id := v_found.id; provider := v_found.provider; model := v_found.model;
        dimensions := v_found.dimensions;
    end if;
    select coalesce(sum(x.vectors), 0) into used
      from kaixu.collection x
     where x.customer_id = p_customer_id and x.deleted_at is null and x.replaces_id is null;
    used := used + (select coalesce(sum(r.vectors), 0) from kaixu.reservation r
                     where r.customer_id = p_customer_id and r.vectors > 0 and r.ticket <> p_ticket);

    if v_known and used + v_added > most then   -- only near the limit is it worth looking
        v_added := greatest(0, p_vectors - (select count(*) from kaixu.document d
                                             where d.collection_id = v_found.id and d.doc_id = any (p_doc_id)));
    end if;

    if not p_name = any (v_allowed) then
        refused := 'COLLECTION_NOT_ALLOWED';
    elsif v_known
          and exists (select from kaixu.reembedding e where e.collection_id = v_found.id and e.state = 'running') then
        refused := 'COLLECTION_BUSY';
    elsif v_known and (v_found.provider, v_found.model) is distinct from (p_provider, p_model) then
        refused := 'MODEL_MISMATCH';
    elsif v_known and p_dimensions is not null and v_found.dimensions <> p_dimensions then
        refused := 'DIMENSIONS_MISMATCH';
    elsif not v_known and p_most_collections <= (select count(*) from kaixu.collection x
                                                  where x.customer_id = p_customer_id and x.deleted_at is null
                                                    and x.replaces_id is null) then
        refused := 'COLLECTIONS_FULL';
    elsif used + v_added > most then
        refused := 'VECTORS_FULL';
    end if;
    if refused is not null then
        return next;
        return;
    end if;

    if not v_known and p_make then
        insert into kaixu.collection as x (customer_id, name, provider, model, dimensions, language)
        values (p_customer_id, p_name, p_provider, p_model, p_dimensions, p_language::regconfig)
        returning x.id, x.provider, x.model, x.dimensions into collection_id, provider, model, dimensions;
    end if;
    update kaixu.reservation r set vectors = v_added where r.ticket = p_ticket;
    return next;
end
$$;
