//! The pages, one file each, and the files that several of them share.

mod actions;
pub mod change;
mod change_view;
pub mod changelist;
pub mod delete;
mod filters;
pub mod history;
pub mod index;
mod list_editable;
mod list_page;
pub mod login;
pub mod password;
mod target;
