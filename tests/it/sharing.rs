//! The links to a question, its QR code, and the page in frames of other sites.

use polls::{
    entities::question_options::{Model as Options, Policy},
    polls_app::urls,
    settings::Settings,
};

use crate::support::{
    Backend, Client, TestApp, TestDatabase,
    app::{TestQuestion, settings},
};

/// The text of a QR code in an image.
fn scan(image: &[u8]) -> String {
    let mut reader = png::Decoder::new(std::io::Cursor::new(image))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let width = info.width as usize;
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(width, info.height as usize, |x, y| {
            pixels[y * width + x]
        });
    image.detect_grids()[0].decode().unwrap().1
}

async fn embedding(backend: Backend, ancestors: &str) -> TestApp {
    let database = TestDatabase::migrated(backend).await;
    let mut settings: Settings = settings(&database);
    settings.other_sites.embed_frame_ancestors = ancestors.split(' ').map(str::to_owned).collect();
    TestApp::with_settings(database, settings).await
}

const SAME_ORIGIN: (&str, &str) = ("origin", "http://testserver");

async fn vote_in_frame(
    visitor: &Client,
    question: &TestQuestion,
    policy: &str,
    headers: &[(&str, &str)],
) -> crate::support::client::Reply {
    let choice = question.choices[0].to_string();
    visitor
        .post(
            urls::embed(question.id),
            &[("policy", policy), ("choice", &choice)],
            headers,
        )
        .await
}

on_both_databases! {
    async fn a_question_is_shared_by_link_and_code(app: TestApp) {
        let question = app.question("<Dinner>?", &["Pizza", "Pasta"]).await;
        let page = app.visitor().get(urls::share(question.id)).await;
        let link = format!("http://testserver{}", urls::detail(question.id));
        page.assert_status(200).assert_contains(&format!("value=\"{link}\" readonly")).assert_contains("&lt;Dinner&gt;?")
            .assert_lacks("iframe").assert_lacks("EMBED_FRAME_ANCESTORS").assert_lacks(">Edit</a>");
        let svg = page.between("<svg class=\"qr-code\"", "</svg>");
        let reply = app.visitor().get(urls::qr_code(question.id) + "?format=svg").await;
        assert_eq!(reply.header("content-type"), Some("image/svg+xml"));
        assert!(svg.contains(reply.between("<path d=\"", "\"")));
        let reply = app.visitor().get(urls::qr_code(question.id) + "?format=png").await;
        assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"poll-1.png\""));
        assert_eq!(scan(&reply.bytes), link);
        app.visitor().get(urls::qr_code(question.id)).await.assert_status(404);
        let staff = app.superuser().await;
        staff.get(urls::share(question.id)).await.assert_contains("/admin/polls_app/question/1/change/\">Edit</a>").assert_contains("EMBED_FRAME_ANCESTORS");
        app.visitor().get(urls::present(question.id)).await.assert_status(200).assert_contains("qr-code").assert_contains("&lt;Dinner&gt;?").assert_contains("Pizza");
        app.visitor().get(urls::share(99)).await.assert_status(404);
    }

    async fn public_pages_have_open_graph_tags(app: TestApp) {
        let question = app.question("\"Dinner\" & more?", &["Pizza"]).await;
        let (visitor, detail) = (app.visitor(), urls::detail(question.id));
        // From memory, for each host.
        for _ in 0..2 {
            for host in ["testserver", "TESTSERVER:8000"] {
                let page = visitor.get_with(&detail, &[("host", host)]).await;
                page.assert_contains("property=\"og:title\" content=\"&quot;Dinner&quot; &amp; more?\"")
                    .assert_contains(&format!("property=\"og:url\" content=\"http://{host}{detail}\""))
                    .assert_contains(&format!("property=\"og:image\" content=\"http://{host}/static/share."));
            }
        }
        for path in [urls::INDEX, urls::ALL, &*urls::results(question.id)] {
            visitor.get(path).await.assert_contains("property=\"og:title\"").assert_contains("property=\"og:url\" content=\"http://testserver/polls/");
        }
        let image = visitor.get(visitor.get(urls::INDEX).await.between("og:image\" content=\"http://testserver", "\"")).await;
        assert_eq!((image.status.as_u16(), image.header("content-type")), (200, Some("image/png")));
    }
}

/// Runs a test of frames on both databases.
macro_rules! on_both {
    ($name:ident, $test:ident) => {
        #[tokio::test]
        async fn $name() {
            for backend in [Backend::Sqlite, Backend::Postgres] {
                $test(backend).await;
            }
        }
    };
}

on_both!(only_the_page_for_frames_may_be_framed, frames);
async fn frames(backend: Backend) {
    let app = embedding(backend, "https://www.example.com https://*.example.org").await;
    let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
    let visitor = app.visitor();
    let page = visitor.get(urls::embed(question.id)).await;
    let policy = page
        .assert_status(200)
        .header("content-security-policy")
        .unwrap();
    assert!(
        policy.ends_with("frame-ancestors https://www.example.com https://*.example.org"),
        "{policy}"
    );
    assert_eq!(page.header("x-frame-options"), None);
    page.assert_lacks("csrfmiddlewaretoken")
        .assert_contains(&format!("action=\"{}\"", urls::embed(question.id)));
    assert_eq!(page.header("set-cookie"), None);
    for path in [
        urls::detail(question.id),
        urls::share(question.id),
        urls::results(question.id),
        urls::embed(99),
    ] {
        let page = visitor.get(&path).await;
        assert_eq!(page.header("x-frame-options"), Some("DENY"), "{path}");
        assert!(
            page.header("content-security-policy")
                .unwrap()
                .ends_with("frame-ancestors 'none'"),
            "{path}"
        );
    }
    visitor
        .get(urls::share(question.id))
        .await
        .assert_contains("&lt;iframe src=&quot;http://testserver/polls/1/embed/&quot;");
    // Without the setting it may not be framed.
    let app = TestApp::new(backend).await;
    let question = app.question("Dinner?", &["Pizza"]).await;
    let page = app.visitor().get(urls::embed(question.id)).await;
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .ends_with("frame-ancestors 'none'")
    );
}

