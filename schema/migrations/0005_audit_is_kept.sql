-- The audit log is append-only: emptying it at once is refused, as rules let no line be changed.

create function kaixu.refuse_to_empty() returns trigger
language plpgsql as $$
begin
    raise exception 'the audit log is never emptied';
end
$$;

create trigger audit_event_is_never_emptied before truncate on kaixu.audit_event
    for each statement execute function kaixu.refuse_to_empty();
