#!/bin/sh
# Starts PostgreSQL. On an empty volume it first initializes a database, or with PRIMARY_HOST copies the one there. Until
# it is complete the folder has another name, so that a pod that dies meanwhile leaves no incomplete one behind.
set -eu
# PID 1 gets no signal without a handler.
trap 'exit 143' TERM INT
# Written at each start, for a changed password.
umask 077
if [ -n "${PRIMARY_HOST:-}" ]; then
  echo "*:*:*:replicator:$(cat /run/secrets/polls/REPLICATION_PASSWORD)" >/tmp/pgpass
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ -n "${MUST_EXIST:-}" ]; then
    echo "There is no database in $PGDATA: an empty one must not take its place." >&2
    exit 1
  fi
  rm -rf "$PGDATA.new"
  if [ -z "${PRIMARY_HOST:-}" ]; then
    initdb -D "$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
      --auth-local=peer --auth-host=scram-sha-256
    pg_ctl -D "$PGDATA.new" -w -o "-c config_file=/etc/polls-postgres/postgresql.conf -c listen_addresses=" start
    psql --no-psqlrc -v ON_ERROR_STOP=1 -U postgres -f /etc/polls-postgres/roles.sql
    pg_ctl -D "$PGDATA.new" -w stop
  else
    slot=$(hostname | tr - _)
    primary="host=$PRIMARY_HOST user=replicator application_name=$slot passfile=/tmp/pgpass"
    until pg_isready -q -h "$PRIMARY_HOST"; do
      echo "waiting for $PRIMARY_HOST"
      sleep 1
    done
    # An interrupted attempt has left its slot behind.
    psql --no-psqlrc -q "$primary replication=true" -c "DROP_REPLICATION_SLOT $slot" 2>/dev/null || true
    pg_basebackup -D "$PGDATA.new" -d "$primary" -X stream -R -C -S "$slot"
  fi
  mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/polls-postgres/postgresql.conf
