#!/bin/sh
# Runs once, on the first start of a database server with an empty volume: makes the role that Chimera signs in with, and
# its database. The role is no superuser, for a superuser passes every row-level policy and every grant.
set -eu

# The database compares text by its bytes (see migration/src/lib.rs), whatever the image's own default.
psql -v ON_ERROR_STOP=1 -v password="$CHIMERA_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE chimera LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE chimera OWNER chimera TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
REVOKE ALL ON DATABASE chimera FROM PUBLIC;
SQL

for extension in ${CHIMERA_EXTENSIONS:-}; do
    psql -v ON_ERROR_STOP=1 -v extension="$extension" --username "$POSTGRES_USER" --dbname chimera <<'SQL'
CREATE EXTENSION IF NOT EXISTS :"extension";
SQL
done
