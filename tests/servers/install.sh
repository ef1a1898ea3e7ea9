#!/usr/bin/env bash
# Installs the servers that the tests run against: PostgreSQL 15, TimescaleDB into it, and Redis 7. On Debian, as root;
# elsewhere it says what is missing. What is there already is left alone. Valgrind, which counts instructions, comes along.
#
# TimescaleDB is in no registry of Debian's. Its build is taken from the folder that CHIMERA_TIMESCALEDB names, or from
# servers/timescaledb in the folder `shared` beside this checkout; it holds install.sh and a packed build.
set -euo pipefail
cd "$(dirname "$0")/../.."
# TimescaleDB 2.28.3 records every job as failed from PostgreSQL 15.20 on, though it does its work.
postgres=15.18-0+deb12u1
missing=()

installed() { dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null; }

packages() {
    local wanted=()
    [ "$(installed postgresql-15)" = "installed $postgres" ] || wanted+=("postgresql-15=$postgres" "postgresql-client-15=$postgres")
    [ -x /usr/bin/redis-server ] || wanted+=(redis-server)
    [ -x /usr/bin/redis-cli ] || wanted+=(redis-tools)
    [ -x /usr/bin/zstd ] || wanted+=(zstd)
    [ -x /usr/bin/setpriv ] || wanted+=(util-linux)
    [ -x /usr/bin/valgrind ] || wanted+=(valgrind)
    [ ${#wanted[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        missing+=("${wanted[@]}")
        return 0
    fi
    export DEBIAN_FRONTEND=noninteractive
    # The packages would start servers of their own on the usual ports; the tests start theirs.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends --allow-downgrades "${wanted[@]}" >/dev/null
}

timescaledb() {
    [ -e /usr/share/postgresql/15/extension/timescaledb.control ] && return
    local from=${CHIMERA_TIMESCALEDB:-../shared/servers/timescaledb}
    local build
    build=$(ls "$from"/timescaledb-*-pg15.tar.zst 2>/dev/null | head -n 1 || true)
    if [ -z "$build" ] || [ "$(id -u)" != 0 ]; then
        missing+=("timescaledb for PostgreSQL 15 (set CHIMERA_TIMESCALEDB to the folder of its build)")
        return 0
    fi
    "$from/install.sh" "$build"
}

packages
timescaledb
for name in "${missing[@]}"; do echo "missing: $name" >&2; done
[ ${#missing[@]} -eq 0 ]
