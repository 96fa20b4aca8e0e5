//! The inputs of the fields of a form.

use sea_orm::DbErr;
use serde::Serialize;

use super::{
    super::{BoundField, FormContext, ObjectForm},
    cell::{CellContext, show_cell},
};
use crate::{
    admin::{
        choices,
        field::Kind,
        model::Model,
        options::VirtualKind,
        rules::{Description, Values},
    },
    db::Connection,
};

/// The input of a field, or what is displayed in its place; `kind` selects the markup in the template's macro (Django's `Widget`).
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Widget {
    /// A line of text, of `max_length` characters at most.
    Text {
        value: String,
        max_length: Option<u32>,
    },
    /// Text with line breaks.
    Textarea {
        value: String,
    },
    /// An integer, or the key of a related object with the URL of the changelist to look it up.
    Number {
        value: String,
        lookup_url: Option<String>,
    },
    Checkbox {
        is_checked: bool,
    },
    /// A password input, which is rendered empty.
    Password,
    /// Inputs for date and time, whose types are `text` for values that a `date` or `time` input cannot show.
    DateTime {
        date: String,
        date_type: &'static str,
        time: String,
        time_type: &'static str,
    },
    Select {
        options: Vec<SelectOption>,
    },
    SelectMultiple {
        options: Vec<SelectOption>,
    },
    Radio {
        options: Vec<SelectOption>,
    },
    /// A text with a link.
    Description {
        description: Description,
    },
    /// Displayed values.
    Readonly {
        cells: Vec<CellContext>,
    },
}

/// An option of a select or radio input.
#[derive(Debug, Serialize)]
pub struct SelectOption {
    value: String,
    label: String,
    is_selected: bool,
}

impl SelectOption {
    fn new(value: String, label: String, selected: &[String]) -> Self {
        Self {
            is_selected: selected.contains(&value),
            value,
            label,
        }
    }
}

impl Widget {
    /// The input of a field of a form.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn new(
        form: &ObjectForm<'_>,
        bound: &BoundField<'_>,
        db: Connection<'_>,
        form_context: FormContext<'_>,
    ) -> Result<Self, DbErr> {
        let (field, raw) = (bound.field, &bound.raw);
        let part = |index: usize| raw.get(index).cloned().unwrap_or_default();
        let related_options = |all: Vec<(i32, String)>| {
            let option = |(id, label): (i32, String)| SelectOption::new(id.to_string(), label, raw);
            all.into_iter().map(option).collect()
        };
        if !field.options.choices.is_empty() {
            let option = |(value, label): &(&str, &str)| {
                SelectOption::new((*value).to_owned(), (*label).to_owned(), raw)
            };
            let options = field.options.choices.iter().map(option).collect();
            return Ok(match field.kind {
                Kind::Virtual(_) => Self::Radio { options },
                _ => Self::Select { options },
            });
        }
        Ok(match &field.kind {
            Kind::Char(limit) => Self::Text {
                value: part(0),
                max_length: Some(*limit),
            },
            Kind::Text => Self::Textarea { value: part(0) },
            Kind::Integer | Kind::SmallInteger => Self::Number {
                value: part(0),
                lookup_url: None,
            },
            Kind::Boolean => Self::Checkbox {
                is_checked: !raw.is_empty(),
            },
            Kind::DateTime => Self::date_time(part(0), part(1)),
            Kind::ForeignKey(table) => match choices::of_table(table, db, form_context).await? {
                Some(all) => Self::Select {
                    options: related_options(all),
                },
                None => Self::Number {
                    value: part(0),
                    lookup_url: form_context.site.of_table(table).map(Model::url),
                },
            },
            Kind::ManyToMany => Self::SelectMultiple {
                options: related_options(choices::of_relation(form.model, field.name, db).await?),
            },
            Kind::Virtual(VirtualKind::Password) => Self::Password,
            Kind::Virtual(VirtualKind::Radio) => Self::Radio {
                options: Vec::new(),
            },
            Kind::Virtual(VirtualKind::Description) => Self::Description {
                description: describe(form, field.name),
            },
        })
    }

    fn date_time(date: String, time: String) -> Self {
        let is_date = date.len() == 10 && date.parse::<chrono::NaiveDate>().is_ok();
        let is_time = time.len() == 8 && time.parse::<chrono::NaiveTime>().is_ok();
        Self::DateTime {
            date_type: if date.is_empty() || is_date {
                "date"
            } else {
                "text"
            },
            date,
            time_type: if time.is_empty() || is_time {
                "time"
            } else {
                "text"
            },
            time,
        }
    }

    /// What is displayed in place of an input that is read-only: a description without its link, else the values.
    pub fn into_readonly(
        self,
        form: &ObjectForm<'_>,
        bound: &BoundField<'_>,
        form_context: FormContext<'_>,
    ) -> Self {
        match self {
            Self::Description { mut description } => {
                description.link = "";
                Self::Description { description }
            }
            input => Self::Readonly {
                cells: input.into_cells(form, bound, form_context),
            },
        }
    }

    /// The values that are displayed in place of an input: the labels of the selected options, or else the object's value.
    fn into_cells(
        self,
        form: &ObjectForm<'_>,
        bound: &BoundField<'_>,
        form_context: FormContext<'_>,
    ) -> Vec<CellContext> {
        match (self, &form.object) {
            (
                Self::Select { options }
                | Self::SelectMultiple { options }
                | Self::Radio { options },
                _,
            ) if !options.is_empty() => options
                .into_iter()
                .filter(|option| option.is_selected)
                .map(|option| CellContext::text(option.label))
                .collect(),
            (_, Some(object)) => {
                let value = form.model.value(object, bound.field.name);
                let cell = value.map(|value| show_cell(&bound.field.cell(value), form_context));
                cell.into_iter().collect()
            }
            (_, None) => Vec::new(),
        }
    }
}

/// The text of a field without an input; empty for a new object.
fn describe(form: &ObjectForm<'_>, name: &str) -> Description {
    let Some(object) = &form.object else {
        return Description::default();
    };
    let value = |column: &str| {
        let mut columns = form.model.concrete();
        object
            .values
            .get(columns.position(|field| field.column == column)?)
    };
    form.model.options.rules.describe(name, &Values(&value))
}
