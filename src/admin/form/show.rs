//! A form as its template gets it.

use sea_orm::DbErr;
use serde::Serialize;

use super::{BoundField, Editor, ObjectForm, Surroundings, fieldsets, formset::Formset};
use crate::{
    admin::{
        choices,
        field::{Kind, Raw},
        options::{Cell, Description, Layout, Values, VirtualKind},
    },
    contenttypes::capitalized,
    db::Connection,
    web::format::{date_time, grouped},
};

/// A whole form.
#[derive(Debug, Serialize)]
pub struct ShownEditor {
    /// The object's fields in groups.
    pub fieldsets: Vec<ShownFieldset>,
    /// The forms of its inlines.
    pub inlines: Vec<ShownInline>,
    /// What is wrong with the object as a whole.
    pub errors: Vec<String>,
    /// Everything that is wrong, with where it is.
    pub summary: Vec<ErrorLink>,
}

/// An error, and the field that it is about.
#[derive(Debug, Serialize)]
pub struct ErrorLink {
    /// The field's id, empty for the form as a whole.
    pub id: String,
    /// The field's label.
    pub label: String,
    /// What is wrong.
    pub text: String,
}

/// A group of fields.
#[derive(Debug, Serialize)]
pub struct ShownFieldset {
    name: Option<&'static str>,
    description: &'static str,
    /// Whether it can be closed, and whether it is.
    is_collapsible: bool,
    is_open: bool,
    fields: Vec<ShownField>,
}

/// A field.
#[derive(Debug, Serialize)]
pub struct ShownField {
    name: String,
    id: String,
    label: String,
    help: &'static str,
    is_required: bool,
    errors: Vec<String>,
    /// Which input: the name of a macro's branch.
    kind: &'static str,
    value: String,
    /// The time beside a date.
    time: String,
    /// The types of the inputs for a date and a time: `text` for what those could not show.
    date_type: &'static str,
    time_type: &'static str,
    max_length: Option<u32>,
    options: Vec<ShownOption>,
    /// What is shown in the place of an input.
    cells: Vec<ShownCell>,
    description: Description,
    /// What is in the database now, where the visitor typed something else.
    theirs: Option<String>,
    /// Where the objects are listed that a typed key may mean.
    lookup_url: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownOption {
    value: String,
    label: String,
    is_selected: bool,
}

/// What is shown of a value.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ShownCell {
    /// `empty`, `yes`, `no`, `number`, `text`, `moment`.
    pub kind: &'static str,
    /// In words.
    pub text: String,
    /// A moment for machines.
    pub iso: String,
}

