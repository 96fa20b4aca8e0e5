//! What is done with several objects of a list at once: deleting those that were chosen, or storing what was typed
//! into the list itself.

use std::collections::BTreeMap;

use minijinja::{context, value::Serde};
use poem::{Response, http::StatusCode};
use sea_orm::sea_query::ExprTrait;
use sha2::{Digest, Sha256};

use super::{
    Crumb, Log,
    delete::{self, Plan},
    field::Field,
    form::{BoundField, ObjectForm, Surroundings, is_same, save::update},
    log::{Action, ChangeMessage},
    model::{Changes, KEY, Model, Object},
    views::changelist::{List, Typed},
};
use crate::{
    db::{Connection, Transaction},
    error::Result,
    signing::hex,
    web::{form::Form, format::counted_as, messages::Level, routing::redirect},
};

/// The field with the keys of the chosen objects.
const SELECTED: &str = "_selected_action";
const DELETE: &str = "delete_selected";
/// Objects that can be deleted at once.
pub const LIMIT: u64 = 2000;
const NOTHING_SELECTED: &str =
    "Items must be selected in order to perform actions on them. No items have been changed.";

/// Does what was chosen.
///
/// # Errors
/// When the user may not do it, or the database refuses.
pub async fn take(list: &List<'_>, form: &Form) -> Result<Response> {
    let model = list.list.model;
    if form.has("_save") && !model.list_editable.is_empty() {
        list.page
            .staff
            .require(list.page.staff.may("change", model))?;
        return store_list(list, form).await;
    }
    match form.get("action") {
        Some(DELETE) => delete_selected(list, form).await,
        _ => {
            let text = if form.has(SELECTED) {
                "No action selected."
            } else {
                NOTHING_SELECTED
            };
            list.page.messages.add(Level::Warning, text);
            Ok(back(list))
        }
    }
}

/// Back to the list as it was.
fn back(list: &List<'_>) -> Response {
    let filters = list.list.params.text();
    let end = if filters.is_empty() {
        String::new()
    } else {
        format!("?{filters}")
    };
    redirect(
        StatusCode::FOUND,
        &format!("{}{end}", list.list.model.url()),
    )
}

async fn delete_selected(list: &List<'_>, form: &Form) -> Result<Response> {
    let (state, page, model) = (list.state, list.page, list.list.model);
    page.staff.require(page.staff.may("delete", model))?;
    let user = page.staff.user();
    let counted = |objects: &[Object]| {
        counted_as(
            objects.len() as u64,
            model.verbose_name,
            model.verbose_name_plural,
        )
    };
    let may_change_all = async |objects: &[Object], db: Connection<'_>| {
        let keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
        page.staff.require(model.may_change(db, user, &keys).await?)
    };
    let db = Connection::Database(state.core.db.write());
    let objects = match selected(list, form, db).await? {
        Selected::These(objects) => objects,
        Selected::TooMany => {
            let limit = counted_as(LIMIT, model.verbose_name, model.verbose_name_plural);
            let text =
                format!("At most {limit} can be deleted at once. Narrow the list, then try again.");
            page.messages.add(Level::Warning, &text);
            return Ok(back(list));
        }
        Selected::Others => {
            let text = "The list has changed since you looked at it. Nothing has been deleted: choose again.";
            page.messages.add(Level::Warning, text);
            return Ok(back(list));
        }
    };
    if objects.is_empty() {
        page.messages.add(Level::Warning, NOTHING_SELECTED);
        return Ok(back(list));
    }
    if form.has("post") {
        let tx = state.core.db.write().begin().await?;
        let db = Connection::Transaction(&tx);
        let keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
        let objects = model.seize(&tx, &keys, state.core.now()).await?;
        may_change_all(&objects, db).await?;
        let plan = Plan::new(&state.site, model, &objects, db, user).await?;
        page.staff.require(plan.forbidden.is_empty())?;
        let log = Log {
            user_id: user.row.id,
            model,
            now: state.core.now(),
        };
        if !delete::delete(tx, model, &objects, log).await? {
            page.messages.add(
                Level::Warning,
                &delete::still_referenced(&format!("the selected {}", counted(&objects))),
            );
            return Ok(back(list));
        }
        state.page_maps.forget(model.table);
        let text = format!("Successfully deleted {}.", counted(&objects));
        page.messages.add(Level::Success, &text);
        return Ok(back(list));
    }
    may_change_all(&objects, db).await?;
    let plan = Plan::new(&state.site, model, &objects, db, user).await?;
    let counted = counted(&objects);
    let mut hidden = vec![("action".to_owned(), DELETE.to_owned())];
    if form.get("select_across") == Some("1") {
        // All that the list has then, and no more than are named here.
        hidden.push(("select_across".to_owned(), "1".to_owned()));
        hidden.push(("expected".to_owned(), digest(&objects)));
        hidden.push((SELECTED.to_owned(), objects[0].id.to_string()));
    } else {
        hidden.extend(
            objects
                .iter()
                .map(|object| (SELECTED.to_owned(), object.id.to_string())),
        );
    }
    let mut way = Crumb::to_changelist(model);
    way.push(Crumb::here("Delete multiple objects"));
    let title = if plan.forbidden.is_empty() {
        "Delete multiple objects"
    } else {
        "Cannot delete the selected objects"
    };
    let filters = list.list.params.text();
    let context = context! {
        plan => Serde(plan),
        question => format!("the selected {counted}"),
        hidden => Serde(hidden),
        back => format!("{}?{filters}", model.url()),
    };
    page.render("admin/delete_confirmation.html", title, way, context)
}

