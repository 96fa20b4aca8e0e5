//! Moving from Django to this program and back, as `docs/migrating-from-django.md` describes it; and databases that Django has made,
//! before `migrate` was run on them.

use std::{
    net::TcpStream,
    process::Child,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{
    django::{gunicorn_command, manage_command},
    support::{
        Site,
        app::PASSWORD,
        haproxy::Haproxy,
        http::{send, status, wait_until},
        postgres::free_port,
        site::{CommandOutput, SECRET_KEY},
        voters::{SECRET, Voters},
    },
};

/// A process that is killed with the test.
struct Process(Child);

impl Process {
    /// Ends it as a service manager does, and waits for its end.
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        let killed = std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status();
        assert!(killed.unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn manage(site: &Site, args: &[&str]) -> CommandOutput {
    let mut command = manage_command(site, args);
    CommandOutput::from(command.env("SECRET_KEY", SECRET_KEY).output().unwrap()).success()
}

/// Django under gunicorn, from when it listens.
fn gunicorn(site: &Site, port: u16) -> Process {
    let child = gunicorn_command(site, port)
        .env("SECRET_KEY", SECRET_KEY)
        .spawn()
        .unwrap();
    wait_until(Duration::from_secs(20), || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Process(child)
}

fn request(address: &str, method: &str, path: &str, cookies: &str, body: &str) -> String {
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nCookie: csrftoken={SECRET}; {cookies}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(address, text.as_bytes())
}

/// Logs in, and gives the cookie of the session.
fn log_in(address: &str, username: &str) -> String {
    let body = format!(
        "csrfmiddlewaretoken={SECRET}&username={username}&password={PASSWORD}&next=/admin/"
    );
    let answer = request(address, "POST", "/admin/login/?next=/admin/", "", &body);
    assert_eq!(status(&answer), 302, "{answer}");
    let cookie = answer.lines().find_map(|line| {
        let cookie = line.to_ascii_lowercase().find("sessionid=")?;
        line[cookie..].split(';').next()
    });
    cookie
        .unwrap_or_else(|| panic!("no session in {answer}"))
        .to_owned()
}

fn assert_logged_in(address: &str, session: &str) {
    let answer = request(address, "GET", "/admin/", session, "");
    assert!(
        status(&answer) == 200 && answer.contains("Site administration"),
        "{answer}"
    );
}

const MAKE_USER: &str = "from django.contrib.auth.models import User; from polls_app.models import *; from django.utils import timezone; \
    User.objects.create_superuser('admin', 'a@example.com', 'k3Lm-91xz'); \
    q = Question.objects.create(question_text='Which way?', pub_date=timezone.now()); q.choice_set.create(choice_text='There'); \
    q.choice_set.create(choice_text='Back')";

on_both_databases! {
    async fn a_deployment_moves_over_and_back_under_load(site: Site) {
        assert_eq!(PASSWORD, "k3Lm-91xz");
        let site = site.with("ALLOWED_HOSTS", "*");
        manage(&site, &["migrate"]);
        manage(&site, &["shell", "-v", "0", "-c", MAKE_USER]);
        let (front, django_port, polls_port) = (free_port(), free_port(), free_port());
        let django = gunicorn(&site, django_port);
        let balancer = Haproxy::start(&site, front, "/polls/", &[("django", django_port), ("polls", polls_port)]);
        let front = format!("127.0.0.1:{front}");
        wait_until(Duration::from_secs(10), || TcpStream::connect(&front).is_ok() && status(&request(&front, "GET", "/polls/", "", "")) == 200);
        let mut sessions = vec![log_in(&front, "admin")];
        let voters = Voters::start(&front, 4);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // A user works on in the admin all the time.
            let first = sessions[0].clone();
            let user = scope.spawn({
                let (front, is_over) = (&front, &is_over);
                move || {
                    let mut pages = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        assert_logged_in(front, &first);
                        pages += 1;
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    pages
                }
            });
            let votes = |more: i64| voters.wait_for(voters.acknowledged() + more, Duration::from_secs(60));
            let steps = || {
                votes(20);
                // 1. Look at the database, and apply our own migrations while Django goes on.
                let report = site.run(["inspect"]).success().stdout;
                assert!(report.contains("  polls.0001_login_failures\n") && report.contains("No problems."), "{report}");
                assert!(report.contains("1 of the newest are valid, and this SECRET_KEY reads them all: their users stay logged in."), "{report}");
                site.run(["migrate"]).success();
                votes(20);
                // 2. Both at once.
                let ours = site.serve_on(&format!("127.0.0.1:{polls_port}"));
                wait_until(Duration::from_secs(10), || balancer.command("show servers state").contains("polls 127.0.0.1 2 "));
                sessions.push(log_in(&ours.address, "admin"));
                sessions.push(log_in(&format!("127.0.0.1:{django_port}"), "admin"));
                votes(100);
                for session in &sessions {
                    assert_logged_in(&ours.address, session);
                    assert_logged_in(&format!("127.0.0.1:{django_port}"), session);
                }
                // 3. Ours alone.
                balancer.command("set server polls/django state drain");
                std::thread::sleep(Duration::from_millis(500));
                django.stop();
                votes(200);
                sessions.push(log_in(&front, "admin"));
                sessions.iter().for_each(|session| assert_logged_in(&front, session));
                // 4. Back: Django beside ours, then alone.
                let django = gunicorn(&site, django_port);
                balancer.command("set server polls/django state ready");
                wait_until(Duration::from_secs(10), || balancer.command("show servers state").contains("django 127.0.0.1 2 "));
                votes(50);
                balancer.command("set server polls/polls state drain");
                std::thread::sleep(Duration::from_millis(500));
                let (log, code) = ours.stop();
                assert_eq!(code, Some(0), "{log}");
                site.run(["migrate", "polls", "zero"]).success();
                votes(20);
                sessions.push(log_in(&front, "admin"));
                sessions.iter().for_each(|session| assert_logged_in(&front, session));
                django
            };
            let django = std::panic::catch_unwind(std::panic::AssertUnwindSafe(steps));
            is_over.store(true, Ordering::SeqCst);
            assert!(user.join().unwrap() > 50);
            django.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let acknowledged = voters.finish_acknowledged();
        manage(&site, &["migrate", "--check"]);
        manage(&site, &["makemigrations", "--check"]);
        let code = "from polls_app.models import *; print(Choice.objects.get(pk=1).votes)";
        assert_eq!(manage(&site, &["shell", "-v", "0", "-c", code]).stdout.trim(), acknowledged.to_string());
    }

    async fn a_database_without_our_migrations_is_served_as_far_as_possible(site: Site) {
        manage(&site, &["migrate"]);
        manage(&site, &["shell", "-v", "0", "-c", MAKE_USER]);
        let mut server = site.serve();
        let address = server.address.clone();
        for (path, text) in [("/polls/", "Which way?"), ("/polls/1/", "There"), ("/polls/1/results/", "There"), ("/admin/login/", "Log in")] {
            let page = server.get(path);
            assert!(status(&page) == 200 && page.contains(text), "{path}: {page}");
        }
        // A login needs the table of failed ones, and a vote that of the options of questions.
        let body = format!("csrfmiddlewaretoken={SECRET}&username=admin&password={PASSWORD}");
        let advice = "An administrator of this site has to run “polls migrate”.";
        let answer = request(&address, "POST", "/admin/login/", "", &body);
        assert!(status(&answer) == 503 && answer.contains(advice), "{answer}");
        server.read_log_until("the database is not migrated, run `polls migrate`");
        let answer = request(&address, "POST", "/polls/1/vote/", "", &format!("csrfmiddlewaretoken={SECRET}&choice=1"));
        assert!(status(&answer) == 503 && answer.contains(advice), "{answer}");
        // A session of Django's is valid.
        let code = "from django.contrib.auth import login; from django.contrib.auth.models import User; from django.http import HttpRequest; \
            from django.contrib.sessions.backends.db import SessionStore; request = HttpRequest(); request.session = SessionStore(); \
            login(request, User.objects.get()); request.session.save(); print(request.session.session_key)";
        let session = format!("sessionid={}", manage(&site, &["shell", "-v", "0", "-c", code]).stdout.trim());
        assert_logged_in(&address, &session);
        site.run(["migrate"]).success();
        assert_logged_in(&address, &log_in(&address, "admin"));
        assert_eq!(status(&request(&address, "POST", "/polls/1/vote/", "", &format!("csrfmiddlewaretoken={SECRET}&choice=1"))), 302);
    }

    async fn inspect_says_what_is_in_the_way(site: Site) {
        let said = site.run(["inspect"]);
        let (report, is_sqlite) = (said.stdout, site.database.backend == Backend::Sqlite);
        assert_eq!((said.code, report.contains("db.sqlite3 does not exist.\n")), (i32::from(is_sqlite), is_sqlite), "{report}");
        assert!(report.contains("None has been applied: the database is empty, or is not one of Django's."), "{report}");
        if is_sqlite {
            assert!(!site.folder().join("db.sqlite3").exists());
        }
        manage(&site, &["migrate"]);
        manage(&site, &["shell", "-v", "0", "-c", MAKE_USER]);
        for sql in [
            "CREATE TABLE shop_order (id integer NOT NULL PRIMARY KEY, user_id integer NOT NULL REFERENCES auth_user (id))",
            "CREATE TABLE shop_visit (user_id integer REFERENCES auth_user (id) ON DELETE SET NULL)",
            "ALTER TABLE polls_app_question ADD COLUMN colour varchar(10) NULL",
            "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0001_initial', '2026-01-01 00:00:00'), \
             ('polls_app', '0002_question_colour', '2026-01-01 00:00:00')",
            "INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined) VALUES \
             ('md5$salt$hash', false, 'old', '', '', '', false, true, '2026-01-01 00:00:00'), ('!', false, 'none', '', '', '', false, true, '2026-01-01 00:00:00')",
            "INSERT INTO django_session VALUES ('other', 'signed:with:another', '2126-01-01 00:00:00')",
        ] {
            site.execute(sql).await;
        }
        let said = site.run(["inspect"]);
        let report = &said.stdout;
        assert_eq!((said.code, said.stderr.as_str()), (1, ""), "{report}");
        for line in [
            "  `polls migrate` will apply:\n    polls.0001_login_failures\n",
            "  ! polls_app has migrations that this program does not have: 0002_question_colour. What they changed is not used, and may be in the way.\n",
            "  The app shop is unknown and left alone (1 migrations).\n",
            "  polls_app_question has a column colour, which is left alone.\n",
            "  8 of the 14 tables of models exist.\n",
            "  Unknown and left alone: shop_order, shop_visit.\n",
            "  3 users; passwords: 1 md5, 1 pbkdf2_sha256; 1 without a usable password.\n",
            "  ! Passwords in a format that cannot be read, so that these users cannot log in until `polls changepassword` sets others: old (md5).\n",
            "  ! 1 of the newest 1 valid sessions cannot be read with this SECRET_KEY: use Django's, or name it in SECRET_KEY_FALLBACKS; otherwise their users have to log in again.\n",
            "  shop_order.user_id refers to auth_user: objects with such rows cannot be deleted here; the page lists the rows.\n",
            "  shop_visit.user_id refers to auth_user: the database deletes or changes these rows with the referenced ones.\n",
            "\n3 problems: see the lines with `!`.\n",
        ] {
            assert!(report.contains(line), "{line}: {report}");
        }
        // It has changed nothing.
        manage(&site, &["migrate", "--check"]);
        assert!(!CommandOutput::from(site.command(["showmigrations", "polls"]).output().unwrap()).stdout.contains("[X]"));
        site.execute("ALTER TABLE polls_app_choice ADD COLUMN owner integer NOT NULL DEFAULT 1").await;
        if site.database.backend == Backend::Postgres {
            site.execute("ALTER TABLE polls_app_choice ALTER COLUMN owner DROP DEFAULT").await;
            let report = site.run(["inspect"]).stdout;
            assert!(report.contains("  ! polls_app_choice has a column owner that must have a value: objects cannot be added here.\n"), "{report}");
        }
    }

    async fn inspectdb_prints_entities_of_unknown_tables(site: Site) {
        site.run(["migrate"]).success();
        let said = site.run(["inspectdb"]).success();
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", "No tables found that this program does not know.\n"));
        site.execute("CREATE TABLE shop_order (id integer NOT NULL PRIMARY KEY, user_id integer NOT NULL REFERENCES auth_user (id), \
            \"type\" varchar(20) NOT NULL, note text NULL, price numeric(8, 2) NOT NULL, placed date NULL)").await;
        let entity = site.run(["inspectdb"]).success().stdout;
        for line in [
            "#[sea_orm(table_name = \"shop_order\")]",
            "    #[sea_orm(column_type = \"String(StringLen::N(20))\")]\n    pub r#type: String,",
            "    #[sea_orm(column_type = \"Text\")]\n    pub note: Option<String>,",
            "    pub price: Decimal,",
            "    pub placed: Option<Date>,",
            "    #[sea_orm(belongs_to, from = \"user_id\", to = \"id\")]\n    pub user: BelongsTo<super::user::Entity>,",
        ] {
            assert!(entity.contains(line), "{line}: {entity}");
        }
        assert!(site.run(["inspectdb", "polls_app_choice"]).success().stdout.contains("pub question: BelongsTo<super::question::Entity>,"));
        site.run(["inspectdb", "nothing"]).refused("There is no table \"nothing\".");
    }
}
