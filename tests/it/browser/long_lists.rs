//! Long lists of the admin in headless Chromium: controls stay visible, on a wide screen and on a phone.

use super::LIST;
use crate::support::{
    Backend, Site,
    app::PASSWORD,
    browser::{Browser, Setup},
    site::Server,
};

async fn serve() -> (Site, Server) {
    let site = Site::migrated(Backend::Sqlite).await.with_superuser();
    site.run(["seed", "--random", "150"]).success();
    let server = site.serve();
    (site, server)
}

/// Whether all of an element is inside the window.
async fn is_in_sight(browser: &Browser, css: &str) -> bool {
    let script = format!(
        "const box = document.querySelector('{css}').getBoundingClientRect(); \
         return box.height > 0 && box.top >= -1 && box.bottom <= innerHeight + 1"
    );
    browser.run(&script).await == true
}

async fn open(server: &Server, setup: Setup) -> Browser {
    let browser = Browser::open(&server.address, setup).await;
    browser.log_in("admin", PASSWORD).await;
    browser.goto(LIST).await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn heading_actions_and_paginator_stay_visible() {
    let (_site, server) = serve().await;
    let browser = open(&server, Setup::default()).await;
    let heights = "const of = (css) => [...document.querySelectorAll(css)].map((element) => element.offsetHeight); \
        return [Math.min(...of('tbody tr')), Math.max(...of('tbody tr')), Math.max(...of('tbody time'))]";
    let heights = browser.run(heights).await;
    let [least, most, date] = [0, 1, 2].map(|index| heights[index].as_i64().unwrap());
    // A question's text takes one line or two, a date always one.
    assert!(
        least < 45 && most < 65 && date < 25,
        "rows of {least} to {most} pixels, dates of {date}"
    );
    for position in [
        "0",
        "document.body.scrollHeight / 2",
        "document.body.scrollHeight",
    ] {
        browser.run(&format!("scrollTo(0, {position})")).await;
        for css in ["#action", ".list-table thead a.sort", ".pager"] {
            assert!(is_in_sight(&browser, css).await, "{css} at {position}");
        }
    }
    browser.run("scrollTo(0, 1500)").await;
    browser.screenshot("long-list").await;
    // What has the focus is not behind them.
    browser
        .run("scrollTo(0, 2500); document.querySelector('tbody tr:nth-child(20) a').focus()")
        .await;
    let script = "const box = document.activeElement.getBoundingClientRect(); \
        return document.elementFromPoint(box.left + 5, box.top + 5).closest('a') === document.activeElement";
    assert_eq!(browser.run(script).await, true);

    // The buttons that delete them all are there without scrolling.
    browser.click("[data-select-all] input").await;
    browser.keys("#action", "Delete").await;
    browser.press("Run").await;
    browser.assert_text("votes will be lost.").await;
    assert!(is_in_sight(&browser, "[form=delete-form]").await);
    browser.screenshot("long-delete").await;
    browser.click("[form=delete-form]").await;
    browser
        .assert_text("Successfully deleted 100 questions.")
        .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_open_above_the_list_on_a_phone() {
    let (_site, server) = serve().await;
    let phone = Setup {
        is_phone: true,
        ..Setup::default()
    };
    for without_script in [false, true] {
        let browser = open(
            &server,
            Setup {
                without_script,
                ..phone
            },
        )
        .await;
        assert!(!is_in_sight(&browser, "#filters-title").await);
        browser.press("Filters").await;
        assert!(is_in_sight(&browser, "#filters-title").await);
        assert!(is_in_sight(&browser, ".filters-close").await);
        browser
            .screenshot(if without_script {
                "filters-phone-without-script"
            } else {
                "filters-phone"
            })
            .await;
        browser.press("Close").await;
        let display = "return getComputedStyle(document.querySelector('#filters')).display";
        assert_eq!(browser.run(display).await, "none");
        browser.press("Filters").await;
        browser.press("Past 7 days").await;
        browser.assert_text("Filters (1)").await;
        let small = "return [...document.querySelectorAll('thead a')].filter((link) => \
            link.offsetHeight < 24 || link.offsetWidth < 24).map((link) => link.textContent)";
        browser.goto(&format!("{LIST}?o=1.-2")).await;
        assert_eq!(browser.run(small).await, serde_json::json!([]));
        browser.run("scrollTo(0, 3000)").await;
        assert!(is_in_sight(&browser, "#action").await);
        browser.screenshot("long-list-phone").await;
        browser.close().await;
    }
}