#[tokio::test]
async fn a_link_that_is_too_long_for_a_code_is_a_bad_request() {
    let database = TestDatabase::migrated(Backend::Sqlite).await;
    let mut settings = settings(&database);
    settings.security.allowed_hosts = vec!["*".to_owned()];
    let app = TestApp::with_settings(database, settings).await;
    let question = app.question("Dinner?", &["Pizza"]).await;
    let host = format!("{}.example", "a".repeat(3000));
    for (path, status) in [
        (urls::detail(question.id), 200),
        (urls::share(question.id), 400),
        (urls::qr_code(question.id) + "?format=png", 400),
        (urls::present(question.id), 400),
    ] {
        let page = app.visitor().get_with(&path, &[("host", &host)]).await;
        page.assert_status(status);
    }
}

on_both!(votes_in_frames_are_counted, votes);
async fn votes(backend: Backend) {
    let app = embedding(backend, "*").await;
    let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
    let visitor = app.visitor();
    // A page of another site cannot vote.
    for headers in [
        &[] as &[_],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        vote_in_frame(&visitor, &question, "any", headers)
            .await
            .assert_status(403);
    }
    assert_eq!(app.votes(question.choices[0]).await, 0);
    let results = urls::embedded_results(question.id);
    vote_in_frame(&visitor, &question, "any", &[SAME_ORIGIN])
        .await
        .assert_redirect(302, &results);
    let page = visitor.get(&results).await;
    page.assert_contains("Your vote for &quot;Pizza&quot; was counted.")
        .assert_contains("Vote again")
        .assert_lacks("?format=csv");
    visitor.get(&results).await.assert_lacks("was counted");
    for path in ["?embed", "?show=results&embed", ""] {
        let page = app.visitor().get(urls::detail(question.id) + path).await;
        page.assert_lacks("Open the poll in its own page")
            .assert_contains("csrfmiddlewaretoken");
    }
    // One vote per browser, by a cookie of the frame.
    app.set_options(
        question.id,
        Options {
            policy: Policy::Browser,
            ..Options::default()
        },
    )
    .await;
    let visitor = app.visitor();
    let page = vote_in_frame(&visitor, &question, "browser", &[SAME_ORIGIN]).await;
    page.assert_status(200)
        .assert_contains("Open the poll in its own page, with the link below, to vote.")
        .assert_contains(&format!(
            "<a href=\"{}\" target=\"_blank\"",
            urls::detail(question.id)
        ));
    let cookie = page.header("set-cookie").unwrap();
    let attributes = format!(
        "Path={}; SameSite=None; Secure; Partitioned",
        urls::detail(question.id)
    );
    assert!(
        cookie.starts_with("polls_voter_embed=")
            && cookie.contains("HttpOnly")
            && cookie.ends_with(&attributes),
        "{cookie}"
    );
    for _ in 0..2 {
        vote_in_frame(&visitor, &question, "browser", &[SAME_ORIGIN])
            .await
            .assert_redirect(302, &results);
    }
    visitor
        .get(&results)
        .await
        .assert_contains("You have already voted in this poll.");
    visitor
        .get(urls::embed(question.id))
        .await
        .assert_contains("You voted in this poll on")
        .assert_contains("Your receipt: ")
        .assert_lacks("name=\"choice\"");
    assert_eq!(
        (
            app.votes(question.choices[0]).await,
            app.voters(question.id).await
        ),
        (2, 1)
    );
    // On pages of this site the browser is another one.
    visitor
        .get(urls::detail(question.id))
        .await
        .assert_contains("name=\"choice\"");
    app.set_options(
        question.id,
        Options {
            policy: Policy::Account,
            ..Options::default()
        },
    )
    .await;
    visitor
        .get(urls::embed(question.id))
        .await
        .assert_contains("target=\"_blank\" rel=\"noopener\">Log in to vote");
}

#[test]
fn origins_in_settings_are_checked() {
    use polls::settings::Environment;
    for (name, value, is_valid) in [
        (
            "EMBED_FRAME_ANCESTORS",
            "https://a.example,https://*.b.example:8443,http://localhost:3000",
            true,
        ),
        ("EMBED_FRAME_ANCESTORS", "*", true),
        ("EMBED_FRAME_ANCESTORS", "a.example", false),
        ("EMBED_FRAME_ANCESTORS", "https://a.example/path", false),
        (
            "EMBED_FRAME_ANCESTORS",
            "https://a.example; script-src *",
            false,
        ),
        ("EMBED_FRAME_ANCESTORS", "'self'", false),
        ("API_ALLOWED_ORIGINS", "https://a.example", true),
        ("API_ALLOWED_ORIGINS", "https://*.a.example", false),
    ] {
        let environment =
            Environment::from_iter([("SECRET_KEY", "test-secret-key-0123456789"), (name, value)]);
        let settings = Settings::read(&environment);
        assert_eq!(settings.is_ok(), is_valid, "{name}={value}");
        if let Err(error) = settings {
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
