//! The polls pages.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use minijinja::{context, value::Serde};
use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};
use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::{queries, urls, votes::VoteCounter};
use crate::{
    auth::login,
    core::Core,
    entities::{choice, question},
    error::{AppError, Result},
    web::{
        form::Form,
        format::{Moment, counted},
        headers::never_cache,
        page::Page,
        recent,
        routing::redirect,
        session::session_of,
    },
};

/// The latest questions.
#[handler]
pub async fn index(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let now = core.now();
    let latest = queries::latest(&recent::reader(core, request), now).await?;
    let rows: Vec<_> = latest
        .into_iter()
        .map(|listed| Row::new(listed, now, core.settings.time_zone))
        .collect();
    page.render(
        "polls_app/index.html",
        context! { latest_question_list => Serde(rows) },
    )
}

/// A question with its choices to vote for.
#[handler]
pub async fn detail(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let shown = QuestionContext::find(core, &recent::reader(core, request), request).await?;
    let is_published = shown.is_published;
    let context = context! { question => Serde(shown), error_message => "" };
    let response = page.render("polls_app/detail.html", context)?;
    Ok(preview_uncached(core, response, is_published))
}

/// A question with the votes of its choices. A vote leads here.
#[handler]
pub async fn results(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let shown = QuestionContext::find(core, &recent::reader(core, request), request).await?;
    let is_published = shown.is_published;
    let context = context! { question => Serde(shown) };
    let response = page.render("polls_app/results.html", context)?;
    Ok(preview_uncached(core, response, is_published))
}

/// Keeps what only staff may see out of all caches.
fn preview_uncached(core: &Core, mut response: Response, is_published: bool) -> Response {
    if !is_published {
        never_cache(&mut response, core.now());
    }
    response
}

/// Takes a vote and redirects to the results. A GET, as a reload of the error page sends it, redirects to the question.
#[handler]
pub async fn vote(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    Data(votes): Data<&VoteCounter>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let id = question_id(request)?;
    if *request.method() != Method::POST {
        return Ok(redirect(StatusCode::FOUND, &urls::detail(id)));
    }
    let now = core.now();
    if queries::published(core.db.write(), id, now)
        .await?
        .is_none()
    {
        return Err(AppError::NotFound);
    }
    let chosen: Option<i32> = form.get("choice").and_then(|choice| choice.parse().ok());
    if let Some(choice_id) = chosen
        && votes.add(id, choice_id).await?
    {
        return Ok(redirect(StatusCode::FOUND, &urls::results(id)));
    }
    let shown = QuestionContext::find(core, core.db.write(), request).await?;
    // A choice of this question that took no vote has as many as can be counted.
    let is_full = shown.choices.iter().any(|choice| Some(choice.id) == chosen);
    let error_message = if is_full {
        "This choice cannot take any more votes."
    } else {
        "You didn't select a choice."
    };
    page.render(
        "polls_app/detail.html",
        context! { question => Serde(shown), error_message },
    )
}

/// The id in the address. Digits beyond any id are an address where nothing is.
fn question_id(request: &Request) -> Result<i32> {
    request
        .raw_path_param("id")
        .and_then(|id| id.parse().ok())
        .ok_or(AppError::NotFound)
}

/// A question in the list.
#[derive(Debug, Serialize)]
struct Row {
    text: String,
    url: String,
    votes: String,
    choices: String,
    published: Moment,
}

impl Row {
    fn new(listed: queries::Listed, now: DateTime<Utc>, zone: Tz) -> Self {
        Self {
            url: urls::detail(listed.id),
            votes: counted(listed.votes, "vote"),
            choices: counted(listed.choices, "choice"),
            published: Moment::new(*listed.pub_date, now, zone),
            text: listed.question_text,
        }
    }
}

/// A question on its own page.
#[derive(Debug, Serialize)]
struct QuestionContext {
    text: String,
    url: String,
    url_results: String,
    url_vote: String,
    published: Moment,
    /// Whether it is published; otherwise only staff see it.
    is_published: bool,
    votes: String,
    choices: Vec<ShownChoice>,
}

#[derive(Debug, Serialize)]
struct ShownChoice {
    id: i32,
    text: String,
    votes: String,
    /// The share of all votes, rounded, as the length of the bar.
    percent: i64,
    /// The share in words.
    share: String,
    /// Whether no choice has more votes.
    leads: bool,
}

impl QuestionContext {
    /// The question that an address names. One that is not published yet is there for staff only, to look at.
    async fn find(core: &Core, db: &impl ConnectionTrait, request: &Request) -> Result<Self> {
        let found = queries::with_choices(db, question_id(request)?).await?;
        let (question, choices) = found.ok_or(AppError::NotFound)?;
        let now = core.now();
        if *question.pub_date > now {
            let user = login::current_user(core, session_of(request)).await?;
            if !user.is_some_and(|user| user.row.is_staff) {
                return Err(AppError::NotFound);
            }
        }
        Ok(Self::new(question, choices, now, core.settings.time_zone))
    }

    fn new(
        question: question::Model,
        choices: Vec<choice::Model>,
        now: DateTime<Utc>,
        zone: Tz,
    ) -> Self {
        // A negative number, which the column allows, counts as no votes.
        let votes_of = |choice: &choice::Model| i64::from(choice.votes.max(0));
        let total: i64 = choices.iter().map(votes_of).sum();
        let most = choices
            .iter()
            .map(|choice| choice.votes)
            .max()
            .unwrap_or_default();
        let shown = |choice: choice::Model| {
            let votes = votes_of(&choice);
            let percent = if total > 0 {
                (200 * votes + total) / (2 * total)
            } else {
                0
            };
            ShownChoice {
                id: choice.id,
                text: choice.choice_text,
                votes: counted(votes, "vote"),
                percent,
                share: match percent {
                    0 if votes > 0 => "<1%".to_owned(),
                    100 if votes < total => ">99%".to_owned(),
                    _ => format!("{percent}%"),
                },
                leads: most > 0 && choice.votes == most,
            }
        };
        Self {
            url: urls::detail(question.id),
            url_results: urls::results(question.id),
            url_vote: urls::vote(question.id),
            published: Moment::new(*question.pub_date, now, zone),
            votes: counted(total, "vote"),
            is_published: *question.pub_date <= now,
            choices: choices.into_iter().map(shown).collect(),
            text: question.question_text,
        }
    }
}