/// The objects that were chosen.
enum Selected {
    These(Vec<Object>),
    /// More than can be done at once.
    TooMany,
    /// Others than were confirmed.
    Others,
}

async fn selected(list: &List<'_>, form: &Form, db: Connection<'_>) -> Result<Selected> {
    let model = list.list.model;
    let mut query = model.select();
    if form.get("select_across") == Some("1") {
        list.list.narrow(&mut query, list.oldest());
    } else {
        let keys: Vec<i32> = form
            .all(SELECTED)
            .filter_map(|key| key.parse().ok())
            .collect();
        if keys.is_empty() {
            return Ok(Selected::These(Vec::new()));
        }
        query.and_where(model.column(KEY).is_in(keys));
    }
    query
        .order_by_expr(model.column(KEY), sea_orm::sea_query::Order::Asc)
        .limit(LIMIT + 1);
    let objects = model.all(db, query, list.list.now).await?;
    if objects.len() as u64 > LIMIT {
        return Ok(Selected::TooMany);
    }
    let is_across = form.get("select_across") == Some("1");
    // Nothing is done to all of a list without knowing which objects were confirmed.
    let is_confirmed = match form.get("expected") {
        Some(expected) => expected == digest(&objects),
        None => !(is_across && form.has("post")),
    };
    if !is_confirmed {
        return Ok(Selected::Others);
    }
    Ok(Selected::These(objects))
}

/// Which objects these are, in few letters.
fn digest(objects: &[Object]) -> String {
    let keys = objects.iter().fold(Sha256::new(), |hash, object| {
        hash.chain_update(object.id.to_be_bytes())
    });
    hex(&keys.finalize())
}

