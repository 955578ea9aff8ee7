-- How often the job of a push was enqueued again because its workers were lost: it may have landed all the same.
alter table push add column losses integer not null default 0;
