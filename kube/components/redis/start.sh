#!/bin/sh
# Starts Redis with the password from a file, so that no list of processes shows it.
set -eu
exec redis-server - <<END
$(cat /etc/polls-redis/redis.conf)
requirepass $(cat /run/secrets/polls/CACHE_PASSWORD)
END
