//! The templates: all compile, use only classes that some style sheet has, and are read from disk in debug mode.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::{Backend, Site, TestDatabase};

fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

#[test]
fn every_css_class_has_a_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut templates = Vec::new();
    files(&root.join("templates"), &mut templates);
    files(&root.join("assets/admin"), &mut templates);
    let styles = [
        "vendor/tabler.css",
        "controls.css",
        "polls_app/style.css",
        "admin/style.css",
        "debug/style.css",
    ]
    .map(|name| fs::read_to_string(root.join("assets").join(name)).unwrap());
    let styles = styles.concat();
    // What stands behind a dot in a selector.
    let known: BTreeSet<&str> = styles
        .split('.')
        .skip(1)
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_')
                .next()
                .unwrap()
        })
        .collect();
    let mut used = 0;
    for (path, text) in &templates {
        // In a template `class="…"`, in a script `className: "…"`.
        let quoted = ["class=\"", "className: \""]
            .into_iter()
            .flat_map(|mark| text.split(mark).skip(1));
        for classes in quoted.map(|rest| rest.split('"').next().unwrap()) {
            // Tags and values between classes are not classes, and one that goes on in a value is only half a class.
            let plain = ["{%", "{{"]
                .iter()
                .fold(classes.to_owned(), |text, opening| {
                    let closing = if *opening == "{%" { "%}" } else { "}}" };
                    let parts = text
                        .split(opening)
                        .map(|part| part.rsplit(closing).next().unwrap());
                    parts
                        .collect::<Vec<_>>()
                        .join(if *opening == "{%" { " " } else { "\u{0}" })
                });
            for class in plain
                .split_whitespace()
                .filter(|class| !class.contains('\0'))
            {
                assert!(
                    known.contains(class),
                    "{path} uses the class {class}, which has no rule: run scripts/vendor-assets"
                );
                used += 1;
            }
        }
    }
    assert!(used > 30, "{used}");
}

#[test]
fn no_template_has_inline_script_or_style() {
    let mut templates = Vec::new();
    files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("templates"),
        &mut templates,
    );
    for (path, text) in templates {
        for forbidden in [
            "<style",
            " style=",
            "javascript:",
            "http://",
            "https://",
            "|safe",
        ] {
            assert!(!text.contains(forbidden), "{path} has {forbidden}");
        }
        // Scripts are files of ours, and no attribute is one.
        for script in text.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"{{ static('"), "{path}");
        }
        let attributes = text
            .split(" on")
            .skip(1)
            .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_lowercase()));
        for rest in attributes {
            assert!(!rest.starts_with('='), "{path} has a handler: {rest}");
        }
    }
}

#[tokio::test]
async fn in_debug_mode_templates_and_assets_come_from_disk() {
    let site = Site::on(TestDatabase::migrated(Backend::Sqlite).await).with("DEBUG", "true");
    fs::create_dir_all(site.folder().join("templates/polls_app")).unwrap();
    fs::create_dir_all(site.folder().join("assets/polls_app")).unwrap();
    let template = site.folder().join("templates/polls_app/index.html");
    fs::write(&template, "first {{ static('polls_app/style.css') }}").unwrap();
    fs::write(
        site.folder().join("assets/polls_app/style.css"),
        "/* mine */",
    )
    .unwrap();
    let server = site.serve();
    assert!(
        server
            .get("/polls/")
            .ends_with("\r\n\r\nfirst /static/polls_app/style.css")
    );
    assert!(
        server
            .get("/static/polls_app/style.css")
            .ends_with("/* mine */")
    );
    // What is not on disk is embedded.
    assert!(server.get("/nope").contains("Not Found"));
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(&template, "second").unwrap();
    assert!(server.get("/polls/").ends_with("second"));
    // A template that uses what is not there is our fault.
    fs::write(&template, "{{ nothing }} {{ nothing.else }}").unwrap();
    let answer = server.get("/polls/");
    assert!(
        answer.starts_with("HTTP/1.1 500 ") && answer.contains("Server Error"),
        "{answer}"
    );
    fs::write(&template, "{% broken").unwrap();
    let said = site.run(["check", "--tag", "templates"]);
    assert_eq!(said.code, 1);
    assert!(
        said.stderr
            .contains("?: (polls.E001) A template does not compile: "),
        "{}",
        said.stderr
    );

    // Without debug mode the files on disk mean nothing.
    let site = site.with("DEBUG", "false");
    let server = site.serve();
    assert!(server.get("/polls/").contains("No polls are available."));
}
