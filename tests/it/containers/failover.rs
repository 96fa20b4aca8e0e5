//! Changes of the primary, and of its password, as `kube/components/postgres/start.sh` handles them.

use std::{fs, time::Instant};

use super::{
    deployment::{
        Backend, Deployment, TIMEOUT, assert_all_counted, goes_on, votes_at, wait_for_postgres,
    },
    engine::Container,
};
use crate::support::{http::wait_until, voters::Voters};

fn promote(standby: &Container) {
    standby.exec(&["sh", "-c", "pg_ctl promote -w -D \"$PGDATA\""]);
}

fn is_standby(server: &Container) -> bool {
    server.try_sql("SELECT pg_is_in_recovery()").as_deref() == Some("t")
}

#[test]
fn a_former_primary_rejoins_as_a_standby_and_takes_no_vote() {
    let site = Deployment::start();
    let (old, new) = (&site.backend.primary, &site.standby);
    // Without this, a standby has what it has received: the last moments may be missing.
    old.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    old.sql("SELECT pg_reload_conf()");
    wait_until(TIMEOUT, || {
        old.sql("SELECT sync_state FROM pg_stat_replication") == "sync"
    });
    let voters = Voters::start(&site.address(), 8);
    goes_on(&voters);

    let start = Instant::now();
    old.act("kill");
    promote(new);
    let so_far = voters.acknowledged();
    voters.wait_for(so_far + 1, TIMEOUT);
    println!(
        "votes were taken again {:?} after the primary was killed",
        start.elapsed()
    );
    goes_on(&voters);

    // It returns with its data, which end before the new timeline, and without anything that says that it was replaced.
    old.act("start");
    wait_until(TIMEOUT, || is_standby(old));
    let log = old.log();
    assert!(
        log.contains("is a newer primary: its timeline is 2"),
        "{log}"
    );
    wait_for_postgres(old);
    let streaming =
        "SELECT string_agg(application_name || ' ' || state, ',') FROM pg_stat_replication";
    wait_until(TIMEOUT, || {
        new.sql(streaming) == "polls_backend_0 streaming"
    });
    for web in &site.web {
        wait_until(TIMEOUT, || site.metric(web, "polls_replica_in_use") == 1.0);
    }
    goes_on(&voters);
    assert_all_counted(&voters.finish(), votes_at(new));
    wait_until(TIMEOUT, || votes_at(old) == votes_at(new));
    let known =
        "SELECT setting LIKE '%password=%' FROM pg_settings WHERE name = 'primary_conninfo'";
    assert_eq!(old.sql(known), "f");

    // And back, as planned: the primary sends all of its log before it ends.
    new.act("stop");
    promote(old);
    new.act("start");
    wait_until(TIMEOUT, || is_standby(new));
    assert_eq!(
        old.sql("SELECT timeline_id FROM pg_control_checkpoint()"),
        "3"
    );
}

#[test]
fn a_former_primary_waits_for_the_other_server() {
    let site = Deployment::start();
    let (old, new) = (&site.backend.primary, &site.standby);
    new.act("stop");
    old.act("stop");
    old.act("start");
    wait_until(TIMEOUT, || {
        old.log()
            .contains("does not answer, and could be a newer primary")
    });
    let write = "host=127.0.0.1 user=polls dbname=polls";
    let password = &site.backend.manifests.data("Secret", "polls-secrets")["DATABASE_PASSWORD"];
    let connects = |server: &Container| {
        let address = format!("{write} password={password}");
        server
            .exec_with(&["psql", "-c", "SELECT 1", &address], "")
            .status
            .success()
    };
    assert!(!connects(old));
    let is_ready = || {
        old.exec_with(&["sh", "/etc/polls-postgres/probe.sh", "ready"], "")
            .status
            .success()
    };
    assert!(!is_ready());
    // The other one was promoted meanwhile.
    new.act("start");
    wait_until(TIMEOUT, is_ready);
    assert!(connects(old));
    promote(new);
    // Two primaries: the one of the older timeline gives way although it runs.
    wait_until(TIMEOUT, || is_standby(old));
    let log = old.log();
    assert!(log.contains("is a newer primary"), "{log}");
    let count = "SELECT count(*) FROM django_migrations";
    wait_for_postgres(old);
    assert_eq!(old.sql(count), new.sql(count));
}

#[test]
fn a_changed_password_fails_no_request() {
    let site = Deployment::start();
    let voters = Voters::start(&site.address(), 8);
    goes_on(&voters);
    let primary = &site.backend.primary;
    let old = site.backend.manifests.data("Secret", "polls-secrets")["DATABASE_PASSWORD"].clone();
    let started = primary.inspect("{{.State.StartedAt}}");
    // As kubelet does it, at different times in different pods.
    let place = |container: &Container, folder: &str, key: &str, value: &str| {
        let folder = container.source_of(&format!("/run/secrets/{folder}"));
        fs::write(format!("{folder}/{key}"), value).unwrap();
    };
    let new = "a-new-password-of-thirty-two-bytes";
    let idle = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'polls' AND state = 'idle' AND state_change < clock_timestamp() - interval '20 ms'";
    for server in [primary, &site.standby] {
        place(server, "polls", "DATABASE_PASSWORD", new);
    }
    for web in &site.web {
        place(web, "previous", "DATABASE_PASSWORD_PREVIOUS", &old);
        place(web, "polls", "DATABASE_PASSWORD", new);
        primary.sql(idle);
        goes_on(&voters);
    }
    wait_until(TIMEOUT, || {
        primary.log().contains("the password of polls is changed")
    });
    primary.sql(idle);
    goes_on(&voters);
    let tally = voters.finish();
    assert_eq!(tally.keys().collect::<Vec<_>>(), [&302], "{tally:?}");
    assert_eq!(site.votes(), tally[&302]);
    assert_eq!(primary.inspect("{{.State.StartedAt}}"), started);
}

#[test]
fn a_migration_waits_for_its_database() {
    let backend = Backend::alone();
    backend.primary.act("stop");
    let job = backend.begin_to_migrate();
    wait_until(TIMEOUT, || job.log().contains("waiting for the database"));
    backend.primary.act("start");
    assert_eq!(
        super::engine::docker(&["wait", &job.name]),
        "0",
        "{}",
        job.log()
    );
}
