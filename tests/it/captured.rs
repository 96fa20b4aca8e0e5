//! The management commands, one after the other, give what Django's gave: exit status, standard output and standard
//! error of each captured run, with our name where Django says its own.

use crate::support::{Site, as_django, captured, site::CommandOutput};

/// The captured runs in their order. Not among them: what is about commands we have not, what speaks of Django itself,
/// and dialogues, which `terminal.rs` plays.
const RUNS: &[&str] = &[
    "check_unmigrated",
    "makemigrations",
    "makemigrations_app",
    "makemigrations_unknown_app",
    "makemigrations_check",
    "migrate_check_before",
    "migrate_plan_before",
    "showmigrations_before",
    "showmigrations_unknown_app",
    "showmigrations_one_app",
    "migrate_first",
    "check",
    "migrate_second",
    "migrate_check_after",
    "migrate_plan_after",
    "migrate_unknown_app",
    "migrate_one_app",
    "migrate_unknown_migration",
    "migrate_polls_zero",
    "migrate_polls_again",
    "showmigrations_after",
    "showmigrations_plan",
    "showmigrations_verbosity2",
    "sqlmigrate_polls",
    "sqlmigrate_unknown",
    "createsuperuser_not_a_tty",
    "createsuperuser_noinput_no_username",
    "createsuperuser_noinput_no_email",
    "createsuperuser_noinput_no_password",
    "createsuperuser_noinput",
    "createsuperuser_noinput_taken",
    "createsuperuser_noinput_weak_password_is_not_validated",
    "createsuperuser_noinput_all_from_env",
    "createsuperuser_noinput_bad_username",
    "createsuperuser_noinput_bad_email",
    "createsuperuser_noinput_blank_username",
    "changepassword_unknown",
    "runserver_bad_port",
];

/// Django's words with our name, and without what differs from run to run.
fn ours(text: &str) -> String {
    let text = text
        .replace("python manage.py", "polls")
        .replace("manage.py", "polls");
    match text.split_once("(applied at ") {
        Some((before, after)) => {
            format!("{before}(applied at …){}", after.split_once(')').unwrap().1)
        }
        None => text,
    }
}

on_both_databases! {
    async fn commands_print_what_django_prints(site: Site) {
        let all: serde_json::Value = serde_json::from_str(&captured("commands.json")).unwrap();
        for label in RUNS {
            // Django looks at migrations at the start of its server only; our check counts them.
            if *label == "check_unmigrated" {
                // An empty file is an empty database of SQLite.
                std::fs::write(site.folder().join("db.sqlite3"), "").unwrap();
                let said = site.run(["check"]).success();
                assert!(said.stderr.contains("?: (polls.W001) 27 migration(s) have not been applied."), "{}", said.stderr);
                continue;
            }
            // Captured on SQLite.
            if *label == "sqlmigrate_polls" && site.database.backend == Backend::Postgres {
                continue;
            }
            let run = &all["commands"][label];
            let args: Vec<&str> = run["args"].as_array().unwrap_or_else(|| panic!("{label}")).iter().map(|arg| arg.as_str().unwrap()).collect();
            let args: Vec<&str> = args.into_iter().filter(|arg| *arg != "--noreload").collect();
            let mut command = site.command_of(&args);
            for (name, value) in run["env"].as_object().into_iter().flatten() {
                command.env(name, value.as_str().unwrap());
            }
            let said = CommandOutput::from(command.output().unwrap());
            let expected = |part: &str| ours(run[part].as_str().unwrap_or_default());
            assert_eq!(said.code, run["rc"].as_i64().unwrap() as i32, "{label}: {said:?}");
            assert_eq!(as_django(&ours(&said.stdout)), expected("stdout"), "{label}");
            assert_eq!(said.stderr, expected("stderr"), "{label}");
        }
    }
}
