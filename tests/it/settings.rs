//! Settings: each invalid value gives one sentence that names its variable, and no secret is printed.

use polls::settings::{DatabaseSettings, ServerOptions, Settings};

use crate::support::{Backend, Site, TestDatabase, site::SECRET_KEY};

async fn site() -> Site {
    Site::on(TestDatabase::migrated(Backend::Sqlite).await)
}

#[tokio::test]
async fn invalid_values_are_refused_by_name() {
    let cases = [
        ("SECRET_KEY", "", "SECRET_KEY is not set: "),
        (
            "SECRET_KEY",
            "short-and-secret",
            "SECRET_KEY is shorter than 16 characters",
        ),
        (
            "DATABASE_URL",
            "nonsense",
            "DATABASE_URL is not an address: ",
        ),
        (
            "DATABASE_URL",
            "mysql://polls:hidden@host/polls",
            "DATABASE_URL has the unknown scheme \"mysql\": ",
        ),
        (
            "DATABASE_URL",
            "postgres://polls:hidden@host:port/polls",
            "DATABASE_URL cannot be read: ",
        ),
        (
            "DATABASE_URL",
            "postgres://polls:hidden@host:99999/polls",
            "DATABASE_URL cannot be read: ",
        ),
        (
            "DATABASE_URL",
            "postgres://polls:hidden@host",
            "DATABASE_URL names no database: ",
        ),
        (
            "DATABASE_URL",
            "postgres://polls:hidden@host/polls?sslmode=maybe",
            "DATABASE_URL has a parameter that ",
        ),
        (
            "DATABASE_URL",
            "sqlite::memory:",
            "DATABASE_URL names no file: ",
        ),
        ("DATABASE_URL", "sqlite://", "DATABASE_URL names no file: "),
        (
            "DATABASE_URL",
            "sqlite://db.sqlite3?mode=memory",
            "DATABASE_URL names no file: ",
        ),
        (
            "DATABASE_URL",
            "postgres://polls:/hidden@host/polls",
            "DATABASE_URL has a password with a special character: ",
        ),
        (
            "DATABASE_URL",
            "postgres://polls:12/hidden@host/polls",
            "DATABASE_URL has a password with a special character: ",
        ),
        (
            "DATABASE_REPLICA_URL",
            "postgres://polls@host/polls",
            "DATABASE_REPLICA_URL is for PostgreSQL: SQLite has no copies.",
        ),
        (
            "DATABASE_REPLICA_URL",
            "postgres://polls:hidden@host",
            "DATABASE_REPLICA_URL names no database: ",
        ),
        (
            "CACHE_URL",
            "memcached://host",
            "CACHE_URL has the unknown scheme \"memcached\": use redis://.",
        ),
        (
            "CACHE_URL",
            "redis://:hidden@host/one",
            "CACHE_URL is not redis://[user:password@]host[:port][/number].",
        ),
        ("CACHE_URL", "redis:///", "CACHE_URL names no host."),
        (
            "DATABASE_POOL_SIZE",
            "4294967295",
            "DATABASE_POOL_SIZE must be a number from 1 to 1000, not 4294967295.",
        ),
        (
            "CSRF_TRUSTED_ORIGINS",
            "https://*example.com",
            "CSRF_TRUSTED_ORIGINS has the entry ",
        ),
        (
            "CSRF_TRUSTED_ORIGINS",
            "https://good.example, https://bad.example/",
            "CSRF_TRUSTED_ORIGINS has the entry \"https://bad.example/\": ",
        ),
        (
            "DATABASE_STATEMENT_TIMEOUT",
            "86401",
            "DATABASE_STATEMENT_TIMEOUT must be a number of seconds from 1 to 86400, not 86401.",
        ),
        (
            "DATABASE_POOL_SIZE",
            "0",
            "DATABASE_POOL_SIZE must be a number from 1 to 1000, not 0.",
        ),
        (
            "DATABASE_URL",
            "postgres://polls@host/polls?sslpassword=hidden",
            "DATABASE_URL has the parameter \"sslpassword\", which is not known.",
        ),
        (
            "ALLOWED_HOSTS",
            "good.example, http://bad.example",
            "ALLOWED_HOSTS has the entry \"http://bad.example\": ",
        ),
        (
            "ALLOWED_HOSTS",
            "*.example.com",
            "ALLOWED_HOSTS has the entry \"*.example.com\": ",
        ),
        (
            "BIND",
            "127.0.0.1:99999",
            "BIND has the entry \"127.0.0.1:99999\": ",
        ),
        (
            "DEBUG",
            "perhaps",
            "DEBUG must be true or false, not \"perhaps\".",
        ),
        (
            "TRUSTED_PROXIES",
            "10.0.0.0/8, here",
            "TRUSTED_PROXIES has the entry \"here\": ",
        ),
        (
            "CSRF_TRUSTED_ORIGINS",
            "example.com",
            "CSRF_TRUSTED_ORIGINS has the entry \"example.com\": ",
        ),
        (
            "GRACEFUL_TIMEOUT",
            "soon",
            "GRACEFUL_TIMEOUT must be a number of seconds, not \"soon\".",
        ),
        (
            "TIME_ZONE",
            "Atlantis",
            "TIME_ZONE must be the name of a time zone, as Europe/Berlin, not \"Atlantis\".",
        ),
        (
            "LOG_FORMAT",
            "xml",
            "LOG_FORMAT must be text or json, not \"xml\".",
        ),
        (
            "RUST_LOG",
            "a=b=c",
            "RUST_LOG (or loglevel) cannot be read: ",
        ),
        (
            "SECRET_KEY_FILE",
            "key",
            "SECRET_KEY and SECRET_KEY_FILE are both set: ",
        ),
        (
            "POLLS_BACKEND_SERVICE_PORT",
            "tcp://10.0.0.1:5432",
            "POLLS_BACKEND_SERVICE_PORT must be a port number, not ",
        ),
    ];
    for (name, value, sentence) in cases {
        let mut site = site().await.with(name, value);
        if name == "SECRET_KEY" && !value.is_empty() {
            site = site.with(name, &value[..15]);
        }
        if name == "POLLS_BACKEND_SERVICE_PORT" {
            site = site
                .with("DATABASE_URL", "")
                .with("POLLS_BACKEND_SERVICE_HOST", "10.0.0.1");
        }
        let said = site.run(["showmigrations"]);
        assert_eq!(
            (said.code, said.stdout.as_str()),
            (1, ""),
            "{name}={value}: {}",
            said.stderr
        );
        assert!(
            said.stderr
                .starts_with(&format!("CommandError: {sentence}")),
            "{name}={value}: {}",
            said.stderr
        );
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        for secret in ["hidden", SECRET_KEY, "short-and-"] {
            assert!(!said.stderr.contains(secret), "{}", said.stderr);
        }
    }
}

