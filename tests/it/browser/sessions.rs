//! A session that ends while a form is open.

use super::{LIST, serve};
use crate::support::{
    app::PASSWORD,
    browser::{Browser, Setup},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_unsaved_form_outlives_the_session() {
    let (site, server) = serve().await;
    let browser = Browser::open(&server.address, Setup::default()).await;
    browser.log_in("admin", PASSWORD).await;
    browser.goto(&format!("{LIST}1/change/")).await;
    browser.fill("#id_question_text", "Kept?").await;
    site.execute("DELETE FROM django_session").await;
    browser.press("Save").await;
    browser.assert_text("Your session has ended.").await;
    browser.screenshot("session-ended").await;
    browser.fill("#id_username", "admin").await;
    browser.fill("#id_password", PASSWORD).await;
    browser.click(".login-button").await;
    browser.assert_text("Nothing was lost.").await;
    let focus = browser.run("return document.activeElement.id").await;
    assert_eq!(focus, "resumed");
    browser.screenshot("session-resumed").await;
    browser.press("Save").await;
    browser
        .assert_text("The question “Kept?” was changed")
        .await;
    browser.close().await;
}
