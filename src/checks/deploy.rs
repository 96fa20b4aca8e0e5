//! The checks of `check --deploy`: Django's, with its ids and texts, and those of this program.

use std::os::unix::fs::PermissionsExt;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use secrecy::ExposeSecret;

use super::message::Message;
use crate::{
    db::Database,
    settings::{Bind, Settings, loopback},
};

/// Common passwords of databases, which attackers try first.
const COMMON_PASSWORDS: [&str; 10] = [
    "postgres", "polls", "password", "passw0rd", "secret", "admin", "root", "changeme", "example",
    "test",
];
/// The minimum length of the database's password, in characters.
const MIN_DATABASE_PASSWORD: usize = 12;
/// The HSTS period in seconds below which there is a warning; browsers' preload lists require a year.
const MIN_HSTS_SECONDS: u32 = 3600;

/// Checks the settings.
pub fn check_settings(settings: &Settings, messages: &mut Vec<Message>) {
    check_django(settings, messages);
    check_listeners(settings, messages);
    check_addresses(settings, messages);
    check_files(settings, messages);
}

/// Django's checks, without those that run at each start.
fn check_django(settings: &Settings, messages: &mut Vec<Message>) {
    let (security, headers) = (&settings.security, &settings.security.headers);
    let mut warn = |id, condition: bool, text: &str| {
        if condition {
            messages.push(Message::warning(id, text.to_owned(), None));
        }
    };
    warn(
        "security.W004",
        headers.hsts_seconds == 0,
        "You have not set a value for the SECURE_HSTS_SECONDS setting. If your entire site is served only over SSL, you may \
         want to consider setting a value and enabling HTTP Strict Transport Security. Be sure to read the documentation \
         first; enabling HSTS carelessly can cause serious, irreversible problems.",
    );
    let has_hsts = headers.hsts_seconds > 0;
    warn(
        "security.W005",
        has_hsts && !headers.hsts_include_subdomains,
        "You have not set the SECURE_HSTS_INCLUDE_SUBDOMAINS setting to True. Without this, your site is potentially \
         vulnerable to attack via an insecure connection to a subdomain. Only set this to True if you are certain that all \
         subdomains of your domain should be served exclusively via SSL.",
    );
    warn(
        "security.W006",
        !headers.content_type_nosniff,
        "Your SECURE_CONTENT_TYPE_NOSNIFF setting is not set to True, so your pages will not be served with an \
         'X-Content-Type-Options: nosniff' header. You should consider enabling this header to prevent the browser from \
         identifying content types incorrectly.",
    );
    warn(
        "security.W008",
        !headers.ssl_redirect,
        "Your SECURE_SSL_REDIRECT setting is not set to True. Unless your site should be available over both SSL and non-SSL \
         connections, you may want to either set this setting True or configure a load balancer or reverse-proxy server to \
         redirect all connections to HTTPS.",
    );
    warn(
        "security.W012",
        security.session_cookie.secure != Some(true),
        "SESSION_COOKIE_SECURE is not set to True. Using a secure-only session cookie makes it more difficult for network \
         traffic sniffers to hijack user sessions.",
    );
    warn(
        "security.W015",
        !security.session_cookie.http_only,
        "SESSION_COOKIE_HTTPONLY is not set to True. Using an HttpOnly session cookie makes it more difficult for cross-site \
         scripting attacks to hijack user sessions.",
    );
    warn(
        "security.W016",
        security.csrf_cookie.secure != Some(true),
        "You have not set CSRF_COOKIE_SECURE to True. Using a secure-only CSRF cookie makes it more difficult for network \
         traffic sniffers to steal the CSRF token.",
    );
    warn(
        "security.W018",
        settings.debug,
        "You should not have DEBUG set to True in deployment.",
    );
    warn(
        "security.W019",
        headers.x_frame_options != "DENY",
        "X_FRAME_OPTIONS is not set to 'DENY'. Unless there is a good reason for your site to serve other parts of itself in \
         a frame, you should change it to 'DENY'.",
    );
    warn(
        "security.W021",
        has_hsts && !headers.hsts_preload,
        "You have not set the SECURE_HSTS_PRELOAD setting to True. Without this, your site cannot be submitted to the browser \
         preload list.",
    );
    warn(
        "security.W022",
        headers.referrer_policy.is_none(),
        "You have not set the SECURE_REFERRER_POLICY setting. Without this, your site will not send a Referrer-Policy header. \
         You should consider enabling this header to protect user privacy.",
    );
    for index in security.weak_fallbacks() {
        let text = format!(
            "Your SECRET_KEY_FALLBACKS[{index}] has less than 50 characters, less than 5 unique characters, or it's prefixed \
             with 'django-insecure-' indicating that it was generated automatically. Please generate a long and random \
             value, otherwise many security-critical features will be vulnerable to attack."
        );
        messages.push(Message::warning("security.W025", text, None));
    }
    if has_hsts && headers.hsts_seconds < MIN_HSTS_SECONDS {
        let text = format!(
            "SECURE_HSTS_SECONDS is {}: most browsers forget it before their next visit.",
            headers.hsts_seconds
        );
        let hint = "Raise it step by step, to 31536000 (a year) when all works.";
        messages.push(Message::warning("polls.W019", text, Some(hint)));
    }
}

