//! `polls_vote_days`.

use sea_orm::entity::prelude::*;

/// The number of votes of a day that this program has counted.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "polls_vote_days")]
pub struct Model {
    /// The days since 1970, in the time zone of the site.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i32,
    /// The number of votes.
    pub votes: i64,
}

impl ActiveModelBehavior for ActiveModel {}
