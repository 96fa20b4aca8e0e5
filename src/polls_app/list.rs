//! The list of all polls, with search and pages, and the feed of new ones.

use std::sync::Arc;

use atom_syndication::{Entry, Feed, FixedDateTime, Generator, Link, Person, Text};
use chrono::{DateTime, Utc};
use minijinja::{context, value::Serde};
use poem::{
    Request, Response, handler,
    http::{HeaderValue, header},
    web::{
        Data,
        headers::{HeaderMapExt, IfNoneMatch},
    },
};

use super::{
    context::Row,
    queries::{self, ListPage, Position, QuestionSummary},
    urls,
};
use crate::{
    core::Core,
    error::{AppError, Result},
    web::{etag, form::Form, format::with_noun, hosts::Origin, page::Page, read_your_writes},
};

/// The published polls, open or closed, 20 on a page, newest first.
#[handler]
pub async fn all(page: Page, Data(core): Data<&Arc<Core>>, request: &Request) -> Result<Response> {
    let query = Form::of_query(request);
    let search = query.get("q").unwrap_or_default();
    let list = ListPage {
        position: position(&query),
        ..ListPage::first(query.get("show") == Some("closed"), search)
    };
    let now = core.now();
    let db = read_your_writes::reader(core, request);
    let found = queries::list(&db, &list, now).await?;
    let questions = found.questions;
    let link = |question: Option<&QuestionSummary>, name: &str| {
        question.map(|question| url(&list, Some((name, question))))
    };
    let newer_url = link(questions.first().filter(|_| found.has_newer), "before");
    let older_url = link(questions.last().filter(|_| found.has_older), "after");
    let tab = |is_closed| {
        let list = ListPage {
            is_closed,
            ..list.clone()
        };
        url(&list, None)
    };
    let context = context! {
        is_closed => list.is_closed,
        search => &list.search,
        open_url => tab(false),
        closed_url => tab(true),
        newer_url,
        older_url,
        questions => Serde(rows(questions, now, core)),
    };
    page.render("polls_app/all.html", context)
}

/// The Atom feed (RFC 4287) of the latest polls.
#[handler]
pub async fn feed(Data(core): Data<&Arc<Core>>, request: &Request) -> Result<Response> {
    let now = core.now();
    let newest = ListPage::first(false, "");
    let found = queries::list(&read_your_writes::reader(core, request), &newest, now).await?;
    let found = found.questions;
    let origin = Origin::of(request);
    let absolute = |path: &str| origin.absolute(path);
    let time = |time: DateTime<Utc>| FixedDateTime::from(time);
    let entry = |question: &QuestionSummary| {
        let url = absolute(&urls::detail(question.id));
        Entry {
            title: xml_text(&question.question_text),
            id: url.clone(),
            updated: time(*question.pub_date),
            published: Some(time(*question.pub_date)),
            links: vec![Link {
                href: url,
                rel: "alternate".to_owned(),
                ..Link::default()
            }],
            summary: Some(Text::plain(with_noun(question.choices, "choice"))),
            ..Entry::default()
        }
    };
    let updated = found
        .first()
        .map_or(DateTime::UNIX_EPOCH, |newest| *newest.pub_date);
    let feed = Feed {
        title: Text::plain("Polls"),
        id: absolute(urls::FEED),
        updated: time(updated),
        authors: vec![Person {
            name: "Polls".to_owned(),
            ..Person::default()
        }],
        generator: Some(Generator {
            value: "polls".to_owned(),
            ..Generator::default()
        }),
        links: vec![
            Link {
                href: absolute(urls::FEED),
                rel: "self".to_owned(),
                ..Link::default()
            },
            Link {
                href: absolute(urls::ALL),
                rel: "alternate".to_owned(),
                ..Link::default()
            },
        ],
        entries: found.iter().map(entry).collect(),
        ..Feed::default()
    };
    let mut text = Vec::new();
    feed.write_to(&mut text)
        .map_err(|error| AppError::Internal(error.into()))?;
    let media_type = HeaderValue::from_static("application/atom+xml; charset=utf-8");
    let response = Response::builder()
        .header(header::CONTENT_TYPE, media_type)
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .finish();
    let known: Option<IfNoneMatch> = request.headers().typed_get();
    Ok(etag::with_body(response, text, known.as_ref()))
}

fn rows(found: Vec<QuestionSummary>, now: DateTime<Utc>, core: &Core) -> Vec<Row> {
    let row = |question| Row::new(question, now, core.settings.time_zone);
    found.into_iter().map(row).collect()
}

/// The URL of a page of the list: the parameter's name and the question after or before which it begins.
fn url(list: &ListPage, position: Option<(&str, &QuestionSummary)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if list.is_closed {
        query.append_pair("show", "closed");
    }
    if !list.search.is_empty() {
        query.append_pair("q", &list.search);
    }
    if let Some((name, question)) = position {
        query.append_pair(name, &question.position());
    }
    match query.finish().as_str() {
        "" => urls::ALL.to_owned(),
        query => format!("{}?{query}", urls::ALL),
    }
}

/// The position in a query string; none if it is invalid.
fn position(query: &Form) -> Option<Position> {
    match (query.get("before"), query.get("after")) {
        (Some(text), _) => Position::parse(text, true),
        (None, text) => Position::parse(text?, false),
    }
}

/// A text without the characters that XML cannot have (XML 1.0, 2.2).
fn xml_text(text: &str) -> Text {
    let is_valid = |letter: &char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    Text::plain(text.chars().filter(is_valid).collect::<String>())
}
