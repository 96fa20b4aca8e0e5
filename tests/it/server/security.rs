//! Django's security settings, and what `check --deploy` finds.

use std::os::unix::fs::PermissionsExt;

use sqlx::{Connection, Executor, PgConnection};

use super::{get, log_in, send, status};
use crate::support::{Backend, Site, cluster::Cluster, site::Server};

async fn site() -> Site {
    let site = Site::migrated(Backend::Sqlite).await;
    site.run(["seed"]).success();
    site
}

#[tokio::test]
async fn responses_have_django_s_headers() {
    let site = site().await;
    let server = site.serve();
    for path in ["/polls/", "/nope/", "/static/icon.svg", "/livez"] {
        let answer = get(&server.address, path, "");
        for line in [
            "x-frame-options: DENY",
            "x-content-type-options: nosniff",
            "referrer-policy: same-origin",
            "cross-origin-opener-policy: same-origin",
        ] {
            assert!(
                answer.contains(&format!("{line}\r\n")),
                "{path} lacks {line}: {answer}"
            );
        }
        let policy = answer
            .split("content-security-policy: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!answer.contains("strict-transport-security"), "{answer}");
    }
}

#[tokio::test]
async fn security_settings_work_as_in_django() {
    let settings = [
        ("SECURE_HSTS_SECONDS", "31536000"),
        ("SECURE_HSTS_INCLUDE_SUBDOMAINS", "true"),
        ("SECURE_HSTS_PRELOAD", "true"),
        ("SECURE_CONTENT_TYPE_NOSNIFF", "false"),
        ("SECURE_REFERRER_POLICY", "no-referrer, strict-origin"),
        ("SECURE_CROSS_ORIGIN_OPENER_POLICY", "None"),
        ("X_FRAME_OPTIONS", "SAMEORIGIN"),
        ("CSRF_COOKIE_NAME", "__Host-csrf"),
        ("CSRF_COOKIE_AGE", "60"),
        ("CSRF_COOKIE_HTTPONLY", "true"),
        ("CSRF_COOKIE_SAMESITE", "Strict"),
        ("CSRF_COOKIE_SECURE", "true"),
        ("CSRF_COOKIE_PATH", "/polls/"),
        ("CSRF_COOKIE_DOMAIN", "example.com"),
        ("CSRF_HEADER_NAME", "HTTP_X_XSRF_TOKEN"),
    ];
    let site = settings
        .iter()
        .fold(site().await, |site, (name, value)| site.with(name, value));
    let server = site.serve();
    let answer = get(&server.address, "/polls/1/", "X-Forwarded-Proto: https\r\n");
    for line in [
        "strict-transport-security: max-age=31536000; includeSubDomains; preload",
        "referrer-policy: no-referrer,strict-origin",
        "x-frame-options: SAMEORIGIN",
    ] {
        assert!(answer.contains(&format!("{line}\r\n")), "{line}: {answer}");
    }
    assert!(answer.contains("frame-ancestors 'self'"), "{answer}");
    assert!(
        !answer.contains("nosniff") && !answer.contains("cross-origin-opener-policy"),
        "{answer}"
    );
    let cookie = answer
        .split("set-cookie: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    assert!(
        cookie.starts_with("__Host-csrf=") && cookie.contains("; Domain=example.com; expires="),
        "{cookie}"
    );
    assert!(
        cookie.ends_with("; HttpOnly; Max-Age=60; Path=/polls/; SameSite=Strict; Secure"),
        "{cookie}"
    );
    let secret = "s".repeat(32);
    for (header, expected) in [("X-XSRF-Token", 404), ("X-CSRFToken", 403)] {
        let request = format!(
            "POST /polls/99/vote/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: __Host-csrf={secret}\r\n{header}: {secret}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            status(&send(&server.address, request.as_bytes())),
            expected,
            "{header}"
        );
    }
    for (name, bad) in [
        ("X_FRAME_OPTIONS", "ALLOWALL"),
        ("SECURE_REFERRER_POLICY", "whatever"),
        ("SECURE_CROSS_ORIGIN_OPENER_POLICY", "x"),
        ("SECURE_REDIRECT_EXEMPT", "("),
        ("SECURE_SSL_HOST", "a/b"),
        ("SESSION_COOKIE_SAMESITE", "lax"),
        ("SESSION_COOKIE_NAME", "a b"),
        ("SESSION_COOKIE_DOMAIN", "a;b"),
        ("CSRF_COOKIE_AGE", "-1"),
        ("CSRF_HEADER_NAME", "X-Token"),
        ("SECURE_HSTS_SECONDS", "x"),
    ] {
        let said = Site::migrated(Backend::Sqlite)
            .await
            .with(name, bad)
            .run(["check"]);
        assert!(
            said.code == 1 && said.stderr.starts_with(&format!("CommandError: {name} ")),
            "{name}: {}",
            said.stderr
        );
    }
}

#[tokio::test]
async fn http_redirects_to_https() {
    let site = site()
        .await
        .with("SECURE_SSL_REDIRECT", "true")
        .with("SECURE_REDIRECT_EXEMPT", "^static/,^polls/2/$");
    let server = site.serve();
    let location = |answer: &str| {
        answer
            .split("location: ")
            .nth(1)
            .map(|rest| rest.lines().next().unwrap().to_owned())
    };
    let answer = get(&server.address, "/polls/?q=1", "");
    assert_eq!(
        (status(&answer), location(&answer).as_deref()),
        (301, Some("https://127.0.0.1/polls/?q=1"))
    );
    for (path, headers) in [
        ("/polls/", "X-Forwarded-Proto: https\r\n"),
        ("/static/icon.svg", ""),
        ("/polls/2/", ""),
        ("/livez", ""),
    ] {
        assert_eq!(status(&get(&server.address, path, headers)), 200, "{path}");
    }
    drop(server);
    let site = site.with("SECURE_SSL_HOST", "polls.example:8443");
    let server = site.serve();
    assert_eq!(
        location(&get(&server.address, "/polls/", "")).as_deref(),
        Some("https://polls.example:8443/polls/")
    );
}

#[tokio::test]
async fn use_x_forwarded_host_is_respected() {
    let site = site().await.with("ALLOWED_HOSTS", "polls.example");
    let forwarded = "X-Forwarded-Host: polls.example\r\n";
    assert_eq!(
        status(&get(&site.serve().address, "/polls/", forwarded)),
        400
    );
    let site = site.with("USE_X_FORWARDED_HOST", "true");
    assert_eq!(
        status(&get(&site.serve().address, "/polls/", forwarded)),
        200
    );
    assert_eq!(
        status(&get(
            &site.with("TRUSTED_PROXIES", "10.0.0.1").serve().address,
            "/polls/",
            forwarded
        )),
        400
    );
}

#[tokio::test]
async fn session_cookie_age_is_respected() {
    let site = site()
        .await
        .with_superuser()
        .with("SESSION_COOKIE_NAME", "sid")
        .with("SESSION_COOKIE_AGE", "600")
        .with("SESSION_SAVE_EVERY_REQUEST", "true");
    let log_in = |server: &Server| {
        let answer = log_in(&server.address);
        let cookie = answer
            .split("set-cookie: sid=")
            .nth(1)
            .unwrap_or_else(|| panic!("{answer}"));
        cookie.lines().next().unwrap().to_owned()
    };
    let server = site.serve();
    let cookie = log_in(&server);
    assert!(cookie.contains("; Max-Age=600;"), "{cookie}");
    let key = cookie.split(';').next().unwrap();
    let again = get(
        &server.address,
        "/polls/",
        &format!("Cookie: sid={key}\r\n"),
    );
    assert!(
        again.contains(&format!("set-cookie: sid={key}; ")) && again.contains("Max-Age=600"),
        "{again}"
    );
    drop(server);
    let site = site.with("SESSION_EXPIRE_AT_BROWSER_CLOSE", "true");
    let server = site.serve();
    let cookie = log_in(&server);
    assert!(
        !cookie.contains("Max-Age") && !cookie.contains("expires"),
        "{cookie}"
    );
}

/// The ids that `check --deploy` names.
fn found(site: &Site) -> Vec<String> {
    let said = site.run([
        "check", "--deploy", "--tag", "security", "--tag", "settings",
    ]);
    let ids = said
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("?: ("));
    let mut ids: Vec<_> = ids
        .map(|rest| rest.split(')').next().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

const SOUND: [(&str, &str); 9] = [
    ("SECURE_HSTS_SECONDS", "31536000"),
    ("SECURE_HSTS_INCLUDE_SUBDOMAINS", "true"),
    ("SECURE_HSTS_PRELOAD", "true"),
    ("SECURE_SSL_REDIRECT", "true"),
    ("SESSION_COOKIE_SECURE", "true"),
    ("CSRF_COOKIE_SECURE", "true"),
    ("ALLOWED_HOSTS", "polls.example"),
    ("TRUSTED_PROXIES", "10.0.0.0/8"),
    ("BIND", "0.0.0.0:8000"),
];

#[tokio::test]
async fn check_deploy_reports_insecure_settings() {
    let sound = || async {
        SOUND
            .iter()
            .fold(site().await, |site, (name, value)| site.with(name, value))
    };
    assert_eq!(found(&sound().await), Vec::<String>::new());
    for (name, value, expected) in [
        ("SECURE_HSTS_SECONDS", "", &["security.W004"][..]),
        ("SECURE_HSTS_SECONDS", "60", &["polls.W019"]),
        ("SECURE_HSTS_INCLUDE_SUBDOMAINS", "", &["security.W005"]),
        ("SECURE_CONTENT_TYPE_NOSNIFF", "false", &["security.W006"]),
        ("SECURE_SSL_REDIRECT", "", &["security.W008"]),
        ("SECRET_KEY", "too-short-to-be-good", &["security.W009"]),
        ("SESSION_COOKIE_SECURE", "", &["security.W012"]),
        ("SESSION_COOKIE_HTTPONLY", "false", &["security.W015"]),
        ("CSRF_COOKIE_SECURE", "", &["security.W016"]),
        ("DEBUG", "true", &["polls.W012", "security.W018"]),
        ("X_FRAME_OPTIONS", "SAMEORIGIN", &["security.W019"]),
        ("ALLOWED_HOSTS", "", &["security.W020"]),
        ("SECURE_HSTS_PRELOAD", "", &["security.W021"]),
        ("SECURE_REFERRER_POLICY", "None", &["security.W022"]),
        ("SECRET_KEY_FALLBACKS", "weak", &["security.W025"]),
        ("TRUSTED_PROXIES", "", &["polls.W013"]),
        ("METRICS_BIND", "0.0.0.0:9000", &["polls.W014"]),
        ("METRICS_BIND", "10.0.0.1:9000", &[]),
        ("ALLOWED_HOSTS", "*", &["polls.W015"]),
        ("TRUSTED_PROXIES", "0.0.0.0/0", &["polls.W018"]),
    ] {
        assert_eq!(
            found(&sound().await.with(name, value)),
            expected,
            "{name}={value}"
        );
    }
    // Reported with --deploy only.
    assert_eq!(
        site()
            .await
            .run(["check", "--tag", "security"])
            .success()
            .stderr,
        ""
    );
    let site = sound().await;
    let file = site.folder().join(".env");
    std::fs::write(&file, "RUST_LOG=info\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(found(&site), ["polls.W017"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(found(&site), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_deploy_checks_the_database_role_and_password() {
    let cluster = Cluster::new(&[]);
    let mut db = PgConnection::connect(&cluster.url()).await.unwrap();
    for statement in [
        "CREATE ROLE plain LOGIN",
        "CREATE DATABASE plain OWNER plain",
        "CREATE ROLE maker LOGIN CREATEDB",
    ] {
        db.execute(statement).await.unwrap();
    }
    let site = SOUND
        .iter()
        .fold(Site::new(Backend::Sqlite).await, |site, (name, value)| {
            site.with(name, value)
        });
    let with = |user: &str, password: &str| {
        format!(
            "postgres://{user}:{password}@127.0.0.1:{}/plain",
            cluster.port
        )
    };
    let mut site = site.with("DATABASE_URL", &with("plain", "a-long-and-random-one"));
    assert_eq!(found(&site), Vec::<String>::new());
    for (user, password, expected) in [
        ("plain", "postgres", &["polls.W010"][..]),
        ("plain", "Changeme", &["polls.W010"]),
        ("plain", "short", &["polls.W010"]),
        ("maker", "a-long-and-random-one", &["polls.W011"]),
        ("postgres", "a-long-and-random-one", &["polls.W011"]),
    ] {
        site = site.with("DATABASE_URL", &with(user, password));
        assert_eq!(found(&site), expected, "{user}:{password}");
    }
    db.execute("ALTER ROLE plain SET synchronous_commit = off")
        .await
        .unwrap();
    site = site.with("DATABASE_URL", &with("plain", "a-long-and-random-one"));
    assert_eq!(found(&site), ["polls.W020"]);
    site = site.with("CACHE_URL", "redis://cache.invalid");
    assert_eq!(found(&site), ["polls.W020", "polls.W021"]);
    site = site.with("CACHE_URL", "");
    let far = "postgres://polls:a-long-and-random-one@db.invalid/polls";
    let said = site
        .with("DATABASE_URL", far)
        .run(["check", "--deploy", "--tag", "security"]);
    assert!(
        said.stderr
            .contains("?: (polls.W016) Anyone on the network path to db.invalid"),
        "{}",
        said.stderr
    );
}
