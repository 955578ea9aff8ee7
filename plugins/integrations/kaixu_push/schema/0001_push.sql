-- Projects of customers, their pushes with the files of each, and what they cost. No foreign key leads into the gateway.
create table project (
    id              bigint      generated always as identity primary key,
    customer_id     bigint      not null,
    project_id      text        not null,               -- the customer's own name for it
    name            text        not null,
    netlify_site_id text        not null,
    most_files      integer,                            -- null: the operator's general limit
    most_bytes      bigint,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    unique (customer_id, project_id)
);

create table push (
    id              bigint      generated always as identity primary key,
    customer_id     bigint      not null,
    key_id          bigint,
    project         bigint      references project on delete set null,
    push_id         text        not null unique,
    branch          text        not null,
    title           text        not null,
    site_id         text        not null,
    token_source    text        not null check (token_source in ('customer', 'operator')),
    deploy_id       text,                               -- null: Netlify has not told it, or the answer was lost
    state           text        not null default 'creating',
    url             text,
    error           text,
    is_prepared     boolean     not null default false, -- Netlify has said which files it requires
    required_count  integer     not null default 0,
    uploaded_count  integer     not null default 0,
    reserved_bytes  bigint      not null default 0,     -- of files that were sent, or are on their way
    held_bytes      bigint      not null default 0,     -- what the book holds for them
    wants_cancel    boolean     not null default false,
    ends_at         timestamptz not null,               -- then it is given up
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    ended_at        timestamptz                         -- published, failed or given up; billed or released then
);
create index push_customer_idx on push (customer_id, created_at);
create index push_project_idx on push (project);

create table push_path (
    push            bigint      not null references push on delete cascade,
    path            text        not null,               -- with a slash at its beginning
    sha1            text        not null,
    primary key (push, path)
);

-- A file is a content: two paths with the same one are one file, which is sent once.
create table push_file (
    push            bigint      not null references push on delete cascade,
    sha1            text        not null,
    is_required     boolean     not null default false,
    status          text        not null default 'waiting' check (status in (
                        'waiting', 'uploading', 'queued', 'assembling', 'retry_wait', 'error_transient', 'blocked_cap',
                        'error', 'done', 'expired')),
    mode            text        check (mode in ('direct', 'chunked')),
    deploy_path     text,
    bytes           bigint,                             -- once it was sent
    reserved        bigint      not null default 0,
    parts           integer,
    attempts        integer     not null default 0,
    next_attempt_at timestamptz,
    error           text,
    claim           text,                               -- who sends it now
    claimed_until   timestamptz,
    created_at      timestamptz,
    updated_at      timestamptz,
    primary key (push, sha1)
);
create index push_file_staged_idx on push_file (updated_at) where parts is not null and status not in ('done', 'expired');

create table push_part (
    push            bigint      not null,
    sha1            text        not null,
    part            integer     not null,
    reserved        bigint      not null,
    bytes           bigint,                             -- null: it has not arrived
    digest          text,
    received_at     timestamptz,
    primary key (push, sha1, part),
    foreign key (push, sha1) references push_file on delete cascade
);

create table invoice (
    customer_id     bigint      not null,
    month           text        not null,
    pricing_version text        not null,
    total_cents     bigint      not null,
    breakdown       jsonb       not null,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    primary key (customer_id, month)
);

-- The deploys of a customer in the present minute and day; one row for each, which the next window overwrites.
create table deploy_window (
    customer_id     bigint      not null,
    scope           text        not null check (scope in ('minute', 'day')),
    starts_at       timestamptz not null,
    count           integer     not null,
    primary key (customer_id, scope)
);

-- take_deploy: count a deploy in the minute and the day of its customer; which window is full, if one is.
--
-- Returns scope null where there is room. The caller rolls back what is refused, so a refused deploy is not counted.
-- Lock: the customer's two rows, the minute's first.
create function take_deploy(p_customer_id bigint, p_minute integer, p_day integer)
returns table (scope text, most integer, count integer)
language plpgsql as $$
#variable_conflict use_column
declare
    v   record;
    v_count integer;
begin
    for v in select * from (values ('minute', p_minute), ('day', p_day)) as x (scope, most) loop
        insert into deploy_window as w (customer_id, scope, starts_at, count)
        values (p_customer_id, v.scope, date_trunc(v.scope, now(), 'UTC'), 1)
        on conflict (customer_id, scope) do update
           set count = case when w.starts_at = excluded.starts_at then w.count + 1 else 1 end,
               starts_at = excluded.starts_at
        returning w.count into v_count;
        if v_count > v.most then
            return query select v.scope, v.most, v_count;
            return;
        end if;
    end loop;
end
$$;

