//! The parameters of a changelist, which the pages behind it carry along.

use poem::Request;

use crate::{admin::model::Model, web::form::Form};

/// The parameter in which the pages behind a changelist carry its parameters.
const FILTERS: &str = "_changelist_filters";

/// The parameters of the changelist that one came from, as a query string for the next address.
pub fn preserved(request: &Request) -> String {
    let query = Form::of_query(request);
    query
        .get(FILTERS)
        .map(|filters| with_filters("", filters))
        .unwrap_or_default()
}

/// An address with the parameters of a changelist.
pub fn with_filters(url: &str, filters: &str) -> String {
    if filters.is_empty() {
        return url.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair(FILTERS, filters)
        .finish();
    format!("{url}?{query}")
}

/// The address of the changelist that one came from.
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
