#!/bin/sh
# Puts the database as it was at a time into the volume of a server that is stopped, in place of what is there, which is kept under another name:
#
#   restore.sh TIME     as "2026-11-28 12:00:00+00", or `latest` for all that was received; the volume is at /restore
set -eu
umask 077
if [ "$1" = latest ]; then
  wanted=$(date +%s)
  set --
else
  wanted=$(date -d "$1" +%s)
  set -- --target-action promote --target-time "$1"
fi
{
  cat /etc/polls-backup/barman.conf
  # Barman wants them, and does not use them here.
  echo "conninfo = host=none user=none dbname=none"
  echo "streaming_conninfo = host=none user=none"
} >/tmp/barman.conf
barman() { command barman --config /tmp/barman.conf "$@"; }

# The newest base backup that was complete by then.
backup=
for id in $(barman list-backups --minimal polls | sort -r); do
  ended=$(barman show-backup polls "$id" | sed -n 's/^ *End time *: //p')
  if [ -n "$ended" ] && [ "$(date -d "$ended" +%s)" -le "$wanted" ]; then
    backup=$id
    break
  fi
done
if [ -z "$backup" ]; then
  echo "No backup had been completed by then:" >&2
  barman list-backups polls >&2
  exit 1
fi
rm -rf /restore/pgdata.new
barman recover "$@" polls "$backup" /restore/pgdata.new
# What was received and is not in the archive yet, the last segment in part.
log=/restore/pgdata.new/barman_wal
[ -d "$log" ] || log=/restore/pgdata.new/pg_wal
for received in /var/lib/barman/polls/streaming/[0-9A-F]*; do
  [ -e "$received" ] || continue
  segment=$log/$(basename "$received" .partial)
  [ -e "$segment" ] || cp "$received" "$segment"
done
# It continues after a moment at which the restored server has begun another timeline. The next base backup is one of that.
mv /var/lib/barman/polls/streaming "/var/lib/barman/polls/streaming.before-$(date +%Y%m%dT%H%M%S)"
mkdir /var/lib/barman/polls/streaming
rm -f /var/lib/barman/last-base-backup
if [ -e /restore/pgdata ]; then
  kept=/restore/pgdata.before-$(date +%Y%m%dT%H%M%S)
  mv /restore/pgdata "$kept"
  echo "What was there is in $(basename "$kept") of the volume."
fi
mv /restore/pgdata.new /restore/pgdata
rm -rf /restore/pgdata.rejoin /restore/pgdata.old
echo "Restored from the backup $backup. PostgreSQL applies the log when it starts."
