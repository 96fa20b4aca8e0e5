//! The declarations of a model's fields, relations and rules.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use minijinja::Value as TemplateValue;
use sea_orm::{
    DbErr, FromQueryResult, QueryResult, Value,
    sea_query::{Condition, SelectStatement},
};

use super::changes::Changes;
use crate::{
    auth::{Auth, login::User},
    db::{Connection, Transaction},
    error::Result,
};

/// The options of a field.
#[derive(Debug, Clone)]
pub struct FieldOptions {
    /// The name.
    pub name: &'static str,
    /// Django's `verbose_name`; by default the name with spaces in place of underscores.
    pub verbose_name: Option<&'static str>,
    /// The help text below the input.
    pub help_text: &'static str,
    /// Whether it may be left empty.
    pub blank: bool,
    /// The possible values with their labels (Django's `choices`).
    pub choices: &'static [(&'static str, &'static str)],
    /// The value in a new object (Django's `default`).
    pub default: Option<fn(DateTime<Utc>) -> Value>,
    /// The validator of a text: returns its errors.
    pub validate: Option<fn(&str) -> Vec<String>>,
    /// The normalisation of a text before it is validated and stored.
    pub normalize: Option<fn(&str) -> String>,
    /// The error when another object has the same value.
    pub unique_message: Option<&'static str>,
    /// The counted noun (singular, plural), if it is a counter that the site increments: a save adds the user's difference to
    /// the stored value, and concurrent changes are no conflict.
    pub counts: Option<(&'static str, &'static str)>,
    /// Whether lookups in the changelist cannot use it, because the results would reveal its value.
    pub is_secret: bool,
    /// The type of a form field without a column; `None` for a field with a column.
    pub virtual_kind: Option<VirtualKind>,
}

/// The type of a form field without a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtualKind {
    /// A password input, rendered without a value.
    Password,
    /// Radio buttons for its choices.
    Radio,
    /// A text from [`Rules::describe`].
    Description,
}

impl FieldOptions {
    /// The default options of a field.
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

/// A computed column of the changelist.
pub struct Computed {
    /// The name in `list_display`.
    pub name: &'static str,
    /// The heading.
    pub heading: &'static str,
    /// The field that sorting by this column orders the list by, if any (`ordering` of Django's `admin.display`).
    pub ordered_by: Option<&'static str>,
    /// The source of its cells.
    pub source: Source,
}

/// Computes a cell from a row, at the current time.
type RowCell = dyn Fn(&QueryResult, DateTime<Utc>) -> Result<Cell, DbErr> + Send + Sync;

/// The source of a computed column.
pub enum Source {
    /// Computed from the object. Built by [`Source::row`].
    Row(Box<RowCell>),
    /// A number from a subquery, which may refer to the model's table.
    Sql(fn() -> SelectStatement),
}

impl Source {
    /// Computed from the object, at the current time.
    pub fn row<M: FromQueryResult + 'static>(compute: fn(&M, DateTime<Utc>) -> Cell) -> Self {
        Self::Row(Box::new(move |row, now| {
            Ok(compute(&M::from_query_result(row, "")?, now))
        }))
    }
}

/// The content of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Empty: shown as a dash.
    Empty,
    /// A boolean: shown as an icon.
    Boolean(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// A date and time.
    DateTime(DateTime<Utc>),
    /// A state.
    Badge(Tone, &'static str),
}

/// The tone of a state: its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing to do.
    Neutral,
    /// Something will happen.
    Info,
    /// As it should be.
    Success,
    /// Something has to be done.
    Warning,
}

/// A filter of the changelist that is not by a field (Django's `SimpleListFilter`).
#[derive(Debug, Clone)]
pub struct ListFilter {
    /// The name in `list_filter` and the parameter in URLs.
    pub name: &'static str,
    /// The values of the parameter, with their labels.
    pub choices: Vec<(&'static str, &'static str)>,
    /// The condition for a value at a time; `None` for an unknown value.
    pub condition: fn(&str, DateTime<Utc>) -> Option<Condition>,
}

/// An action on objects that needs no confirmation: a change, for users who may change them, or a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectAction {
    /// Its name in forms.
    pub name: &'static str,
    /// Its label.
    pub label: &'static str,
    /// The label of the field that it changes, for the log; none for a download, for users who may view the objects.
    pub changes: Option<&'static str>,
}

/// A file that a user downloads.
#[derive(Debug)]
pub struct Download {
    /// The name of the file.
    pub name: &'static str,
    /// The media type.
    pub media_type: &'static str,
    /// The content.
    pub content: Vec<u8>,
}

