#!/bin/sh
# Make the folder `deployment` for compose.yaml: kaixu.yaml and new secrets. What is there already is kept, so it can be
# run again. Keep a copy of deployment/gateway/secrets somewhere else: without it no backup is worth anything.
set -eu
umask 022
here=$(cd "$(dirname "$0")/../.." && pwd)
target=${1:-deployment}

# Only its owner may enter the folder; within it, files can be read by the users that containers run as.
mkdir -p "$target"
chmod 700 "$target"
mkdir -p "$target/gateway/secrets" "$target/postgres" "$target/pgbouncer"

secret() {
    [ -s "$1" ] || { od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$1.new" && mv "$1.new" "$1"; }
}
for name in admin_password jwt_secret key_pepper db_encryption_key; do
    secret "$target/gateway/secrets/$name"
done
for name in postgres_password kaixu_password pgbouncer_password; do
    secret "$target/postgres/$name"
done

[ -s "$target/gateway/secrets/database_url" ] || printf 'postgresql://kaixu:%s@pgbouncer:6432/kaixu' \
    "$(cat "$target/postgres/kaixu_password")" > "$target/gateway/secrets/database_url"
[ -s "$target/pgbouncer/users.txt" ] || printf '"pgbouncer" "%s"\n' \
    "$(cat "$target/postgres/pgbouncer_password")" > "$target/pgbouncer/users.txt"

[ -e "$target/gateway/kaixu.yaml" ] || cp "$here/kaixu.yaml" "$target/gateway/kaixu.yaml"
echo "$target is ready; the operator's password is in $target/gateway/secrets/admin_password"
