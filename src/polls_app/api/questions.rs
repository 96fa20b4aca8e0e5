//! The operations of the API.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::{Request, Result, web::Data};
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};

use super::error::ApiError;
use crate::{
    core::Core,
    error::AppError,
    polls_app::{
        queries::{self, ListPage, Position, QuestionSummary},
        tally::Tally,
        urls,
        visibility::{Watcher, reason},
    },
    web::{format::FormattedTime, hosts::Origin, read_your_writes},
};

/// The operations.
pub struct QuestionsApi;

/// Which questions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Enum)]
#[oai(rename_all = "lowercase")]
enum Show {
    /// Those on which visitors may vote.
    #[default]
    Open,
    /// Those on which voting has ended.
    Closed,
}

/// A page of the list of questions.
#[derive(Debug, Object)]
struct Questions {
    /// The questions, newest first, 20 at most.
    questions: Vec<Summary>,
    /// The URL of the page with newer questions; not on the first page.
    #[oai(skip_serializing_if_is_none)]
    newer: Option<String>,
    /// The URL of the page with older questions; not on the last page.
    #[oai(skip_serializing_if_is_none)]
    older: Option<String>,
}

/// The responses of the list.
#[derive(Debug, ApiResponse)]
#[oai(bad_request_handler = "ListResponse::invalid")]
enum ListResponse {
    /// The questions
    #[oai(status = 200)]
    Found(Json<Questions>),
    /// A parameter is invalid
    #[oai(status = 400)]
    Invalid(Json<ApiError>),
}

impl ListResponse {
    fn invalid(_: poem::Error) -> Self {
        Self::Invalid(Json(ApiError::invalid()))
    }
}

/// The responses of a question.
#[derive(Debug, ApiResponse)]
#[oai(bad_request_handler = "QuestionResponse::no_question")]
enum QuestionResponse {
    /// The question
    #[oai(status = 200)]
    Found(Json<Question>),
    /// There is no such question, or it is not published
    #[oai(status = 404)]
    NotFound(Json<ApiError>),
}

impl QuestionResponse {
    /// Also for an id that is no number.
    fn no_question(_: poem::Error) -> Self {
        Self::NotFound(Json(ApiError::no_question()))
    }
}

/// A question in the list.
#[derive(Debug, Object)]
struct Summary {
    /// The key.
    id: i32,
    /// The text.
    text: String,
    /// When it was published.
    published: DateTime<Utc>,
    /// When voting ends or has ended; not if the question stays open.
    #[oai(skip_serializing_if_is_none)]
    closes: Option<DateTime<Utc>>,
    /// The number of choices.
    choices: i64,
    /// The number of votes; not while the results are hidden.
    #[oai(skip_serializing_if_is_none)]
    votes: Option<i64>,
    /// The URL of the question in this API.
    url: String,
    /// The URL of the page of the question.
    page: String,
}

/// A question with its results.
#[derive(Debug, Object)]
struct Question {
    /// The key.
    id: i32,
    /// The text.
    text: String,
    /// When it was published.
    published: DateTime<Utc>,
    /// When voting ends or has ended; not if the question stays open.
    #[oai(skip_serializing_if_is_none)]
    closes: Option<DateTime<Utc>>,
    /// Whether visitors may vote.
    is_open: bool,
    /// How many choices a vote may have.
    max_choices: i32,
    /// The choices, in the order of the page.
    choices: Vec<Choice>,
    /// The number of votes; not while the results are hidden.
    #[oai(skip_serializing_if_is_none)]
    votes: Option<i64>,
    /// Why the results are hidden, if they are.
    #[oai(skip_serializing_if_is_none)]
    hidden: Option<String>,
    /// The URL of the page of the question.
    page: String,
}

/// A choice of a question.
#[derive(Debug, Object)]
struct Choice {
    /// The key.
    id: i32,
    /// The text.
    text: String,
    /// The number of votes; not while the results are hidden.
    #[oai(skip_serializing_if_is_none)]
    votes: Option<i64>,
    /// The percentage of all votes, rounded so that those of all choices add up to 100; not while the results are hidden.
    #[oai(skip_serializing_if_is_none)]
    percent: Option<i64>,
}

