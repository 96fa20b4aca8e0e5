//! The app `polls_app`: questions, choices and votes.

pub mod admin;
mod api;
mod context;
mod embed;
pub mod export;
mod list;
pub mod live;
mod new_poll;
mod options;
pub mod pages;
mod qr_code;
pub mod queries;
pub mod recount;
mod share;
mod shown;
pub mod status;
mod tally;
pub mod urls;
mod views;
mod visibility;
mod voter_cookies;
pub mod voters;
pub mod votes;
mod voting;

use std::sync::Arc;

use poem::{EndpointExt, Route};

use self::{live::LiveResults, pages::PageCache, votes::VoteCounter};
use crate::{
    admin::AdminState,
    web::routing::{get, get_and_post, get_and_post_in_frame},
};

/// Adds the pages below `/polls/`.
pub fn routes(
    route: Route,
    admin: Arc<AdminState>,
    votes: VoteCounter,
    pages: PageCache,
    live: LiveResults,
) -> Route {
    let route = get(route, urls::INDEX, views::index);
    let route = get(route, urls::ALL, list::all);
    let route = get(route, urls::FEED, list::feed);
    let route = get(route, urls::DETAIL, views::detail);
    let route = get(route, urls::RESULTS, views::results);
    let route = get(route, urls::RECEIPT, views::receipt);
    let route = get(route, urls::EXPORT, views::export);
    let route = get(route, urls::SHARE, share::share);
    let route = get(route, urls::QR_CODE, share::qr_code);
    let route = get(route, urls::PRESENT, share::present);
    let route = get(
        route,
        urls::EVENTS,
        live::events.data(live).map_to_response(),
    );
    let route = api::routes(route);
    let new_poll = new_poll::new_poll.data(admin).data(pages.clone());
    let route = get_and_post(route, urls::NEW, new_poll.map_to_response());
    let embed = embed::embed.data(votes.clone()).data(pages.clone());
    let route = get_and_post_in_frame(route, urls::EMBED, embed.map_to_response());
    let vote = voting::vote.data(votes).data(pages).map_to_response();
    get_and_post(route, urls::VOTE, vote)
}
