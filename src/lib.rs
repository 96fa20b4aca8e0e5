//! The Cloud Django polls deployment as one binary: pages, migrations, management commands and server.

// These macros panic when the stream is closed or full.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod apps;
pub mod assets;
pub mod auth;
pub mod cache;
pub mod checks;
pub mod cli;
pub mod contenttypes;
pub mod core;
pub mod dateparse;
pub mod db;
pub mod digits;
pub mod entities;
pub mod error;
pub mod fixtures;
pub mod flush;
pub mod introspection;
pub mod migrations;
pub mod network;
pub mod polls_app;
pub mod server;
pub mod sessions;
pub mod settings;
pub mod shell;
pub mod signing;
pub mod site;
pub mod telemetry;
pub mod templates;
pub mod web;