/// Checks the listening addresses and the trusted proxies.
fn check_listeners(settings: &Settings, messages: &mut Vec<Message>) {
    let (server, security) = (&settings.server, &settings.security);
    let mut warn = |id, condition: bool, text: &str, hint| {
        if condition {
            messages.push(Message::warning(id, text.to_owned(), Some(hint)));
        }
    };
    let is_public = server.bind.iter().any(is_public);
    warn(
        "polls.W012",
        settings.debug && is_public,
        "DEBUG is on and the server listens on a public address: everyone can read its error pages.",
        "Set DEBUG to false, or BIND to 127.0.0.1:8000.",
    );
    warn(
        "polls.W013",
        is_public && server.tls.is_none() && security.trusted_proxies == loopback(),
        "Nothing speaks HTTPS: the server has no certificate and trusts no proxy that has one.",
        "Set CERTFILE and KEYFILE, or name the proxy in TRUSTED_PROXIES.",
    );
    warn(
        "polls.W014",
        server.metrics_bind.as_ref().is_some_and(self::is_public),
        "METRICS_BIND is a public address: everyone can read its metrics.",
        "Set it to an address of this machine or of the monitoring network.",
    );
    warn(
        "polls.W015",
        security.allowed_hosts.iter().any(|host| host == "*"),
        "ALLOWED_HOSTS has *: links can be made that lead to other sites.",
        "Name the names of the site.",
    );
    let trusts_nearly_all = security
        .trusted_proxies
        .iter()
        .any(|network| network.prefix_len() < 8);
    warn(
        "polls.W018",
        trusts_nearly_all,
        "TRUSTED_PROXIES includes nearly every address: any client can claim any address, and guess passwords from a new one each time.",
        "Name the networks of your proxies.",
    );
}

/// Whether an address can be reached from beyond this machine and its private networks.
fn is_public(bind: &Bind) -> bool {
    let Bind::Tcp(text) = bind else {
        return false;
    };
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => !(address.is_loopback() || address.is_private()),
        Ok(std::net::IpAddr::V6(address)) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
        Err(_) => host != "localhost",
    }
}

/// Checks passwords and encryption of the databases and the cache.
fn check_addresses(settings: &Settings, messages: &mut Vec<Message>) {
    let database = &settings.database;
    if database.backend == DbBackend::Postgres {
        // Several hosts differ in nothing else.
        for url in database
            .urls
            .first()
            .into_iter()
            .chain(database.replica_urls.first())
        {
            check_database_address(url.expose_secret(), messages);
        }
    }
    let cache = settings.cache.as_ref();
    let Some(Ok(url)) = cache.map(|cache| url::Url::parse(cache.url.expose_secret())) else {
        return;
    };
    if url.password().is_none() && !is_local(url.host_str().unwrap_or_default()) {
        let text =
            "The cache has no password: anyone who can connect to it can reset failed logins.";
        let hint = "Give it one (requirepass), and set CACHE_PASSWORD_FILE.";
        messages.push(Message::warning("polls.W021", text.to_owned(), Some(hint)));
    }
}

