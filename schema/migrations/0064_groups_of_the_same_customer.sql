-- A key's group belongs to the key's customer: the database says so, too, and no foreign key between customers' tables leads
-- from one customer to another. See docs/decisions/0065.
alter table kaixu.key_group add constraint key_group_customer_key unique (customer_id, id);

alter table kaixu.virtual_key
    add constraint virtual_key_customer_group_fkey foreign key (customer_id, group_id)
        references kaixu.key_group (customer_id, id) on delete set null (group_id),
    drop constraint virtual_key_group_id_fkey;
