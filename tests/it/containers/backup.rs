//! Backups and their restoration, as `kube/components/backup` has them.

use std::time::Duration;

use super::{
    deployment::{Backend, TIMEOUT, wait_for_postgres},
    engine::{Container, Volume, docker},
};
use crate::support::http::wait_until;

#[test]
fn a_moment_between_two_votes_is_restored() {
    let backend = Backend::alone();
    backend.migrate();
    let primary = &backend.primary;
    primary.sql(
        "INSERT INTO polls_app_question (question_text, pub_date) VALUES ('Kept?', now()); \
         INSERT INTO polls_app_choice (question_id, choice_text, votes) SELECT id, 'Yes', 0 FROM polls_app_question",
    );
    let volume = Volume::new("backup");
    let mut args = backend
        .manifests
        .pod("Deployment", "polls-backup", Some(&volume));
    args.splice(0..0, ["--env".to_owned(), "INTERVAL=1".to_owned()]);
    let barman = Container::start("polls-backup-0", &[(&backend.back, &[])], &args);
    let check = [
        "barman",
        "--config",
        "/tmp/barman.conf",
        "check",
        "--nagios",
        "polls",
    ];
    wait_until(TIMEOUT, || barman.exec_with(&check, "").status.success());

    // Of three votes one is before the moment. The last one is in a segment of the log that is not full.
    let vote = || primary.sql("UPDATE polls_app_choice SET votes = votes + 1");
    vote();
    std::thread::sleep(Duration::from_secs(1));
    let moment = primary.sql("SELECT now()");
    std::thread::sleep(Duration::from_secs(1));
    vote();
    vote();
    let received = "SELECT pg_current_wal_lsn() <= flush_lsn FROM pg_stat_replication WHERE application_name = 'barman_receive_wal'";
    wait_until(TIMEOUT, || primary.sql(received) == "t");
    primary.act("kill");
    barman.act("stop");

    let mut args = backend
        .manifests
        .pod("Deployment", "polls-backup", Some(&volume));
    args.splice(
        0..0,
        [
            "--volume".to_owned(),
            format!("{}:/restore", backend.data.0),
        ],
    );
    let script = args
        .iter_mut()
        .find(|arg| arg.ends_with("start.sh"))
        .unwrap();
    *script = script.replace("start.sh", "restore.sh");
    let restore = |time: &str| {
        let args = [&args[..], &[time.to_owned()]].concat();
        let job = Container::start("restore", &[], &args);
        (docker(&["wait", &job.name]), job.log())
    };
    let (code, log) = restore("2001-01-01");
    assert!(
        code == "1" && log.contains("No backup had been completed by then"),
        "{log}"
    );
    let (code, log) = restore(&moment);
    assert_eq!(code, "0", "{log}");
    primary.act("start");
    wait_for_postgres(primary);
    wait_until(TIMEOUT, || primary.sql("SELECT pg_is_in_recovery()") == "f");
    assert_eq!(primary.sql("SELECT votes FROM polls_app_choice"), "1");
    vote();
    // A base backup of the new timeline is taken at once, and the log is received again.
    barman.act("start");
    let list = [
        "barman",
        "--config",
        "/tmp/barman.conf",
        "list-backups",
        "--minimal",
        "polls",
    ];
    wait_until(TIMEOUT, || barman.exec(&list).lines().count() == 2);
    wait_until(TIMEOUT, || barman.exec_with(&check, "").status.success());
    vote();
    wait_until(TIMEOUT, || primary.sql(received) == "t");
    primary.act("kill");
    barman.act("stop");
    let (code, log) = restore("latest");
    assert_eq!(code, "0", "{log}");
    primary.act("start");
    wait_for_postgres(primary);
    assert_eq!(primary.sql("SELECT votes FROM polls_app_choice"), "3");
    // Nothing of a recovery to a point in time is left: a standby would end its own.
    let file = "/var/lib/postgresql/data/pgdata/postgresql.auto.conf";
    let left = || primary.exec_with(&["grep", "-c", "recovery_target", file], "");
    wait_until(TIMEOUT, || left().stdout == b"0\n");
}
