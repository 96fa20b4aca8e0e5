//! The template contexts of the polls pages.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::{queries::QuestionSummary, urls, voters::Notice};
use crate::{
    entities::{
        choice, question,
        question_options::{self, Policy, ResultsShown},
    },
    web::format::{FormattedTime, day, next_change, with_noun},
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
    /// The day on which the visitor has voted, in days since 1970, if the question limits votes.
    pub voted_on: Option<i32>,
    /// The receipt of that vote.
    pub receipt: Option<String>,
    /// The vote that led to the page.
    pub notice: Option<Notice>,
    /// The code in the link to the page, or in the submitted form.
    pub code: Option<String>,
}

/// The page of a question.
#[derive(Debug, Serialize)]
pub struct QuestionContext {
    text: String,
    url: String,
    url_results: String,
    url_vote: String,
    url_login: String,
    published: FormattedTime,
    /// Whether it is published; otherwise the page is for staff only.
    pub is_published: bool,
    /// Until when its texts are true; none if it is not published.
    #[serde(skip)]
    pub until: Option<DateTime<Utc>>,
    votes: String,
    /// The number of ballots, where a ballot may have several choices.
    voters: Option<String>,
    choices: Vec<ChoiceContext>,
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
}

/// A choice of a question.
#[derive(Debug, Serialize)]
struct ChoiceContext {
    id: i32,
    text: String,
    votes: String,
    /// The percentage of all votes: the length of the bar. Those of all choices add up to 100.
    percent: i64,
    /// The percentage as text, such as `<1%`.
    share: String,
    /// Whether no choice has more votes.
    leads: bool,
    /// Whether it was chosen in the vote that led to the page.
    is_own: bool,
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
        let total = total(&choices);
        let chosen = match &viewer.notice {
            Some(Notice::Counted(chosen)) => chosen.clone(),
            _ => Default::default(),
        };
        let closes = options.closes_at.map(|closes_at| formatted(*closes_at));
        // At that time the page of an open question becomes that of a closed one.
        let closing = options.closes_at.filter(|_| !is_closed);
        let until = next_change(*question.pub_date, now);
        let choices = choice_contexts(choices, total, |id| chosen.contains(&id));
        let has_voted = viewer.voted_on.is_some() || viewer.notice.is_some();
        Self {
            until: is_published.then(|| closing.map_or(until, |closing| until.min(*closing))),
            url: urls::detail(question.id),
            url_results: urls::results(question.id),
            url_vote: urls::vote(question.id),
            url_login: urls::log_in_to_vote(question.id),
            published: formatted(*question.pub_date),
            votes: with_noun(total, "vote"),
            // Of other votes it is not known how many visitors they are of.
            voters: (options.max_choices > 1 && total == options.ballot_votes)
                .then(|| with_noun(options.voters, "voter")),
            max_choices: options.max_choices,
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
                .map(|notice| status(notice, &choices)),
            voted: viewer
                .voted_on
                .map(|days| format!("You voted in this poll on {}.", day(days, now))),
            has_voted,
            receipt: viewer.receipt.clone(),
            url_receipt: urls::receipt(question.id),
            url_export: urls::export(question.id),
            hidden: hidden(options, viewer, is_closed, closes.as_ref()),
            closes,
            is_closed,
            is_published,
            choices,
            text: question.question_text,
        }
    }
}

/// The votes of a choice. The column allows negative numbers, which count as 0.
fn votes_of(choice: &choice::Model) -> i64 {
    choice.votes.0.max(0)
}

fn total(choices: &[choice::Model]) -> i64 {
    choices.iter().map(votes_of).fold(0, i64::saturating_add)
}

fn choice_contexts(
    choices: Vec<choice::Model>,
    total: i64,
    is_own: impl Fn(i32) -> bool,
) -> Vec<ChoiceContext> {
    let votes: Vec<i64> = choices.iter().map(votes_of).collect();
    let max_votes = votes.iter().copied().max().unwrap_or_default();
    let percentages = percentages(&votes, total);
    let to_context = |((choice, votes), percent): ((choice::Model, i64), i64)| ChoiceContext {
        id: choice.id,
        is_own: is_own(choice.id),
        text: choice.choice_text,
        votes: with_noun(votes, "vote"),
        percent,
        share: match percent {
            0 if votes > 0 => "<1%".to_owned(),
            100 if votes < total => ">99%".to_owned(),
            _ => format!("{percent}%"),
        },
        leads: max_votes > 0 && votes == max_votes,
    };
    choices
        .into_iter()
        .zip(votes)
        .zip(percentages)
        .map(to_context)
        .collect()
}

/// The percentages of the votes, which add up to 100 (the largest remainder method); all 0 without votes.
fn percentages(votes: &[i64], total: i64) -> Vec<i64> {
    if total == 0 {
        return vec![0; votes.len()];
    }
    let total = i128::from(total);
    let hundredfold = |votes: &i64| 100 * i128::from(*votes);
    let mut percentages: Vec<i64> = votes
        .iter()
        .map(|votes| (hundredfold(votes) / total) as i64)
        .collect();
    let mut by_remainder: Vec<usize> = (0..votes.len()).collect();
    // Stable: of equal remainders, the first choice's.
    by_remainder.sort_by_key(|&index| -(hundredfold(&votes[index]) % total));
    let missing = 100 - percentages.iter().sum::<i64>();
    for &index in by_remainder.iter().take(missing.max(0) as usize) {
        percentages[index] += 1;
    }
    percentages
}

/// What a vote did, for its voter.
fn status(notice: &Notice, choices: &[ChoiceContext]) -> String {
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

/// Why the results are not shown to a visitor; none if they are.
fn hidden(
    options: &question_options::Model,
    viewer: &Viewer,
    is_closed: bool,
    closes: Option<&FormattedTime>,
) -> Option<String> {
    let has_voted = viewer.voted_on.is_some() || viewer.notice.is_some();
    match options.results {
        _ if viewer.is_staff => None,
        ResultsShown::Always => None,
        ResultsShown::AfterVoting if has_voted || is_closed => None,
        ResultsShown::AfterClosing if is_closed => None,
        ResultsShown::AfterVoting => {
            Some("The results appear here after you have voted.".to_owned())
        }
        ResultsShown::AfterClosing => Some(match closes {
            Some(closes) => format!(
                "The results appear here when voting ends: {}.",
                closes.exact
            ),
            None => "The results appear here when voting has ended.".to_owned(),
        }),
        ResultsShown::StaffOnly => Some("The results of this poll are not public.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::percentages;

    #[test]
    fn percentages_add_up_to_100() {
        for (votes, expected) in [
            (vec![1, 1, 1], vec![34, 33, 33]),
            (vec![0, 0], vec![0, 0]),
            (vec![], vec![]),
            (vec![2, 1], vec![67, 33]),
            (vec![1, 0, 999], vec![0, 0, 100]),
            (vec![1; 7], vec![15, 15, 14, 14, 14, 14, 14]),
            (vec![i64::MAX / 2, i64::MAX / 2], vec![50, 50]),
        ] {
            assert_eq!(percentages(&votes, votes.iter().sum()), expected);
        }
    }
}
