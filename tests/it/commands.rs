//! The management commands without a file of their own, beside Django's.

use crate::{
    django::manage_command,
    support::{Backend, Site, site::CommandOutput},
};

fn manage(site: &Site, args: &[&str]) -> CommandOutput {
    CommandOutput::from(manage_command(site, args).output().unwrap()).success()
}

on_both_databases! {
    async fn flush_empties_the_tables_and_creates_permissions_again(site: Site) {
        // Also where only Django's migrations have been applied.
        manage(&site, &["migrate"]);
        site.run(["flush", "--noinput"]).success();
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let site = site.with_superuser();
        let permissions = site.number("SELECT count(*) FROM auth_permission").await;
        // Without an answer, and with another one than yes.
        assert_eq!(site.run(["flush"]).code, 1);
        let mut terminal = site.terminal(&["flush"]);
        terminal.exp_string("This will IRREVERSIBLY DESTROY all data currently in the").unwrap();
        terminal.exp_string("Type 'yes' to continue, or 'no' to cancel: ").unwrap();
        terminal.send_line("y").unwrap();
        terminal.exp_string("Flush cancelled.").unwrap();
        assert_eq!(site.number("SELECT count(*) FROM polls_app_question").await, 3);
        // Rows of another application refer to ours: nothing is removed.
        site.execute("CREATE TABLE shop_order (id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES auth_user (id))").await;
        site.execute("INSERT INTO shop_order VALUES (1, 1)").await;
        let said = site.run(["flush", "--noinput"]);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""));
        assert!(said.stderr.contains("couldn't be flushed"), "{}", said.stderr);
        assert_eq!(site.number("SELECT count(*) FROM polls_app_question").await, 3);
        site.execute("DROP TABLE shop_order").await;
        assert_eq!(site.run(["flush", "--no-input"]).success().stdout, "");
        for table in ["polls_app_question", "polls_app_choice", "auth_user", "django_session"] {
            assert_eq!(site.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
        }
        assert_eq!(site.number("SELECT count(*) FROM auth_permission").await, permissions);
        assert_eq!(site.number("SELECT count(*) FROM django_content_type").await, 8);
        site.run(["migrate", "--check"]).success();
        site.run(["seed"]).success();
        assert_eq!(site.number("SELECT min(CAST(id AS bigint)) FROM polls_app_question").await, 1);
    }

    async fn flush_of_a_database_without_tables_says_what_to_do(site: Site) {
        let said = site.run(["flush", "--noinput"]);
        assert_eq!(said.code, 1);
        assert!(said.stderr.contains("polls migrate"), "{}", said.stderr);
        assert!(!site.folder().join("db.sqlite3").exists());
    }

    async fn inspectdb_writes_entities_with_valid_names(site: Site) {
        site.run(["migrate"]).success();
        let key = if site.database.backend == Backend::Sqlite { "integer PRIMARY KEY" } else { "serial PRIMARY KEY" };
        site.execute(&format!("CREATE TABLE \"my-table\" (id {key}, type_id integer REFERENCES polls_app_question (id))")).await;
        let stamp = if site.database.backend == Backend::Sqlite { "datetime" } else { "timestamp(3) with time zone" };
        site.execute(&format!("CREATE TABLE odd (\"a-b\" integer, \"a_b\" integer, owner integer, owner_id integer REFERENCES \"my-table\" (id), at {stamp}, \
            twice integer GENERATED ALWAYS AS (owner * 2) STORED)")).await;
        let text = site.run(["inspectdb"]).success().stdout;
        for part in ["pub r#type: BelongsTo<Option<super::question::Entity>>", "pub a_b: Option<i32>", "pub a_b_0: Option<i32>", "pub owner_0: BelongsTo<Option<super::my_table::Entity>>",
                     "pub at: Option<DateTimeUtc>", "pub twice: Option<i32>", "// The table has no primary key"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for entity in text.split("//! `").skip(1) {
            syn::parse_file(&format!("//! `{entity}")).unwrap_or_else(|error| panic!("{error}: {entity}"));
        }
    }

    async fn recount_prints_a_line_per_question_and_fails_on_differences(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        assert_eq!(site.run(["recount"]).success().stdout, "");
        site.execute("INSERT INTO polls_question_options (question_id, policy, max_choices, results) VALUES (1, 'code', 1, 'always')").await;
        assert_eq!(site.run(["recount"]).success().stdout, "  1 \"What's new?\": The votes agree: 0 votes of 0 voters, and 0 from before votes were limited.\n");
        site.execute("UPDATE polls_app_choice SET votes = 2 WHERE id = 1").await;
        let said = site.run(["recount", "1"]);
        assert!(said.code == 1 && said.stdout.starts_with("! 1 \"What's new?\": There are 2 more votes than voters cast, since "), "{}", said.stdout);
        let said = site.run(["recount", "2"]);
        assert_eq!(said.stderr, "CommandError: There is no question 2 whose votes are limited.\n");
    }

    async fn inspect_does_not_print_what_may_be_a_password(site: Site) {
        site.run(["migrate"]).success();
        site.execute("INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined) \
            VALUES (1, 'hunter2', false, 'ann', '', '', '', false, true, '2026-01-01 00:00:00')").await;
        let said = site.run(["inspect"]);
        assert!(said.stdout.contains("ann (unknown)") && !said.stdout.contains("hunter2"), "{}", said.stdout);
    }

    async fn sqlflush_and_sqlsequencereset_print_django_s_statements(site: Site) {
        site.run(["migrate"]).success();
        let apps = ["sqlsequencereset", "auth", "polls_app", "sessions", "admin", "contenttypes"];
        let (ours, theirs) = (site.run(apps).success(), manage(&site, &apps));
        assert_eq!((ours.stdout, ours.stderr), (theirs.stdout, theirs.stderr));
        site.run(["sqlsequencereset", "nothing"]).refused("No installed app with label 'nothing'.");
        // Django's tables have no order.
        let words = |text: &str| {
            let mut words: Vec<String> = text.split([' ', ',', '\n', '(', ')']).map(str::to_owned).filter(|word| !word.contains("polls_") || word.contains("polls_app")).collect();
            words.sort();
            words.dedup();
            words
        };
        assert_eq!(words(&site.run(["sqlflush"]).success().stdout), words(&manage(&site, &["sqlflush"]).stdout));
    }

    async fn clearsessions_deletes_those_that_have_expired(site: Site) {
        site.run(["migrate"]).success();
        site.execute("INSERT INTO django_session VALUES ('old', 'x', '2026-01-01 00:00:00'), ('new', 'x', '2126-01-01 00:00:00')").await;
        assert_eq!(site.run(["clearsessions", "-v", "2"]).success().stdout, "Deleted 1 session(s).\n");
        assert_eq!(site.run(["clearsessions"]).success().stdout, "");
        assert_eq!(site.number("SELECT count(*) FROM django_session").await, 1);
    }

    async fn dbshell_runs_the_client_without_the_password_in_its_arguments(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let site = site.with("PATH", "/usr/bin:/bin");
        let is_sqlite = site.database.backend == Backend::Sqlite;
        let query = "SELECT 'questions: ' || count(*) FROM polls_app_question";
        let said = if is_sqlite {
            site.run(["dbshell", "--", query])
        } else {
            let site = site.with("DATABASE_PASSWORD", "s3cret/word");
            let arguments = site.run(["dbshell", "--", "-c", "\\! cat /proc/$PPID/cmdline; echo; echo $PGPASSWORD"]).success().stdout;
            assert!(arguments.contains("psql\0-c\0") && arguments.ends_with("s3cret/word\n"), "{arguments}");
            assert_eq!(arguments.matches("s3cret").count(), 1, "{arguments}");
            site.run(["dbshell", "--", "-tAc", query])
        };
        assert_eq!(said.success().stdout, "questions: 3\n");
        let site = Site::new(Backend::Sqlite).await.with("PATH", "/nowhere");
        site.run(["dbshell"]).refused("You appear not to have the 'sqlite3' program installed or on your path.");
    }
}

