//! The polls pages.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use minijinja::{context, value::Serde};
use poem::{
    Request, Response, handler,
    http::{HeaderValue, Method, StatusCode, header},
    web::Data,
};
use sea_orm::ConnectionTrait;

use super::{
    context::{QuestionContext, Row, Viewer},
    export::{self as exports, ExportError, ExportFormat},
    pages::{PageCache, VariesByVoter},
    queries::{self, FullQuestion},
    urls,
    voters::{self, Notice},
    votes::{Ballot, VoteCounter, VoteResult, VoterKey},
};
use crate::{
    auth::login::{self, User},
    core::Core,
    digits,
    entities::question_options::{self, Policy, ResultsShown},
    error::{AppError, Result},
    web::{
        cookies::Jar,
        form::Form,
        format::{day, next_change},
        headers::never_cache,
        page::{ForCache, Page},
        read_your_writes::{self, Changed},
        routing::redirect,
        session::session_of,
    },
};

const FORM: &str = "polls_app/detail.html";
const RESULTS: &str = "polls_app/results.html";

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

/// A question with the form to vote; the results for a visitor who has used up the vote, and after voting has ended.
#[handler]
pub async fn detail(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let shown = Shown::find(core, request, &Form::default()).await?;
    let is_form = shown.context.is_open || !shown.context.is_published;
    shown.render(&page, core, request, if is_form { FORM } else { RESULTS })
}

/// The results of a question, to which a vote redirects.
#[handler]
pub async fn results(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let mut shown = Shown::find(core, request, &Form::default()).await?;
    shown.needs_cookie = false;
    shown.render(&page, core, request, RESULTS)
}

/// Says whether the vote of a receipt is in the count.
#[handler]
pub async fn receipt(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let id = question_id(request)?;
    let shown = Shown::find(core, request, &Form::default()).await?;
    let query = Form::of_query(request);
    let receipt = query.get("receipt").unwrap_or_default();
    let voted_on = match voters::of_receipt(receipt) {
        Some(voter) => voters::voted_on(core.db.write(), id, [voter]).await?,
        None => None,
    };
    let now = core.now();
    let context = context! {
        question => Serde(shown.context),
        error_message => "",
        receipt,
        voted_on => voted_on.map(|days| day(days, now)),
    };
    let mut response = page.render("polls_app/receipt.html", context)?;
    never_cache(&mut response, now);
    Ok(response)
}

/// Sends a question's results as a file, as far as the visitor may see them.
#[handler]
pub async fn export(Data(core): Data<&Arc<Core>>, request: &Request) -> Result<Response> {
    let id = question_id(request)?;
    let query = Form::of_query(request);
    let format = query.get("format").and_then(ExportFormat::parse);
    let format = format.ok_or(AppError::NotFound)?;
    let shown = Shown::find(core, request, &Form::default()).await?;
    if shown.context.hidden.is_some() {
        return Err(AppError::PermissionDenied);
    }
    let mut body = Vec::new();
    let db = read_your_writes::reader(core, request);
    match exports::write(&db, &[id], format, &mut body).await {
        Ok(()) => {}
        Err(ExportError::Database(error)) => return Err(error.into()),
        Err(ExportError::Output(error)) => return Err(AppError::Internal(error.into())),
    }
    let name = format!("attachment; filename=\"poll-{id}.{}\"", format.extension());
    let name = HeaderValue::from_str(&name).expect("a number is ASCII");
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, format.media_type())
        .header(header::CONTENT_DISPOSITION, name)
        .body(body);
    never_cache(&mut response, core.now());
    Ok(response)
}

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
    let error_message = match count(core, votes, request, &form, id).await? {
        Outcome::Counted(choices, voter) => {
            pages.changed(id);
            let mut response = redirect_to_results(core, request, id, &Notice::Counted(choices));
            if let Some(voter) = voter {
                voters::remember(&mut response, Jar::of(request), id, &voter);
            }
            response.set_data(Changed);
            return Ok(response);
        }
        Outcome::AlreadyVoted(voter) => {
            let mut response = redirect_to_results(core, request, id, &Notice::AlreadyVoted);
            voters::remember(&mut response, Jar::of(request), id, &voter);
            return Ok(response);
        }
        Outcome::NeedsLogin => return Ok(redirect(StatusCode::FOUND, &urls::log_in_to_vote(id))),
        Outcome::Refused(error_message) => error_message,
    };
    let mut shown = Shown::find_in(core, core.db.write(), request, &form).await?;
    // Staff may see it, and not vote on it.
    if !shown.context.is_published {
        return Err(AppError::NotFound);
    }
    shown.is_shared = false;
    shown.error_message = error_message;
    let template = if shown.context.is_open { FORM } else { RESULTS };
    shown.render(&page, core, request, template)
}

fn redirect_to_results(core: &Core, request: &Request, id: i32, notice: &Notice) -> Response {
    let mut response = redirect(StatusCode::FOUND, &urls::results(id));
    let keys = &core.settings.security.keys;
    notice.send(&mut response, keys, Jar::of(request), id);
    response
}

/// What became of a vote.
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