/// The forms of an inline.
#[derive(Debug, Serialize)]
pub struct ShownInline {
    title: String,
    name: &'static str,
    prefix: String,
    is_tabular: bool,
    headings: Vec<Heading>,
    rows: Vec<ShownRow>,
    /// An empty form for a script to copy, with `__prefix__` in the place of its number.
    empty: Option<ShownRow>,
    total: usize,
    initial: usize,
    max: usize,
    may_delete: bool,
    is_readonly: bool,
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Heading {
    label: String,
    is_required: bool,
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct ShownRow {
    prefix: String,
    id: Option<i32>,
    label: String,
    fields: Vec<ShownField>,
    errors: Vec<String>,
    is_deleted: bool,
}

impl ShownEditor {
    /// What a template gets of a form; without inputs if it is only to be looked at.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn new(
        editor: &Editor<'_>,
        db: Connection<'_>,
        around: Surroundings<'_>,
        is_readonly: bool,
    ) -> Result<Self, DbErr> {
        let main = &editor.main;
        let mut shown = Vec::new();
        for (fieldset, fields) in fieldsets(main.model, main.object.is_none()) {
            let mut shown_fields = Vec::new();
            for bound in main
                .fields
                .iter()
                .filter(|bound| fields.iter().any(|field| field.name == bound.field.name))
            {
                shown_fields.push(show_field(main, bound, db, around, is_readonly).await?);
            }
            let has_errors = shown_fields.iter().any(|field| !field.errors.is_empty());
            let is_collapsible = fieldset
                .as_ref()
                .is_some_and(|fieldset| fieldset.is_collapsed);
            shown.push(ShownFieldset {
                name: fieldset.as_ref().and_then(|fieldset| fieldset.name),
                description: fieldset.map_or("", |fieldset| fieldset.description),
                is_collapsible,
                // What is wrong must be seen, and what must be filled in.
                is_open: !is_collapsible || has_errors || main.object.is_none(),
                fields: shown_fields,
            });
        }
        let mut inlines = Vec::new();
        for formset in &editor.formsets {
            inlines.push(show_inline(formset, db, around, is_readonly).await?);
        }
        let forms = std::iter::once(main).chain(
            editor
                .formsets
                .iter()
                .flat_map(|set| set.forms.iter().map(|row| &row.form)),
        );
        let mut summary: Vec<ErrorLink> = forms.flat_map(links).collect();
        let whole = editor.formsets.iter().flat_map(|formset| &formset.errors);
        summary.extend(whole.map(|text| ErrorLink {
            id: String::new(),
            label: String::new(),
            text: text.clone(),
        }));
        Ok(Self {
            fieldsets: shown,
            inlines,
            errors: main.errors.clone(),
            summary,
        })
    }
}

fn links(form: &ObjectForm<'_>) -> impl Iterator<Item = ErrorLink> {
    let whole = form.errors.iter().map(|text| ErrorLink {
        id: String::new(),
        label: String::new(),
        text: text.clone(),
    });
    let of_fields = form.fields.iter().flat_map(move |bound| {
        bound.errors.iter().map(move |text| ErrorLink {
            id: id_of(form, bound),
            label: bound.field.label(),
            text: text.clone(),
        })
    });
    whole.chain(of_fields)
}

/// The id of a field's first input.
fn id_of(form: &ObjectForm<'_>, bound: &BoundField<'_>) -> String {
    let end = if bound.field.kind == Kind::DateTime {
        "_0"
    } else {
        ""
    };
    format!("id_{}{}{end}", form.prefix, bound.field.name)
}

async fn show_inline(
    formset: &Formset<'_>,
    db: Connection<'_>,
    around: Surroundings<'_>,
    is_readonly: bool,
) -> Result<ShownInline, DbErr> {
    let model = &formset.inline.model;
    let mut rows = Vec::new();
    for row in &formset.forms {
        if is_readonly && row.form.object.is_none() {
            continue;
        }
        rows.push(show_row(&row.form, row.is_deleted, db, around, is_readonly).await?);
    }
    let mut blank = Formset {
        inline: formset.inline,
        forms: Vec::new(),
        may: formset.may,
        errors: Vec::new(),
        present: Vec::new(),
        owner: None,
    };
    blank.push(None, around);
    let mut headings = Vec::new();
    for bound in &blank.forms[0].form.fields {
        let kind = if matches!(bound.field.kind, Kind::Integer | Kind::SmallInteger) {
            "number"
        } else {
            "text"
        };
        headings.push(Heading {
            label: bound.field.label(),
            is_required: bound.field.is_required(),
            kind,
        });
    }
    let empty = if is_readonly || !formset.may.add {
        None
    } else {
        blank.forms[0].form.prefix = format!("{}-__prefix__-", formset.inline.prefix());
        Some(show_row(&blank.forms[0].form, false, db, around, false).await?)
    };
    Ok(ShownInline {
        title: capitalized(model.verbose_name_plural),
        name: model.verbose_name,
        prefix: formset.inline.prefix(),
        is_tabular: formset.inline.layout == Layout::Tabular,
        headings,
        total: rows.len(),
        initial: rows.iter().filter(|row| row.id.is_some()).count(),
        rows,
        empty,
        max: formset.inline.max,
        may_delete: formset.may.delete && !is_readonly,
        is_readonly,
        errors: formset.errors.clone(),
    })
}

async fn show_row(
    form: &ObjectForm<'_>,
    is_deleted: bool,
    db: Connection<'_>,
    around: Surroundings<'_>,
    is_readonly: bool,
) -> Result<ShownRow, DbErr> {
    let mut fields = Vec::new();
    for bound in &form.fields {
        fields.push(show_field(form, bound, db, around, is_readonly).await?);
    }
    Ok(ShownRow {
        prefix: form.prefix.clone(),
        id: form.object.as_ref().map(|object| object.id),
        label: form
            .object
            .as_ref()
            .map(|object| object.label.clone())
            .unwrap_or_default(),
        fields,
        errors: form.errors.clone(),
        is_deleted,
    })
}

async fn show_field(
    form: &ObjectForm<'_>,
    bound: &BoundField<'_>,
    db: Connection<'_>,
    around: Surroundings<'_>,
    is_readonly: bool,
) -> Result<ShownField, DbErr> {
    let field = bound.field;
    let is_readonly = is_readonly || bound.is_readonly;
    let first = bound.raw.first().cloned().unwrap_or_default();
    let mut shown = ShownField {
        name: format!("{}{}", form.prefix, field.name),
        id: id_of(form, bound),
        label: field.label(),
        help: field.options.help_text,
        is_required: field.is_required() && !is_readonly,
        errors: bound.errors.clone(),
        kind: "text",
        value: first.clone(),
        time: bound.raw.get(1).cloned().unwrap_or_default(),
        date_type: input_type("date", &first, |text| {
            text.parse::<chrono::NaiveDate>().is_ok() && text.len() == 10
        }),
        time_type: input_type(
            "time",
            bound.raw.get(1).map_or("", String::as_str),
            |text| text.parse::<chrono::NaiveTime>().is_ok() && text.len() == 8,
        ),
        max_length: None,
        options: Vec::new(),
        cells: Vec::new(),
        description: Description::default(),
        theirs: bound
            .theirs
            .as_ref()
            .filter(|theirs| **theirs != bound.raw)
            .map(|theirs| theirs.join(" ")),
        lookup_url: None,
    };
    let choose = |all: Vec<(i32, String)>, raw: &Raw| {
        let option = |(id, label): (i32, String)| {
            let value = id.to_string();
            ShownOption {
                is_selected: raw.contains(&value),
                value,
                label,
            }
        };
        all.into_iter().map(option).collect::<Vec<_>>()
    };
    shown.kind = match &field.kind {
        _ if !field.options.choices.is_empty() => {
            let option = |(value, label): &(&str, &str)| ShownOption {
                value: (*value).to_owned(),
                label: (*label).to_owned(),
                is_selected: first == *value,
            };
            shown.options = field.options.choices.iter().map(option).collect();
            if matches!(field.kind, Kind::Virtual(_)) {
                "radio"
            } else {
                "select"
            }
        }
        Kind::Char(limit) => {
            shown.max_length = Some(*limit);
            "text"
        }
        Kind::Text => "textarea",
        Kind::Integer | Kind::SmallInteger => "number",
        Kind::Boolean => {
            shown.value = if bound.raw.is_empty() {
                String::new()
            } else {
                "on".to_owned()
            };
            "checkbox"
        }
        Kind::DateTime => "moment",
        Kind::ForeignKey(table) => match choices::of_table(table, db, around).await? {
            Some(all) => {
                shown.options = choose(all, &bound.raw);
                "select"
            }
            None => {
                shown.lookup_url = around
                    .site
                    .of_table(table)
                    .map(super::super::model::Model::url);
                "number"
            }
        },
        Kind::ManyToMany => {
            shown.options = choose(
                choices::of_relation(form.model, field.name, db).await?,
                &bound.raw,
            );
            "multiple"
        }
        Kind::Virtual(VirtualKind::Password) => {
            shown.value.clear();
            "password"
        }
        Kind::Virtual(VirtualKind::Radio) => "radio",
        Kind::Virtual(VirtualKind::Description) => {
            if let Some(object) = &form.object {
                let value = |column: &str| {
                    let position = form
                        .model
                        .concrete()
                        .position(|field| field.column == column)?;
                    object.values.get(position)
                };
                shown.description = form.model.rules.describe(field.name, &Values(&value));
            }
            "description"
        }
    };
    if is_readonly && shown.kind != "description" {
        shown.cells = match &form.object {
            _ if !shown.options.is_empty() => {
                let chosen = shown.options.iter().filter(|option| option.is_selected);
                chosen
                    .map(|option| ShownCell {
                        kind: "text",
                        text: option.label.clone(),
                        iso: String::new(),
                    })
                    .collect()
            }
            Some(object) => {
                let cell = form
                    .model
                    .value(object, field.name)
                    .map(|value| show_cell(&field.cell(value), around));
                cell.into_iter().collect()
            }
            None => Vec::new(),
        };
        shown.kind = "readonly";
    }
    Ok(shown)
}

/// The type of an input that can show a text.
fn input_type(wanted: &'static str, text: &str, can_show: impl Fn(&str) -> bool) -> &'static str {
    if text.is_empty() || can_show(text) {
        wanted
    } else {
        "text"
    }
}

/// What a page shows of a value.
pub fn show_cell(cell: &Cell, around: Surroundings<'_>) -> ShownCell {
    let (kind, text, iso) = match cell {
        Cell::Empty => ("empty", String::new(), String::new()),
        Cell::Boolean(true) => ("yes", "Yes".to_owned(), String::new()),
        Cell::Boolean(false) => ("no", "No".to_owned(), String::new()),
        Cell::Number(number) => ("number", grouped(*number), String::new()),
        Cell::Text(text) => ("text", text.clone(), String::new()),
        Cell::Moment(time) => (
            "moment",
            date_time(*time, around.zone),
            time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ),
    };
    ShownCell { kind, text, iso }
}