#[tokio::test]
async fn without_a_command_the_commands_are_listed_by_app() {
    let site = Site::new(Backend::Sqlite).await.with("SECRET_KEY", "");
    let listed = site.run([]).success().stdout;
    let theirs = manage(&site, &["help"]).stdout;
    let sections = |text: &str| -> Vec<(String, Vec<String>)> {
        let sections = text.split("\n[").skip(1).map(|section| {
            let (app, commands) = section.split_once("]\n").unwrap();
            let commands = commands.lines().take_while(|line| line.starts_with("    "));
            (
                app.to_owned(),
                commands.map(|line| line.trim().to_owned()).collect(),
            )
        });
        sections.collect()
    };
    let theirs = sections(&theirs);
    for (app, commands) in sections(&listed).iter().filter(|(app, _)| app != "polls") {
        let (_, theirs) = theirs.iter().find(|(name, _)| name == app).unwrap();
        assert!(
            commands.iter().all(|command| theirs.contains(command)),
            "{app}: {commands:?}"
        );
    }
    assert!(listed.starts_with("\nType 'polls help <subcommand>' for help on a specific subcommand.\n\nAvailable subcommands:\n\n[auth]\n    changepassword\n"));
    let said = site.run(["migrat"]);
    assert_eq!(said.code, 2);
    assert!(
        said.stderr
            .contains("a similar subcommand exists: 'migrate'"),
        "{}",
        said.stderr
    );
}

