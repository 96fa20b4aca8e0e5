//! The fields of a model: conversions between form data, column values and displayed values.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sea_orm::{DbErr, QueryResult, Value};

use super::{
    dates,
    options::{Cell, FieldOptions, VirtualKind},
};
use crate::{
    auth::validators::NULL_CHARACTERS,
    contenttypes::capfirst,
    db::is_storable,
    digits,
    entities::{Count, Timestamp},
    web::form::{Form, REQUIRED},
};

/// Django's error for a choice that is not available.
pub const NOT_AVAILABLE: &str =
    "Select a valid choice. That choice is not one of the available choices.";

/// The form data of a field: one text; date and time for [`Kind::DateTime`]; the keys for [`Kind::ManyToMany`]; `on` or nothing
/// for [`Kind::Boolean`].
pub type Raw = Vec<String>;

/// A field of a model, with its column (Django's `Field`).
#[derive(Debug, Clone)]
pub struct Field {
    /// The name in declarations, URLs and forms.
    pub name: &'static str,
    /// The column; empty for a field without one.
    pub column: &'static str,
    /// The table of the column, if it is not the model's.
    pub side_table: Option<SideTable>,
    /// Django's `verbose_name`.
    pub verbose_name: String,
    /// The type.
    pub kind: Kind,
    /// Whether the column may be NULL.
    pub null: bool,
    /// Whether no two objects may have the same value.
    pub unique: bool,
    /// The declared options.
    pub options: FieldOptions,
}

/// A table with one row at most for each object of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideTable {
    /// The name of the table.
    pub table: &'static str,
    /// Its primary key: the column with the key of the object.
    pub key: &'static str,
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Text, with its maximum length in characters.
    Char(u32),
    /// Text of any length.
    Text,
    /// An integer of 32 bits.
    Integer,
    /// An integer of 16 bits.
    SmallInteger,
    Boolean,
    DateTime,
    /// A foreign key to this table.
    ForeignKey(String),
    ManyToMany,
    /// A field of the form without a column.
    Virtual(VirtualKind),
}

impl Field {
    /// The value in a column of a row.
    ///
    /// # Errors
    /// When the column is missing or has another type.
    pub fn read(&self, row: &QueryResult, column: &str) -> Result<Value, DbErr> {
        Ok(match self.kind {
            Kind::Boolean => Value::Bool(row.try_get("", column)?),
            Kind::SmallInteger => Value::SmallInt(row.try_get("", column)?),
            Kind::Integer => row.try_get::<Option<Count>>("", column)?.into(),
            Kind::ForeignKey(_) => Value::Int(row.try_get("", column)?),
            Kind::DateTime => {
                let time = row.try_get::<Option<Timestamp>>("", column)?;
                Value::ChronoDateTimeUtc(time.map(|time| *time))
            }
            _ => Value::String(row.try_get("", column)?),
        })
    }

    /// The label in a form: the verbose name with its first letter in upper case.
    pub fn label(&self) -> String {
        capfirst(&self.verbose_name)
    }

    /// Whether a form must have a value (Django's `required`).
    pub fn is_required(&self) -> bool {
        match self.kind {
            Kind::Boolean | Kind::ManyToMany | Kind::Virtual(VirtualKind::Description) => false,
            _ => !self.null && !self.options.blank,
        }
    }

    /// The form data of a new object.
    pub fn initial(&self, now: DateTime<Utc>, zone: Tz) -> Raw {
        match (self.options.default, &self.kind) {
            (Some(default), _) => self.raw(&default(now), zone),
            (None, Kind::DateTime) => vec![String::new(); 2],
            (None, Kind::Boolean | Kind::ManyToMany) => Vec::new(),
            (None, Kind::Virtual(VirtualKind::Radio)) => {
                vec![
                    self.options
                        .choices
                        .first()
                        .map_or("", |choice| choice.0)
                        .to_owned(),
                ]
            }
            (None, _) => vec![String::new()],
        }
    }

