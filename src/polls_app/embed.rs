//! The page of a question in frames of other sites.

use std::sync::Arc;

use poem::{Request, Response, handler, http::Method, web::Data};

use super::{
    pages::PageCache,
    shown::{FORM, RESULTS, Shown},
    votes::VoteCounter,
    voting,
};
use crate::{
    core::Core,
    error::Result,
    web::{form::Form, headers::Embedded, page::Page},
};

/// A question with the form to vote, or its results; a vote leads to the results in the frame.
#[handler]
pub async fn embed(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    Data(votes): Data<&VoteCounter>,
    Data(pages): Data<&PageCache>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let mut response = if *request.method() == Method::POST {
        voting::submit(&page, core, votes, pages, request, &form).await?
    } else {
        let mut shown = Shown::find(core, request).await?;
        shown.is_shared = false;
        let shows_results = Form::of_query(request).get("show") == Some("results");
        let is_form = !shows_results && (shown.context.is_open || !shown.context.is_published);
        let template = if is_form { FORM } else { RESULTS };
        shown.render(&page, core, request, template)?
    };
    response.set_data(Embedded);
    Ok(response)
}
