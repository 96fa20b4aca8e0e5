-- The roles and the database, at the first start. The application's role owns its database and nothing else; the
-- superuser has no password and cannot come over the network (pg_hba.conf).
\set password `cat /run/secrets/polls/DATABASE_PASSWORD`
CREATE ROLE polls LOGIN PASSWORD :'password';
CREATE DATABASE polls OWNER polls;
REVOKE CONNECT ON DATABASE polls FROM PUBLIC;
-- For standbys, and for subscribers of the publication: they copy what is there before they follow.
\set password `cat /run/secrets/polls/REPLICATION_PASSWORD`
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'password';
GRANT CONNECT ON DATABASE polls TO replicator;
GRANT pg_read_all_data TO replicator;
\connect polls
CREATE PUBLICATION polls FOR ALL TABLES;
-- For Barman (components/backup).
GRANT pg_read_all_settings, pg_read_all_stats, pg_checkpoint TO replicator;
GRANT EXECUTE ON FUNCTION pg_switch_wal(), pg_create_restore_point(text), pg_backup_start(text, boolean), pg_backup_stop(boolean) TO replicator;
-- For pg_rewind.
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
  pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;
