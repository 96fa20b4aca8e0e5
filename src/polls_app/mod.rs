//! The app `polls_app`: questions, choices and votes.

pub mod admin;
pub mod pages;
pub mod queries;
pub mod urls;
mod views;
pub mod votes;

use poem::{EndpointExt, Response, Route, endpoint::BoxEndpoint};

use self::{pages::PageCache, votes::VoteCounter};
use crate::web::routing::{get, get_and_post};

/// The pages below `/polls/`.
pub fn routes(votes: VoteCounter, pages: PageCache) -> BoxEndpoint<'static, Response> {
    let route = get(Route::new(), urls::INDEX, views::index);
    let route = get(route, urls::DETAIL, views::detail);
    let route = get(route, urls::RESULTS, views::results);
    let route = get_and_post(route, urls::VOTE, views::vote);
    route.data(votes).data(pages).map_to_response().boxed()
}
