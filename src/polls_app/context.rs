//! The template contexts of the polls pages.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::{
    queries::QuestionSummary,
    tally::{self, ChoiceTally, Tally},
    urls,
    visibility::{self, Watcher},
    voter_cookies::{Notice, Placement},
    voters::CODE,
};
use crate::{
    entities::{
        choice, question,
        question_options::{self, Policy, ResultsShown},
    },
    web::format::{FormattedTime, day, iso, next_change, with_noun},
};

/// A question in the list.
#[derive(Debug, Serialize)]
pub struct Row {
    text: String,
    url: String,
    /// None while the results are not shown to all.
    votes: Option<String>,
    choices: String,
    published: FormattedTime,
}

impl Row {
    /// The context of a question in the list, at `now`.
    pub fn new(listed: QuestionSummary, now: DateTime<Utc>, zone: Tz) -> Self {
        Self {
            url: urls::detail(listed.id),
            votes: (!listed.hides_votes(now)).then(|| with_noun(listed.votes, "vote")),
            choices: with_noun(listed.choices, "choice"),
            published: FormattedTime::new(*listed.pub_date, now, zone),
            text: listed.question_text,
        }
    }
}

/// What the page of a question depends on besides the question.
#[derive(Debug, Default)]
pub struct Viewer {
    /// Whether the visitor is logged in.
    pub is_authenticated: bool,
    /// Whether the visitor is a member of staff.
    pub is_staff: bool,
    /// Whether the visitor sees questions that are not published yet.
    pub may_preview: bool,
    /// The day on which the visitor has voted, in days since 1970, if the question limits votes.
    pub voted_on: Option<i32>,
    /// The receipt of that vote.
    pub receipt: Option<String>,
    /// The vote that led to the page.
    pub notice: Option<Notice>,
    /// The code in the link to the page, or in the submitted form.
    pub code: Option<String>,
    /// Where the page is shown.
    pub placement: Placement,
}

impl Viewer {
    /// The visitor, as far as it decides whether the results are shown.
    pub fn watcher(&self) -> Watcher {
        Watcher {
            is_staff: self.is_staff,
            may_preview: self.may_preview,
            has_voted: self.voted_on.is_some() || self.notice.is_some(),
        }
    }
}

/// The page of a question.
#[derive(Debug, Serialize)]
pub struct QuestionContext {
    text: String,
    url: String,
    url_results: String,
    url_vote: String,
    url_login: String,
    /// The page of this site, also in a frame.
    url_page: String,
    url_share: String,
    url_present: String,
    url_events: String,
    /// What the page shows besides the votes, as a digest.
    version: String,
    /// Whether it is in a frame of another site.
    is_embedded: bool,
    published: FormattedTime,
    /// Whether it is published; otherwise the page is for staff only.
    pub is_published: bool,
    /// Until when its texts are true; none if it is not published.
    #[serde(skip)]
    pub until: Option<DateTime<Utc>>,
    #[serde(flatten)]
    tally: Tally,
    /// The choices in a form that is shown again.
    pub selected: BTreeSet<i32>,
    /// How many choices a ballot may have.
    max_choices: i32,
    /// The policy that the form sends; none for a question without one.
    policy: Option<&'static str>,
    needs_login: bool,
    needs_code: bool,
    code: String,
    closes: Option<FormattedTime>,
    is_closed: bool,
    /// Whether the visitor may vote, now or again.
    pub is_open: bool,
    /// What the visitor's vote did, for the results to which it has led.
    status: Option<String>,
    /// When the visitor voted.
    voted: Option<String>,
    /// The receipt of the visitor's vote.
    receipt: Option<String>,
    url_receipt: String,
    url_export: String,
    /// Whether the visitor has just voted, or has used up the vote.
    has_voted: bool,
    /// Why the results are not shown to the visitor; none if they are.
    pub hidden: Option<String>,
    /// When hidden results appear, in ISO 8601, if that is known.
    reload_at: Option<String>,
    /// `&code=…`, for links to what only the holder of the code sees.
    code_query: String,
}

