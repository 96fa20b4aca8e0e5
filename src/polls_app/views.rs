//! The polls pages.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::{context, value::Serde};
use poem::{Request, Response, handler, web::Data};

use super::{
    context::Row,
    export::{self as exports, ExportError, ExportFormat},
    queries,
    shown::{FORM, RESULTS, Shown, question_id},
    voters,
};
use crate::{
    core::Core,
    error::{AppError, Result},
    web::{
        attachment::attachment,
        form::Form,
        format::{day, next_change},
        headers::never_cache,
        page::Page,
        read_your_writes,
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
    // Then the results of a question may be shown.
    let closings = latest.iter().filter_map(|listed| listed.closes_at);
    let closings = closings
        .map(|closes_at| *closes_at)
        .filter(|time| *time > now);
    let until = changes
        .chain(closings)
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
    let shown = Shown::find(core, request).await?;
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
    let mut shown = Shown::find(core, request).await?;
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
    let shown = Shown::find(core, request).await?;
    let query = Form::of_query(request);
    let receipt = query.get("receipt").unwrap_or_default();
    let voter = match voters::of_receipt(receipt) {
        Some(voter) => voters::find(core.db.write(), id, [voter]).await?,
        None => None,
    };
    let now = core.now();
    let context = context! {
        question => Serde(shown.context),
        error_message => "",
        receipt,
        voted_on => voter.map(|voter| day(voter.day, now)),
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
    let shown = Shown::find(core, request).await?;
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
    let name = format!("poll-{id}.{}", format.extension());
    let mut response = attachment(&name, format.media_type(), body);
    never_cache(&mut response, core.now());
    Ok(response)
}
