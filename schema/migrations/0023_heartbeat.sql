-- The gateway's health by the minute, as a client sees it: what `gateway-heartbeat-read` tells.
create table kaixu.heartbeat (
    minute      timestamptz primary key,    -- of several gateways that looked in one minute, the first one counts
    seen_at     timestamptz not null,
    http_ok     boolean     not null,
    db_ok       boolean     not null,
    status      integer,                    -- null: no reply
    ms          integer     not null,
    error       text,                       -- words of ours, for everybody
    error_type  text        check (error_type in ('http', 'db', 'parse', 'timeout', 'network', 'dns', 'error')),
    build       text        not null,
    attempt     integer     not null
);

-- The gateway whose turn it is to look. Another one takes over when its lease has ended.
create table kaixu.heartbeat_lease (
    only_row    boolean     primary key default true check (only_row),
    owner       uuid        not null,
    until       timestamptz not null
);