/// Whether a host is this machine; an empty one is a Unix socket.
fn is_local(host: &str) -> bool {
    ["", "localhost", "127.0.0.1", "[::1]"].contains(&host)
}

fn check_database_address(url: &str, messages: &mut Vec<Message>) {
    let Ok(url) = url::Url::parse(url) else {
        return;
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    let is_local = is_local(&host);
    let password = percent_encoding::percent_decode_str(url.password().unwrap_or_default())
        .decode_utf8_lossy()
        .into_owned();
    let is_guessable = password.chars().count() < MIN_DATABASE_PASSWORD
        || password == url.username()
        || COMMON_PASSWORDS
            .iter()
            .any(|common| password.eq_ignore_ascii_case(common));
    if is_guessable && !(is_local && password.is_empty()) {
        let text = if password.is_empty() {
            "The database takes this role without a password.".to_owned()
        } else {
            format!(
                "The database's password is one of those that are tried first, or shorter than {MIN_DATABASE_PASSWORD} characters."
            )
        };
        let hint = "Give the role a long random one: `openssl rand -base64 24` makes some.";
        messages.push(Message::warning("polls.W010", text, Some(hint)));
    }
    let mode = url.query_pairs().find(|(name, _)| name == "sslmode");
    let is_encrypted =
        mode.is_some_and(|(_, mode)| ["require", "verify-ca", "verify-full"].contains(&&*mode));
    if !is_local && !is_encrypted {
        let text = format!("Anyone on the network path to {host} can read the database's traffic.");
        let hint =
            "Add ?sslmode=verify-full to its address, or see to it that the network is encrypted.";
        messages.push(Message::warning("polls.W016", text, Some(hint)));
    }
}

/// Checks the permissions of files with secrets.
fn check_files(settings: &Settings, messages: &mut Vec<Message>) {
    let key = settings.server.tls.as_ref().map(|files| files.key.clone());
    for path in key.into_iter().chain(settings.env_file.clone()) {
        let mode = path.metadata().map(|file| file.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o007 != 0) {
            let text = format!(
                "{} holds secrets, and every user of this machine can read it.",
                path.display()
            );
            messages.push(Message::warning(
                "polls.W017",
                text,
                Some("Run chmod o= on it."),
            ));
        }
    }
}

/// Checks the privileges of PostgreSQL's role, and whether committed transactions survive a crash.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn check_database(db: &Database, messages: &mut Vec<Message>) -> Result<(), DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let query = "SELECT rolname::text AS name, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls AS has_excess_privileges, \
                 'off' IN (current_setting('synchronous_commit'), current_setting('fsync')) AS is_commit_volatile \
                 FROM pg_roles WHERE rolname = current_user";
    let row = db
        .query_one_raw(Statement::from_string(DbBackend::Postgres, query))
        .await?;
    let Some(row) = row else {
        return Ok(());
    };
    if row.try_get("", "has_excess_privileges")? {
        let name: String = row.try_get("", "name")?;
        let text = format!("The database's role {name} may do more than own its database.");
        let hint = "Make one that is no superuser and can make neither roles nor databases: createuser --pwprompt polls.";
        messages.push(Message::warning("polls.W011", text, Some(hint)));
    }
    if row.try_get("", "is_commit_volatile")? {
        let text =
            "A crash of the database's machine may take back votes that have been acknowledged."
                .to_owned();
        let hint =
            "Set synchronous_commit and fsync to on, for the server, the database and the role.";
        messages.push(Message::warning("polls.W020", text, Some(hint)));
    }
    Ok(())
}