/// Counts the vote of a form: under the policy that the form names, and if the question has another, under that one.
async fn count(
    core: &Core,
    votes: &VoteCounter,
    request: &Request,
    form: &Form,
    id: i32,
) -> Result<Outcome> {
    let parse = |choice: &str| digits::to_ascii(choice).trim().parse().ok();
    let mut policy = form.get("policy").and_then(Policy::parse);
    let mut is_claimed = policy.is_some();
    // The options may be changed while votes are counted, but rarely twice.
    for _ in 0..4 {
        let chosen: BTreeSet<i32> = match policy {
            // As in Django, of several the last.
            None => form.get("choice").and_then(parse).into_iter().collect(),
            Some(_) => form.all("choice").filter_map(parse).collect(),
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
        Policy::Browser | Policy::Any => voters::of_browser(core, request, id).ok_or(
            "Your vote was not counted: your browser sent no cookie, by which one vote per browser is counted. \
             Allow cookies for this site, then vote again.",
        ),
    };
    Ok(voter.map_err(|text| Outcome::Refused(text.to_owned())))
}

/// The page of a question as one visitor sees it.
struct Shown {
    context: QuestionContext,
    viewer: Viewer,
    error_message: String,
    /// Whether the page is the same for all visitors of the same kind.
    is_shared: bool,
    /// Whether other visitors may see another page.
    varies: bool,
    /// Whether the form needs the cookie that identifies the browser.
    needs_cookie: bool,
}

impl Shown {
    /// The question with the id in the path. One that is not published yet is a 404, except for staff, who can preview it.
    async fn find(core: &Core, request: &Request, form: &Form) -> Result<Self> {
        Self::find_in(
            core,
            &read_your_writes::reader(core, request),
            request,
            form,
        )
        .await
    }

    async fn find_in(
        core: &Core,
        db: &impl ConnectionTrait,
        request: &Request,
        form: &Form,
    ) -> Result<Self> {
        let id = question_id(request)?;
        let found = queries::find(db, id).await?.ok_or(AppError::NotFound)?;
        let FullQuestion {
            question,
            choices,
            options,
        } = found;
        let now = core.now();
        let is_published = *question.pub_date <= now;
        let varies = options.policy != Policy::Any || options.results != ResultsShown::Always;
        let is_identified = varies && voters::is_identified(core, request);
        let user = match is_identified || !is_published {
            true => login::current_user(core, session_of(request)).await?,
            false => None,
        };
        let is_staff = user.as_ref().is_some_and(|user| user.row.is_staff);
        if !is_published && !is_staff {
            return Err(AppError::NotFound);
        }
        let code = voters::code_of(request, form).filter(|_| options.policy == Policy::Code);
        let voted_on = match options.policy {
            Policy::Any => None,
            policy => {
                let voters = candidates(core, request, policy, user.as_ref(), code.as_deref(), id);
                // The primary: a second vote through another server may be recent.
                voters::voted_on(core.db.write(), id, voters).await?
            }
        };
        let notice = Notice::of(core, request, id);
        let viewer = Viewer {
            is_authenticated: user.is_some(),
            is_staff,
            voted_on,
            receipt: voters::remembered(request).map(|voter| voters::receipt(&voter)),
            notice,
            code,
        };
        let time = (now, core.settings.time_zone);
        let context = QuestionContext::new(question, choices, &options, &viewer, time);
        Ok(Self {
            is_shared: !is_identified && is_published && viewer.code.is_none(),
            varies,
            needs_cookie: needs_cookie(&options),
            error_message: String::new(),
            context,
            viewer,
        })
    }

    /// Renders the page: one that is shared is true until a time, others are never cached.
    fn render(
        self,
        page: &Page,
        core: &Core,
        request: &Request,
        template: &str,
    ) -> Result<Response> {
        let has_notice = self.viewer.notice.is_some();
        let until = self.context.until.filter(|_| self.is_shared);
        let context = context! {
            question => Serde(self.context), error_message => self.error_message,
        };
        let mut response = match until {
            Some(until) => page.render_shared(template, context, until)?,
            None => {
                let mut response = page.render(template, context)?;
                never_cache(&mut response, core.now());
                response
            }
        };
        if self.varies {
            response.set_data(VariesByVoter {
                needs_cookie: self.needs_cookie,
            });
        }
        // The cache sets the cookies of a shared page.
        if until.is_none() || request.data::<ForCache>().is_none() {
            let jar = Jar::of(request);
            if self.needs_cookie {
                let present = voters::browser_cookie(request);
                let keys = &core.settings.security.keys;
                voters::identify_browser(&mut response, keys, jar, present);
            }
            if has_notice {
                Notice::delete(&mut response, jar, question_id(request)?);
            }
        }
        Ok(response)
    }
}

/// Whether voting needs the cookie that identifies the browser.
fn needs_cookie(options: &question_options::Model) -> bool {
    options.policy == Policy::Browser
}

/// The keys under which the visitor may have voted.
fn candidates(
    core: &Core,
    request: &Request,
    policy: Policy,
    user: Option<&User>,
    code: Option<&str>,
    id: i32,
) -> Vec<VoterKey> {
    let own = match (policy, code) {
        (Policy::Any, _) => None,
        (Policy::Account, _) => user.map(|user| voters::of_account(core, user.row.id, id)),
        // Several voters with codes may use one browser.
        (Policy::Code, Some(code)) => return voters::of_code(core, code, id).into_iter().collect(),
        // Without the other cookie, the page is the same for all visitors.
        (Policy::Browser, _) if voters::has_voted(request) => voters::of_browser(core, request, id),
        (Policy::Browser | Policy::Code, _) => None,
    };
    let remembered = voters::remembered(request).filter(|_| policy != Policy::Account);
    own.into_iter().chain(remembered).collect()
}

/// The id in the path. An id that does not fit `i32` is a 404.
fn question_id(request: &Request) -> Result<i32> {
    request
        .raw_path_param("id")
        .and_then(|id| id.parse().ok())
        .ok_or(AppError::NotFound)
}