#[OpenApi]
impl QuestionsApi {
    /// Lists the published questions
    ///
    /// Newest first, 20 on a page. The fields older and newer have the URLs of the next pages.
    #[oai(path = "/polls/api/v1/questions", method = "get")]
    async fn questions(
        &self,
        core: Data<&Arc<Core>>,
        request: &Request,
        /// Which questions: open or closed
        #[oai(default)]
        show: Query<Show>,
        /// Only those that have this text in their question, without regard to case
        q: Query<Option<String>>,
        /// The position after which the page begins, from the field older
        after: Query<Option<String>>,
        /// The position before which the page ends, from the field newer
        before: Query<Option<String>>,
    ) -> Result<ListResponse> {
        let position = match (&before.0, &after.0) {
            (Some(text), _) => Some(Position::parse(text, true)),
            (None, Some(text)) => Some(Position::parse(text, false)),
            (None, None) => None,
        };
        if position == Some(None) {
            return Ok(ListResponse::Invalid(Json(ApiError::invalid())));
        }
        let search = q.0.unwrap_or_default();
        let page = ListPage {
            position: position.flatten(),
            ..ListPage::first(show.0 == Show::Closed, &search)
        };
        let now = core.now();
        let db = read_your_writes::reader(core.0, request);
        let found = queries::list(&db, &page, now).await;
        let found = found.map_err(AppError::from)?;
        let origin = Origin::of(request);
        let link = |question: Option<&QuestionSummary>, name| {
            question.map(|question| {
                let mut query = form_urlencoded::Serializer::new(String::new());
                if page.is_closed {
                    query.append_pair("show", "closed");
                }
                if !page.search.is_empty() {
                    query.append_pair("q", &page.search);
                }
                query.append_pair(name, &question.position());
                format!(
                    "{}?{}",
                    origin.absolute(urls::API_QUESTIONS),
                    query.finish()
                )
            })
        };
        let questions = &found.questions;
        Ok(ListResponse::Found(Json(Questions {
            newer: link(questions.first().filter(|_| found.has_newer), "before"),
            older: link(questions.last().filter(|_| found.has_older), "after"),
            questions: questions
                .iter()
                .map(|question| Summary {
                    id: question.id,
                    text: question.question_text.clone(),
                    published: *question.pub_date,
                    closes: question.closes_at.map(|time| *time),
                    choices: question.choices,
                    votes: (!question.hides_votes(now)).then_some(question.votes),
                    url: origin.absolute(&urls::api_question(question.id)),
                    page: origin.absolute(&urls::detail(question.id)),
                })
                .collect(),
        })))
    }

    /// Shows a question with its results
    ///
    /// The results are shown as far as visitors may see them.
    #[oai(path = "/polls/api/v1/questions/:id", method = "get")]
    async fn question(
        &self,
        core: Data<&Arc<Core>>,
        request: &Request,
        /// The key of the question
        id: Path<i32>,
    ) -> Result<QuestionResponse> {
        let db = read_your_writes::reader(core.0, request);
        let found = queries::find(&db, id.0).await.map_err(AppError::from)?;
        let now = core.now();
        let found = found.filter(|found| *found.question.pub_date <= now);
        let Some(found) = found else {
            return Ok(QuestionResponse::NotFound(Json(ApiError::no_question())));
        };
        let options = found.options;
        let is_closed = options.is_closed(now);
        let is_shown = Watcher::default().sees(options.results, is_closed);
        let closes = options.closes_at.map(|closes_at| *closes_at);
        let tally = Tally::new(found.choices, &options, |_| false);
        Ok(QuestionResponse::Found(Json(Question {
            id: found.question.id,
            text: found.question.question_text,
            published: *found.question.pub_date,
            closes,
            is_open: !is_closed && !tally.choices.is_empty(),
            max_choices: options.max_choices,
            votes: is_shown.then_some(tally.total),
            choices: tally
                .choices
                .into_iter()
                .map(|choice| Choice {
                    id: choice.id,
                    text: choice.text,
                    votes: is_shown.then_some(choice.count),
                    percent: is_shown.then_some(choice.percent),
                })
                .collect(),
            hidden: (!is_shown).then(|| {
                let zone = core.settings.time_zone;
                let closes = closes.map(|closes| FormattedTime::new(closes, now, zone));
                reason(options.results, closes.as_ref())
            }),
            page: Origin::of(request).absolute(&urls::detail(id.0)),
        })))
    }
}
