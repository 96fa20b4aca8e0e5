//! Listeners, protocols, TLS, the PROXY protocol and socket activation.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixStream},
    },
};

use tokio::net::TcpStream;

use super::{send, status};
use crate::support::{
    Backend, Site,
    site::Server,
    tls::{connect, get_http2, write_certificate},
};

#[tokio::test]
async fn several_addresses_and_a_socket_with_its_mode() {
    let site = Site::migrated(Backend::Sqlite).await;
    let path = site.folder().join("polls.sock");
    let unix = format!("unix:{}", path.display());
    let args = [
        "-b",
        "127.0.0.1:0",
        "--bind",
        "[::1]:0",
        "-b",
        &unix,
        "--socket-mode",
        "600",
    ];
    let server = site.serve_with(&args);
    let lines: Vec<&str> = server
        .startup_output
        .lines()
        .filter(|line| line.starts_with("Starting server"))
        .collect();
    assert_eq!(lines.len(), 3, "{}", server.startup_output);
    assert_eq!(lines[2], format!("Starting server at {unix}"));
    assert!(server.get("/livez").ends_with("ok\n"));
    let second = lines[1].split("://").nth(1).unwrap().trim_end_matches('/');
    assert!(
        send(
            second,
            b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .ends_with("ok\n")
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let ask = |headers: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        let request = format!(
            "GET /polls/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("").starts_with("HTTP/1.1 200 "));
    // A proxy on the loopback address is trusted.
    ask("X-Forwarded-For: 203.0.113.9\r\n");
    assert_eq!(site.run(["healthcheck", &unix]).success().stdout, "ok\n");
    // No other process may bind it while it is in use.
    let said = site.run(["runserver", &unix]);
    assert!(
        said.stderr
            .starts_with(&format!("CommandError: cannot listen on {unix}: ")),
        "{}",
        said.stderr
    );
    let (log, code) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("access: 203.0.113.9 \"GET /polls/"), "{log}");
    assert!(!path.exists());
    // A socket that has been replaced meanwhile is another server's.
    let server = site.serve_with(&[&unix]);
    fs::remove_file(&path).unwrap();
    let other = site.serve_with(&[&unix]);
    drop(server.stop());
    assert!(path.exists());
    drop(other.stop());
    // What a server leaves behind that was killed is no obstacle.
    let server = site.serve_with(&[&unix]);
    server.signal("-KILL");
    server.wait();
    assert!(path.exists());
    assert!(site.serve_with(&[&unix]).startup_output.contains("unix:"));
}

/// `127.0.0.1:0` as systemd would open it, in a shell that hands it to the server.
fn handed_over(site: &Site, notify: &str) -> Server {
    let script = "import os, socket, sys\n\
        listener = socket.create_server(('127.0.0.1', 0))\n\
        os.dup2(listener.fileno(), 3)\n\
        os.set_inheritable(3, True)\n\
        os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET=sys.argv[1])\n\
        os.execv(sys.argv[2], [sys.argv[2], 'runserver'])\n";
    let mut command = site.command_by("python3", &["-c", script, notify], &[]);
    Server::start(&mut command)
}

#[tokio::test]
async fn systemd_passes_a_socket_and_is_notified() {
    let site = Site::migrated(Backend::Sqlite).await;
    let path = site.folder().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .unwrap();
    let heard = || {
        let mut bytes = [0; 100];
        let count = supervisor.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
    };
    let server = handed_over(&site, path.to_str().unwrap());
    assert_eq!(heard(), "READY=1");
    assert!(server.get("/livez").ends_with("ok\n"));
    assert_eq!(server.stop().1, Some(0));
    assert_eq!(heard(), "STOPPING=1");
}

#[tokio::test]
async fn tls_and_http2_work_and_the_certificate_is_reloaded() {
    let site = Site::migrated(Backend::Sqlite)
        .await
        .with("ALLOWED_HOSTS", "localhost")
        .with("CERTFILE", "cert.pem")
        .with("KEYFILE", "key.pem")
        .with("SECURE_HSTS_SECONDS", "60");
    site.run(["seed"]).success();
    write_certificate(site.folder());
    let server = site.serve();
    assert!(
        server
            .startup_output
            .contains("Starting server at https://"),
        "{}",
        server.startup_output
    );
    let stream = connect(site.folder(), &server.address, &["h2", "http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let answer = get_http2(stream, "https://localhost/polls/1/").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=60");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    assert!(String::from_utf8_lossy(answer.body()).contains("csrfmiddlewaretoken"));
    // Other names are refused on HTTP/2 as well.
    let stream = connect(site.folder(), &server.address, &["h2"])
        .await
        .unwrap();
    assert_eq!(
        get_http2(stream, "https://other.example/polls/")
            .await
            .status(),
        400
    );
    let mut stream = connect(site.folder(), &server.address, &["http/1.1"])
        .await
        .unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    assert_eq!(
        site.run(["healthcheck", &server.address]).success().stdout,
        "ok\n"
    );

    // A client that does not begin with TLS gets no answer.
    assert_eq!(
        status(&send(&server.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
        0
    );
    let mut resting = connect(site.folder(), &server.address, &["http/1.1"])
        .await
        .unwrap();
    write_certificate(site.folder());
    assert!(connect(site.folder(), &server.address, &[]).await.is_err());
    server.signal("-HUP");
    for _ in 0..100 {
        if connect(site.folder(), &server.address, &[]).await.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(connect(site.folder(), &server.address, &[]).await.is_ok());
    // Who was connected before stays so.
    resting
        .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    resting.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    // A certificate that is none leaves the old one in force.
    fs::write(site.folder().join("key.pem"), "nonsense").unwrap();
    server.signal("-HUP");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(connect(site.folder(), &server.address, &[]).await.is_ok());
    let (log, code) = server.stop();
    assert_eq!(code, Some(0));
    assert!(
        log.contains(
            "not reloaded, all stays as it was: KEYFILE names key.pem, which holds no key that can be read"
        ),
        "{log}"
    );
}

#[tokio::test]
async fn http2_without_tls_works_with_prior_knowledge() {
    let site = Site::migrated(Backend::Sqlite).await;
    let server = site.serve();
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let answer = get_http2(stream, &format!("http://{}/polls/", server.address)).await;
    assert_eq!(answer.status(), 200);
    assert!(server.stop().0.contains("\"GET /polls/ HTTP/2.0\" 200"));
}

#[tokio::test]
async fn the_proxy_protocol_gives_the_client_address() {
    let site = Site::migrated(Backend::Sqlite)
        .await
        .with("PROXY_PROTOCOL", "true");
    let server = site.serve();
    let request = format!(
        "GET /polls/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    let version_1 = format!("PROXY TCP4 203.0.113.1 192.0.2.1 5000 80\r\n{request}");
    assert_eq!(status(&send(&server.address, version_1.as_bytes())), 200);
    let mut version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    version_2.extend([203, 0, 113, 2, 192, 0, 2, 1, 0x13, 0x88, 0, 80]);
    version_2.extend(request.as_bytes());
    assert_eq!(status(&send(&server.address, &version_2)), 200);
    assert_eq!(status(&send(&server.address, request.as_bytes())), 400);
    assert_eq!(
        status(&send(
            &server.address,
            b"PROXY TCP4 999.0.113.1 192.0.2.1 5000 80\r\n\r\n"
        )),
        400
    );
    let (log, _) = server.stop();
    for visitor in ["203.0.113.1", "203.0.113.2"] {
        assert!(
            log.contains(&format!("access: {visitor} \"GET /polls/")),
            "{log}"
        );
    }
    let site = site.with("SECURE_SSL_REDIRECT", "true");
    let server = site.serve();
    // Forwarding headers count when the announced address is itself a proxy's, and not when a client could have sent them.
    let forwarded = |header: &str| {
        let request = format!(
            "{header}GET /polls/ HTTP/1.1\r\nHost: {}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 198.51.100.9\r\n\
             Connection: close\r\n\r\n",
            server.address
        );
        status(&send(&server.address, request.as_bytes()))
    };
    assert_eq!(
        forwarded("PROXY TCP4 127.0.0.9 192.0.2.1 5000 443\r\n"),
        200
    );
    assert_eq!(
        forwarded("PROXY TCP4 203.0.113.1 192.0.2.1 5000 443\r\n"),
        301
    );
    assert_eq!(forwarded("PROXY UNKNOWN\r\n"), 301);
    assert_eq!(
        site.run(["healthcheck", &server.address]).success().stdout,
        "ok\n"
    );
    let (log, _) = server.stop();
    for (client, answer) in [
        ("198.51.100.9", 200),
        ("203.0.113.1", 301),
        ("127.0.0.1", 301),
    ] {
        let line = format!("access: {client} \"GET /polls/ HTTP/1.1\" {answer}");
        assert!(log.contains(&line), "{line} in {log}");
    }
    // Others than proxies cannot claim anything.
    let site = site.with("TRUSTED_PROXIES", "10.0.0.1");
    let server = site.serve();
    assert_eq!(status(&send(&server.address, version_1.as_bytes())), 400);
    assert!(server.get("/livez").ends_with("ok\n"));
}

#[tokio::test]
async fn two_servers_share_a_port_with_reuse_port() {
    let site = Site::migrated(Backend::Sqlite)
        .await
        .with("REUSE_PORT", "true");
    let first = site.serve();
    let second = site.serve_on(&first.address);
    assert_eq!(first.address, second.address);
    drop(first);
    assert!(second.get("/livez").ends_with("ok\n"));
}
