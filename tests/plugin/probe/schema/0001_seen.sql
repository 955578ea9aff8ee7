create table seen (customer_id bigint not null, what text not null);
