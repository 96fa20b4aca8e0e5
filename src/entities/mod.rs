//! The tables as sea-orm sees them: one file per table, named as Django's models.

pub mod choice;
pub mod content_type;
pub mod group;
pub mod group_permissions;
pub mod log_entry;
pub mod migration;
pub mod permission;
pub mod question;
pub mod session;
pub mod user;
pub mod user_groups;
pub mod user_user_permissions;