    /// The form data for a value.
    pub fn raw(&self, value: &Value, zone: Tz) -> Raw {
        match value {
            Value::String(Some(text)) => vec![text.clone()],
            Value::Int(Some(number)) => vec![number.to_string()],
            Value::BigInt(Some(number)) => vec![number.to_string()],
            Value::SmallInt(Some(number)) => vec![number.to_string()],
            Value::Bool(Some(true)) => vec!["on".to_owned()],
            Value::Bool(_) => Vec::new(),
            Value::ChronoDateTimeUtc(Some(time)) => {
                let local = time.with_timezone(&zone);
                vec![
                    local.format("%Y-%m-%d").to_string(),
                    local.format("%H:%M:%S").to_string(),
                ]
            }
            Value::ChronoDateTimeUtc(None) => vec![String::new(); 2],
            _ => vec![String::new()],
        }
    }

    /// Whether a submitted form has the field.
    pub fn is_posted(&self, form: &Form, prefix: &str) -> bool {
        let name = format!("{prefix}{}", self.name);
        match self.kind {
            Kind::DateTime => form.has(&format!("{name}_0")),
            _ => form.has(&name),
        }
    }

    /// The field's data in a submitted form.
    pub fn posted(&self, form: &Form, prefix: &str) -> Raw {
        let name = format!("{prefix}{}", self.name);
        let one = |name: &str| form.get(name).unwrap_or_default().to_owned();
        match self.kind {
            Kind::DateTime => vec![one(&format!("{name}_0")), one(&format!("{name}_1"))],
            Kind::Boolean => match form.get(&name) {
                None | Some("" | "False" | "false" | "0") => Vec::new(),
                Some(_) => vec!["on".to_owned()],
            },
            Kind::ManyToMany => form.all(&name).map(str::to_owned).collect(),
            _ => vec![one(&name)],
        }
    }

    /// Validates form data and converts it to a value.
    ///
    /// # Errors
    /// Django's messages for invalid data.
    pub fn clean(&self, raw: &Raw, zone: Tz) -> Result<Value, Vec<String>> {
        if raw.iter().any(|text| text.contains('\0')) {
            return Err(vec![NULL_CHARACTERS.to_owned()]);
        }
        let is_password = self.kind == Kind::Virtual(VirtualKind::Password);
        let first = raw.first().map_or("", String::as_str);
        let text = if is_password { first } else { first.trim() };
        let is_empty = match self.kind {
            Kind::DateTime => raw.iter().any(|part| part.trim().is_empty()),
            Kind::Boolean => return Ok(Value::Bool(Some(!raw.is_empty()))),
            _ => text.is_empty(),
        };
        if is_empty {
            let is_partial =
                self.kind == Kind::DateTime && raw.iter().any(|part| !part.trim().is_empty());
            return if self.is_required() || is_partial {
                Err(vec![REQUIRED.to_owned()])
            } else {
                Ok(self.empty())
            };
        }
        if !self.options.choices.is_empty()
            && !self.options.choices.iter().any(|choice| choice.0 == text)
        {
            return Err(vec![format!(
                "Select a valid choice. {text} is not one of the available choices."
            )]);
        }
        match self.kind {
            Kind::Integer => {
                let min = if self.options.counts.is_some() {
                    0
                } else {
                    i32::MIN
                };
                number(text, min, i32::MAX).map(|number| Value::Int(Some(number)))
            }
            Kind::SmallInteger => number(text, 0, i32::from(i16::MAX))
                .map(|number| Value::SmallInt(Some(number as i16))),
            Kind::ForeignKey(_) => digits::to_ascii(text)
                .parse()
                .map(|id| Value::Int(Some(id)))
                .map_err(|_| vec![NOT_AVAILABLE.to_owned()]),
            Kind::DateTime => {
                clean_moment(raw, zone).map(|time| Value::ChronoDateTimeUtc(Some(time)))
            }
            _ => self.clean_text(text),
        }
    }