#[tokio::test]
async fn a_weak_key_is_a_warning_and_debug_mode_needs_none() {
    let said = site()
        .await
        .with("SECRET_KEY", "sixteen-letters!")
        .run(["check"])
        .success();
    assert!(
        said.stderr
            .contains("?: (security.W009) Your SECRET_KEY has less than 50 characters"),
        "{}",
        said.stderr
    );
    assert!(!said.stderr.contains("sixteen-letters!"));
    let said = site()
        .await
        .with("SECRET_KEY", "")
        .with("DEBUG", "true")
        .run(["check"])
        .success();
    assert_eq!(
        said.stdout,
        "System check identified no issues (0 silenced).\n"
    );
}

#[tokio::test]
async fn an_invalid_bind_address_names_its_variable() {
    for bad in ["nonsense", "99999"] {
        let sentence = format!(
            "BIND has the entry \"{bad}\": \"{bad}\" is not a valid port number or address:port pair."
        );
        site()
            .await
            .with("BIND", bad)
            .run(["runserver"])
            .refused(&sentence);
        site()
            .await
            .with("BIND", bad)
            .run(["healthcheck"])
            .refused(&sentence);
    }
}

#[tokio::test]
async fn secrets_are_read_from_files() {
    let site = site().await.with("SECRET_KEY", "");
    std::fs::write(site.folder().join("key"), format!("{SECRET_KEY}\n")).unwrap();
    let site = site.with("SECRET_KEY_FILE", "key");
    assert_eq!(site.run(["check"]).success().stderr, "");
    site.with("SECRET_KEY_FILE", "nowhere").run(["check"]).refused(
        "SECRET_KEY_FILE names nowhere, which cannot be read: No such file or directory (os error 2)",
    );
}

