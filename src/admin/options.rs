//! What an app can declare about the fields, relations and rules of a model.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sea_orm::{DbErr, FromQueryResult, QueryResult, Value, sea_query::SelectStatement};

use super::changes::Changes;
use crate::{
    auth::{Auth, login::User},
    db::{Connection, Transaction},
    error::Result,
};

/// What is to be said of a field.
#[derive(Debug, Clone)]
pub struct FieldOptions {
    /// Its name.
    pub name: &'static str,
    /// What a person calls it; the name with blanks without one.
    pub verbose_name: Option<&'static str>,
    /// An explanation below the input.
    pub help_text: &'static str,
    /// Whether it may be left empty.
    pub blank: bool,
    /// The values it can have, with what a person calls them.
    pub choices: &'static [(&'static str, &'static str)],
    /// What it holds in a new object.
    pub default: Option<fn(DateTime<Utc>) -> Value>,
    /// What is wrong with a text that was typed.
    pub validate: Option<fn(&str) -> Vec<String>>,
    /// The form in which a text is stored.
    pub normalize: Option<fn(&str) -> String>,
    /// What to say of a value that another object has.
    pub unique_message: Option<&'static str>,
    /// What it counts (singular, plural), if voters increment it: that is no conflict between editors, and nothing is lost.
    pub counts: Option<(&'static str, &'static str)>,
    /// Whether lists cannot filter or search by it: counting the results would reveal it.
    pub is_secret: bool,
    /// Whether it exists in the form only, and is typed unseen or chosen.
    pub virtual_kind: Option<VirtualKind>,
}

/// A field of a form that no column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtualKind {
    /// A password, never shown again.
    Password,
    /// One of its choices.
    Radio,
    /// A text that [`Rules::describe`] gives.
    Description,
}

impl FieldOptions {
    /// Nothing but the name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            verbose_name: None,
            help_text: "",
            blank: false,
            choices: &[],
            default: None,
            validate: None,
            normalize: None,
            unique_message: None,
            counts: None,
            is_secret: false,
            virtual_kind: None,
        }
    }
}

/// A column of the changelist that is computed.
pub struct Computed {
    /// Its name in `list_display`.
    pub name: &'static str,
    /// Its heading.
    pub heading: &'static str,
    /// The field that orders it, if one does.
    pub ordered_by: Option<&'static str>,
    /// Where it comes from.
    pub source: Source,
}

/// Computes a cell from a row, at the present time.
type RowCell = dyn Fn(&QueryResult, DateTime<Utc>) -> Result<Cell, DbErr> + Send + Sync;

/// Where a computed column comes from.
pub enum Source {
    /// From the object. Made by [`Source::row`].
    Row(Box<RowCell>),
    /// A number from the database, by a query that may name the model's table.
    Sql(fn() -> SelectStatement),
}

impl Source {
    /// From the object, at the present time.
    pub fn row<M: FromQueryResult + 'static>(compute: fn(&M, DateTime<Utc>) -> Cell) -> Self {
        Self::Row(Box::new(move |row, now| {
            Ok(compute(&M::from_query_result(row, "")?, now))
        }))
    }
}

/// What is shown in a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing: a dash.
    Empty,
    /// Yes or no, as an icon.
    Boolean(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// A moment.
    Moment(DateTime<Utc>),
}

/// A field with any number of objects of another table.
pub struct ManyToMany {
    /// Its name.
    pub name: &'static str,
    /// What a person calls it.
    pub verbose_name: &'static str,
    /// An explanation below the input.
    pub help_text: &'static str,
    /// The table between, with the columns of the near key and the far one.
    pub through: (&'static str, &'static str, &'static str),
    /// What a person calls one of the rows between, and several.
    pub relationship: (&'static str, &'static str),
    /// All that can be chosen, in order.
    pub choices: Choices,
}

/// A list to choose from.
#[derive(Clone, Copy)]
pub struct Choices {
    /// Which rows; one column must be `id`.
    pub query: fn() -> SelectStatement,
    /// What to show of a row.
    pub label: fn(&QueryResult) -> Result<String, DbErr>,
}

/// Rows of another table that go when an object goes.
#[derive(Debug, Clone, Copy)]
pub struct Dependent {
    /// The table, and its column with the object's key.
    pub table: (&'static str, &'static str),
    /// What a person calls one.
    pub verbose_name: &'static str,
    /// What a person calls several.
    pub verbose_name_plural: &'static str,
    /// The column that names a row for a person; without one they are only counted.
    pub label_column: Option<&'static str>,
    /// The column of its counter and what it counts (singular, plural).
    pub counter: Option<(&'static str, (&'static str, &'static str))>,
}

/// A group of fields in a form.
#[derive(Debug, Clone)]
pub struct Fieldset {
    /// Its heading.
    pub name: Option<&'static str>,
    /// Its fields, in order.
    pub fields: &'static [&'static str],
    /// An explanation below the heading.
    pub description: &'static str,
    /// Whether it is closed at first.
    pub is_collapsed: bool,
}

impl Fieldset {
    /// An open one.
    pub const fn new(name: Option<&'static str>, fields: &'static [&'static str]) -> Self {
        Self {
            name,
            fields,
            description: "",
            is_collapsed: false,
        }
    }

    /// One that is closed at first.
    pub const fn collapsed(name: &'static str, fields: &'static [&'static str]) -> Self {
        Self {
            name: Some(name),
            fields,
            description: "",
            is_collapsed: true,
        }
    }
}

/// How the forms of an inline stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As the rows of a table.
    Tabular,
    /// One below the other.
    Stacked,
}

/// What holds for a model beyond its fields: an app implements what it needs.
#[async_trait]
pub trait Rules: Send + Sync {
    /// Whether `user` may add an object, given the permission for the model.
    fn may_add(&self, _: &User) -> bool {
        true
    }

    /// Those of the objects `ids` that `user` may neither change nor delete, given the permissions for the model.
    async fn not_changeable(
        &self,
        _: Connection<'_>,
        _: &User,
        _ids: &[i32],
    ) -> Result<BTreeSet<i32>, DbErr> {
        Ok(BTreeSet::new())
    }

    /// Looks at what is about to be stored, and may add errors to fields; the object's id if it is not new.
    async fn validate(
        &self,
        _: &Transaction,
        _: &User,
        _id: Option<i32>,
        _: &mut Changes,
    ) -> Result<(), DbErr> {
        Ok(())
    }

    /// Turns the virtual fields of a new object into columns, before the transaction begins. Errors are known already.
    async fn prepare(&self, _: &Auth, _: &mut Changes) -> Result<()> {
        Ok(())
    }

    /// The text of a field of the kind [`VirtualKind::Description`], with a link and what it says, if it has one.
    fn describe(&self, _field: &str, _values: &Values<'_>) -> Description {
        Description::default()
    }

    /// Whether a new object is opened at once for what its first form did not ask.
    fn continues_after_add(&self) -> bool {
        false
    }
}

/// The columns of an object by name.
pub struct Values<'a>(pub(super) &'a dyn Fn(&str) -> Option<&'a Value>);

impl Values<'_> {
    /// A text column.
    pub fn text(&self, column: &str) -> &str {
        match (self.0)(column) {
            Some(Value::String(Some(text))) => text,
            _ => "",
        }
    }
}

/// What stands in the place of an input.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Description {
    /// What is the case.
    pub text: String,
    /// Where to change it, relative to the object's own page.
    pub link: &'static str,
    /// What the link says.
    pub link_text: &'static str,
}

impl Rules for () {}
