//! Every input of the fuzz corpus, without instrumentation: no parser panics, no page is a 500.

#[path = "../fuzz/src/inputs.rs"]
mod inputs;
#[path = "../fuzz/src/parsers.rs"]
mod parsers;

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use self::inputs::Input;
use crate::support::{Backend, TestApp};

/// A target: its name and what it does with an input.
type Target<T> = (&'static str, fn(&[u8]) -> T);

/// The inputs of a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let lines = fs::read_to_string(folder.join(name).with_extension("txt")).unwrap();
    let inputs: Vec<_> = lines
        .lines()
        .map(|line| BASE64_STANDARD.decode(line).unwrap())
        .collect();
    assert!(!inputs.is_empty());
    inputs
}

#[test]
fn parsers_accept_the_fuzz_corpus() {
    let targets: [Target<()>; 7] = [
        ("cookies", parsers::cookies),
        ("csrf", parsers::csrf),
        ("fixtures", parsers::fixtures),
        ("forms", parsers::forms),
        ("framing", parsers::framing),
        ("proxy", parsers::proxy),
        ("sessions", parsers::sessions),
    ];
    for (name, target) in targets {
        corpus(name).iter().for_each(|input| target(input));
    }
}

#[tokio::test]
async fn pages_accept_the_fuzz_corpus() {
    let app = TestApp::new(Backend::Sqlite).await;
    app.question("Fuzzed?", &["Yes", "No"]).await;
    let admin = app.superuser().await;
    let targets: [Target<Vec<Input>>; 3] = [
        ("dates", inputs::dates),
        ("filters", inputs::filters),
        ("requests", inputs::requests),
    ];
    for (name, target) in targets {
        for (method, path, form) in corpus(name).iter().flat_map(|input| target(input)) {
            // Not every input is a target.
            if path.parse::<poem::http::Uri>().is_err() {
                continue;
            }
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("x-csrftoken", &*admin.cookie("csrftoken").unwrap()),
            ];
            let reply = admin.request(method, &path, &headers, &form).await;
            assert!(
                !reply.status.is_server_error(),
                "{path} {form}: {}",
                reply.status
            );
        }
    }
}
