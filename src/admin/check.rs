//! Checks of the declarations, with the ids of Django's `admin.checks`; `polls.` ids for checks that Django does not have.

use std::collections::BTreeSet;

use super::{
    AdminSite,
    field::Kind,
    model::Model,
    options::{Fieldset, VirtualKind},
};

/// A check message: its id and its text.
pub type CheckMessage = (&'static str, String);

/// Checks all declarations of a site. Empty if they are valid.
pub fn check_models(site: &AdminSite) -> Vec<CheckMessage> {
    let mut messages = Vec::new();
    for (index, model) in site.models().iter().enumerate() {
        let is_same = |other: &&Model| {
            (other.options.app_label, other.options.name)
                == (model.options.app_label, model.options.name)
        };
        if site.models()[..index].iter().any(|other| is_same(&other)) {
            messages.push((
                "polls.E011",
                format!("The model {} is registered twice.", title(model)),
            ));
        }
        changelist(site, model, &mut messages);
        forms(model, &mut messages);
        for inline in &model.options.inlines {
            let key_kind = inline.model.field(inline.key).map(|field| &field.kind);
            if key_kind != Some(&Kind::ForeignKey(model.table().to_owned())) {
                let text = format!(
                    "'{}.{}' has no ForeignKey to '{}'.",
                    inline.model.options.app_label,
                    inline.model.options.name,
                    title(model)
                );
                messages.push(("admin.E202", text));
            }
            forms(&inline.model, &mut messages);
        }
    }
    messages
}

fn changelist(site: &AdminSite, model: &Model, messages: &mut Vec<CheckMessage>) {
    let mut report = |id, option: &str, name: &str, reason: &str| {
        messages.push((
            id,
            format!(
                "{}: the value of '{option}' refers to '{name}', which {reason}.",
                title(model)
            ),
        ));
    };
    for name in model.options.list_display {
        if !is_column(site, model, name) {
            report(
                "admin.E108",
                "list_display",
                name,
                "is not a field, a computed column or a related field",
            );
        }
    }
    for name in model.options.list_editable {
        if !model.options.list_display.contains(name)
            || model.options.list_display.first() == Some(name)
        {
            report(
                "admin.E122",
                "list_editable",
                name,
                "is not in 'list_display', or is its first column",
            );
        }
        if !model.concrete().any(|field| field.name == *name) {
            report("admin.E121", "list_editable", name, "is not a field");
        }
    }
    for name in model.options.list_filter {
        if model.filter(name).is_some() {
            continue;
        }
        let can_filter = model.field(name).is_some_and(|field| {
            let has_filter = matches!(
                field.kind,
                Kind::Boolean | Kind::DateTime | Kind::ForeignKey(_) | Kind::ManyToMany
            );
            has_filter || !field.options.choices.is_empty()
        });
        if !can_filter {
            report(
                "admin.E116",
                "list_filter",
                name,
                "is not a field that supports filtering",
            );
        }
    }
    for path in model.options.search_fields {
        if !super::changelist::search::is_searchable(site, model, path) {
            report("polls.E005", "search_fields", path, "is not a text field");
        }
    }
    if let Some(name) = model.options.date_hierarchy
        && model
            .field(name)
            .is_none_or(|field| field.kind != Kind::DateTime)
    {
        report(
            "admin.E128",
            "date_hierarchy",
            name,
            "is not a DateTimeField",
        );
    }
    for name in model.options.ordering {
        let name = name.strip_prefix('-').unwrap_or(name);
        if name != "id" && !model.concrete().any(|field| field.name == name) {
            report("admin.E033", "ordering", name, "is not a field");
        }
    }
    for column in &model.options.computed {
        if let Some(name) = column
            .ordered_by
            .filter(|name| !model.concrete().any(|field| field.name == *name))
        {
            report("polls.E006", "ordered_by", name, "is not a field");
        }
    }
}

fn forms(model: &Model, messages: &mut Vec<CheckMessage>) {
    let mut report = |id, text: String| messages.push((id, format!("{}: {text}", title(model))));
    if !model.options.entity.has_usual_key {
        report(
            "polls.E007",
            "the key is not one integer named 'id'.".to_owned(),
        );
    }
    for name in &model.unknown_fields {
        report(
            "polls.E008",
            format!("options are given for '{name}', which is not a field."),
        );
    }
    for name in model
        .options
        .readonly_fields
        .iter()
        .filter(|name| model.field(name).is_none())
    {
        report(
            "admin.E035",
            format!("the value of 'readonly_fields' refers to '{name}', which is not a field."),
        );
    }
    for fieldsets in [
        Some(&model.options.fieldsets),
        model.options.add_fieldsets.as_ref(),
    ]
    .into_iter()
    .flatten()
    {
        let mut seen = BTreeSet::new();
        for name in fieldsets
            .iter()
            .flat_map(|fieldset: &Fieldset| fieldset.fields)
        {
            if model.field(name).is_none() {
                report(
                    "polls.E009",
                    format!("the value of 'fieldsets' refers to '{name}', which is not a field."),
                );
            }
            if !seen.insert(name) {
                report(
                    "admin.E012",
                    format!("there are duplicate field(s) in 'fieldsets': '{name}'."),
                );
            }
        }
    }
    for field in model
        .fields
        .iter()
        .filter(|field| field.kind == Kind::Virtual(VirtualKind::Radio))
    {
        if field.options.choices.is_empty() {
            report("polls.E010", format!("'{}' has no choices.", field.name));
        }
    }
}

fn is_column(site: &AdminSite, model: &Model, name: &str) -> bool {
    name == "__str__"
        || model.concrete().any(|field| field.name == name)
        || model
            .options
            .computed
            .iter()
            .any(|column| column.name == name)
        || super::changelist::columns::related(site, model, name).is_some()
}

fn title(model: &Model) -> String {
    format!("{}.{}", model.options.app_label, model.options.name)
}
