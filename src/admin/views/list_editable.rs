//! Saving the inputs of a list (Django's `list_editable`).

use std::collections::BTreeMap;

use poem::Response;

use super::list_page::{ListPage, SubmittedValues};
use crate::{
    admin::{
        changes::Changes,
        entity::KEY,
        field::Field,
        form::{BoundField, FormContext, ObjectForm, is_same, save::update},
        log::{Action, ChangeMessage, Log},
        model::{Model, Object},
    },
    db::{Connection, Transaction},
    error::Result,
    web::{form::Form, messages::Level},
};

/// Saves the submitted rows: all of them or, if one has an error, none.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn save(list: &ListPage<'_>, form: &Form) -> Result<Response> {
    let (state, page, model) = (list.state, list.page, list.list.model);
    let form_context = FormContext::new(state, page.staff.user());
    let total = form
        .get("form-TOTAL_FORMS")
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(0);
    let max_rows =
        std::cmp::max(model.options.list_max_show_all, model.options.list_per_page) as usize;
    let posted = (0..std::cmp::min(total, max_rows)).filter_map(|index| {
        let key = form.get(&format!("form-{index}-{KEY}"))?;
        Some((key.parse::<i32>().ok()?, index))
    });
    let indexes: BTreeMap<i32, usize> = posted.collect();
    let tx = state.core.db.write().begin().await?;
    let db = Connection::Transaction(&tx);
    let keys: Vec<i32> = indexes.keys().copied().collect();
    // Objects that were deleted concurrently are skipped.
    let objects = model
        .select_for_update(&tx, &keys, form_context.now)
        .await?;
    let unchangeable_keys = model
        .options
        .rules
        .unchangeable_keys(db, form_context.user, &keys)
        .await?;
    let mut submitted = SubmittedValues::new();
    let mut changed: BTreeMap<i32, (ObjectForm<'_>, Changes)> = BTreeMap::new();
    for object in objects {
        let id = object.id;
        if unchangeable_keys.contains(&id) {
            continue;
        }
        let mut row = row_form(model, object, indexes[&id], form, form_context);
        let mut changes = row.clean(form_context.zone);
        if !row.has_changed(form_context.zone) {
            for bound in &row.fields {
                submitted.insert((id, bound.field.name), (bound.raw.clone(), Vec::new()));
            }
            continue;
        }
        row.check(db, &mut changes).await?;
        model
            .options
            .rules
            .validate(&tx, form_context.user, Some(id), &mut changes)
            .await?;
        for bound in row.fields.iter().filter(|bound| {
            bound.has_changed(form_context.zone) && bound.field.options.counts.is_none()
        }) {
            if let Some(theirs) = &bound.theirs
                && !is_same(bound.field, theirs, &bound.raw, form_context.zone)
            {
                changes.add_error(
                    bound.field.name,
                    format!(
                        "Another user has changed this to “{}” meanwhile.",
                        theirs.join(" ")
                    ),
                );
            }
        }
        let errors = std::mem::take(&mut changes.errors);
        for bound in &row.fields {
            let errors = errors.get(bound.field.name).cloned().unwrap_or_default();
            submitted.insert((id, bound.field.name), (bound.raw.clone(), errors));
        }
        row.add_errors(errors);
        changed.insert(id, (row, changes));
    }
    let error_count: usize = changed.values().map(|(row, _)| row.error_count()).sum();
    if error_count > 0 {
        drop(tx);
        let text = if error_count == 1 {
            "Please correct the error below."
        } else {
            "Please correct the errors below."
        };
        return list.show(&submitted, text).await;
    }
    let count = changed.len() as u64;
    for (id, (row, changes)) in changed {
        store_row(&tx, id, &row, &changes, form_context).await?;
    }
    tx.commit().await?;
    if count > 0 {
        let count_text = model.counted(count);
        page.messages.add(
            Level::Success,
            &format!(
                "{count_text} {} changed successfully.",
                if count == 1 { "was" } else { "were" }
            ),
        );
    }
    Ok(list.redirect())
}

/// The form of a row: the editable fields, with their submitted initial data.
fn row_form<'a>(
    model: &'a Model,
    object: Object,
    index: usize,
    form: &Form,
    form_context: FormContext<'_>,
) -> ObjectForm<'a> {
    let prefix = format!("form-{index}-");
    let editable = model
        .concrete()
        .filter(|field: &&Field| model.options.list_editable.contains(&field.name));
    let fields = editable.map(|field| {
        let mut bound = BoundField::new(field, model.raw(&object, field, form_context.zone), false);
        bound.raw = field.posted(form, &prefix);
        // The data when the list was rendered, named as by Django's `show_hidden_initial`; lists that Django rendered lack it.
        if form.has(&format!("initial-{prefix}{}", field.name)) {
            let initial = field.posted(form, &format!("initial-{prefix}"));
            if !is_same(field, &initial, &bound.initial, form_context.zone) {
                bound.theirs = Some(std::mem::replace(&mut bound.initial, initial));
            }
        }
        bound
    });
    ObjectForm {
        model,
        fields: fields.collect(),
        object: Some(object),
        prefix,
        errors: Vec::new(),
    }
}

async fn store_row(
    tx: &Transaction,
    id: i32,
    row: &ObjectForm<'_>,
    changes: &Changes,
    form_context: FormContext<'_>,
) -> Result<()> {
    let Some(object) = &row.object else {
        return Ok(());
    };
    update(tx, row, changes, object, form_context).await?;
    let mut message = ChangeMessage::default();
    message.changed(&row.changed_labels(form_context.zone));
    let stored = row
        .model
        .find(Connection::Transaction(tx), id, form_context.now)
        .await?;
    let label = stored.map_or_else(|| object.label.clone(), |stored| stored.label);
    let log = Log {
        user_id: form_context.user.row.id,
        model: row.model,
        now: form_context.now,
    };
    Ok(log
        .write(tx, Action::Change, &[(id, &label)], &message.stored())
        .await?)
}