impl QuestionContext {
    /// The context of a question at `now`.
    pub fn new(
        question: question::Model,
        choices: Vec<choice::Model>,
        options: &question_options::Model,
        viewer: &Viewer,
        (now, zone): (DateTime<Utc>, Tz),
    ) -> Self {
        let formatted = |time| FormattedTime::new(time, now, zone);
        let is_published = *question.pub_date <= now;
        let is_closed = options.is_closed(now);
        let chosen = match &viewer.notice {
            Some(Notice::Counted(chosen)) => chosen.clone(),
            _ => Default::default(),
        };
        let closes = options.closes_at.map(|closes_at| formatted(*closes_at));
        // At that time the page of an open question becomes that of a closed one.
        let closing = options.closes_at.filter(|_| !is_closed);
        let until = next_change(*question.pub_date, now);
        let [url, url_vote, url_events] = match viewer.placement {
            Placement::Page => [urls::detail, urls::vote, urls::events],
            Placement::Frame => [urls::embed, urls::embed, urls::embedded_events],
        }
        .map(|url| url(question.id));
        let url_events = match code_query(viewer).strip_prefix('&') {
            Some(query) if viewer.placement == Placement::Page => format!("{url_events}?{query}"),
            _ => url_events,
        };
        let version = tally::version(&question, &choices, options, is_closed);
        let tally = Tally::new(choices, options, |id| chosen.contains(&id));
        Self {
            until: is_published.then(|| closing.map_or(until, |closing| until.min(*closing))),
            url,
            url_results: viewer.placement.url_results(question.id),
            url_vote,
            url_page: urls::detail(question.id),
            url_share: urls::share(question.id),
            url_present: urls::present(question.id),
            url_events,
            version,
            is_embedded: viewer.placement == Placement::Frame,
            url_login: urls::log_in_to_vote(question.id),
            published: formatted(*question.pub_date),
            selected: BTreeSet::new(),
            // More may be allowed than there are.
            max_choices: options.max_choices.min(tally.choices.len().max(1) as i32),
            policy: (!options.has_plain_votes()).then(|| options.policy.name()),
            needs_login: options.policy == Policy::Account && !viewer.is_authenticated,
            needs_code: options.policy == Policy::Code,
            code: viewer.code.clone().unwrap_or_default(),
            is_open: is_published
                && !is_closed
                && (options.policy == Policy::Any || viewer.voted_on.is_none()),
            status: viewer
                .notice
                .as_ref()
                .map(|notice| status(notice, &tally.choices)),
            voted: viewer
                .voted_on
                .map(|days| format!("You voted in this poll on {}.", day(days, now))),
            has_voted: viewer.watcher().has_voted,
            receipt: viewer.receipt.clone(),
            url_receipt: urls::receipt(question.id),
            url_export: urls::export(question.id),
            reload_at: options
                .closes_at
                .filter(|_| !is_closed && options.results != ResultsShown::StaffOnly)
                .map(|closes_at| iso(*closes_at)),
            code_query: code_query(viewer),
            hidden: (!viewer.watcher().sees(options.results, is_closed))
                .then(|| visibility::reason(options.results, closes.as_ref())),
            closes,
            is_closed,
            is_published,
            tally,
            text: question.question_text,
        }
    }
}

/// The code of a visitor who has voted with it, as the rest of a query string.
fn code_query(viewer: &Viewer) -> String {
    let code = viewer.code.as_ref().filter(|_| viewer.voted_on.is_some());
    code.map_or_else(String::new, |code| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        format!("&{}", query.append_pair(CODE, code).finish())
    })
}

/// What a vote did, for its voter.
fn status(notice: &Notice, choices: &[ChoiceTally]) -> String {
    if *notice == Notice::AlreadyVoted {
        return "You have already voted in this poll. Your first vote stands.".to_owned();
    }
    let own = choices.iter().filter(|choice| choice.is_own);
    let names: Vec<String> = own.map(|choice| format!("\"{}\"", choice.text)).collect();
    match names.as_slice() {
        // The choices were deleted.
        [] => "Your vote was counted.".to_owned(),
        [name] => format!("Your vote for {name} was counted."),
        [names @ .., last] => {
            format!(
                "Your votes for {} and {last} were counted.",
                names.join(", ")
            )
        }
    }
}
