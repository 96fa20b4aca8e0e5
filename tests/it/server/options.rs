//! The server's options: flags, variables and configuration file.

use std::fs;

use crate::support::{Backend, Site};

#[tokio::test]
async fn options_come_from_flags_variables_and_a_file() {
    let site = Site::migrated(Backend::Sqlite).await;
    let file = site.folder().join("server.toml");
    fs::write(
        &file,
        "bind = [\"127.0.0.1:0\"]\nkeepalive = 7\ntimeout = 8\nworkers = 3\n",
    )
    .unwrap();
    let site = site
        .with("POLLS_CONFIG", "server.toml")
        .with("REQUEST_TIMEOUT", "9");
    let printed = site
        .run(["runserver", "--print-config", "--threads", "4"])
        .success()
        .stdout;
    for line in [
        "forwarded_allow_ips = [\"127.0.0.0/8\", \"::1/128\"]",
        "loglevel = \"info\"",
        "bind = [\"127.0.0.1:0\"]",
        "keepalive = 7",
        "timeout = 9",
        "threads = 4",
        "socket_mode = \"660\"",
    ] {
        assert!(
            printed.lines().any(|found| found == line),
            "{line} is not in:\n{printed}"
        );
    }
    // What was printed is a file with the same meaning.
    fs::write(site.folder().join("printed.toml"), &printed).unwrap();
    let again = site.run([
        "runserver",
        "-c",
        "printed.toml",
        "--print-config",
        "-w",
        "4",
    ]);
    assert_eq!(again.success().stdout, printed);
    site.run(["runserver", "--check-config"]).success();
    assert!(site.serve_with(&[]).get("/livez").ends_with("ok\n"));
    for (text, complaint) in [
        ("keepaliv = 7", "keepaliv"),
        ("timeout = 0", "timeout"),
        (
            "bind = [\"nowhere\"]",
            "\"nowhere\" is not a valid port number or address:port pair",
        ),
        (
            "certfile = \"cert.pem\"",
            "CERTFILE is set and KEYFILE is not",
        ),
        ("access_log_format = \"%(z)s\"", "%(z)s is not known"),
        (
            "access_log_format = \"%({cookie}i)s\"",
            "would put a secret into the log",
        ),
        (
            "loglevel = \"a=b=c\"",
            "RUST_LOG (or loglevel) cannot be read",
        ),
        ("loglevel = \"verbose\"", "\"verbose\", which is no level"),
        (
            "limit_request_line = 18446744073709551615",
            "limit_request_line",
        ),
        (
            "limit_request_fields = 200000000",
            "LIMIT_REQUEST_FIELDS must be 1000 at most",
        ),
        ("threads = 99999999", "WEB_CONCURRENCY must be 1024 at most"),
        ("bind = 8000", "bind"),
        (
            "bind = \"127.0.0.1:1\"\nmetrics_bind = \"127.0.0.1:1\"",
            "METRICS_BIND is 127.0.0.1:1, an address of BIND",
        ),
        ("forwarded_allow_ips = \"*\"", "every address is 0.0.0.0/0"),
        ("certfile = \"no.pem\"\nkeyfile = \"no.pem\"", "polls.E004"),
    ] {
        fs::write(&file, text).unwrap();
        let said = site.run(["runserver", "--check-config"]);
        assert_eq!(said.code, 1, "{text}");
        assert!(
            said.stderr.contains("Error: ") && said.stderr.contains(complaint),
            "{text}: {}",
            said.stderr
        );
    }
    fs::remove_file(&file).unwrap();
    let said = site.run(["runserver", "--check-config", "--threads", "0"]);
    assert_eq!(said.code, 2);
    assert!(
        said.stderr.contains("not a number from 1 to 4294967295"),
        "{}",
        said.stderr
    );
    assert!(
        site.run(["runserver", "--check-config"])
            .stderr
            .contains("server.toml cannot be read")
    );
}
