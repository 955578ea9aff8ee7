-- When integrations' schedules are due. One statement decides which gateway hands the work in.
create table kaixu.schedule (
    name        text        primary key,
    every_s     double precision not null check (every_s > 0),
    next_at     timestamptz not null,
    last_at     timestamptz
);
