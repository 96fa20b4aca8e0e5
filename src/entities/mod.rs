//! The sea-orm entities: one file per table, named after Django's models.

pub mod choice;
pub mod content_type;
mod count;
pub mod group;
pub mod group_permissions;
pub mod log_entry;
pub mod migration;
pub mod permission;
pub mod question;
pub mod question_options;
pub mod session;
mod timestamp;
pub mod user;
pub mod user_groups;
pub mod user_user_permissions;
pub mod vote_day;
pub mod voter;

pub use self::{count::Count, timestamp::Timestamp};

use sea_orm::{EntityTrait, Iterable, RelationTrait, sea_query::TableRef};

/// The table that a column of an entity references; `None` if the column is not a foreign key.
pub fn references<E: EntityTrait>(column: &str) -> Option<String> {
    E::Relation::iter()
        .map(|relation| relation.def())
        .find_map(|definition| {
            let is_own = definition
                .from_col
                .iter()
                .any(|own| own.to_string() == column);
            match definition.to_tbl {
                TableRef::Table(name, _) if !definition.is_owner && is_own => {
                    Some(name.1.to_string())
                }
                _ => None,
            }
        })
}
