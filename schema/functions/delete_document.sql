-- delete_document: remove a document from a collection, all its chunks.
--
-- Returns how many vectors it had; refused is a code, or null. Lock: the collection's row.
create or replace function kaixu.delete_document(p_collection_id bigint, p_customer_id bigint, p_doc_id text)
returns table (refused text, removed integer)
language plpgsql as $$
begin
    removed := 0;
    perform 1
       from kaixu.collection x
      where x.id = p_collection_id and x.customer_id = p_customer_id and x.deleted_at is null
        for no key update;
    if not found then
        refused := 'UNKNOWN_COLLECTION';
    elsif exists (select from kaixu.reembedding e where e.collection_id = p_collection_id and e.state = 'running') then
        refused := 'COLLECTION_BUSY';
    else
        delete from kaixu.document d where d.collection_id = p_collection_id and d.doc_id = p_doc_id;
        get diagnostics removed = row_count;
        update kaixu.collection x
           set vectors = x.vectors - removed, updated_at = clock_timestamp()
         where x.id = p_collection_id and removed > 0;
    end if;
    return next;
end
$$;
