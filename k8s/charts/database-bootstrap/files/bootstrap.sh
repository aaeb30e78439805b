#!/bin/bash
# Makes each database with a user that owns it, or brings it to that state. Every statement may run again.
#
# Environment: PGHOST, PGUSER, PGPASSWORD and PGDATABASE of the master user; DATABASES, one "database user" a line; PASSWORDS, a
# folder with one file per user.
set -euo pipefail

run() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$@"; }

while read -r database user; do
  [ -n "$database" ] || continue
  run --set database="$database" --set user="$user" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN NOCREATEDB NOCREATEROLE', :'user')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
-- Whoever gives a database away must be a member of the new owner.
GRANT :"user" TO CURRENT_USER;
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'user')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SELECT format('ALTER DATABASE %I OWNER TO %I', :'database', :'user')
WHERE EXISTS (SELECT FROM pg_database WHERE datname = :'database' AND pg_get_userbyid(datdba) <> :'user') \gexec
-- Otherwise every user may connect to every database. As the owner: only its own grants can be taken back.
SET ROLE :"user";
REVOKE CONNECT, TEMPORARY ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"user";
SQL
  # The server logs DDL: ALTER ROLE … PASSWORD would write the password into its log. \password sends a SCRAM verifier instead; it
  # asks twice, and reads its standard input where there is no terminal.
  password=$(cat "$PASSWORDS/$user")
  printf '%s\n%s\n' "$password" "$password" | run --command "\\password $user"
  echo "$database belongs to $user"
done <<<"$DATABASES"
