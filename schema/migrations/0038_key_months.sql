-- Margins and the top by key over all customers read a month of all keys.
create index key_month_month_idx on kaixu.key_month (month);
