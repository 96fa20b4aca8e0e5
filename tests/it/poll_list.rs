//! The list of all polls, and the feed.

use chrono::TimeDelta;
use polls::entities::question_options::Model as Options;

use crate::support::{
    Client, TestApp,
    app::{add_questions, now},
    client::Reply,
    forms::unescape,
};

/// The texts of the polls on a page.
fn texts(page: &Reply) -> Vec<String> {
    let links = page.text().split("class=\"question-link\"").skip(1);
    links
        .map(|link| unescape(link.split_once('>').unwrap().1.split('<').next().unwrap()))
        .collect()
}

/// The link of a direction, if there is one.
fn link(page: &Reply, rel: &str) -> Option<String> {
    let before = page.text().split_once(&format!("\" rel=\"{rel}\""))?.0;
    Some(unescape(before.rsplit("href=\"").next().unwrap()))
}

async fn follow(client: &Client, address: &str, rel: &str) -> Vec<Vec<String>> {
    let (mut pages, mut address) = (Vec::new(), Some(address.to_owned()));
    while let Some(next) = address {
        let page = client.get(next).await;
        page.assert_status(200);
        pages.push(texts(&page));
        address = link(&page, rel);
    }
    pages
}

on_both_databases! {
    async fn all_polls_are_listed_in_pages(app: TestApp) {
        // Several at the same time.
        for number in 0..45 {
            app.question_at(&format!("Poll {number:02}?"), now() - TimeDelta::minutes(60 - number / 3), &["A"]).await;
        }
        app.question_at("Later?", now() + TimeDelta::minutes(1), &["A"]).await;
        app.question("Draft?", &[]).await;
        let closed = app.question("Closed?", &["A"]).await;
        app.set_options(closed.id, Options { closes_at: Some(now().into()), ..Options::default() }).await;
        let visitor = app.visitor();
        visitor.get("/polls/").await.assert_contains("href=\"/polls/all/\"").assert_contains("href=\"/polls/feed/\"");
        let pages = follow(&visitor, "/polls/all/", "next").await;
        let expected: Vec<String> = (0..45).rev().map(|number| format!("Poll {number:02}?")).collect();
        assert_eq!(pages.concat(), expected);
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [20, 20, 5]);
        // And back.
        let second = link(&visitor.get("/polls/all/").await, "next").unwrap();
        let third = link(&visitor.get(&second).await, "next").unwrap();
        let mut back = follow(&visitor, &third, "prev").await;
        back.reverse();
        assert_eq!(back, pages);
        assert_eq!(texts(&visitor.get("/polls/all/?show=closed").await), ["Closed?"]);
        // Searched, also for what SQL would take for a pattern.
        assert_eq!(texts(&visitor.get("/polls/all/?q=POLL+44").await), ["Poll 44?"]);
        for search in ["%25", "_", "%5C", "Poll%00x", "zzz"] {
            assert_eq!(texts(&visitor.get(format!("/polls/all/?q={search}")).await).len(), 0, "{search}");
        }
        visitor.get("/polls/all/?show=closed&q=%3Cb%3E").await.assert_contains("No closed poll has “&lt;b&gt;”");
        for odd in ["after=x", "after=1-", "before=-1--1", "after=99999999999999999999-1", "before=9223372036854775807-1", "show=odd", "after=1-99999999999"] {
            visitor.get(format!("/polls/all/?{odd}")).await.assert_status(200);
        }
    }

    async fn every_poll_of_a_hundred_pages_is_listed_once(app: TestApp) {
        let db = app.site.core.db.write();
        add_questions(db, 2000).await;
        let visitor = app.visitor();
        let pages = follow(&visitor, "/polls/all/", "next").await;
        assert_eq!((pages.len(), pages.concat().len()), (100, 2000));
        assert_eq!(pages.last().unwrap().last().unwrap(), "Question 2000");
    }

    async fn the_feed_has_the_latest_polls(app: TestApp) {
        for number in 0..25 {
            app.question_at(&format!("A <b> & \u{1} {number}?"), now() - TimeDelta::hours(25 - number), &["A", "B"]).await;
        }
        let feed = app.visitor().get("/polls/feed/").await;
        let tag = feed.header("etag").unwrap();
        let again = app.visitor().get_with("/polls/feed/", &[("if-none-match", tag)]).await;
        assert_eq!((again.status.as_u16(), again.text()), (304, ""));
        assert_eq!(feed.header("content-type"), Some("application/atom+xml; charset=utf-8"));
        let parsed = atom_syndication::Feed::read_from(feed.bytes.as_slice()).unwrap();
        assert_eq!(parsed.entries.len(), 20);
        assert_eq!(parsed.entries[0].title.value, "A <b> &  24?");
        assert_eq!(parsed.entries[0].links[0].href, "http://testserver/polls/25/");
        assert_eq!(parsed.updated, parsed.entries[0].updated);
    }
}
