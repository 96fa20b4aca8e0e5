#!/bin/sh
# The probes of PostgreSQL's pod: `live`, or `ready` for connections. Over the socket, as a role that pg_hba.conf knows: others would fill the log.
state=$(cat /tmp/state 2>/dev/null)
case "$1 $state" in
  "live preparing") exit 0 ;;
  "ready open" | live\ *) ;;
  *) exit 1 ;;
esac
pg_isready -q -h /tmp -U postgres -d postgres -t 2
answer=$?
# 1: it starts, or recovers from a crash.
[ "$answer" = 0 ] || { [ "$answer" = 1 ] && [ "$1" = live ]; }