#[tokio::test]
async fn collectstatic_writes_what_pages_refer_to() {
    let site = Site::new(Backend::Sqlite).await;
    site.run(["migrate"]).success();
    site.run(["collectstatic"])
        .refused("You're using the staticfiles app without having set the STATIC_ROOT setting to a filesystem path.");
    let root = site.folder().join("static");
    let site = site
        .with("STATIC_ROOT", root.to_str().unwrap())
        .with("STATIC_URL", "https://cdn.example.com/polls/");
    let said = site.run(["collectstatic", "--dry-run"]).success().stdout;
    assert!(
        said.contains("Pretending to copy 'icon.svg'\n") && !root.exists(),
        "{said}"
    );
    let said = site.run(["collectstatic"]).success().stdout;
    let count: usize = said.trim().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(
        said,
        format!("\n{count} static files copied to '{}'.\n", root.display())
    );
    let again = site.run(["collectstatic", "--noinput"]).success().stdout;
    assert_eq!(
        again,
        format!(
            "\n0 static files copied to '{}', {count} unmodified.\n",
            root.display()
        )
    );
    let manifest = std::fs::read_to_string(root.join("staticfiles.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["version"], "1.1");
    for (name, hashed) in manifest["paths"].as_object().unwrap() {
        let read = |name: &str| std::fs::read(root.join(name)).unwrap();
        assert_eq!(read(name), read(hashed.as_str().unwrap()), "{name}");
    }
    // A page refers to files of these names only, and its policy allows their origin.
    let server = site.serve();
    let page = server.get("/polls/");
    let names: Vec<&str> = page
        .split("https://cdn.example.com/polls/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(names.len() >= 2 && !page.contains("\"/static/"), "{page}");
    assert!(
        names.iter().all(|name| root.join(name).is_file()),
        "{names:?}"
    );
    assert!(page.contains("style-src 'self' https://cdn.example.com; img-src 'self' https://cdn.example.com data:;"), "{page}");
    assert!(
        server
            .get("/favicon.ico")
            .contains("location: https://cdn.example.com/polls/icon.")
    );
    // Files of others are deleted only after a confirmation, and only with `--clear`.
    std::fs::write(root.join("other.txt"), "mine").unwrap();
    assert_eq!(site.run(["collectstatic", "--clear"]).code, 1);
    assert!(root.join("other.txt").exists());
    let mut terminal = site.terminal(&["collectstatic", "--clear"]);
    terminal
        .exp_string("This will delete existing files!")
        .unwrap();
    terminal.send_line("yes").unwrap();
    terminal.exp_string("static files copied to").unwrap();
    terminal.process().wait().unwrap();
    assert!(!root.join("other.txt").exists() && root.join("icon.svg").exists());
    for url in [
        "static",
        "/static",
        "//cdn/",
        "ftp://cdn/",
        "https://cdn/a;b/",
        "/a b/",
    ] {
        let refused = Site::new(Backend::Sqlite)
            .await
            .with("STATIC_URL", url)
            .run(["check"]);
        assert!(
            refused
                .stderr
                .contains("STATIC_URL must be a path or an address with a slash at its end"),
            "{url}: {}",
            refused.stderr
        );
    }
}

#[tokio::test]
async fn diffsettings_prints_what_differs_without_secrets() {
    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", "postgres://polls:hidden@db.example/polls")
        .with("TIME_ZONE", "Europe/Berlin")
        .with("KEEPALIVE", "5");
    let options = "graceful_timeout = 7\n";
    std::fs::write(site.folder().join("options.toml"), options).unwrap();
    let site = site.with("POLLS_CONFIG", "options.toml");
    let said = site.run(["diffsettings"]).success().stdout;
    let expected = "ALLOWED_HOSTS = \"127.0.0.1\"\n\
        DATABASE_URL = \"postgres://polls:********************@db.example/polls\"  ###\n\
        GRACEFUL_TIMEOUT = \"7\"  ###\n\
        KEEPALIVE = \"5\"  ###\n\
        POLLS_CONFIG = \"options.toml\"  ###\n\
        SECRET_KEY = \"********************\"\n\
        TIME_ZONE = \"Europe/Berlin\"\n";
    assert_eq!(said, expected);
    let all = site.run(["diffsettings", "--all"]).success().stdout;
    assert!(
        all.contains("\n### DEBUG = \"false\"\n")
            && all.contains("\n### STATIC_URL = \"/static/\"\n")
            && all.contains("\nTIME_ZONE"),
        "{all}"
    );
    let unified = site
        .run(["diffsettings", "--output", "unified"])
        .success()
        .stdout;
    assert!(
        unified.contains("- TIME_ZONE = \"UTC\"\n+ TIME_ZONE = \"Europe/Berlin\"\n"),
        "{unified}"
    );
}
