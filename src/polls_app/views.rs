//! The polls pages.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use minijinja::{Value, context, value::Serde};
use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};
use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::{
    pages::PageCache,
    queries, urls,
    votes::{VoteCounter, VoteResult},
};
use crate::{
    auth::login,
    core::Core,
    digits,
    entities::{choice, question},
    error::{AppError, Result},
    web::{
        form::Form,
        format::{FormattedTime, next_change, with_noun},
        headers::never_cache,
        page::Page,
        read_your_writes::{self, Changed},
        routing::redirect,
        session::session_of,
    },
};

/// The list of the latest published questions.
#[handler]
pub async fn index(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let (db, now) = (read_your_writes::reader(core, request), core.now());
    let latest = queries::latest(&db, now).await?;
    let changes = latest
        .iter()
        .map(|listed| next_change(*listed.pub_date, now));
    let until = changes
        .chain(queries::next_publication(&db, now).await?)
        .min();
    let rows: Vec<_> = latest
        .into_iter()
        .map(|listed| Row::new(listed, now, core.settings.time_zone))
        .collect();
    page.render_shared(
        "polls_app/index.html",
        context! { latest_question_list => Serde(rows) },
        until.unwrap_or(DateTime::<Utc>::MAX_UTC),
    )
}

/// A question with the form to vote.
#[handler]
pub async fn detail(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let question =
        QuestionContext::find(core, &read_your_writes::reader(core, request), request).await?;
    let until = question.until;
    let context = context! { question => Serde(question), error_message => "" };
    render(&page, core, "polls_app/detail.html", context, until)
}

/// The results of a question, to which a vote redirects.
#[handler]
pub async fn results(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let question =
        QuestionContext::find(core, &read_your_writes::reader(core, request), request).await?;
    let until = question.until;
    let context = context! { question => Serde(question) };
    render(&page, core, "polls_app/results.html", context, until)
}

/// Renders the page of a question that is the same for all visitors until a time; without one, it is for staff only and never
/// cached.
fn render(
    page: &Page,
    core: &Core,
    template: &str,
    context: Value,
    until: Option<DateTime<Utc>>,
) -> Result<Response> {
    if let Some(until) = until {
        return page.render_shared(template, context, until);
    }
    let mut response = page.render(template, context)?;
    never_cache(&mut response, core.now());
    Ok(response)
}

/// Adds a vote and redirects to the results. A GET request, such as loading the URL of the error page, redirects to the question.
#[handler]
pub async fn vote(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    Data(votes): Data<&VoteCounter>,
    Data(pages): Data<&PageCache>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let id = question_id(request)?;
    if *request.method() != Method::POST {
        return Ok(redirect(StatusCode::FOUND, &urls::detail(id)));
    }
    let chosen = form
        .get("choice")
        .and_then(|choice| digits::to_ascii(choice).trim().parse().ok());
    let result = match chosen {
        Some(choice_id) => votes.add(id, choice_id).await?,
        None => VoteResult::NoChoice,
    };
    let error_message = match result {
        VoteResult::Counted => {
            pages.changed(id);
            let mut response = redirect(StatusCode::FOUND, &urls::results(id));
            response.set_data(Changed);
            return Ok(response);
        }
        VoteResult::NoQuestion => return Err(AppError::NotFound),
        VoteResult::Full => "This choice cannot take any more votes.",
        VoteResult::NoChoice => "You didn't select a choice.",
    };
    let question = QuestionContext::find(core, core.db.write(), request).await?;
    // Staff may see it, and not vote on it.
    if !question.is_published {
        return Err(AppError::NotFound);
    }
    page.render(
        "polls_app/detail.html",
        context! { question => Serde(question), error_message },
    )
}

/// The id in the path. An id that does not fit `i32` is a 404.
fn question_id(request: &Request) -> Result<i32> {
    request
        .raw_path_param("id")
        .and_then(|id| id.parse().ok())
        .ok_or(AppError::NotFound)
}

/// The template context of a question in the list.
#[derive(Debug, Serialize)]
struct Row {
    text: String,
    url: String,
    votes: String,
    choices: String,
    published: FormattedTime,
}

impl Row {
    fn new(listed: queries::QuestionSummary, now: DateTime<Utc>, zone: Tz) -> Self {
        Self {
            url: urls::detail(listed.id),
            votes: with_noun(listed.votes, "vote"),
            choices: with_noun(listed.choices, "choice"),
            published: FormattedTime::new(*listed.pub_date, now, zone),
            text: listed.question_text,
        }
    }
}

/// The template context of a question's page.
#[derive(Debug, Serialize)]
struct QuestionContext {
    text: String,
    url: String,
    url_results: String,
    url_vote: String,
    published: FormattedTime,
    /// Whether it is published; otherwise the page is for staff only.
    is_published: bool,
    /// Until when its texts are true; none if it is not published.
    #[serde(skip)]
    until: Option<DateTime<Utc>>,
    votes: String,
    choices: Vec<ChoiceContext>,
}

#[derive(Debug, Serialize)]
struct ChoiceContext {
    id: i32,
    text: String,
    votes: String,
    /// The percentage of all votes, rounded: the length of the bar.
    percent: i64,
    /// The percentage as text, such as `<1%`.
    share: String,
    /// Whether no choice has more votes.
    leads: bool,
}

impl QuestionContext {
    /// The question with the id in the path. One that is not published yet is a 404, except for staff, who can preview it.
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
        // The column allows negative numbers, which count as 0.
        let votes_of = |choice: &choice::Model| choice.votes.0.max(0);
        let total = choices.iter().map(votes_of).fold(0, i64::saturating_add);
        let max_votes = choices
            .iter()
            .map(|choice| choice.votes)
            .max()
            .unwrap_or_default();
        let to_context = |choice: choice::Model| {
            let votes = votes_of(&choice);
            let percent = if total > 0 {
                let (votes, total) = (i128::from(votes), i128::from(total));
                ((200 * votes + total) / (2 * total)) as i64
            } else {
                0
            };
            ChoiceContext {
                id: choice.id,
                text: choice.choice_text,
                votes: with_noun(votes, "vote"),
                percent,
                share: match percent {
                    0 if votes > 0 => "<1%".to_owned(),
                    100 if votes < total => ">99%".to_owned(),
                    _ => format!("{percent}%"),
                },
                leads: max_votes.0 > 0 && choice.votes == max_votes,
            }
        };
        let is_published = *question.pub_date <= now;
        Self {
            until: is_published.then(|| next_change(*question.pub_date, now)),
            url: urls::detail(question.id),
            url_results: urls::results(question.id),
            url_vote: urls::vote(question.id),
            published: FormattedTime::new(*question.pub_date, now, zone),
            votes: with_noun(total, "vote"),
            is_published,
            choices: choices.into_iter().map(to_context).collect(),
            text: question.question_text,
        }
    }
}