/// Stores what was typed into the list: all of it or, if something is wrong, nothing.
async fn store_list(list: &List<'_>, form: &Form) -> Result<Response> {
    let (state, page, model) = (list.state, list.page, list.list.model);
    let around = Surroundings {
        site: &state.site,
        zone: list.list.zone,
        now: list.list.now,
        user: page.staff.user(),
    };
    let total = form
        .get("form-TOTAL_FORMS")
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(0);
    let most = std::cmp::max(model.list_max_show_all, model.list_per_page) as usize;
    let posted = (0..std::cmp::min(total, most)).filter_map(|index| {
        let key = form.get(&format!("form-{index}-{KEY}"))?;
        Some((key.parse::<i32>().ok()?, index))
    });
    let indexes: BTreeMap<i32, usize> = posted.collect();
    let tx = state.core.db.write().begin().await?;
    let db = Connection::Transaction(&tx);
    let keys: Vec<i32> = indexes.keys().copied().collect();
    // An object that was deleted meanwhile is left out.
    let objects = model.seize(&tx, &keys, around.now).await?;
    let refused = model.rules.not_changeable(db, around.user, &keys).await?;
    let mut typed = Typed::new();
    let mut changed: BTreeMap<i32, (ObjectForm<'_>, Changes)> = BTreeMap::new();
    for object in objects {
        let id = object.id;
        if refused.contains(&id) {
            continue;
        }
        let mut row = row_form(model, object, indexes[&id], form, around);
        let mut changes = row.clean(around.zone);
        if !row.has_changed(around.zone) {
            for bound in &row.fields {
                typed.insert((id, bound.field.name), (bound.raw.clone(), Vec::new()));
            }
            continue;
        }
        row.check(db, &mut changes).await?;
        model
            .rules
            .validate(&tx, around.user, Some(id), &mut changes)
            .await?;
        for bound in row
            .fields
            .iter()
            .filter(|bound| bound.has_changed(around.zone) && bound.field.options.counts.is_none())
        {
            if let Some(theirs) = &bound.theirs
                && !is_same(bound.field, theirs, &bound.raw, around.zone)
            {
                changes.refuse(
                    bound.field.name,
                    format!(
                        "Somebody else has changed this to “{}” meanwhile.",
                        theirs.join(" ")
                    ),
                );
            }
        }
        let errors = std::mem::take(&mut changes.errors);
        for bound in &row.fields {
            let errors = errors.get(bound.field.name).cloned().unwrap_or_default();
            typed.insert((id, bound.field.name), (bound.raw.clone(), errors));
        }
        row.show_errors(errors);
        changed.insert(id, (row, changes));
    }
    let mistakes: usize = changed.values().map(|(row, _)| row.error_count()).sum();
    if mistakes > 0 {
        drop(tx);
        let text = if mistakes == 1 {
            "Please correct the error below."
        } else {
            "Please correct the errors below."
        };
        return list.show(&typed, text).await;
    }
    let count = changed.len() as u64;
    for (id, (row, changes)) in changed {
        store_row(&tx, id, &row, &changes, around).await?;
    }
    tx.commit().await?;
    if count > 0 {
        let counted = counted_as(count, model.verbose_name, model.verbose_name_plural);
        page.messages.add(
            Level::Success,
            &format!(
                "{counted} {} changed successfully.",
                if count == 1 { "was" } else { "were" }
            ),
        );
    }
    Ok(back(list))
}

/// The form of a row: the fields that can be edited in the list. What they held at first comes with them.
fn row_form<'a>(
    model: &'a Model,
    object: Object,
    index: usize,
    form: &Form,
    around: Surroundings<'_>,
) -> ObjectForm<'a> {
    let prefix = format!("form-{index}-");
    let editable = model
        .concrete()
        .filter(|field: &&Field| model.list_editable.contains(&field.name));
    let fields = editable.map(|field| {
        let mut bound = BoundField::new(field, model.raw(&object, field, around.zone), false);
        bound.raw = field.posted(form, &prefix);
        // What it held when the visitor got the list, as Django names it; a list of Django's own has it not.
        if form.has(&format!("initial-{prefix}{}", field.name)) {
            let initial = field.posted(form, &format!("initial-{prefix}"));
            if !is_same(field, &initial, &bound.initial, around.zone) {
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
    around: Surroundings<'_>,
) -> Result<()> {
    let Some(object) = &row.object else {
        return Ok(());
    };
    update(tx, row, changes, object, around).await?;
    let mut message = ChangeMessage::default();
    message.changed(&row.changed_labels(around.zone));
    let stored = row
        .model
        .find(Connection::Transaction(tx), id, around.now)
        .await?;
    let label = stored.map_or_else(|| object.label.clone(), |stored| stored.label);
    let log = Log {
        user_id: around.user.row.id,
        model: row.model,
        now: around.now,
    };
    Ok(log
        .write(tx, Action::Change, &[(id, &label)], &message.stored())
        .await?)
}
