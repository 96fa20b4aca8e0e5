//! Beside the real Django, on the same database.

use std::process::Command;

use crate::support::{Backend, Site, TestApp, TestDatabase, as_django, site::CommandOutput};

/// The output of [`manage_command`].
fn manage(site: &Site, args: &[&str]) -> CommandOutput {
    CommandOutput::from(manage_command(site, args).output().unwrap())
}

/// Django under gunicorn on a site's database.
pub fn gunicorn_command(site: &Site, port: u16) -> Command {
    let manage = manage_command(site, &[]);
    let mut command = Command::new(manage.get_program());
    let address = format!("127.0.0.1:{port}");
    command
        .args(["-B", "-m", "gunicorn", "wsgi", "-b", &address])
        .args([
            "-w",
            "2",
            "-k",
            "gthread",
            "--threads",
            "4",
            "--log-level",
            "critical",
        ])
        .current_dir(manage.get_current_dir().expect("set by manage_command"))
        .env_clear()
        .envs(
            manage
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    command
}

/// Django's `manage.py` on a site's database.
#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the tests, not of the program"
)]
pub fn manage_command(site: &Site, args: &[&str]) -> Command {
    let python = std::env::var_os("DJANGO_PYTHON");
    let python = python
        .expect("DJANGO_PYTHON is not set: run scripts/test, which installs Django and sets it");
    let project = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/django");
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg("manage.py")
        .args(args)
        .current_dir(project)
        .env_clear();
    match site.database.backend {
        Backend::Sqlite => command.env("DJANGO_SQLITE", site.folder().join("db.sqlite3")),
        Backend::Postgres => {
            let port = site.database.url.rsplit([':', '/']).nth(1).unwrap();
            command
                .env("PGHOST", "127.0.0.1")
                .env("PGPORT", port)
                .env("PGUSER", "postgres");
            command.env("PGDATABASE", site.database.postgres_name())
        }
    };
    command
}

