//! Checks of the declarations, with the ids of Django's checks where it has them.

use std::collections::BTreeSet;

use super::{
    AdminSite,
    field::Kind,
    model::Model,
    options::{Fieldset, VirtualKind},
};

/// An error in a declaration: its id and its text.
pub type Mistake = (&'static str, String);

/// Checks all declarations of a site.
pub fn mistakes(site: &AdminSite) -> Vec<Mistake> {
    let mut found = Vec::new();
    for (index, model) in site.models().iter().enumerate() {
        let is_same = |other: &&Model| {
            (other.options.app_label, other.options.name)
                == (model.options.app_label, model.options.name)
        };
        if site.models()[..index].iter().any(|other| is_same(&other)) {
            found.push((
                "polls.E004",
                format!("The model {} is registered twice.", title(model)),
            ));
        }
        changelist(site, model, &mut found);
        forms(model, &mut found);
        for inline in &model.options.inlines {
            let refers = inline.model.field(inline.key).map(|field| &field.kind);
            if refers != Some(&Kind::ForeignKey(model.table().to_owned())) {
                let text = format!(
                    "'{}.{}' has no ForeignKey to '{}'.",
                    inline.model.options.app_label,
                    inline.model.options.name,
                    title(model)
                );
                found.push(("admin.E202", text));
            }
            forms(&inline.model, &mut found);
        }
    }
    found
}

fn changelist(site: &AdminSite, model: &Model, found: &mut Vec<Mistake>) {
    let mut refuse = |id, option: &str, name: &str, why: &str| {
        found.push((
            id,
            format!(
                "{}: the value of '{option}' refers to '{name}', which {why}.",
                title(model)
            ),
        ));
    };
    for name in model.options.list_display {
        if !is_column(site, model, name) {
            refuse(
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
            refuse(
                "admin.E122",
                "list_editable",
                name,
                "is not among 'list_display' beyond the first",
            );
        }
        if !model.concrete().any(|field| field.name == *name) {
            refuse("admin.E121", "list_editable", name, "is not a field");
        }
    }
    for name in model.options.list_filter {
        let can_filter = model.field(name).is_some_and(|field| {
            let kinds = matches!(
                field.kind,
                Kind::Boolean | Kind::DateTime | Kind::ForeignKey(_) | Kind::ManyToMany
            );
            kinds || !field.options.choices.is_empty()
        });
        if !can_filter {
            refuse(
                "admin.E116",
                "list_filter",
                name,
                "is not a field that can filter",
            );
        }
    }
    for path in model.options.search_fields {
        if !super::changelist::search::is_searchable(site, model, path) {
            refuse("polls.E005", "search_fields", path, "is not a text field");
        }
    }
    if let Some(name) = model.options.date_hierarchy
        && model
            .field(name)
            .is_none_or(|field| field.kind != Kind::DateTime)
    {
        refuse(
            "admin.E128",
            "date_hierarchy",
            name,
            "is not a DateTimeField",
        );
    }
    for name in model.options.ordering {
        let name = name.strip_prefix('-').unwrap_or(name);
        if name != "id" && !model.concrete().any(|field| field.name == name) {
            refuse("admin.E033", "ordering", name, "is not a field");
        }
    }
    for column in &model.options.computed {
        if let Some(name) = column
            .ordered_by
            .filter(|name| !model.concrete().any(|field| field.name == *name))
        {
            refuse("polls.E006", "ordered_by", name, "is not a field");
        }
    }
}

fn forms(model: &Model, found: &mut Vec<Mistake>) {
    let mut refuse = |id, text: String| found.push((id, format!("{}: {text}", title(model))));
    if !model.options.entity.has_usual_key {
        refuse(
            "polls.E007",
            "the key is not one integer named 'id'.".to_owned(),
        );
    }
    for name in &model.unknown_fields {
        refuse(
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
        refuse(
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
                refuse(
                    "polls.E009",
                    format!("the value of 'fieldsets' refers to '{name}', which is not a field."),
                );
            }
            if !seen.insert(name) {
                refuse(
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
            refuse("polls.E010", format!("'{}' has no choices.", field.name));
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
