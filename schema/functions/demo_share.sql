-- demo_share: a number from 0 up to 1 that depends on its arguments only: the random source of `kaixu seed-demo`.
--
-- p_row: which row, p_what: which of its properties (0 to 63).
create or replace function kaixu.demo_share(p_seed bigint, p_row bigint, p_what integer) returns double precision
language sql immutable parallel safe
return (hashint8extended(p_row * 64 + p_what, p_seed) & 9007199254740991)::double precision / 9007199254740992;
