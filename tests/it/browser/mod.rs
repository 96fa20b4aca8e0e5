//! The admin as a person uses it, in headless Chromium: with script and without, light and dark, on a phone.

mod chooser;
mod long_lists;
mod polls;
mod sessions;

use crate::support::{
    Backend, Site,
    app::PASSWORD,
    browser::{Browser, Setup},
    site::Server,
};

const LIST: &str = "/admin/polls_app/question/";

/// A site with the example polls and a superuser.
async fn serve() -> (Site, Server) {
    let site = Site::migrated(Backend::Sqlite).await.with_superuser();
    site.run(["seed"]).success();
    let server = site.serve();
    (site, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_works_with_script() {
    let (_site, server) = serve().await;
    let browser = Browser::open(&server.address, Setup::default()).await;
    browser.goto(LIST).await;
    browser.screenshot("login").await;
    browser.fill("#id_username", "admin").await;
    browser.fill("#id_password", "wrong").await;
    browser.click(".login-button").await;
    browser
        .assert_text("Please enter the correct username and password")
        .await;
    browser.fill("#id_password", PASSWORD).await;
    browser.click(".login-button").await;
    browser.assert_text("Select question to change").await;
    assert_eq!(browser.path().await, LIST);

    // A question with choices; the first try has mistakes.
    browser.press("Add question").await;
    browser.fill("#id_choice_set-0-choice_text", "Summer").await;
    browser.fill("#id_choice_set-1-choice_text", "Winter").await;
    browser.press("Now").await;
    browser.press("Save").await;
    browser.assert_text("Please correct the error below.").await;
    browser.screenshot("add-error").await;
    browser.press("Question text").await;
    let focus = browser.run("return document.activeElement.id").await;
    assert_eq!(focus, "id_question_text");
    assert_eq!(
        browser.value("#id_choice_set-1-choice_text").await,
        "Winter"
    );
    browser.fill("#id_question_text", "Best season?").await;
    browser.press("Add another choice").await;
    assert_eq!(
        browser.run("return document.activeElement.id").await,
        "id_choice_set-3-choice_text"
    );
    browser.fill("#id_choice_set-3-choice_text", "Autumn").await;
    browser.click("[aria-label='Remove this choice']").await;
    browser.control('s').await;
    browser
        .assert_text("The question “Best season?” was added successfully.")
        .await;

    // Found again: sorted, searched, filtered.
    browser.press("Question text").await;
    assert!(browser.path().await.contains("?o=1"));
    browser.assert_text("4 questions").await;
    browser.screenshot("changelist").await;
    browser.fill("#searchbar", "season").await;
    browser.press("Search").await;
    browser.assert_text("1 question found.").await;
    browser.press("Best season?").await;
    assert_eq!(
        browser.value("#id_choice_set-0-choice_text").await,
        "Winter"
    );
    browser.screenshot("change").await;
    browser.fill("#id_choice_set-0-votes", "3").await;
    browser.press("Save and continue editing").await;
    browser.assert_text("You may edit it again below.").await;
    browser.press("History").await;
    browser
        .assert_text("Changed Votes for choice “Winter”.")
        .await;
    browser.screenshot("history").await;
    browser.goto(&format!("{LIST}?q=season&o=1")).await;
    browser.press("Today").await;
    browser.assert_text("1 question").await;

    // All but one go.
    browser.goto(LIST).await;
    browser.click("[data-select-all] input").await;
    browser.assert_text("4 of 4 selected").await;
    browser.click("[name=_selected_action]").await;
    browser.assert_text("3 of 4 selected").await;
    browser
        .run("document.querySelector('#action').value = 'delete_selected'")
        .await;
    browser.press("Run").await;
    browser
        .assert_text("Are you sure you want to delete the selected 3 questions?")
        .await;
    browser.screenshot("delete-selected").await;
    browser.press("Yes, I’m sure").await;
    browser
        .assert_text("Successfully deleted 3 questions.")
        .await;
    browser.assert_text("1 question").await;

    // Another password, and out.
    browser.goto("/admin/password_change/").await;
    browser.fill("#id_old_password", PASSWORD).await;
    browser.fill("#id_new_password1", "Quite-new-91").await;
    browser.fill("#id_new_password2", "Quite-new-91").await;
    browser.screenshot("password-change").await;
    browser.press("Change my password").await;
    browser.assert_text("Your password was changed.").await;
    browser.click(".menu-end > summary").await;
    browser.press("Log out").await;
    browser
        .assert_text("Thanks for spending some quality time")
        .await;
    browser.log_in("admin", "Quite-new-91").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_path_without_script() {
    let (_site, server) = serve().await;
    let browser = Browser::open(
        &server.address,
        Setup {
            without_script: true,
            ..Setup::default()
        },
    )
    .await;
    browser.log_in("admin", PASSWORD).await;
    browser.goto(&format!("{LIST}add/")).await;
    assert_eq!(browser.count(".inline-add").await, 1);
    browser.fill("#id_question_text", "Without script?").await;
    browser.keys("#id_pub_date_0", "11202026").await;
    browser.keys("#id_pub_date_1", "083000AM").await;
    browser.fill("#id_choice_set-0-choice_text", "Yes").await;
    browser
        .fill("#id_choice_set-2-choice_text", "Of course")
        .await;
    browser.press("Save and continue editing").await;
    browser
        .assert_text("The question “Without script?” was added successfully.")
        .await;
    // Two are there, and three more empty rows.
    assert_eq!(browser.count("[name$='-choice_text']").await, 5);
    browser.click("[name='choice_set-0-DELETE']").await;
    browser.press("Save").await;
    browser.assert_text("was changed successfully.").await;
    browser.screenshot("changelist-without-script").await;
    browser.click("[name=_selected_action]").await;
    browser.keys("#action", "Delete").await;
    browser.press("Run").await;
    browser.press("Yes, I’m sure").await;
    browser
        .assert_text("Successfully deleted 1 question.")
        .await;
    // Rights are chosen from a plain list.
    browser.goto("/admin/auth/group/add/").await;
    browser.fill("#id_name", "Readers").await;
    browser.click("#id_permissions option:nth-child(3)").await;
    browser.press("Save").await;
    browser
        .assert_text("The group “Readers” was added successfully.")
        .await;
    browser.click(".menu-end > summary").await;
    browser.press("Dark").await;
    browser.find("html[data-bs-theme=dark]").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_chosen_in_two_boxes() {
    let (_site, server) = serve().await;
    let browser = Browser::open(&server.address, Setup::default()).await;
    browser.log_in("admin", PASSWORD).await;
    browser.goto("/admin/auth/user/add/").await;
    browser.fill("#id_username", "viewer").await;
    browser.fill("#id_password1", "Quite-new-91").await;
    browser.fill("#id_password2", "Quite-new-91").await;
    browser.screenshot("user-add").await;
    browser.press("Save").await;
    browser.assert_text("You may edit it again below.").await;
    browser.click("#id_is_staff").await;
    browser
        .fill(
            "[aria-label='Filter available user permissions']",
            "view question",
        )
        .await;
    assert_eq!(
        browser
            .count("[aria-label='Available user permissions'] option")
            .await,
        1
    );
    browser
        .keys(
            "[aria-label='Filter available user permissions']",
            "\u{e007}",
        )
        .await;
    assert_eq!(
        browser
            .count("[aria-label='Chosen user permissions'] option")
            .await,
        1
    );
    browser
        .fill("[aria-label='Filter available user permissions']", "choice")
        .await;
    browser
        .click("[aria-label='Available user permissions'] option:nth-child(4)")
        .await;
    browser
        .click("[aria-label='Choose the selected user permissions']")
        .await;
    assert_eq!(
        browser
            .count("[aria-label='Chosen user permissions'] option")
            .await,
        2
    );
    browser.screenshot("user").await;
    browser.press("Save").await;
    browser
        .assert_text("The user “viewer” was changed successfully.")
        .await;

    // A user with view permission only.
    let viewer = Browser::open(&server.address, Setup::default()).await;
    viewer.log_in("viewer", "Quite-new-91").await;
    viewer.screenshot("index-viewer").await;
    viewer.press("Questions").await;
    viewer.assert_text("Select question to view").await;
    viewer.press("What's new?").await;
    viewer.assert_text("View question").await;
    viewer.assert_text("Not much").await;
    assert_eq!(viewer.count("main input").await, 0);
    viewer.screenshot("change-viewer").await;
    viewer.goto(&format!("{LIST}add/")).await;
    viewer.assert_text("You are not allowed to do this.").await;
    viewer.close().await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_edits_show_the_conflict() {
    let (_site, server) = serve().await;
    let (mine, theirs) = (
        Browser::open(&server.address, Setup::default()).await,
        Browser::open(&server.address, Setup::default()).await,
    );
    for browser in [&mine, &theirs] {
        browser.log_in("admin", PASSWORD).await;
        browser.goto(&format!("{LIST}1/change/")).await;
    }
    theirs.fill("#id_question_text", "Theirs?").await;
    theirs.press("Save").await;
    theirs.assert_text("was changed successfully.").await;
    mine.fill("#id_question_text", "Mine?").await;
    mine.press("Save").await;
    mine.assert_text("Another user has changed this question while you were editing it.")
        .await;
    mine.screenshot("conflict").await;
    mine.press("Save over it").await;
    mine.assert_text("The question “Mine?” was changed successfully.")
        .await;
    mine.close().await;
    theirs.close().await;
}

/// The pages that need no login.
const PUBLIC_PAGES: [(&str, &str); 14] = [
    ("polls", "/polls/"),
    ("poll", "/polls/1/"),
    ("results", "/polls/1/results/"),
    ("not-found", "/polls/999/"),
    ("login", "/admin/login/"),
    ("all", "/polls/all/"),
    ("all-empty", "/polls/all/?show=closed&q=nothing"),
    ("public-login", "/accounts/login/"),
    ("logout", "/accounts/logout/"),
    ("api", "/polls/api/v1/"),
    ("share", "/polls/1/share/"),
    ("present", "/polls/1/present/"),
    ("embed", "/polls/1/embed/"),
    (
        "receipt",
        "/polls/1/receipt/?receipt=0000-0000-0000-0000-0000-0000",
    ),
];

/// The pages of the admin.
const PAGES: [(&str, &str); 17] = [
    ("index", "/admin/"),
    ("app", "/admin/polls_app/"),
    ("changelist", "/admin/polls_app/question/?o=1.-2&_facets=1"),
    ("empty", "/admin/polls_app/question/?q=nothing"),
    ("add", "/admin/polls_app/question/add/"),
    ("change", "/admin/polls_app/question/1/change/"),
    ("codes", "/admin/polls_app/question/2/codes/"),
    (
        "code-sheet",
        "/admin/polls_app/question/2/codes/?format=sheet",
    ),
    ("recount", "/admin/polls_app/question/2/recount/"),
    ("new", "/polls/new/"),
    ("delete", "/admin/polls_app/question/1/delete/"),
    ("history", "/admin/polls_app/question/1/history/"),
    ("users", "/admin/auth/user/"),
    ("user", "/admin/auth/user/1/change/"),
    ("user-add", "/admin/auth/user/add/"),
    ("user-password", "/admin/auth/user/1/password/"),
    ("password-change", "/admin/password_change/"),
];

/// Checks the accessibility of the current page; gives the findings, each with the page's name.
async fn check_page(browser: &Browser, page: &str, name: &str) -> Vec<String> {
    browser.screenshot(&format!("{page}-{name}")).await;
    let mut findings = browser.accessibility_findings().await;
    let wide = browser
        .run("return document.documentElement.scrollWidth - innerWidth")
        .await;
    if wide.as_i64().unwrap() > 0 {
        findings.push(format!("{wide} pixels too wide"));
    }
    findings
        .into_iter()
        .map(|finding| format!("{page}: {finding}"))
        .collect()
}

async fn check_every_page(name: &str, setup: Setup) {
    let (site, server) = serve().await;
    let browser = Browser::open(&server.address, setup).await;
    let mut findings = Vec::new();
    for (page, path) in PUBLIC_PAGES {
        browser.goto(path).await;
        findings.extend(check_page(&browser, page, name).await);
    }
    browser.goto("/polls/1/").await;
    // Browsers without this check get the server's error.
    browser
        .run("for (const form of document.forms) form.noValidate = true")
        .await;
    browser.press("Vote").await;
    browser.assert_text("You didn't select a choice.").await;
    findings.extend(check_page(&browser, "poll-error", name).await);
    browser.click("#choice2").await;
    browser.press("Vote").await;
    browser.assert_text("was counted.").await;
    findings.extend(check_page(&browser, "voted", name).await);
    let focus = browser
        .run("return document.activeElement.getAttribute('role')")
        .await;
    assert_eq!(focus, "status");
    // Questions with options: a code and several choices, hidden results, and one that is closed.
    for (sql, page, path) in [
        (
            "(2, 'code', 2, NULL, 'closed')",
            "poll-code",
            "/polls/2/?code=1234",
        ),
        (
            "(3, 'account', 1, NULL, 'voted')",
            "poll-account",
            "/polls/3/",
        ),
    ] {
        let columns = "question_id, policy, max_choices, closes_at, results";
        let insert = format!("INSERT INTO polls_question_options ({columns}) VALUES {sql}");
        site.execute(&insert).await;
        std::thread::sleep(std::time::Duration::from_millis(1200));
        browser.goto(path).await;
        findings.extend(check_page(&browser, page, name).await);
    }
    site.execute("UPDATE polls_question_options SET codes = 12 WHERE question_id = 2")
        .await;
    browser.goto("/polls/3/results/").await;
    findings.extend(check_page(&browser, "results-hidden", name).await);
    site.execute(
        "UPDATE polls_question_options SET closes_at = '2026-01-01 00:00:00' WHERE question_id = 3",
    )
    .await;
    std::thread::sleep(std::time::Duration::from_millis(1200));
    browser.goto("/polls/3/").await;
    findings.extend(check_page(&browser, "closed", name).await);
    browser.log_in("admin", PASSWORD).await;
    for (page, path) in PAGES {
        browser.goto(path).await;
        findings.extend(check_page(&browser, page, name).await);
    }
    browser.goto("/admin/polls_app/question/add/").await;
    browser.press("Save").await;
    browser.assert_text("Please correct the error below.").await;
    findings.extend(check_page(&browser, "errors", name).await);
    let forced = browser
        .run("return matchMedia('(forced-colors: active)').matches")
        .await;
    assert_eq!(forced, setup.is_forced_colors);
    let script = "const point = document.createElement('canvas').getContext('2d'); \
        point.fillStyle = getComputedStyle(document.body).backgroundColor; point.fillRect(0, 0, 1, 1); \
        return point.getImageData(0, 0, 1, 1).data[0];";
    let red = browser.run(script).await.as_u64().unwrap();
    assert_eq!(red < 60, setup.is_dark, "{red}");
    if setup.is_forced_colors {
        // axe compares the declared text colour with the background of the theme.
        findings.retain(|finding| !finding.contains(": color-contrast: "));
    }
    assert!(findings.is_empty(), "{findings:#?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_in_light_mode() {
    check_every_page("light", Setup::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_in_dark_mode() {
    check_every_page(
        "dark",
        Setup {
            is_dark: true,
            ..Setup::default()
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_on_a_phone() {
    check_every_page(
        "phone",
        Setup {
            is_phone: true,
            ..Setup::default()
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_in_forced_colors() {
    check_every_page(
        "forced-colors",
        Setup {
            is_forced_colors: true,
            ..Setup::default()
        },
    )
    .await;
}