#[tokio::test]
async fn the_env_file_is_read_and_the_environment_wins() {
    let site = site()
        .await
        .with("SECRET_KEY", "")
        .with("ALLOWED_HOSTS", "");
    std::fs::write(
        site.folder().join(".env"),
        format!("SECRET_KEY={SECRET_KEY}\nALLOWED_HOSTS=127.0.0.1\nDEBUG=nonsense\n"),
    )
    .unwrap();
    site.run(["check"])
        .refused("DEBUG must be true or false, not \"nonsense\".");
    let site = site.with("DEBUG", "false");
    assert_eq!(site.run(["check"]).success().stderr, "");

    std::fs::rename(site.folder().join(".env"), site.folder().join("other")).unwrap();
    assert_eq!(
        site.run(["--env-file", "other", "check"]).success().stderr,
        ""
    );
    let said = site.run(["--env-file", "nowhere", "check"]);
    assert!(
        said.stderr
            .starts_with("CommandError: nowhere cannot be read: "),
        "{}",
        said.stderr
    );
    std::fs::write(site.folder().join("bad"), "SECRET_KEY 'secret thing\n").unwrap();
    site.run(["--env-file", "bad", "check"])
        .refused("bad has a line that is not NAME=value.");
}

#[tokio::test]
async fn a_kubernetes_service_gives_the_database_address() {
    let database = TestDatabase::migrated(Backend::Postgres).await;
    let (port, name) = (
        database.url.rsplit([':', '/']).nth(1).unwrap().to_owned(),
        database.postgres_name().to_owned(),
    );
    let site = Site::on(database).with("DATABASE_URL", "");
    let site = site
        .with("POLLS_BACKEND_SERVICE_HOST", "127.0.0.1")
        .with("POLLS_BACKEND_SERVICE_PORT", &port);
    let site = site
        .with("POSTGRES_USER", "postgres")
        .with("POSTGRES_PASSWORD", "pass:w/rd@#?")
        .with("POSTGRES_DB", &name);
    let said = site.run(["showmigrations", "sessions"]).success();
    assert_eq!(said.stdout, "sessions\n [X] 0001_initial\n");
    // An address of one's own comes first.
    let said = site
        .with("DATABASE_URL", "postgres://polls:hidden@127.0.0.1:1/polls")
        .run(["showmigrations"]);
    let expected =
        "CommandError: the database at postgres://polls@127.0.0.1:1/polls cannot be reached: ";
    assert!(said.stderr.starts_with(expected), "{}", said.stderr);
}

#[tokio::test]
async fn several_hosts_and_ipv6_addresses_are_read() {
    let site = Site::new(Backend::Sqlite).await;
    let url = "postgres://polls:hidden@[::1]:1,127.0.0.1:1/polls?sslmode=disable";
    let said = site.with("DATABASE_URL", url).run(["showmigrations"]);
    let expected = "CommandError: the database at postgres://polls@[::1]:1,127.0.0.1:1/polls cannot be reached: ";
    assert!(said.stderr.starts_with(expected), "{}", said.stderr);
    assert!(said.stderr.contains("; 127.0.0.1:1: "), "{}", said.stderr);
    assert!(!said.stderr.contains("lookup address"), "{}", said.stderr);
    for (url, fault) in [
        (
            "postgres://polls@one,two:port/polls",
            "cannot be read: invalid port number",
        ),
        ("postgres://polls@one,/polls", "cannot be read: empty host"),
    ] {
        let site = Site::new(Backend::Sqlite).await.with("DATABASE_URL", url);
        let said = site.run(["check"]);
        let expected = format!("CommandError: DATABASE_URL {fault}");
        assert!(said.stderr.starts_with(&expected), "{}", said.stderr);
    }
}

#[test]
fn settings_do_not_print_secrets() {
    let settings =
        DatabaseSettings::from_url("DATABASE_URL", "postgres://u:hidden@h/d", None).unwrap();
    assert!(!format!("{settings:?}").contains("hidden"));
    assert_eq!(settings.display(), "postgres://u@h/d");
}

/// Compares the generated tables of the documentation with the declarations, or writes them.
#[test]
#[expect(clippy::disallowed_methods, reason = "it is no setting of the program")]
fn the_documentation_has_the_declared_settings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    let mut text = std::fs::read_to_string(path).unwrap();
    let [own, django] = Settings::reference();
    let tables = [
        ("environment variables", own),
        ("Django's settings", django),
        ("server options", ServerOptions::reference()),
    ];
    for (name, expected) in tables {
        let start =
            format!("<!-- Generated ({name}): UPDATE_DOCS=1 cargo test --test it settings:: -->\n");
        let (before, rest) = text.split_once(&start).unwrap();
        let (table, after) = rest.split_once("<!-- end -->").unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            text = [before, &start, &expected, "<!-- end -->", after].concat();
        } else {
            assert_eq!(
                table, expected,
                "UPDATE_DOCS=1 cargo test --test it settings::"
            );
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, text).unwrap();
    }
}
