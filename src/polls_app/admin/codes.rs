//! The page that issues codes for a question, each valid for one vote.

use std::{fmt::Write as _, sync::Arc};

use minijinja::{context, value::Serde};
use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, Statement};

use super::target::question_of;
use crate::{
    admin::{Action, AdminPage, AdminState, ChangeMessage, Crumb, Log, Model},
    db::{Connection, Transaction},
    digits,
    entities::{question, question_options},
    error::Result,
    polls_app::{export::ExportFormat, urls, voters},
    web::{attachment::attachment, form::Form, hosts::Origin, messages::Level, routing::redirect},
};

/// The number of codes of a question at most.
const MAX_CODES: i32 = 100_000;

/// Shows how many codes a question has, issues more, and sends them as CSV (`?format=csv`) or as a page to print (`?format=sheet`).
#[handler]
pub async fn issue_codes(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let (model, question) = question_of(state, request).await?;
    page.staff.require(page.staff.may("change", model))?;
    let (id, db) = (question.id, state.core.db.write());
    let mut error = String::new();
    if *request.method() == Method::POST {
        let count = form.get("count").unwrap_or_default();
        let count: Option<i32> = digits::to_ascii(count).trim().parse().ok();
        match count.filter(|count| (1..=MAX_CODES).contains(count)) {
            Some(count) => return issue(&page, state, model, &question, count).await,
            None => error = format!("Enter a number from 1 to {MAX_CODES}."),
        }
    }
    let options = question_options::Entity::find_by_id(id).one(db).await?;
    let options = options.unwrap_or_default();
    let codes = || {
        let keys = &state.core.settings.security.keys;
        (0..options.codes.unsigned_abs()).map(|number| {
            let code = voters::code(keys, id, number);
            let link = link(request, id, &code);
            (code, link)
        })
    };
    let query = Form::of_query(request);
    if query.get("format") == Some("csv") {
        return Ok(csv(id, codes()));
    }
    let is_sheet = query.get("format") == Some("sheet");
    let mut breadcrumbs = Crumb::to_changelist(model);
    let label = question.question_text.clone();
    breadcrumbs.push(Crumb::link(label.clone(), model.object_url(id, "change")));
    breadcrumbs.push(Crumb::current("Codes"));
    let template = if is_sheet {
        "admin/polls_app/question/code_sheet.html"
    } else {
        "admin/polls_app/question/codes.html"
    };
    let codes: Vec<(String, String)> = if is_sheet {
        codes().collect()
    } else {
        Vec::new()
    };
    page.render(
        template,
        &format!("Codes: {label}"),
        breadcrumbs,
        context! {
            question => label,
            count => options.codes,
            is_used => options.policy == question_options::Policy::Code,
            change_url => model.object_url(id, "change"),
            codes => Serde(codes),
            error,
        },
    )
}

/// Issues more codes, logs it, and redirects to the page.
async fn issue(
    page: &AdminPage,
    state: &AdminState,
    model: &Model,
    question: &question::Model,
    count: i32,
) -> Result<Response> {
    let staff = page.staff.user();
    let tx = state.core.db.write().begin().await?;
    let db = Connection::Transaction(&tx);
    page.staff
        .require(model.may_change(db, staff, &[question.id]).await?)?;
    let own_page = redirect(StatusCode::FOUND, &model.object_url(question.id, "codes"));
    if !add(&tx, question.id, count).await? {
        let text = format!("A question may have {MAX_CODES} codes at most. None have been added.");
        page.messages.add(Level::Warning, &text);
        return Ok(own_page);
    }
    let mut message = ChangeMessage::default();
    message.changed(&["Codes".to_owned()]);
    let log = Log {
        user_id: staff.row.id,
        model,
        now: state.core.now(),
    };
    let objects = [(question.id, question.question_text.as_str())];
    log.write(&tx, Action::Change, &objects, &message.stored())
        .await?;
    tx.commit().await?;
    let noun = if count == 1 { "code was" } else { "codes were" };
    page.messages
        .add(Level::Success, &format!("{count} {noun} added."));
    Ok(own_page)
}

/// Adds to the number of codes; false if there would be too many.
async fn add(tx: &Transaction, id: i32, count: i32) -> Result<bool, DbErr> {
    let sql = "INSERT INTO polls_question_options (question_id, policy, max_choices, results, codes) \
               VALUES ($1, 'any', 1, 'always', $2) \
               ON CONFLICT (question_id) DO UPDATE SET codes = polls_question_options.codes + excluded.codes \
               WHERE polls_question_options.codes + excluded.codes <= $3";
    let values = [id.into(), count.into(), MAX_CODES.into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    Ok(tx.execute_raw(statement).await?.rows_affected() > 0)
}

/// The absolute URL of the question's page with a code.
fn link(request: &Request, id: i32, code: &str) -> String {
    let link = Origin::of(request).absolute(&urls::detail(id));
    format!("{link}?{}={code}", voters::CODE)
}

fn csv(id: i32, codes: impl Iterator<Item = (String, String)>) -> Response {
    let mut text = "code,link\r\n".to_owned();
    for (code, link) in codes {
        write!(text, "{code},{link}\r\n").expect("a string takes all");
    }
    attachment(
        &format!("codes-{id}.csv"),
        ExportFormat::Csv.media_type(),
        text,
    )
}
