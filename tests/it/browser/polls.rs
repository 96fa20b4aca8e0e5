//! Polls as their owner and their visitors use them: made, shared, watched, shown on another site.

use std::{net::TcpListener, time::Duration};

use crate::support::{
    app::PASSWORD,
    browser::{Browser, Setup},
    http::status,
    voters::vote_once,
};

/// Votes for a choice of question 1.
fn vote(address: &str, choice: i32) {
    assert_eq!(status(&vote_once(address, choice)), 302);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_is_made_shared_and_presented() {
    let (_site, server) = super::serve().await;
    let browser = Browser::open(&server.address, Setup::default()).await;
    browser.log_in("admin", PASSWORD).await;
    browser.goto("/polls/").await;
    browser.press("New poll").await;
    browser.fill("#question_text", "Best season?").await;
    browser.assert_text("12/200").await;
    // Enter adds a row, and pasted lines become rows.
    browser.keys("#choice1", "Summer\u{e007}").await;
    let focus = browser.run("return document.activeElement.id").await;
    assert_eq!(focus, "choice2");
    browser.keys("#choice2", "Winter\u{e007}").await;
    assert_eq!(
        browser.run("return document.activeElement.id").await,
        "choice3"
    );
    browser
        .run(
            "const data = new DataTransfer(); data.setData('text', 'Spring\\n\\nAutumn\\r\\nsummer'); \
             document.activeElement.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}))",
        )
        .await;
    assert_eq!(browser.count(".rows input").await, 5);
    browser.screenshot("new-poll").await;
    browser.press("Publish poll").await;
    browser
        .assert_text("This choice is already in the list.")
        .await;
    browser.screenshot("new-poll-error").await;
    browser.fill("#choice5", "").await;
    browser.click(".options > summary").await;
    browser.screenshot("new-poll-options").await;
    browser.press("Publish poll").await;
    browser.assert_text("Best season?").await;
    assert!(browser.path().await.ends_with("/share/"));
    browser.screenshot("share").await;
    browser.press("Copy").await;
    browser.assert_text("Copied").await;
    browser.press("Present").await;
    assert!(browser.path().await.ends_with("/present/"));
    browser.screenshot("present").await;
    browser.keys("body", "h").await;
    browser.assert_text("Show results").await;
    assert_eq!(
        browser
            .run("return document.getElementById('results').hidden")
            .await,
        true
    );
    browser.keys("body", "h").await;
    browser.keys("body", "\u{e00c}").await;
    browser.assert_text("All polls").await;
    assert!(browser.path().await.ends_with("/results/"));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_live() {
    let (site, server) = super::serve().await;
    site.execute("UPDATE polls_app_choice SET votes = 0").await;
    let browser = Browser::open(&server.address, Setup::default()).await;
    browser.goto("/polls/1/results/").await;
    browser.assert_text("· Live").await;
    vote(&server.address, 1);
    browser.assert_text("100%").await;
    vote(&server.address, 2);
    browser.assert_text("50%").await;
    let summary = "return document.querySelector('[data-summary]').textContent";
    // The first change is told at once, the next after 15 s.
    let told = browser.run(summary).await;
    assert!(told.as_str().unwrap().contains("100%"), "{told}");
    browser.screenshot("live").await;
    // Another text: the page is loaded again.
    site.execute("UPDATE polls_app_choice SET choice_text = 'Quite another' WHERE id = 1")
        .await;
    browser.assert_text("Quite another").await;
    let (log, code) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    browser.assert_text("Reconnecting… as of").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_script_a_poll_is_made_and_results_are_refreshed() {
    let (_site, server) = super::serve().await;
    let browser = Browser::open(
        &server.address,
        Setup {
            without_script: true,
            ..Setup::default()
        },
    )
    .await;
    browser.log_in("admin", PASSWORD).await;
    browser.goto("/polls/new/").await;
    browser.fill("#question_text", "Best season?").await;
    browser.fill("#choice1", "Summer").await;
    browser.fill("#choice2", "Winter").await;
    browser.press("Add a choice").await;
    browser.fill("#choice3", "Spring").await;
    browser.press("Publish poll").await;
    browser.assert_text("Scan it to open the poll").await;
    browser.screenshot("share-without-script").await;
    browser.press("See results").await;
    browser.assert_text("Refresh").await;
    vote(&server.address, 1);
    browser.goto("/polls/1/results/").await;
    browser.press("Refresh").await;
    browser.assert_text("Refresh").await;
    browser.close().await;
}

/// Serves a page with the frame of a poll, as another site.
fn other_site(poll: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let page = format!(
        "<!doctype html><title>Other</title><h1>Other</h1><iframe src=\"http://{poll}/polls/1/embed/\" width=\"600\" height=\"480\"></iframe>"
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read, Write};
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                page.len()
            );
        }
    });
    format!("localhost:{}", address.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_on_another_site_is_voted_on() {
    let (site, server) = super::serve().await;
    drop(server);
    site.execute("UPDATE polls_app_choice SET votes = 0").await;
    site.execute("INSERT INTO polls_question_options (question_id, policy, max_choices, results) VALUES (1, 'browser', 1, 'voted')").await;
    let site = site
        .with("EMBED_FRAME_ANCESTORS", "*")
        .with("ALLOWED_HOSTS", "127.0.0.1");
    let server = site.serve();
    // Another site for the browser: its cookies are those of a third party.
    let browser = Browser::open(&other_site(&server.address), Setup::default()).await;
    browser.goto("/").await;
    browser.enter_frame(0).await;
    browser.assert_text("Open the poll in its own page").await;
    browser.click(".choice").await;
    browser.press("Vote").await;
    browser.assert_text("was counted.").await;
    browser.assert_text("· Live").await;
    browser.screenshot("embed").await;
    assert_eq!(site.number("SELECT count(*) FROM polls_voters").await, 1);
    browser.goto("/").await;
    browser.enter_frame(0).await;
    browser.assert_text("You voted in this poll on").await;
    browser.close().await;
    // Without the setting the frame stays empty.
    drop(server);
    let site = site.with("EMBED_FRAME_ANCESTORS", "");
    let server = site.serve();
    let browser = Browser::open(&other_site(&server.address), Setup::default()).await;
    browser.goto("/").await;
    browser.enter_frame(0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(browser.count(".choice").await, 0);
    browser.close().await;
}
