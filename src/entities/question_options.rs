//! `polls_question_options`.

use sea_orm::{Iterable, entity::prelude::*};

use super::Timestamp;

/// The options of a question that Django does not have. A question without a row has [`Model::default`].
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "polls_question_options")]
pub struct Model {
    /// The key of the question.
    #[sea_orm(primary_key, auto_increment = false)]
    pub question_id: i32,
    /// Who may vote, and how often.
    pub policy: Policy,
    /// How many choices a ballot may have.
    pub max_choices: i32,
    /// When voting ends.
    pub closes_at: Option<Timestamp>,
    /// When the results are shown, and to whom.
    pub results: ResultsShown,
    /// The number of codes that were issued; they are numbered from 0.
    pub codes: i32,
    /// The number of ballots that were counted while the row existed.
    pub voters: i64,
    /// The number of other votes when votes were limited.
    pub votes_before: i64,
    /// The number of votes of these ballots.
    pub ballot_votes: i64,
    /// When the votes last agreed with these numbers.
    pub agreed_at: Option<Timestamp>,
    /// The related question.
    #[sea_orm(belongs_to, from = "question_id", to = "id")]
    pub question: BelongsTo<super::question::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The relation from a question to its options. It is declared here so that `question.rs` does not depend on this file.
impl Related<Entity> for super::question::Entity {
    fn to() -> RelationDef {
        Relation::Question.def().rev()
    }
}

impl Default for Model {
    /// Django's behavior: any number of votes for one choice each, always open, results always shown.
    fn default() -> Self {
        Self {
            question_id: 0,
            policy: Policy::Any,
            max_choices: 1,
            closes_at: None,
            results: ResultsShown::Always,
            codes: 0,
            voters: 0,
            votes_before: 0,
            ballot_votes: 0,
            agreed_at: None,
        }
    }
}

impl Model {
    /// Whether voting has ended at `now`.
    pub fn is_closed(&self, now: DateTimeUtc) -> bool {
        self.closes_at.is_some_and(|closes_at| *closes_at <= now)
    }

    /// Whether votes are counted as in Django: any number of them, for one choice each.
    pub fn has_plain_votes(&self) -> bool {
        self.policy == Policy::Any && self.max_choices == 1
    }
}

/// Who may vote on a question, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(10))")]
pub enum Policy {
    /// Any number of votes.
    #[sea_orm(string_value = "any")]
    Any,
    /// One ballot per browser, which a signed cookie identifies.
    #[sea_orm(string_value = "browser")]
    Browser,
    /// One ballot per user account.
    #[sea_orm(string_value = "account")]
    Account,
    /// One ballot per code that staff have issued.
    #[sea_orm(string_value = "code")]
    Code,
}

impl Policy {
    /// Its name in the database and in forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Browser => "browser",
            Self::Account => "account",
            Self::Code => "code",
        }
    }

    /// The policy with a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::iter().find(|policy| policy.name() == name)
    }
}

/// When the results of a question are shown, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(10))")]
pub enum ResultsShown {
    /// Always, to all visitors.
    #[sea_orm(string_value = "always")]
    Always,
    /// To those who have voted, and after voting has ended to all.
    #[sea_orm(string_value = "voted")]
    AfterVoting,
    /// After voting has ended.
    #[sea_orm(string_value = "closed")]
    AfterClosing,
    /// To staff only.
    #[sea_orm(string_value = "staff")]
    StaffOnly,
}

impl ResultsShown {
    /// Its name in the database and in forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::AfterVoting => "voted",
            Self::AfterClosing => "closed",
            Self::StaffOnly => "staff",
        }
    }

    /// The one with a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::iter().find(|shown| shown.name() == name)
    }
}
