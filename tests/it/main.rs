//! The integration tests, as one program: pages through the whole router, commands through the built binary, both on
//! SQLite and on a PostgreSQL server that the run starts for itself and ends with itself.

#[macro_use]
mod support;

mod admin;
mod api;
mod assets;
mod ballots;
mod browser;
mod captured;
mod changeover;
mod check;
mod commands;
mod containers;
mod corpus;
mod csrf;
mod django;
mod export;
mod fixtures;
mod healthcheck;
mod kube;
mod live;
mod login;
mod migrate;
mod new_poll;
mod page_cache;
mod passwords;
mod plans;
mod poll_list;
mod polls_pages;
mod releases;
mod schema;
mod seed;
mod server;
mod settings;
mod sharing;
mod shell;
mod signing;
mod sqlmigrate;
mod storage;
mod structure;
mod templates;
mod terminal;
mod throttle;
mod votes;
