//! The query string of a changelist, which the pages of its objects preserve (Django's `preserve_filters`).

use poem::Request;

use crate::{admin::model::Model, web::form::Form};

/// The parameter that holds a changelist's query string (Django's `_changelist_filters`).
const FILTERS: &str = "_changelist_filters";

/// The preserved filters of a request, as a query string for the next URL.
pub fn preserved(request: &Request) -> String {
    let query = Form::of_query(request);
    query
        .get(FILTERS)
        .map(|filters| with_filters("", filters))
        .unwrap_or_default()
}

/// A URL with `filters`, a changelist's query string, as its parameter.
pub fn with_filters(url: &str, filters: &str) -> String {
    if filters.is_empty() {
        return url.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair(FILTERS, filters)
        .finish();
    format!("{url}?{query}")
}

/// The URL of the changelist with the preserved filters.
pub fn back_to_list(model: &Model, request: &Request) -> String {
    let query = Form::of_query(request);
    match query
        .get(FILTERS)
        .filter(|filters| !filters.contains(['\r', '\n']))
    {
        None | Some("") => model.url(),
        Some(filters) => {
            let pairs = form_urlencoded::parse(filters.as_bytes());
            let filters = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .finish();
            format!("{}?{filters}", model.url())
        }
    }
}
