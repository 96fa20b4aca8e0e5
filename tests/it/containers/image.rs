//! The contents of the image, and running it without privileges.

use std::{fs, process::Command};

use serde_json::Value;

use super::deployment::TIMEOUT;
use super::engine::{Container, IMAGE, Volume, docker, try_docker};
use crate::support::{app::PASSWORD, http::wait_until, site::SECRET_KEY};

/// How the cluster runs it: nothing can be written but what is mounted.
const HARDENED: [&str; 8] = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp:rw,noexec,nosuid,size=16m",
    "--user=10001:10001",
    "--network=none",
    "--memory=256m",
    "--env=ALLOWED_HOSTS=*",
];

/// Whether the image is optimised as a released one: `scripts/e2e --release`.
#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the tests, not of the program"
)]
fn is_release() -> bool {
    std::env::var_os("E2E_RELEASE").is_some_and(|value| !value.is_empty())
}

#[test]
fn the_image_has_only_the_static_binary() {
    let inspected: Value = serde_json::from_str(&docker(&["image", "inspect", IMAGE])).unwrap();
    let config = &inspected[0]["Config"];
    assert_eq!(config["User"], "10001:10001");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/usr/bin/polls"]));
    assert_eq!(
        config["Cmd"],
        serde_json::json!(["runserver", "0.0.0.0:8000"])
    );
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(
        config["Healthcheck"]["Test"],
        serde_json::json!(["CMD", "/usr/bin/polls", "healthcheck"])
    );
    assert_eq!(
        config["Labels"]["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        config["Env"],
        serde_json::json!(["PATH=/usr/bin", "MALLOC_ARENA_MAX=1"])
    );
    // Without optimisation, the program is half as large again.
    let limit = if is_release() { 40_000_000 } else { 60_000_000 };
    let size = inspected[0]["Size"].as_u64().unwrap();
    assert!(size < limit, "{size}");

    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join("image.tar");
    let container = docker(&["create", IMAGE]);
    docker(&["export", "-o", tar.to_str().unwrap(), &container]);
    docker(&["rm", &container]);
    let listed = Command::new("tar").arg("-tvf").arg(&tar).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    // What Docker adds, for names and addresses, is empty.
    let is_executable = |line: &&str| line[..10].contains('x') && line.starts_with('-');
    let is_empty = |line: &&str| line.split_whitespace().nth(2) == Some("0");
    let executable = listed.lines().filter(is_executable);
    let executable: Vec<_> = executable.filter(|line| !is_empty(line)).collect();
    assert!(
        matches!(executable[..], [only] if only.ends_with(" usr/bin/polls")),
        "{listed}"
    );
    assert!(
        listed.contains(" etc/passwd") && !listed.contains("bin/sh"),
        "{listed}"
    );

    let binary = folder.path().join("polls");
    let out = Command::new("tar")
        .args(["-xOf", tar.to_str().unwrap(), "usr/bin/polls"])
        .output()
        .unwrap();
    fs::write(&binary, &out.stdout).unwrap();
    let linked = Command::new("ldd").arg(&binary).output().unwrap();
    let said = String::from_utf8_lossy(&linked.stdout).into_owned()
        + &*String::from_utf8_lossy(&linked.stderr);
    assert!(
        said.contains("statically linked") || said.contains("not a dynamic executable"),
        "{said}"
    );
}

#[test]
fn the_image_runs_every_command_without_privileges() {
    let volume = Volume::new("sqlite");
    let mount = format!("--volume={}:/data", volume.0);
    let key = format!("--env=SECRET_KEY={SECRET_KEY}");
    let run = |command: &[&str], input: &str| {
        let all = [
            &["run", "--rm", "-i", &mount, &key],
            &HARDENED[..],
            &[IMAGE],
            command,
        ]
        .concat();
        let output = try_docker(&all, input);
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &*String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        said
    };
    assert!(run(&["migrate"], "").contains("Applying polls_app.0001_initial... OK"));
    assert!(run(&["seed"], "").contains("question"));
    let superuser = format!(
        "DJANGO_SUPERUSER_USERNAME=admin\nDJANGO_SUPERUSER_EMAIL=a@example.com\nDJANGO_SUPERUSER_PASSWORD={PASSWORD}\n"
    );
    let said = run(
        &["--env-file", "/dev/stdin", "createsuperuser", "--noinput"],
        &superuser,
    );
    assert!(said.contains("Superuser created successfully."), "{said}");
    assert!(run(&["check"], "").contains("System check identified no issues"));

    let args: Vec<String> = [
        &[mount.as_str(), key.as_str()],
        &HARDENED[..],
        &["--health-interval=1s", IMAGE],
    ]
    .concat()
    .iter()
    .filter(|argument| !argument.starts_with("--network"))
    .map(|argument| (*argument).to_owned())
    .collect();
    let server = Container::start("hardened", &[], &args);
    wait_until(TIMEOUT, || {
        server.inspect("{{.State.Health.Status}}") == "healthy"
    });
    let status =
        fs::read_to_string(format!("/proc/{}/status", server.inspect("{{.State.Pid}}"))).unwrap();
    for line in [
        "Uid:\t10001\t10001\t10001\t10001",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    server.act("stop");
    assert_eq!(
        server.inspect("{{.State.ExitCode}}"),
        "0",
        "{}",
        server.log()
    );
}

#[test]
fn the_image_reports_missing_settings() {
    let run = |args: &[&str]| {
        let output = try_docker(&[&["run", "--rm"], &HARDENED[..], args].concat(), "");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&[IMAGE]);
    assert!(
        said.starts_with("CommandError: SECRET_KEY is not set"),
        "{said}"
    );
    // No volume: nothing can be kept.
    let key = format!("--env=SECRET_KEY={SECRET_KEY}");
    let said = run(&[&key, IMAGE, "migrate"]);
    assert!(
        said.starts_with("CommandError: ") && said.lines().count() == 1,
        "{said}"
    );
}
