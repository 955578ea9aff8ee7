-- reserve_blob: make room for a blob of a customer that is about to be stored, or say why there is none.
--
-- refused: 'UNKNOWN_CUSTOMER', 'BLOB_QUOTA', or null: the row is there, for p_lease_s seconds unless it is renewed.
-- used_bytes: what the customer's other blobs have, of all integrations.
-- Lock: the customer's row, so that two uploads cannot both take the last room.
create or replace function kaixu.reserve_blob(
    p_id          uuid,
    p_integration text,
    p_customer_id bigint,
    p_store_id    uuid,
    p_bytes       bigint,
    p_hash        text,
    p_sealed_key  bytea,
    p_lease_s     double precision,
    p_quota_bytes bigint,
    p_most_blobs  integer
) returns table (refused text, used_bytes bigint)
language plpgsql as $$
declare
    v_blobs bigint;
begin
    perform from kaixu.customer c where c.id = p_customer_id and c.deleted_at is null for no key update;
    if not found then
        refused := 'UNKNOWN_CUSTOMER';
        used_bytes := 0;
        return next;
        return;
    end if;
    select coalesce(sum(b.bytes), 0)::bigint, count(*) into used_bytes, v_blobs
      from kaixu.blob b
     where b.customer_id = p_customer_id;
    if used_bytes + p_bytes > p_quota_bytes or v_blobs >= p_most_blobs then
        refused := 'BLOB_QUOTA';
    else
        insert into kaixu.blob (id, integration, customer_id, store_id, bytes, hash, sealed_key, expires_at)
        values (p_id, p_integration, p_customer_id, p_store_id, p_bytes, p_hash, p_sealed_key,
                clock_timestamp() + make_interval(secs => p_lease_s));
    end if;
    return next;
end
$$;
