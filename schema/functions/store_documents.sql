-- store_documents: store documents, or chunks of documents, with their vectors in a collection.
--
-- Parallel arrays, one element a vector. A document whose first chunk is among them replaces all chunks under its id;
-- without its first chunk it continues what is there (a long one may come in several calls).
-- Returns how many vectors were stored, and how many were there under these ids before; or refused, a code, where
-- something has changed since open_collection.
-- Lock: the collection's row, so that two calls with the same ids write one after the other; then, shortly, the
-- customer's. Collections are locked before customers, never after (see schema/README.md): this transaction settles
-- the call as well, and the customer's other calls must not wait for the vectors to be written.
create or replace function kaixu.store_documents(
    p_collection_id bigint,
    p_customer_id   bigint,
    p_ticket        uuid,
    p_doc_id        text[],
    p_chunk         integer[],
    p_starts_at     integer[],
    p_body          text[],
    p_metadata      jsonb[],
    p_embedding     vector[],
    p_most_vectors  bigint
) returns table (refused text, stored integer, replaced integer)
language plpgsql as $$
#variable_conflict use_column
declare
    v_language  regconfig;
    v_is_copy   boolean;
    v_room      bigint;
begin
    select x.language, x.replaces_id is not null into v_language, v_is_copy
      from kaixu.collection x
     where x.id = p_collection_id and x.customer_id = p_customer_id and x.deleted_at is null
       for no key update;
    if not found then
        refused := 'UNKNOWN_COLLECTION';
        return next;
        return;
    end if;

    if exists (select from kaixu.reembedding e where e.collection_id = p_collection_id and e.state = 'running') then
        refused := 'COLLECTION_BUSY';
        return next;
        return;
    end if;

    delete from kaixu.document d
     using (select a.doc_id, bool_or(a.chunk = 0) as is_whole, array_agg(a.chunk) as chunks
              from unnest(p_doc_id, p_chunk) a (doc_id, chunk)
             group by a.doc_id) given
     where d.collection_id = p_collection_id and d.doc_id = given.doc_id
       and (given.is_whole or d.chunk = any (given.chunks));
    get diagnostics replaced = row_count;

    insert into kaixu.document (collection_id, doc_id, chunk, starts_at, customer_id, body, metadata, embedding, words)
    select p_collection_id, a.doc_id, a.chunk, a.starts_at, p_customer_id, a.body, a.metadata, a.embedding,
           -- All words together take at most a megabyte, or Postgres refuses them; hyphened ones count twice.
           to_tsvector(v_language, left(a.body, case when octet_length(a.body) = length(a.body) then 250000 else 100000 end))
      from unnest(p_doc_id, p_chunk, p_starts_at, p_body, p_metadata, p_embedding)
           a (doc_id, chunk, starts_at, body, metadata, embedding);
    get diagnostics stored = row_count;

    update kaixu.collection x
       set vectors = x.vectors + stored - replaced, updated_at = clock_timestamp()
     where x.id = p_collection_id;

    -- A crash may have lost the room that was reserved: then it is checked once more.
    if not v_is_copy and not exists (select from kaixu.reservation r where r.ticket = p_ticket and r.vectors >= stored - replaced) then
        select coalesce(c.max_vectors, p_most_vectors) into v_room
          from kaixu.customer c where c.id = p_customer_id
           for no key update;
        v_room := v_room
            - (select coalesce(sum(x.vectors), 0) from kaixu.collection x
                where x.customer_id = p_customer_id and x.deleted_at is null and x.replaces_id is null)
            - (select coalesce(sum(r.vectors), 0) from kaixu.reservation r
                where r.customer_id = p_customer_id and r.vectors > 0 and r.ticket <> p_ticket);
        if v_room < 0 then
            refused := 'VECTORS_FULL';
        end if;
    end if;
    return next;
end
$$;
