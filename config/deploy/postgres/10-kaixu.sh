#!/bin/sh
# The gateway's user and database, and the user with which PgBouncer looks up passwords. The image of Postgres runs it
# once, when the data folder is new; it can be run on a server of your own, too, as a superuser.
set -eu
folder=${SECRETS:-/etc/kaixu-postgres}
psql -v ON_ERROR_STOP=1 -q -d "${POSTGRES_DB:-postgres}" -U "${POSTGRES_USER:-postgres}" <<SQL
set password_encryption = 'scram-sha-256';
\set kaixu \`cat "$folder/kaixu_password"\`
\set pgbouncer \`cat "$folder/pgbouncer_password"\`
-- createrole: each integration with tables has a role of its own, which the gateway makes.
create role kaixu login createrole password :'kaixu';
create role pgbouncer login password :'pgbouncer';
create database kaixu owner kaixu;
\connect kaixu
revoke temporary on database kaixu from public;
create extension vector;
create schema pgbouncer authorization pgbouncer;
-- Roles of the gateway only: PgBouncer never logs anybody in as a superuser.
create function pgbouncer.password_of(inout p_user text, out p_password text)
language sql security definer set search_path = pg_catalog as \$\$
    select usename::text, passwd from pg_catalog.pg_shadow
     where usename = p_user and not usesuper and (usename = 'kaixu' or usename like 'kaixu\_%\_plugin');
\$\$;
revoke all on function pgbouncer.password_of(text) from public;
grant execute on function pgbouncer.password_of(text) to pgbouncer;
SQL
