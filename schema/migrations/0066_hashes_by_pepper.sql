-- Which KEY_PEPPER a hash was made with (pepper_id of kaixu/accounts/key_material.py), so that what still needs the old one
-- can be counted while it is being replaced. Null: a hash from before this, or a plain SHA-256. See docs/decisions/0069.
alter table kaixu.virtual_key add column pepper_id bytea;
alter table kaixu.operator_token add column pepper_id bytea;
alter table kaixu.operator_recovery_code add column pepper_id bytea;
alter table kaixu.code_batch add column pepper_id bytea;
