-- What `kaixu reconcile` needs to recompute every event exactly: the most that a call could cost.

-- Set where a hold was put back for less than admission had granted.
alter table kaixu.reservation add column granted_nusd bigint check (granted_nusd >= held_nusd);

-- What admission granted. Usage that was counted or estimated is never billed above it. Null: not known, as in every
-- event that was recorded before this column was there.
alter table kaixu.usage_event add column granted_nusd bigint;