-- check_file: whether a file of a push may be sent now, under this path.
--
-- 'OK' | 'NO_PUSH' | 'PATH_NOT_IN_MANIFEST' | 'SHA1_NOT_MATCHING_MANIFEST' (with what is expected) | 'NOT_PREPARED' |
-- 'NOT_REQUIRED' | 'UPLOADED' | 'PUSH_ENDED'.
-- Lock: the push's row, then the file's. Whatever counts bytes or changes a file's state holds them in this order.
create function check_file(
    p_customer_id bigint, p_push_id text, p_path text, p_sha1 text,
    out outcome text, out a_push push, out a_file push_file, out expected text
)
language plpgsql as $$
begin
    select * into a_push from push p where p.customer_id = p_customer_id and p.push_id = p_push_id for update;
    if not found then
        outcome := 'NO_PUSH';
        return;
    end if;
    select m.sha1 into expected from push_path m where m.push = a_push.id and m.path = p_path;
    if expected is null then
        outcome := 'PATH_NOT_IN_MANIFEST';
        return;
    elsif expected <> p_sha1 then
        outcome := 'SHA1_NOT_MATCHING_MANIFEST';
        return;
    end if;
    select * into a_file from push_file f where f.push = a_push.id and f.sha1 = p_sha1 for update;
    outcome := case
        when not a_push.is_prepared and a_push.ended_at is null then 'NOT_PREPARED'
        when not a_file.is_required then 'NOT_REQUIRED'
        when a_file.status = 'done' then 'UPLOADED'
        when a_push.ended_at is not null then 'PUSH_ENDED'
        else 'OK'
    end;
end
$$;

