//! The chooser with two boxes (Django's `filter_horizontal`), in headless Chromium on a phone.

use crate::support::{
    Backend, Site,
    app::PASSWORD,
    browser::{Browser, Setup},
};

const AVAILABLE: &str = "[aria-label='Available permissions'] option";
const CHOSEN: &str = "[aria-label='Chosen permissions'] option";

#[tokio::test(flavor = "multi_thread")]
async fn choose_all_applies_to_the_filtered_items() {
    let site = Site::migrated(Backend::Sqlite).await.with_superuser();
    let server = site.serve();
    let setup = Setup {
        is_phone: true,
        ..Setup::default()
    };
    let browser = Browser::open(&server.address, setup).await;
    browser.log_in("admin", PASSWORD).await;
    browser.goto("/admin/auth/group/add/").await;
    // Names longer than a box have further lines in it.
    let cut_off = "return [...document.querySelectorAll('.chooser-side option')] \
        .filter((option) => option.scrollWidth > option.clientWidth).map((option) => option.text)";
    assert_eq!(browser.run(cut_off).await, serde_json::json!([]));
    let heights = "return [...document.querySelectorAll('.chooser-side option')] \
        .some((option) => option.offsetHeight > 2 * parseFloat(getComputedStyle(option).fontSize))";
    assert_eq!(browser.run(heights).await, true);
    let all = browser.count(AVAILABLE).await;
    browser.fill("#id_name", "Editors").await;
    browser
        .fill("[aria-label='Filter available permissions']", "question")
        .await;
    browser.click("[aria-label='Choose all permissions']").await;
    assert_eq!(browser.count(CHOSEN).await, 4);
    assert_eq!(browser.count(AVAILABLE).await, 0);
    assert_eq!(
        browser
            .count("[aria-label='Choose all permissions']:disabled")
            .await,
        1
    );
    browser
        .fill("[aria-label='Filter chosen permissions']", "view")
        .await;
    browser.click("[aria-label='Remove all permissions']").await;
    for (filter, typed) in [("chosen", "view"), ("available", "question")] {
        let backspaces = "\u{e003}".repeat(typed.len());
        let filter = format!("[aria-label='Filter {filter} permissions']");
        browser.keys(&filter, &backspaces).await;
    }
    assert_eq!(browser.count(CHOSEN).await, 3);
    assert_eq!(browser.count(AVAILABLE).await, all - 3);
    browser.screenshot("chooser-phone").await;
    browser.press("Save").await;
    browser
        .assert_text("The group “Editors” was added successfully.")
        .await;
    browser.close().await;
}
