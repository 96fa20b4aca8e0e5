#!/bin/sh
# Runs Barman's work: each minute `barman cron`, which receives and archives the log and deletes what the retention policy does not need, and a base
# backup a day.
set -eu
umask 077
trap 'exit 0' TERM INT

# The primary of the servers.
connection="host=$SERVERS user=replicator dbname=polls target_session_attrs=read-write connect_timeout=5"
{
  cat /etc/polls-backup/barman.conf
  echo "path_prefix = $(dirname "$(command -v pg_receivewal)")"
  echo "conninfo = $connection"
  echo "streaming_conninfo = $connection"
} >/tmp/barman.conf
done=/var/lib/barman/last-base-backup
while :; do
  # Written again, for a changed password.
  echo "*:*:*:replicator:$(cat /run/secrets/polls/REPLICATION_PASSWORD)" >/tmp/pgpass
  barman --quiet --config /tmp/barman.conf cron || true
  if [ -z "$(find /var/lib/barman/polls/wals -name '0*' -type f 2>/dev/null | head -n 1)" ]; then
    # Before a base backup Barman wants a segment of the log in its archive.
    psql --no-psqlrc -q -d "$connection" -c 'SELECT pg_switch_wal()' >/dev/null || true
  elif [ -z "$(find "$done" -mmin -1430 2>/dev/null)" ]; then
    if barman --quiet --config /tmp/barman.conf backup --wait --wait-timeout 600 polls; then touch "$done"; fi
  fi
  sleep "${INTERVAL:-60}" &
  wait $!
done