on_both_databases! {
    async fn a_database_made_by_django_works_unchanged(site: Site) {
        manage(&site, &["migrate"]).success();
        let said = site.run(["migrate"]).success();
        assert!(as_django(&said.stdout).ends_with("Running migrations:\n"), "{}", said.stdout);
        assert!(said.stdout.contains("  Applying polls.0002_indexes... OK\n"), "{}", said.stdout);
        assert_eq!(site.run(["migrate", "--check"]).success().stdout, "");
        manage(&site, &["migrate", "--check"]).success();
        manage(&site, &["makemigrations", "--check"]).success();
        let ours = site.run(["showmigrations", "-v", "2"]).success().stdout;
        assert_eq!(as_django(&ours), manage(&site, &["showmigrations", "-v", "2"]).success().stdout);
        // What Django writes, we serve.
        let code = "from polls_app.models import *; from django.utils import timezone; \
            q = Question.objects.create(question_text='Written by Django?', pub_date=timezone.now()); \
            q.choice_set.create(choice_text='Yes'); q.choice_set.create(choice_text='No')";
        manage(&site, &["shell", "-c", code]).success();
        let server = site.serve();
        assert!(server.get("/polls/").contains("Written by Django?"));
        assert!(server.get("/polls/1/").contains("Yes"));
    }

    async fn a_database_made_by_polls_works_in_django(site: Site) {
        site.run(["migrate"]).success();
        manage(&site, &["migrate", "--check"]).success();
        let said = manage(&site, &["migrate"]).success();
        assert!(said.stdout.contains("No migrations to apply."), "{}", said.stdout);
        manage(&site, &["makemigrations", "--check"]).success();
        site.run(["seed"]).success();
        let site = site.with_superuser();
        let code = "from django.contrib.auth import authenticate; from polls_app.models import *; from django.utils import timezone; \
            user = authenticate(username='admin', password='k3Lm-91xz'); \
            print(user.is_superuser, user.date_joined.date() == timezone.now().date(), Question.objects.count(), \
            Question.objects.filter(pub_date__lte=timezone.now()).count(), \
            Question.objects.filter(pub_date__date=timezone.now().date()).count(), Choice.objects.count())";
        let said = manage(&site, &["shell", "--verbosity", "0", "-c", code]).success();
        assert_eq!(said.stdout.trim(), "True True 3 3 3 9", "{}", said.stderr);
        manage(&site, &["check"]).success();
    }

    async fn sqlmigrate_backwards_prints_django_s_statements(site: Site) {
        let plan = site.run(["migrate", "--plan"]).success().stdout;
        assert_eq!(as_django(&plan), manage(&site, &["migrate", "--plan"]).success().stdout);
        site.run(["migrate"]).success();
        for (app, name) in [("contenttypes", "0001"), ("auth", "0001"), ("auth", "0012"), ("admin", "0001"), ("admin", "0002"),
                            ("polls_app", "0001"), ("sessions", "0001")] {
            let ours = site.run(["sqlmigrate", "--backwards", app, name]).success().stdout;
            let theirs = manage(&site, &["sqlmigrate", "--backwards", app, name]).success().stdout;
            let lines = |text: &str| text.lines().filter(|line| !line.starts_with("CREATE TABLE \"new__")).map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(lines(&ours), lines(&theirs), "{app} {name}");
        }
        let plan = site.run(["migrate", "--plan", "auth", "zero"]).success().stdout;
        assert_eq!(as_django(&plan), manage(&site, &["migrate", "--plan", "auth", "zero"]).success().stdout);
        let plan = site.run(["migrate", "--plan", "auth", "0001"]).success().stdout;
        assert_eq!(as_django(&plan), manage(&site, &["migrate", "--plan", "auth", "0001"]).success().stdout);
        let plan = site.run(["showmigrations", "--plan", "-v", "2", "admin"]).success().stdout;
        assert_eq!(as_django(&plan), manage(&site, &["showmigrations", "--plan", "-v", "2", "admin"]).success().stdout);
    }

    async fn sessions_are_shared_with_django(site: Site) {
        site.run(["migrate"]).success();
        let database = TestDatabase { backend: site.database.backend, url: site.database.url.clone(), folder: tempfile::tempdir().unwrap() };
        let app = TestApp::on(database).await;
        let admin = app.superuser().await;
        let ours = admin.cookie("sessionid").unwrap();
        let code = format!("from importlib import import_module; from django.conf import settings; from django.contrib.auth import get_user, login; \
            from django.contrib.auth.models import User; from django.http import HttpRequest; from django.contrib.sessions.backends.db import SessionStore; \
            request = HttpRequest(); request.session = SessionStore('{ours}'); user = get_user(request); print(user.username, user.is_authenticated); \
            request = HttpRequest(); request.session = SessionStore(); user.set_password('Quite-new-91'); user.save(); login(request, user); request.session.save(); \
            print(request.session.session_key)");
        let said = manage(&site, &["shell", "--verbosity", "0", "-c", &code]).success();
        let lines: Vec<&str> = said.stdout.lines().collect();
        assert_eq!(lines[0], "admin True", "{}", said.stderr);
        // The new password ends the session that was there, and Django's own is as good as one of ours.
        admin.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        let theirs = app.visitor();
        theirs.set_cookie("sessionid", lines[1]);
        theirs.get("/admin/").await.assert_status(200).assert_contains("Site administration");
        // What we log, Django reads; and so it does our messages.
        let form = theirs.form("/admin/polls_app/question/add/", "object-form").await;
        let form = form.set("question_text", "Gelesen? ü").set("pub_date_0", "2026-01-01").set("pub_date_1", "00:00:00").set("choice_set-0-choice_text", "Ja “so”");
        form.submit(&theirs).await.assert_redirect(302, "/admin/polls_app/question/");
        let message = theirs.cookie("messages").unwrap();
        let code = format!("from django.contrib.admin.models import LogEntry; from django.http import HttpRequest; from django.contrib.messages.storage.cookie import CookieStorage; \
            entry = LogEntry.objects.latest('id'); print(entry); print(entry.get_change_message(), entry.content_type.model, entry.user.username); \
            request = HttpRequest(); request.COOKIES['messages'] = '{message}'; print([str(m) for m in CookieStorage(request)])");
        let said = manage(&site, &["shell", "--verbosity", "0", "-c", &code]).success();
        let expected = "Added “Gelesen? ü”.\nAdded. Added choice “Ja “so””. question admin\n\
            ['The question “<a href=\"/admin/polls_app/question/1/change/\">Gelesen? ü</a>” was added successfully.']\n";
        assert_eq!(said.stdout, expected, "{}", said.stderr);
    }

    async fn django_flushes_and_deletes_questions_with_options(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        for id in 1..=3 {
            site.execute(&format!("INSERT INTO polls_question_options (question_id, policy, max_choices, results) VALUES ({id}, 'browser', 1, 'always')")).await;
            site.execute(&format!("INSERT INTO polls_voters (voter, question_id, day, is_alias) VALUES ('v{id}', {id}, 1, false)")).await;
        }
        manage(&site, &["migrate", "--check"]).success();
        manage(&site, &["makemigrations", "--check", "--dry-run"]).success();
        let code = "from polls_app.models import Question; print(Question.objects.get(id=1).delete())";
        manage(&site, &["shell", "--verbosity", "0", "-c", code]).success();
        for table in ["polls_question_options", "polls_voters"] {
            assert_eq!(site.number(&format!("SELECT count(*) FROM {table}")).await, 2, "{table}");
        }
        manage(&site, &["flush", "--noinput"]).success();
        for table in ["polls_question_options", "polls_voters"] {
            assert_eq!(site.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
        }
    }

    async fn ordered_and_searched_lists_have_the_rows_of_django(site: Site) {
        site.run(["migrate"]).success();
        let code = "from polls_app.models import *; from django.contrib.auth.models import User; from datetime import datetime, timezone, timedelta\n\
            User.objects.create_superuser('admin', 'a@b.c', 'k3Lm-91xz')\nstart = datetime(2026, 1, 1, tzinfo=timezone.utc)\n\
            for n in range(40):\n    q = Question.objects.create(question_text=['Blue?', 'blue', 'Red', 'Änder'][n % 4], pub_date=start + timedelta(days=n % 3))\n    \
            [q.choice_set.create(choice_text=text, votes=n % 5) for text in ['blue one', 'Red two', 'other'][:n % 4]]";
        manage(&site, &["shell", "--verbosity", "0", "-c", code]).success();
        let queries: Vec<String> = ["", "q=blue", "q=red", "q=blue+one", "q=two", "q=nothing"].into_iter()
            .flat_map(|search| ["", "o=1", "o=-1", "o=2", "o=-2", "o=1.-2", "o=-2.1"].map(|order| format!("{search}&{order}"))).collect();
        let code = format!("from django.test import Client; from django.test.utils import setup_test_environment; from django.contrib.auth.models import User; import json; setup_test_environment(); client = Client(); \
            client.force_login(User.objects.get()); \
            print(json.dumps([[q.pk for q in client.get('/admin/polls_app/question/?' + query).context['cl'].result_list] for query in {queries:?}]))");
        let theirs = manage(&site, &["shell", "--verbosity", "0", "-c", &code]).success();
        let theirs: Vec<Vec<i32>> = serde_json::from_str(&theirs.stdout).unwrap();
        let database = TestDatabase { backend: site.database.backend, url: site.database.url.clone(), folder: tempfile::tempdir().unwrap() };
        let app = TestApp::on(database).await;
        let admin = app.visitor();
        admin.log_in("admin", "k3Lm-91xz").await.assert_status(302);
        for (query, theirs) in queries.iter().zip(theirs) {
            let page = admin.get(format!("/admin/polls_app/question/?{query}")).await;
            let text = page.assert_status(200).text();
            let keys = text.split("name=\"_selected_action\" value=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap());
            assert_eq!(keys.collect::<Vec<i32>>(), theirs, "{query}");
        }
    }
}
