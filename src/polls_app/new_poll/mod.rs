//! The page to add a poll, for those who may add questions: on the public pages, without the admin.

mod form;
mod text;

use std::sync::Arc;

use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait};

use self::form::{NewPoll, PollForm};
use super::{pages::PageCache, recount, urls};
use crate::{
    admin::{Action, AdminState, ChangeMessage, Log},
    auth::{
        accounts::LOGIN,
        login::{self, ADD_POLLS},
    },
    core::Core,
    db::Transaction,
    entities::{
        Count, choice, question,
        question_options::{self, Policy},
    },
    error::{AppError, Result},
    web::{
        cookies::Jar, form::Form, headers::never_cache, login_state::LoginState, page::Page,
        read_your_writes::Changed, routing::redirect, session::session_of,
    },
};

/// Shows the form, and adds the poll.
#[handler]
pub async fn new_poll(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    Data(admin): Data<&Arc<AdminState>>,
    Data(pages): Data<&PageCache>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let user = login::current_user(core, session_of(request)).await?;
    let Some(user) = user else {
        let login = format!("{LOGIN}?next={}", urls::NEW);
        return Ok(redirect(StatusCode::FOUND, &login));
    };
    if !user.has_perm(ADD_POLLS) {
        return Err(AppError::PermissionDenied);
    }
    let mut poll_form = PollForm::new(&form, core.settings.time_zone, user.row.is_staff);
    if *request.method() == Method::POST && !poll_form.adds_row(&form) {
        let now = core.now();
        if let Some(poll) = poll_form.clean(now) {
            let tx = core.db.write().begin().await?;
            let id = insert(&tx, &poll).await?;
            let mut message = ChangeMessage::default();
            message.added();
            for text in &poll.choices {
                message.inline_added("choice", text);
            }
            let model = admin.site.find("polls_app", "question");
            let log = Log {
                user_id: user.row.id,
                model: model.ok_or(AppError::NotFound)?,
                now,
            };
            let objects = [(id, poll.question_text.as_str())];
            log.write(&tx, Action::Addition, &objects, &message.stored())
                .await?;
            if poll.options.policy != Policy::Any {
                recount::begin(&tx, id, now).await?;
            }
            tx.commit().await?;
            pages.changed(id);
            let mut response = redirect(StatusCode::FOUND, &urls::share(id));
            response.set_data(Changed);
            return Ok(response);
        }
    }
    let mut response = page.render("polls_app/new.html", poll_form.context())?;
    let (jar, known) = (Jar::of(request), LoginState::of(request));
    let security = &core.settings.security;
    user.login_state().set(&mut response, known, jar, security);
    never_cache(&mut response, core.now());
    Ok(response)
}

/// Inserts a question with its choices and, unless they are the default ones, its options; returns its key.
async fn insert(tx: &Transaction, poll: &NewPoll) -> Result<i32, DbErr> {
    let row = question::ActiveModel {
        question_text: Set(poll.question_text.clone()),
        pub_date: Set(poll.published.into()),
        ..question::ActiveModel::default()
    };
    let id = question::Entity::insert(row).exec(tx).await?.last_insert_id;
    let choices = poll.choices.iter().map(|text| choice::ActiveModel {
        choice_text: Set(text.clone()),
        votes: Set(Count(0)),
        question_id: Set(id),
        ..choice::ActiveModel::default()
    });
    choice::Entity::insert_many(choices)
        .exec_without_returning(tx)
        .await?;
    if poll.options != question_options::Model::default() {
        let options = question_options::Model {
            question_id: id,
            ..poll.options.clone()
        };
        let options: question_options::ActiveModel = options.into();
        question_options::Entity::insert(options)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(id)
}