-- claim_file: let one request send a file, for some time, and reserve its bytes.
--
-- As check_file, and 'BUSY' while another request or the job of its parts has it. Its parts are forgotten.
create function claim_file(
    p_customer_id bigint, p_push_id text, p_path text, p_sha1 text, p_bytes bigint, p_claim text, p_lease_s double precision
)
returns table (outcome text, expected text, push bigint, deploy_id text, site_id text, token_source text,
               reserved_bytes bigint, held_bytes bigint, had_parts boolean, most_bytes bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    c   record;
    p   push;
    f   push_file;
begin
    select * into c from check_file(p_customer_id, p_push_id, p_path, p_sha1);
    p := c.a_push;
    f := c.a_file;
    if c.outcome = 'OK' and (f.claimed_until > now() and f.claim <> p_claim
                             or f.status in ('queued', 'assembling', 'retry_wait', 'error_transient', 'blocked_cap')) then
        c.outcome := 'BUSY';
    end if;
    if c.outcome = 'OK' then
        delete from push_part t where t.push = p.id and t.sha1 = p_sha1;
        update push_file x
           set claim = p_claim, claimed_until = now() + make_interval(secs => p_lease_s), status = 'uploading', mode = 'direct',
               deploy_path = p_path, reserved = p_bytes, parts = null, error = null,
               created_at = coalesce(x.created_at, now()), updated_at = now()
         where x.push = p.id and x.sha1 = p_sha1;
        update push x set reserved_bytes = x.reserved_bytes + p_bytes - f.reserved, updated_at = now() where x.id = p.id
        returning x.reserved_bytes into p.reserved_bytes;
    end if;
    return query
    select c.outcome::text, c.expected::text, p.id, p.deploy_id, p.site_id, p.token_source, p.reserved_bytes, p.held_bytes,
           f.parts is not null, (select j.most_bytes from project j where j.id = p.project);
end
$$;

-- unclaim_file: a request that had claimed a file could not send it. Its bytes are not reserved any more.
-- Lock: the push's row, then the file's.
create function unclaim_file(p_push bigint, p_sha1 text, p_claim text, p_error text)
returns void
language plpgsql as $$
declare
    v_reserved bigint;
begin
    perform from push p where p.id = p_push for update;
    select f.reserved into v_reserved from push_file f
     where f.push = p_push and f.sha1 = p_sha1 and f.claim = p_claim and f.status = 'uploading' for update;
    if found then
        update push_file f
           set claim = null, claimed_until = null, status = 'waiting', reserved = 0, error = p_error, updated_at = now()
         where f.push = p_push and f.sha1 = p_sha1;
        update push p set reserved_bytes = p.reserved_bytes - v_reserved where p.id = p_push;
    end if;
end
$$;

-- finish_file: Netlify has a file. Counted once; whether this was the time.
-- Lock: the push's row, then the file's.
create function finish_file(p_push bigint, p_sha1 text, p_bytes bigint)
returns boolean
language plpgsql as $$
declare
    v_reserved bigint;
begin
    perform from push p where p.id = p_push for update;
    select f.reserved into v_reserved from push_file f
     where f.push = p_push and f.sha1 = p_sha1 and f.status <> 'done' for update;
    if not found then
        return false;
    end if;
    update push_file f
       set status = 'done', bytes = p_bytes, reserved = p_bytes, error = null, next_attempt_at = null, claim = null,
           claimed_until = null, created_at = coalesce(f.created_at, now()), updated_at = now()
     where f.push = p_push and f.sha1 = p_sha1;
    delete from push_part t where t.push = p_push and t.sha1 = p_sha1;
    update push p
       set uploaded_count = p.uploaded_count + 1, reserved_bytes = p.reserved_bytes + p_bytes - v_reserved, updated_at = now()
     where p.id = p_push;
    return true;
end
$$;

-- announce_part: a part of a file is about to arrive; reserve its bytes, of one that is sent again only the growth.
--
-- As check_file, and 'BUSY' while the file is sent, 'PARTS_CHANGED' (with the number of parts that the first one named).
create function announce_part(
    p_customer_id bigint, p_push_id text, p_path text, p_sha1 text, p_part integer, p_parts integer, p_bytes bigint
)
returns table (outcome text, expected text, push bigint, parts integer, reserved_bytes bigint, held_bytes bigint,
               file_bytes bigint, most_bytes bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    c   record;
    p   push;
    f   push_file;
    v_growth bigint := 0;
begin
    select * into c from check_file(p_customer_id, p_push_id, p_path, p_sha1);
    p := c.a_push;
    f := c.a_file;
    if c.outcome = 'OK' then
        if f.claimed_until > now() or f.status in ('queued', 'assembling', 'retry_wait', 'error_transient', 'blocked_cap') then
            c.outcome := 'BUSY';
        elsif f.status = 'uploading' and f.parts <> p_parts then
            c.outcome := 'PARTS_CHANGED';
        end if;
    end if;
    if c.outcome = 'OK' then
        if f.parts is distinct from p_parts then        -- the first part, or a new beginning
            delete from push_part t where t.push = p.id and t.sha1 = p_sha1;
            v_growth := -f.reserved;
        end if;
        v_growth := v_growth + greatest(0, p_bytes - coalesce(
            (select t.reserved from push_part t where t.push = p.id and t.sha1 = p_sha1 and t.part = p_part), 0));
        update push_file x
           set status = 'uploading', mode = 'chunked', deploy_path = p_path, parts = p_parts, reserved = x.reserved + v_growth,
               claim = null, claimed_until = null, error = null, created_at = coalesce(x.created_at, now()), updated_at = now()
         where x.push = p.id and x.sha1 = p_sha1
        returning x.reserved into f.reserved;
        insert into push_part as t (push, sha1, part, reserved) values (p.id, p_sha1, p_part, p_bytes)
        on conflict (push, sha1, part) do update set reserved = greatest(t.reserved, excluded.reserved);
        update push x set reserved_bytes = x.reserved_bytes + v_growth, updated_at = now() where x.id = p.id
        returning x.reserved_bytes into p.reserved_bytes;
    end if;
    return query
    select c.outcome::text, c.expected::text, p.id, f.parts, p.reserved_bytes, p.held_bytes, f.reserved,
           (select j.most_bytes from project j where j.id = p.project);
end
$$;

-- store_part: a part has arrived. False where its file has begun anew, or was sent, meanwhile.
-- Lock: the file's row.
create function store_part(p_push bigint, p_sha1 text, p_part integer, p_parts integer, p_bytes bigint, p_digest text)
returns boolean
language plpgsql as $$
begin
    update push_file f set updated_at = now()
     where f.push = p_push and f.sha1 = p_sha1 and f.status = 'uploading' and f.parts = p_parts;
    if not found then
        return false;
    end if;
    update push_part t set bytes = p_bytes, digest = p_digest, received_at = now()
     where t.push = p_push and t.sha1 = p_sha1 and t.part = p_part;
    return found;
end
$$;

-- queue_file: all parts of a file are there; its job may send it.
--
-- As check_file, and 'BUSY' (a request sends it), 'QUEUED' (it was queued before, with its job), 'JOB_NOT_FOUND',
-- 'PARTS_CHANGED', 'PARTS_INCOMPLETE'.
create function queue_file(p_customer_id bigint, p_push_id text, p_path text, p_sha1 text, p_parts integer)
returns table (outcome text, expected text, push bigint, parts integer, received integer)
language plpgsql as $$
#variable_conflict use_column
declare
    c   record;
    p   push;
    f   push_file;
    v_received integer;
begin
    select * into c from check_file(p_customer_id, p_push_id, p_path, p_sha1);
    p := c.a_push;
    f := c.a_file;
    select count(t.received_at) into v_received from push_part t where t.push = p.id and t.sha1 = p_sha1;
    if c.outcome = 'OK' then
        c.outcome := case
            when f.status in ('queued', 'assembling', 'retry_wait', 'error_transient', 'blocked_cap') then 'QUEUED'
            when f.claimed_until > now() then 'BUSY'
            when f.parts is null or f.status = 'expired' then 'JOB_NOT_FOUND'
            when v_received < least(p_parts, f.parts) then 'PARTS_INCOMPLETE'
            when f.parts <> p_parts then 'PARTS_CHANGED'
            else 'OK'
        end;
    end if;
    if c.outcome = 'OK' then
        update push_file x
           set status = 'queued', error = null, next_attempt_at = null, attempts = 0, deploy_path = p_path, updated_at = now()
         where x.push = p.id and x.sha1 = p_sha1;
    end if;
    return query select c.outcome::text, c.expected::text, p.id, f.parts, v_received;
end
$$;

-- start_file: the job of a file begins to send it.
--
-- 'OK' | 'GONE' (the push was deleted) | 'UPLOADED' | 'PUSH_ENDED' | 'NOT_QUEUED' (its parts have expired or begun anew).
-- Lock: the push's row, then the file's.
create function start_file(p_customer_id bigint, p_push_id text, p_sha1 text)
returns table (outcome text, push bigint, deploy_id text, site_id text, token_source text, deploy_path text, parts integer,
               bytes bigint, attempts integer, was_started boolean)
language plpgsql as $$
#variable_conflict use_column
declare
    p   push;
    f   push_file;
    v_outcome text;
begin
    select * into p from push x where x.customer_id = p_customer_id and x.push_id = p_push_id for update;
    select * into f from push_file x where x.push = p.id and x.sha1 = p_sha1 for update;
    v_outcome := case
        when f.sha1 is null then 'GONE'
        when f.status = 'done' then 'UPLOADED'
        when f.parts is null or f.status in ('waiting', 'uploading', 'error', 'expired') then 'NOT_QUEUED'
        when p.ended_at is not null then 'PUSH_ENDED'
        else 'OK'
    end;
    if v_outcome = 'OK' then
        update push_file x set status = 'assembling', updated_at = now() where x.push = p.id and x.sha1 = p_sha1;
    end if;
    return query
    select v_outcome, p.id, p.deploy_id, p.site_id, p.token_source, f.deploy_path, f.parts,
           (select sum(t.bytes)::bigint from push_part t where t.push = p.id and t.sha1 = p_sha1), f.attempts,
           f.status <> 'queued' or f.attempts > 0;
end
$$;

-- note_required: Netlify has said which files of a push it requires. Files that it does not require any more are done.
--
-- Returns the number of files that it does not require any more since last time, and the digests whose parts may go.
-- Lock: the push's row, then its files'.
create function note_required(p_push bigint, p_required text[])
returns table (is_first boolean, sha1 text)
language plpgsql as $$
#variable_conflict use_column
declare
    p   push;
    f   record;
begin
    select * into p from push x where x.id = p_push and x.ended_at is null for update;
    if not found then
        return;
    end if;
    if not p.is_prepared then
        update push_file x set is_required = true where x.push = p.id and x.sha1 = any (p_required);
        update push x
           set is_prepared = true, updated_at = now(),
               required_count = (select count(*) from push_file y where y.push = p.id and y.is_required)
         where x.id = p.id;
        return query select true, null::text;
        return;
    end if;
    for f in
        select x.sha1, x.reserved from push_file x
         where x.push = p.id and x.is_required and x.status <> 'done' and x.sha1 <> all (p_required)
           and (x.claimed_until is null or x.claimed_until <= now())
    loop
        perform finish_file(p.id, f.sha1, f.reserved);
        return query select false, f.sha1;
    end loop;
end
$$;

-- expire_files: forget the parts of files that nobody has touched since p_before, of one push or (null) of all.
--
-- Lock: each push's row, then its files'.
create function expire_files(p_push bigint, p_before timestamptz)
returns table (push bigint, push_id text, sha1 text, parts integer, reserved_bytes bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v       record;
    v_parts integer;
begin
    for v in
        select f.push, f.sha1, f.reserved from push_file f
         where f.parts is not null and f.status not in ('done', 'expired') and f.updated_at < p_before
           and (p_push is null or f.push = p_push)
         order by f.push, f.sha1
         limit 1000
    loop
        perform from push p where p.id = v.push for update;
        update push_file f
           set status = 'expired', parts = null, reserved = 0, next_attempt_at = null, claim = null, claimed_until = null,
               updated_at = now()
         where f.push = v.push and f.sha1 = v.sha1 and f.parts is not null and f.status not in ('done', 'expired')
           and f.updated_at < p_before;
        continue when not found;
        delete from push_part t where t.push = v.push and t.sha1 = v.sha1;
        get diagnostics v_parts = row_count;
        return query
        update push p set reserved_bytes = p.reserved_bytes - v.reserved where p.id = v.push
        returning p.id, p.push_id, v.sha1, v_parts, p.reserved_bytes;
    end loop;
end
$$;
