#!/bin/sh
# Runs PostgreSQL, as the primary or as a standby of the server PEER. Which of the two is told by their data:
#
# - With an empty volume it copies PEER; with INITIALIZE, and without a PEER that responds, it initializes a database.
# - A standby (standby.signal) follows PEER until it is promoted, which begins a new timeline.
# - A server that was the primary lets no application in until it knows that PEER is not newer: PEER is a standby of the same or an older
#   timeline, or streams from it. It asks until it knows. If PEER is newer, it becomes its standby: now, and whenever that shows later.
#
# /tmp/state, for probe.sh: preparing, closed (to applications) or open.
set -eu
umask 077
secrets=/run/secrets/polls
data=$PGDATA
self=$(hostname)
postgres=
trap 'stop 0' TERM INT
# A failure of this script must not end PostgreSQL by force.
trap 'stop $?' EXIT

say() { echo "start.sh: $*" >&2; }
state() { echo "$1" >/tmp/state; }
slot() { echo "${1%%.*}" | tr - _; }

stop() { # EXIT STATUS
  trap - TERM INT EXIT
  if [ -n "$postgres" ]; then
    # Fast shutdown: it closes connections, sends standbys all of the log, and writes a checkpoint.
    kill -INT "$postgres" 2>/dev/null || true
    wait "$postgres" || true
  fi
  exit "$1"
}

# The signal to stop is not delayed.
pause() { sleep "$1" & wait $!; }
# Nor by a server that does not answer.
psql() { timeout 10 psql --no-psqlrc -Atq "$@"; }

# Written again, for a changed password.
write_pgpass() {
  echo "*:*:*:replicator:$(cat $secrets/REPLICATION_PASSWORD)" >/tmp/pgpass.new
  mv /tmp/pgpass.new /tmp/pgpass
}

# The system identifier, the timeline, the position in the log of a server, and whether it is a standby (on or off); nothing without an answer.
identify() {
  psql -F ' ' -d "$1 replication=true" -c IDENTIFY_SYSTEM -c 'SHOW in_hot_standby' 2>/dev/null | tr '\n' ' '
}
peer="host=${PEER:-} user=replicator application_name=$(slot "$self") passfile=/tmp/pgpass connect_timeout=2"
ask_peer() { [ -n "${PEER:-}" ] && identify "$peer"; }
ask_self() { identify "host=/tmp user=postgres"; }
sql() { psql -h /tmp -U postgres -d "${2:-postgres}" -c "$1"; }

# What Barman has written for a recovery to a point in time would end the recovery of a standby, too.
forget_recovery() { sed -i '/^\(recovery_target\|recovery_end_command\|restore_command\)/d' "$1/postgresql.auto.conf"; }

# Until it is complete, the folder has another name, so that a pod that dies meanwhile leaves no incomplete one behind.
initialize() {
  say "initializing a database"
  rm -rf "$data.new"
  initdb -D "$data.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums --auth-local=peer --auth-host=scram-sha-256
  cp /etc/polls-postgres/pg_hba.conf /tmp/pg_hba.conf
  pg_ctl -D "$data.new" -w -o "-c config_file=/etc/polls-postgres/postgresql.conf -c listen_addresses= -c unix_socket_directories=$data.new" start
  psql -v ON_ERROR_STOP=1 -h "$data.new" -U postgres -f /etc/polls-postgres/roles.sql
  pg_ctl -D "$data.new" -w stop
  mv "$data.new" "$data"
}

# Copies PEER as its standby; what was here is kept until the copy is complete.
copy_peer() {
  say "copying $PEER"
  rm -rf "$data.new"
  # An interrupted attempt has left its slot behind.
  psql -d "$peer replication=true" -c "DROP_REPLICATION_SLOT $(slot "$self")" 2>/dev/null || true
  pg_basebackup -D "$data.new" -d "$peer" -X stream -c fast -C -S "$(slot "$self")" &
  wait $!
  forget_recovery "$data.new"
  touch "$data.new/standby.signal"
  if [ -e "$data" ]; then mv "$data" "$data.old"; fi
  mv "$data.new" "$data"
  rm -rf "$data.old" "$data.rejoin"
}

# Becomes a standby of PEER, with its own data as far as they are the same.
rejoin() { # ITS TIMELINE
  # pg_rewind compares the control files, which have the timeline of the last checkpoint.
  until [ "$(psql -d "$peer dbname=polls" -c 'SELECT timeline_id FROM pg_control_checkpoint()' 2>/dev/null)" = "$1" ]; do
    say "waiting for the first checkpoint of $PEER on timeline $1"
    pause 5
  done
  # From here on the data may be incomplete.
  touch "$data.rejoin"
  say "rejoining as a standby of $PEER"
  pg_rewind -D "$data" --source-server="$peer dbname=polls" &
  if wait $!; then
    forget_recovery "$data"
    touch "$data/standby.signal"
    rm "$data.rejoin"
  else
    say "pg_rewind cannot do it"
    copy_peer
  fi
}

prepare() {
  state preparing
  if [ -n "${PEER:-}" ]; then write_pgpass; fi
  # A copy was complete, and not in its place yet.
  if [ ! -e "$data" ] && [ -e "$data.old" ]; then mv "$data.old" "$data"; fi
  if [ -s "$data/PG_VERSION" ] && [ ! -e "$data.rejoin" ]; then return; fi
  attempts=0
  until [ -n "$(ask_peer)" ]; do
    attempts=$((attempts + 1))
    if [ -n "${INITIALIZE:-}" ] && [ ! -e "$data" ] && { [ -z "${PEER:-}" ] || [ "$attempts" -ge 10 ]; }; then
      initialize
      touch /tmp/initialized
      return
    fi
    [ $((attempts % 10)) != 1 ] || say "waiting for $PEER, to copy it"
    pause 1
  done
  copy_peer
}