    /// The content of a changelist's cell for a value.
    pub fn cell(&self, value: &Value) -> Cell {
        let choice_label = |text: &str| {
            let choice = self.options.choices.iter().find(|choice| choice.0 == text);
            choice.map(|choice| Cell::Text(choice.1.to_owned()))
        };
        match value {
            Value::String(Some(text)) if text.is_empty() => Cell::Empty,
            Value::String(Some(text)) => {
                choice_label(text).unwrap_or_else(|| Cell::Text(text.clone()))
            }
            Value::Int(Some(number)) => {
                choice_label(&number.to_string()).unwrap_or(Cell::Number(i64::from(*number)))
            }
            Value::BigInt(Some(number)) => Cell::Number(*number),
            Value::SmallInt(Some(number)) => {
                choice_label(&number.to_string()).unwrap_or(Cell::Number(i64::from(*number)))
            }
            Value::Bool(Some(boolean)) => Cell::Boolean(*boolean),
            Value::ChronoDateTimeUtc(Some(time)) => Cell::DateTime(*time),
            _ => Cell::Empty,
        }
    }

    /// The value for empty form data.
    fn empty(&self) -> Value {
        match self.kind {
            Kind::Integer | Kind::ForeignKey(_) => Value::Int(None),
            Kind::SmallInteger => Value::SmallInt(None),
            Kind::DateTime => Value::ChronoDateTimeUtc(None),
            _ if self.null => Value::String(None),
            _ => Value::String(Some(String::new())),
        }
    }

    fn clean_text(&self, text: &str) -> Result<Value, Vec<String>> {
        // Validated after normalisation, which may change length and characters.
        let text = self
            .options
            .normalize
            .map_or_else(|| text.to_owned(), |normalize| normalize(text));
        let length = text.chars().count();
        let errors = match (self.options.validate, &self.kind) {
            (Some(validate), _) => validate(&text),
            (None, Kind::Char(limit)) if length > *limit as usize => vec![format!(
                "Ensure this value has at most {limit} characters (it has {length})."
            )],
            _ => Vec::new(),
        };
        if errors.is_empty() {
            Ok(Value::String(Some(text)))
        } else {
            Err(errors)
        }
    }
}

fn number(text: &str, min: i32, max: i32) -> Result<i32, Vec<String>> {
    let text = &digits::to_ascii(text);
    // Django accepts 3.0 as 3.
    let integer = match text.split_once('.') {
        Some((integer, zeros)) if zeros.chars().all(|c| c == '0') => integer,
        _ => text,
    };
    let digits = integer.strip_prefix(['-', '+']).unwrap_or(integer);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return Err(vec!["Enter a whole number.".to_owned()]);
    }
    // A number that does not fit `i64` is out of range in any case.
    let number = integer
        .parse::<i64>()
        .unwrap_or(if integer.starts_with('-') {
            i64::MIN
        } else {
            i64::MAX
        });
    if number < i64::from(min) {
        Err(vec![format!(
            "Ensure this value is greater than or equal to {min}."
        )])
    } else if number > i64::from(max) {
        Err(vec![format!(
            "Ensure this value is less than or equal to {max}."
        )])
    } else {
        Ok(number as i32)
    }
}

fn clean_moment(raw: &Raw, zone: Tz) -> Result<DateTime<Utc>, Vec<String>> {
    let part = |index: usize| raw.get(index).map_or("", String::as_str);
    match (dates::parse_date(part(0)), dates::parse_time(part(1))) {
        (Some(date), Some(time)) => {
            let moment = dates::moment(date.and_time(time), zone).map_err(|error| vec![error])?;
            if is_storable(moment) {
                Ok(moment)
            } else {
                Err(vec!["Enter a valid date.".to_owned()])
            }
        }
        (date, time) => {
            let mut errors = Vec::new();
            if date.is_none() {
                errors.push("Enter a valid date.".to_owned());
            }
            if time.is_none() {
                errors.push("Enter a valid time.".to_owned());
            }
            Err(errors)
        }
    }
}
