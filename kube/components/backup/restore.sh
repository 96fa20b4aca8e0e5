#!/bin/sh
# Puts the database as it was at a time into the volume of a server that is stopped, in place of what is there, which is kept under another name:
#
#   restore.sh TIME     as "2026-11-28 12:00:00+00"; the volume is at /restore
set -eu
umask 077
wanted=$(date -d "$1" +%s)
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
  echo "No backup had been completed by $1:" >&2
  barman list-backups polls >&2
  exit 1
fi
rm -rf /restore/pgdata.new
barman recover --target-time "$1" --target-action promote polls "$backup" /restore/pgdata.new
# What was received of the last segment.
for partial in /var/lib/barman/polls/streaming/*.partial; do
  [ -e "$partial" ] || continue
  segment=/restore/pgdata.new/barman_wal/$(basename "$partial" .partial)
  [ -e "$segment" ] || cp "$partial" "$segment"
done
if [ -e /restore/pgdata ]; then
  kept=/restore/pgdata.before-$(date +%Y%m%dT%H%M%S)
  mv /restore/pgdata "$kept"
  echo "What was there is in $(basename "$kept") of the volume."
fi
mv /restore/pgdata.new /restore/pgdata
echo "Restored from the backup $backup. PostgreSQL applies the log until $1 when it starts."
