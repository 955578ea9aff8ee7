-- Usage events are looked up by their request: `kaixu trace`, `kaixu usage explain`, `admin-explain`.
--
-- `only`: nothing is built here, so that no call waits. New partitions get the index with their table; the gateway
-- builds it for those that are there in the background.
create index usage_event_request_idx on only kaixu.usage_event (request_id);
