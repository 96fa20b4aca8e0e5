//! The page of a question as one visitor sees it: the form, the results, or why neither.

use minijinja::{context, value::Serde};
use poem::{Request, Response};
use sea_orm::ConnectionTrait;

use super::{
    context::{QuestionContext, Viewer},
    pages::VariesByVoter,
    queries::{self, FullQuestion},
    visibility::Watcher,
    voter_cookies::{self, Notice, Placement, VoterCookies},
    voters,
    votes::VoterKey,
};
use crate::{
    auth::login::{self, User},
    core::Core,
    entities::question_options::{self, Policy, ResultsShown},
    error::{AppError, Result},
    web::{
        form::Form,
        headers::never_cache,
        page::{ForCache, Page},
        read_your_writes,
        session::session_of,
    },
};

/// The template with the form.
pub const FORM: &str = "polls_app/detail.html";
/// The template with the results.
pub const RESULTS: &str = "polls_app/results.html";

/// The page of a question as one visitor sees it.
pub struct Shown {
    /// The template context.
    pub context: QuestionContext,
    viewer: Viewer,
    /// The error in a form that is shown again; empty without one.
    pub error_message: String,
    /// Whether the page is the same for all visitors of the same kind.
    pub is_shared: bool,
    /// Whether other visitors may see another page.
    varies: bool,
    /// Whether the form needs the cookie that identifies the browser.
    pub needs_cookie: bool,
}

impl Shown {
    /// The question with the id in the path. One that is not published yet is a 404, except for staff and those who may add questions,
    /// who can preview it.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; others when the database cannot be reached.
    pub async fn find(core: &Core, request: &Request) -> Result<Self> {
        let db = read_your_writes::reader(core, request);
        Self::find_in(core, &db, request, &Form::default()).await
    }

    /// [`Self::find`] in a database; `form` may have a code.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn find_in(
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
        let is_identified = varies && voter_cookies::is_identified(core, request);
        let user = match is_identified || !is_published {
            true => login::current_user(core, session_of(request)).await?,
            false => None,
        };
        let is_staff = user.as_ref().is_some_and(|user| user.row.is_staff);
        // Its author may see it, too.
        let sees_all = |user: &User| user.row.is_staff || user.has_perm(login::ADD_POLLS);
        let may_preview = user.as_ref().is_some_and(sees_all);
        if !is_published && !may_preview {
            return Err(AppError::NotFound);
        }
        let code = voters::code_of(request, form).filter(|_| options.policy == Policy::Code);
        let voter = match options.policy {
            Policy::Any => None,
            policy => {
                let voters = candidates(core, request, policy, user.as_ref(), code.as_deref(), id);
                // The primary: a second vote through another server may be recent.
                voters::find(core.db.write(), id, voters).await?
            }
        };
        let notice = Notice::of(core, request, id);
        let viewer = Viewer {
            is_authenticated: user.is_some(),
            is_staff,
            may_preview,
            voted_on: voter.as_ref().map(|voter| voter.day),
            receipt: voter.as_ref().map(voters::receipt),
            notice,
            code,
            placement: Placement::of(request),
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

    /// The visitor, as far as it decides whether the results are shown.
    pub fn watcher(&self) -> Watcher {
        self.viewer.watcher()
    }

    /// Renders the page: one that is shared is true until a time, others are never cached.
    ///
    /// # Errors
    /// When the template is invalid.
    pub fn render(
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
            let cookies = VoterCookies::of(core, request, question_id(request)?);
            if self.needs_cookie {
                cookies.identify_browser(&mut response, voter_cookies::browser_cookie(request));
            }
            if has_notice {
                cookies.delete_notice(&mut response);
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
        (Policy::Browser, _) if voter_cookies::has_voted(request) => {
            voters::of_browser(core, request, id)
        }
        (Policy::Browser | Policy::Code, _) => None,
    };
    let remembered = voters::remembered(core, request).filter(|_| policy != Policy::Account);
    own.into_iter().chain(remembered).collect()
}

/// The id in the path.
///
/// # Errors
/// [`AppError::NotFound`] for an id that does not fit `i32`.
pub fn question_id(request: &Request) -> Result<i32> {
    request
        .raw_path_param("id")
        .and_then(|id| id.parse().ok())
        .ok_or(AppError::NotFound)
}
