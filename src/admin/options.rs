//! The declarations of a model's fields, relations and actions.

use chrono::{DateTime, Utc};
use sea_orm::{
    DbErr, FromQueryResult, QueryResult, Value,
    sea_query::{Condition, SelectStatement},
};

use crate::error::Result;

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
    /// A text from [`Rules::describe`](super::rules::Rules::describe).
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
