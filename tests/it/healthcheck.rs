//! `healthcheck` asks a running server.

use std::{os::unix::net::UnixListener, time::Duration};

use crate::support::{Backend, Site, site::CommandOutput};

#[tokio::test]
async fn a_server_that_closes_connections_is_not_ready() {
    let site = Site::new(Backend::Sqlite)
        .await
        .with("PROXY_PROTOCOL", "true");
    let path = site.folder().join("closing.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let address = format!("unix:{}", path.display());
    let said = site.run(["healthcheck", &address]);
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (1, ""),
        "{}",
        said.stderr
    );
}

on_both_databases! {
    async fn healthcheck_reports_readiness(site: Site) {
        let server = site.serve();
        let address = server.address.clone();
        let refused = format!("the server at {address} is not ready: migrations are missing: run `polls migrate`");
        site.run(["healthcheck", &address]).refused(&refused);
        site.run(["migrate"]).success();
        // The result of a check is used for 100 ms (`src/site/health.rs`).
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(site.run(["healthcheck", &address]).success().stdout, "ok\n");
        let port = address.rsplit(':').next().unwrap();
        assert_eq!(site.run(["healthcheck", port]).success().stdout, "ok\n");
        // Where nothing is said, it asks where the server would listen.
        let site = site.with("BIND", &format!("0.0.0.0:{port}"));
        assert_eq!(site.run(["healthcheck"]).success().stdout, "ok\n");
        // It needs neither the key nor the database.
        let mut bare = site.command(["healthcheck", &address]);
        bare.env_remove("SECRET_KEY").env_remove("DATABASE_URL").env_remove("ALLOWED_HOSTS");
        CommandOutput::from(bare.output().unwrap()).success();
        server.stop();
        let said = site.run(["healthcheck"]);
        assert_eq!(said.code, 1);
        assert!(said.stderr.starts_with(&format!("CommandError: no answer from {address}: nothing listens there: ")), "{}", said.stderr);
    }
}
