-- Who stores documents counts what its customer's other calls may add, and must not look through all calls in flight.
create index reservation_vectors_idx on kaixu.reservation (customer_id) where vectors > 0;
