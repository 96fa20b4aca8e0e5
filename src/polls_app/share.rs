//! The links to a question: to send, to scan, to present and to embed.

use std::sync::Arc;

use minijinja::{context, value::Serde};
use poem::{Request, Response, handler, web::Data};

use super::{
    qr_code::LinkCode,
    shown::{Shown, question_id},
    urls,
};
use crate::{
    auth::login,
    core::Core,
    error::{AppError, Result},
    web::{
        attachment::attachment, form::Form, headers::never_cache, hosts::Origin, page::Page,
        session::session_of,
    },
};

/// The links to a question.
#[handler]
pub async fn share(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let id = question_id(request)?;
    let shown = Shown::find(core, request).await?;
    let user = login::current_user(core, session_of(request)).await?;
    let may_edit =
        user.is_some_and(|user| user.row.is_staff && user.has_perm("polls_app.change_question"));
    let link = link(request, id);
    let code = code(&link)?;
    let is_embeddable = !core.settings.other_sites.embed_frame_ancestors.is_empty();
    let context = context! {
        question => Serde(shown.context),
        error_message => "",
        link,
        qr_size => code.size(),
        qr_path => code.path(),
        qr_url => urls::qr_code(id),
        snippet => is_embeddable.then(|| snippet(&Origin::of(request).absolute(&urls::embed(id)))),
        edit_url => may_edit.then(|| format!("/admin/polls_app/question/{id}/change/")),
    };
    let mut response = page.render("polls_app/share.html", context)?;
    never_cache(&mut response, core.now());
    Ok(response)
}

/// A question's results for a large screen, with the QR code of its link.
#[handler]
pub async fn present(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    request: &Request,
) -> Result<Response> {
    let shown = Shown::find(core, request).await?;
    let link = link(request, question_id(request)?);
    let code = code(&link)?;
    let context = context! {
        question => Serde(shown.context),
        link,
        qr_size => code.size(),
        qr_path => code.path(),
    };
    let mut response = page.render("polls_app/present.html", context)?;
    never_cache(&mut response, core.now());
    Ok(response)
}

/// The QR code of the link to a question: `?format=svg` or `png`.
#[handler]
pub async fn qr_code(Data(core): Data<&Arc<Core>>, request: &Request) -> Result<Response> {
    let id = question_id(request)?;
    Shown::find(core, request).await?;
    let code = code(&link(request, id))?;
    let query = Form::of_query(request);
    let (extension, media_type, body) = match query.get("format") {
        Some("svg") => ("svg", "image/svg+xml", code.svg().into_bytes()),
        Some("png") => {
            let image = code
                .png()
                .map_err(|error| AppError::Internal(error.into()))?;
            ("png", "image/png", image)
        }
        _ => return Err(AppError::NotFound),
    };
    let name = format!("poll-{id}.{extension}");
    let mut response = attachment(&name, media_type, body);
    never_cache(&mut response, core.now());
    Ok(response)
}

/// The absolute URL of a question.
fn link(request: &Request, id: i32) -> String {
    Origin::of(request).absolute(&urls::detail(id))
}

/// The QR code of a link.
///
/// # Errors
/// [`AppError::BadRequest`] when the link is too long, as with a host of thousands of bytes.
fn code(link: &str) -> Result<LinkCode> {
    let too_long = "the host is too long for a QR code";
    LinkCode::new(link).map_err(|_| AppError::BadRequest(too_long.into()))
}

/// The HTML that shows a question on another site.
fn snippet(url: &str) -> String {
    format!(
        "<iframe src=\"{url}\" title=\"Poll\" width=\"100%\" height=\"480\" loading=\"lazy\" style=\"border: 0\"></iframe>"
    )
}
