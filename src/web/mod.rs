//! Middleware, and types and functions for the views of all apps. Depends on no app and on no route.

pub mod attachment;
pub mod body;
pub mod compression;
pub mod cookies;
pub mod csrf;
pub mod debug;
pub mod errors;
pub mod etag;
pub mod form;
pub mod format;
pub mod headers;
pub mod hosts;
pub mod login_state;
pub mod messages;
pub mod page;
pub mod read_your_writes;
pub mod request_info;
pub mod routing;
pub mod session;
pub mod statics;
pub mod theme;
