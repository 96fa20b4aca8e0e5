//! The app `polls_app`: questions, choices and votes.

pub mod admin;
pub mod queries;
mod receipts;
pub mod seed;
pub mod urls;
mod views;
pub mod votes;

use poem::Route;

use crate::web::routing::{get, get_and_post};

/// The pages below `/polls/`.
pub fn routes() -> Route {
    let route = get(Route::new(), urls::INDEX, views::index);
    let route = get(route, urls::DETAIL, views::detail);
    let route = get(route, urls::RESULTS, views::results);
    get_and_post(route, urls::VOTE, views::vote)
}