# Applications may connect.
open() {
  cp /etc/polls-postgres/pg_hba.conf /tmp/pg_hba.conf
  [ -z "$postgres" ] || kill -HUP "$postgres"
  state open
}

# Only this pod and PEER may connect.
close() {
  grep -E '^local|replicator' /etc/polls-postgres/pg_hba.conf >/tmp/pg_hba.conf
  state closed
  if [ -n "$postgres" ]; then
    kill -HUP "$postgres"
    pause 1
    sql "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'polls'" >/dev/null || true
  fi
}

start() {
  if [ -z "${PEER:-}" ] || [ -e "$data/standby.signal" ] || [ -e /tmp/initialized ]; then open; else close; fi
  rm -f /tmp/initialized
  [ -e "$data/recovery.signal" ] || forget_recovery "$data"
  set -- -D "$data" -c config_file=/etc/polls-postgres/postgresql.conf -c "cluster_name=$self"
  if [ -n "${PEER:-}" ]; then set -- "$@" -c "primary_conninfo=$peer" -c "primary_slot_name=$(slot "$self")"; fi
  postgres "$@" &
  postgres=$!
}

# As a primary: gives a role the password of the Secret after a time, in which pods receive it, too.
polls= polls_since=0 replicator= replicator_since=0
change_password() { # ROLE KEY SECONDS
  wanted=$(cat "$secrets/$2")
  eval "known=\$$1 since=\$${1}_since"
  [ "$wanted" != "$known" ] || return 0
  now=$(date +%s)
  if [ "$since" = 0 ]; then
    if PGPASSWORD=$wanted psql -d "host=127.0.0.1 user=$1 dbname=polls" -c '' 2>/dev/null; then
      eval "$1=\$wanted"
      return
    fi
    say "the password of $1 has changed: PostgreSQL changes it in $3 s"
    eval "${1}_since=$now"
  elif [ $((now - since)) -ge "$3" ]; then
    # A synchronous standby may be away.
    if printf '\\set password `cat %s`\nSET synchronous_commit = local; ALTER ROLE %s PASSWORD :'"'password'"';\n' "$secrets/$2" "$1" |
      psql -v ON_ERROR_STOP=1 -h /tmp -U postgres -d postgres; then
      eval "$1=\$wanted ${1}_since=0"
      say "the password of $1 is changed"
    fi
  fi
}

complaint=
complain() {
  [ "$complaint" = "$1" ] || say "$1"
  complaint=$1
}

# As a primary: compares this server (its system identifier and timeline) with PEER.
compare() {
  system=$1 timeline=$2
  set -- $(ask_peer)
  if [ $# -lt 4 ]; then
    if [ "$(cat /tmp/state)" = closed ]; then
      streams="SELECT 1 FROM pg_stat_replication WHERE application_name = '$(slot "$PEER")' AND state IN ('streaming', 'catchup', 'backup') LIMIT 1"
      if [ -n "$(sql "$streams")" ]; then open; else
        complain "$PEER does not answer, and could be a newer primary: applications wait until it does. If it is gone for good: kubectl set env statefulset/${self%-*} PEER= and kubectl delete pod $self"
      fi
    fi
  elif [ "$1" != "$system" ]; then
    # A server that is in use stays so: the other one may have lost its volume.
    complain "$PEER is of another database cluster ($1, this one is $system): one of the two volumes must be deleted"
  elif [ "$2" -gt "$timeline" ] && [ "$4" = off ]; then
    say "$PEER is a newer primary: its timeline is $2, this server's $timeline, which ends at $(sql 'SELECT pg_current_wal_lsn()')"
    kill -INT "$postgres"
    wait "$postgres" || true
    postgres=
    state preparing
    rejoin "$2"
    start
  elif [ "$2" -gt "$timeline" ] || { [ "$2" = "$timeline" ] && [ "$4" = off ]; }; then
    complain "$PEER is on timeline $2 (standby: $4) and this primary on $timeline: one of the two volumes must be deleted"
    [ "$(cat /tmp/state)" = closed ] || close
  else
    complaint=
    [ "$(cat /tmp/state)" = open ] || open
  fi
}

prepare
start
was_standby=
while kill -0 "$postgres" 2>/dev/null; do
  pause 2
  if [ -n "${PEER:-}" ]; then write_pgpass; fi
  set -- $(ask_self)
  [ $# -ge 4 ] || continue
  if [ "$4" = on ]; then
    was_standby=yes
    # A former primary kept its log for others.
    sql "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active" >/dev/null || true
    continue
  fi
  # A recovery to a point in time has ended.
  if grep -q '^recovery_target' "$data/postgresql.auto.conf"; then forget_recovery "$data"; fi
  # For pg_rewind of a server that rejoins.
  if [ -n "$was_standby" ]; then
    timeout 600 psql -h /tmp -U postgres -qc CHECKPOINT &
    wait $! || true
    was_standby=
  fi
  # The other server has only one, and may wait for it.
  change_password replicator REPLICATION_PASSWORD 0
  if [ "$(cat /tmp/state)" = open ]; then change_password polls DATABASE_PASSWORD "${PASSWORD_DELAY:-120}"; fi
  if [ -n "${PEER:-}" ]; then
    sql "SELECT pg_create_physical_replication_slot('$(slot "$PEER")', true) WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$(slot "$PEER")')" >/dev/null || true
    compare "$1" "$2"
  fi
done
wait "$postgres"