/// A many-to-many field.
pub struct ManyToMany {
    /// The name.
    pub name: &'static str,
    /// Django's `verbose_name`.
    pub verbose_name: &'static str,
    /// The help text below the input.
    pub help_text: &'static str,
    /// The association table, with the columns of this model's key and of the related key.
    pub through: (&'static str, &'static str, &'static str),
    /// The names of a row of the association table, singular and plural.
    pub relationship: (&'static str, &'static str),
    /// The choices, in order.
    pub choices: Choices,
}

/// The query of a list of choices.
#[derive(Clone, Copy)]
pub struct Choices {
    /// The rows; one column must be `id`.
    pub query: fn() -> SelectStatement,
    /// The label of a row.
    pub label: fn(&QueryResult) -> Result<String, DbErr>,
}

/// Rows of another table that are deleted with an object.
#[derive(Debug, Clone, Copy)]
pub struct Dependent {
    /// The table, and its column with the object's key.
    pub table: (&'static str, &'static str),
    /// The singular of their name.
    pub verbose_name: &'static str,
    /// The plural of their name.
    pub verbose_name_plural: &'static str,
    /// The column with a row's label; without one the rows are only counted.
    pub label_column: Option<&'static str>,
    /// The column of a counter, and the noun that it counts (singular, plural).
    pub counter: Option<(&'static str, (&'static str, &'static str))>,
}

/// A group of fields in a form.
#[derive(Debug, Clone)]
pub struct Fieldset {
    /// The heading.
    pub name: Option<&'static str>,
    /// The fields, in order.
    pub fields: &'static [&'static str],
    /// The text below the heading.
    pub description: &'static str,
    /// Whether it is initially collapsed (Django's class `collapse`).
    pub is_collapsed: bool,
}

impl Fieldset {
    /// A group that cannot be collapsed.
    pub const fn new(name: Option<&'static str>, fields: &'static [&'static str]) -> Self {
        Self {
            name,
            fields,
            description: "",
            is_collapsed: false,
        }
    }

    /// A group that is initially collapsed.
    pub const fn collapsed(name: &'static str, fields: &'static [&'static str]) -> Self {
        Self {
            name: Some(name),
            fields,
            description: "",
            is_collapsed: true,
        }
    }
}

/// The layout of an inline's forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The rows of a table (Django's `TabularInline`).
    Tabular,
    /// One below the other (Django's `StackedInline`).
    Stacked,
}

/// The rules of a model. Each method has a default.
#[async_trait]
pub trait Rules: Send + Sync {
    /// Whether `user` may add an object, if they have the permission for the model.
    fn may_add(&self, _: &User) -> bool {
        true
    }

    /// The objects among `ids` that `user` may neither change nor delete, although they have the permissions for the model.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    async fn unchangeable_keys(
        &self,
        _: Connection<'_>,
        _: &User,
        _ids: &[i32],
    ) -> Result<BTreeSet<i32>, DbErr> {
        Ok(BTreeSet::new())
    }

    /// Validates changes before they are stored, and may add errors to fields. `id` is the object's key; `None` if it is new.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    async fn validate(
        &self,
        _: &Transaction,
        _: &User,
        _id: Option<i32>,
        _: &mut Changes,
    ) -> Result<(), DbErr> {
        Ok(())
    }

    /// Converts the virtual fields of a new object to columns, before the transaction begins.
    ///
    /// # Errors
    /// When the conversion fails, for example because no slot for hashing the password is free within 10 s.
    async fn prepare(&self, _: &Auth, _: &mut Changes) -> Result<()> {
        Ok(())
    }

    /// The text and the link of a field of the type [`VirtualKind::Description`].
    fn describe(&self, _field: &str, _values: &Values<'_>) -> Description {
        Description::default()
    }

    /// Called after an object has been stored, in its transaction, with the names of the fields that have been changed. Returns what the
    /// user has to know.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    async fn after_save(
        &self,
        _: &Transaction,
        _id: i32,
        _changed: &[&str],
        _now: DateTime<Utc>,
    ) -> Result<Vec<String>, DbErr> {
        Ok(Vec::new())
    }

    /// The actions that an object's page offers at `now`.
    fn available_actions(&self, _: &Values<'_>, _now: DateTime<Utc>) -> Vec<ObjectAction> {
        Vec::new()
    }

    /// Does an action with objects that are locked, and returns the keys of those that it has changed.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    async fn act(
        &self,
        _: &Transaction,
        _action: &str,
        _ids: &[i32],
        _now: DateTime<Utc>,
    ) -> Result<Vec<i32>, DbErr> {
        Ok(Vec::new())
    }

    /// The file of a download of objects.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    async fn download(
        &self,
        _: Connection<'_>,
        _action: &str,
        _ids: &[i32],
    ) -> Result<Option<Download>, DbErr> {
        Ok(None)
    }

    /// Whether "Save" redirects from the form of a new object to its change form.
    fn continues_after_add(&self) -> bool {
        false
    }
}

/// What the index of the admin shows besides the models.
#[async_trait]
pub trait Dashboard: Send + Sync {
    /// The template, which has [`Self::context`] as `dashboard`.
    fn template(&self) -> &'static str;

    /// What it shows to a user at `now`, in a time zone; `None` if nothing.
    ///
    /// # Errors
    /// When the database cannot be reached or a query fails.
    async fn context(
        &self,
        db: Connection<'_>,
        user: &User,
        now: DateTime<Utc>,
        zone: Tz,
    ) -> Result<Option<TemplateValue>, DbErr>;
}

/// The columns of an object by name.
pub struct Values<'a>(pub(super) &'a dyn Fn(&str) -> Option<&'a Value>);

impl Values<'_> {
    /// A column with a time.
    pub fn time(&self, column: &str) -> Option<DateTime<Utc>> {
        match (self.0)(column) {
            Some(Value::ChronoDateTimeUtc(time)) => *time,
            _ => None,
        }
    }

    /// A text column.
    pub fn text(&self, column: &str) -> &str {
        match (self.0)(column) {
            Some(Value::String(Some(text))) => text,
            _ => "",
        }
    }
}

/// A text in place of an input.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Description {
    /// The text.
    pub text: String,
    /// The URL of the link, relative to the object's page.
    pub link: &'static str,
    /// The text of the link.
    pub link_text: &'static str,
}

impl Rules for () {}
