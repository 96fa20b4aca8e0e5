//! The app `polls_app`: questions, choices and votes.

pub mod admin;
mod context;
pub mod export;
mod list;
pub mod pages;
pub mod queries;
pub mod recount;
mod shown;
pub mod status;
pub mod urls;
mod views;
pub mod voters;
pub mod votes;
mod voting;

use poem::{EndpointExt, Route};

use self::{pages::PageCache, votes::VoteCounter};
use crate::web::routing::{get, get_and_post};

/// Adds the pages below `/polls/`.
pub fn routes(route: Route, votes: VoteCounter, pages: PageCache) -> Route {
    let route = get(route, urls::INDEX, views::index);
    let route = get(route, urls::ALL, list::all);
    let route = get(route, urls::FEED, list::feed);
    let route = get(route, urls::DETAIL, views::detail);
    let route = get(route, urls::RESULTS, views::results);
    let route = get(route, urls::RECEIPT, views::receipt);
    let route = get(route, urls::EXPORT, views::export);
    let vote = voting::vote.data(votes).data(pages).map_to_response();
    get_and_post(route, urls::VOTE, vote)
}
