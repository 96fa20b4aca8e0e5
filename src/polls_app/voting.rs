//! Voting: the form of a question's page.

use std::{collections::BTreeSet, sync::Arc};

use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};

use super::{
    pages::PageCache,
    shown::{FORM, RESULTS, Shown, question_id},
    urls,
    voter_cookies::{Notice, Placement, VoterCookies},
    voters,
    votes::{Ballot, VoteCounter, VoteResult, VoterKey},
};
use crate::{
    auth::login,
    core::Core,
    digits,
    entities::question_options::Policy,
    error::{AppError, Result},
    web::{
        form::Form, page::Page, read_your_writes::Changed, routing::redirect, session::session_of,
    },
};

/// Counts a vote and redirects to the results. A GET request, such as loading the URL of the error page, redirects to the question.
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
    submit(&page, core, votes, pages, request, &form).await
}

/// Counts the vote of a form, and redirects to the results in the same place.
pub async fn submit(
    page: &Page,
    core: &Core,
    votes: &VoteCounter,
    pages: &PageCache,
    request: &Request,
    form: &Form,
) -> Result<Response> {
    let id = question_id(request)?;
    let error_message = match count(core, votes, request, form, id).await? {
        Outcome::Counted(choices, voter) => {
            pages.changed(id);
            let mut response = redirect_to_results(core, request, id, &Notice::Counted(choices));
            if let Some(voter) = voter {
                VoterCookies::of(core, request, id).remember(&mut response, &voter);
            }
            response.set_data(Changed);
            return Ok(response);
        }
        Outcome::AlreadyVoted(voter) => {
            let mut response = redirect_to_results(core, request, id, &Notice::AlreadyVoted);
            VoterCookies::of(core, request, id).remember(&mut response, &voter);
            return Ok(response);
        }
        Outcome::NeedsLogin => return Ok(redirect(StatusCode::FOUND, &urls::log_in_to_vote(id))),
        Outcome::Refused(error_message) => error_message,
    };
    let mut shown = Shown::find_in(core, core.db.write(), request, form).await?;
    // Staff may see it, and not vote on it.
    if !shown.context.is_published {
        return Err(AppError::NotFound);
    }
    shown.is_shared = false;
    shown.context.selected = form.all("choice").filter_map(parse_key).collect();
    shown.error_message = error_message;
    let template = if shown.context.is_open { FORM } else { RESULTS };
    shown.render(page, core, request, template)
}

fn redirect_to_results(core: &Core, request: &Request, id: i32, notice: &Notice) -> Response {
    let target = Placement::of(request).url_results(id);
    let mut response = redirect(StatusCode::FOUND, &target);
    VoterCookies::of(core, request, id).send_notice(&mut response, notice, core.now());
    response
}

/// The result of a vote that a form asks for.
enum Outcome {
    /// It was counted for these choices, and used up the voter's right if the question limits votes.
    Counted(BTreeSet<i32>, Option<VoterKey>),
    /// The voter has voted already.
    AlreadyVoted(VoterKey),
    /// Only users may vote.
    NeedsLogin,
    /// It was not counted, for this reason.
    Refused(String),
}

/// The key of a choice, in digits of any script.
fn parse_key(choice: &str) -> Option<i32> {
    digits::to_ascii(choice).trim().parse().ok()
}

/// Counts the vote of a form: under the policy that the form names, and if the question has another, under that one.
async fn count(
    core: &Core,
    votes: &VoteCounter,
    request: &Request,
    form: &Form,
    id: i32,
) -> Result<Outcome> {
    let mut policy = form.get("policy").and_then(Policy::parse);
    let mut is_claimed = policy.is_some();
    // The options may be changed while votes are counted, but rarely twice.
    for _ in 0..4 {
        let chosen: BTreeSet<i32> = match policy {
            // As in Django, of several the last.
            None => form.get("choice").and_then(parse_key).into_iter().collect(),
            Some(_) => form.all("choice").filter_map(parse_key).collect(),
        };
        let voter = match policy {
            None | Some(Policy::Any) => None,
            Some(limit) => match voter(core, request, form, limit, id).await? {
                Ok(voter) => Some(voter),
                // The question may have another policy by now.
                Err(_) if std::mem::take(&mut is_claimed) => {
                    policy = None;
                    continue;
                }
                Err(outcome) => return Ok(outcome),
            },
        };
        let result = match (policy, chosen.first()) {
            (None, None) => VoteResult::NoChoice,
            (None, Some(choice)) => votes.add(id, *choice).await?,
            (Some(policy), _) => {
                let ballot = Ballot {
                    choices: chosen.clone(),
                    policy,
                    voter: voter.clone(),
                };
                votes.cast(id, ballot).await?
            }
        };
        let error_message = match (result, voter) {
            (VoteResult::Counted, voter) => return Ok(Outcome::Counted(chosen, voter)),
            (VoteResult::AlreadyVoted, Some(voter)) => return Ok(Outcome::AlreadyVoted(voter)),
            (VoteResult::WrongPolicy(other), _) => {
                let is_plain = other == Policy::Any && policy.is_some();
                policy = (!is_plain).then_some(other);
                continue;
            }
            (VoteResult::NoQuestion, _) => return Err(AppError::NotFound),
            (VoteResult::Full, _) => "This choice cannot take any more votes.".to_owned(),
            (VoteResult::Closed, _) => "Voting has ended. Your vote was not counted.".to_owned(),
            (VoteResult::TooManyChoices(max), _) => {
                format!("You selected too many choices. Select {max} at most.")
            }
            (VoteResult::NoChoice | VoteResult::AlreadyVoted, _) => {
                "You didn't select a choice.".to_owned()
            }
        };
        return Ok(Outcome::Refused(error_message));
    }
    let error_message = "The rules of this poll have just been changed. Vote again.";
    Ok(Outcome::Refused(error_message.to_owned()))
}

/// The voter of a ballot under a policy that limits votes, or why there is none.
async fn voter(
    core: &Core,
    request: &Request,
    form: &Form,
    policy: Policy,
    id: i32,
) -> Result<Result<VoterKey, Outcome>> {
    let voter = match policy {
        Policy::Account => {
            let user = login::current_user(core, session_of(request)).await?;
            return Ok(match user {
                Some(user) => Ok(voters::of_account(core, user.row.id, id)),
                None => Err(Outcome::NeedsLogin),
            });
        }
        Policy::Code => {
            let code = voters::code_of(request, form).unwrap_or_default();
            voters::of_code(core, &code, id)
                .ok_or("Enter a valid code for this poll. Each code is valid for one vote.")
        }
        Policy::Browser | Policy::Any => {
            let no_cookie = match Placement::of(request) {
                Placement::Page => {
                    "Your vote was not counted: your browser sent no cookie, by which one vote per browser is counted. \
                     Allow cookies for this site, then vote again."
                }
                Placement::Frame => {
                    "Your vote was not counted: your browser sends no cookies to this frame, by which one vote per \
                     browser is counted. Open the poll in its own page, with the link below, to vote."
                }
            };
            voters::of_browser(core, request, id).ok_or(no_cookie)
        }
    };
    Ok(voter.map_err(|text| Outcome::Refused(text.to_owned())))
}
