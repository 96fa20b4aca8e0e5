//! Actions on the selected objects of a changelist.

use minijinja::{context, value::Serde};
use poem::{Response, http::StatusCode};
use sea_orm::sea_query::ExprTrait;
use sha2::{Digest, Sha256};

use super::{
    delete::delete_locked,
    list_page::{ACTION_LIMIT, ListPage},
};
use crate::{
    admin::{
        delete::{Plan, still_referenced},
        entity::KEY,
        log::{Action, ChangeMessage, Log},
        model::Object,
        options::ObjectAction,
        page::Crumb,
    },
    db::Connection,
    error::Result,
    signing::hex,
    web::{attachment::attachment, form::Form, messages::Level, routing::redirect},
};

/// The name of the field with the keys of selected objects.
const SELECTED: &str = "_selected_action";
const DELETE: &str = "delete_selected";
const NOTHING_SELECTED: &str =
    "Items must be selected in order to perform actions on them. No items have been changed.";

/// Runs the selected action on the selected objects.
///
/// # Errors
/// When the user lacks the permission, or the database cannot be reached or written to.
pub async fn run(list: &ListPage<'_>, form: &Form) -> Result<Response> {
    if form.get("action") == Some(DELETE) {
        return delete_selected(list, form).await;
    }
    let mut actions = list.list.model.options.actions.iter();
    let action = actions.find(|action| form.get("action") == Some(action.name));
    if let Some(action) = action {
        return act(list, form, action).await;
    }
    let text = if form.has(SELECTED) {
        "No action selected."
    } else {
        NOTHING_SELECTED
    };
    list.page.messages.add(Level::Warning, text);
    Ok(list.redirect())
}

/// Does an action of the model with the selected objects, and logs it for those that it has changed.
async fn act(list: &ListPage<'_>, form: &Form, action: &ObjectAction) -> Result<Response> {
    let (state, page, model) = (list.state, list.page, list.list.model);
    let is_allowed = action.changes.is_none() || page.staff.may("change", model);
    page.staff.require(is_allowed)?;
    let db = state.db();
    let keys: Vec<i32> = match selected(list, form, db).await? {
        Selected::Objects(objects) => objects.iter().map(|object| object.id).collect(),
        Selected::TooMany | Selected::Changed => return Ok(too_many(list, "changed")),
    };
    let Some(changes) = action.changes else {
        return download(list, action, &keys).await;
    };
    let may_change = model.may_change(db, page.staff.user(), &keys).await?;
    page.staff.require(may_change)?;
    let now = state.core.now();
    let tx = state.core.db.write().begin().await?;
    let objects = model.select_for_update(&tx, &keys, now).await?;
    let keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
    let changed = if keys.is_empty() {
        Vec::new()
    } else {
        model
            .options
            .rules
            .act(&tx, action.name, &keys, now)
            .await?
    };
    let labels: Vec<(i32, &str)> = objects
        .iter()
        .filter(|object| changed.contains(&object.id))
        .map(|object| (object.id, object.label.as_str()))
        .collect();
    let mut message = ChangeMessage::default();
    message.changed(&[changes.to_owned()]);
    let log = Log {
        user_id: page.staff.user().row.id,
        model,
        now,
    };
    log.write(&tx, Action::Change, &labels, &message.stored())
        .await?;
    tx.commit().await?;
    let count = model.counted(changed.len() as u64);
    let (level, text) = match (keys.len(), changed.len()) {
        (0, _) => (Level::Warning, NOTHING_SELECTED.to_owned()),
        (_, 0) => (
            Level::Warning,
            format!("{}: nothing had to be changed.", action.label),
        ),
        _ => (
            Level::Success,
            format!("{}: {count} changed.", action.label),
        ),
    };
    page.messages.add(level, &text);
    // From the page of an object.
    match (form.get("_return"), keys.as_slice()) {
        (Some("change"), [id]) => Ok(redirect(
            StatusCode::FOUND,
            &model.object_url(*id, "change"),
        )),
        _ => Ok(list.redirect()),
    }
}

/// The response to a selection of more than [`ACTION_LIMIT`] objects, none of which is changed or deleted.
fn too_many(list: &ListPage<'_>, done: &str) -> Response {
    let limit = list.list.model.counted(ACTION_LIMIT);
    let text = format!("At most {limit} can be {done} at once. Narrow the list, then try again.");
    list.page.messages.add(Level::Warning, &text);
    list.redirect()
}

async fn download(list: &ListPage<'_>, action: &ObjectAction, keys: &[i32]) -> Result<Response> {
    let rules = &list.list.model.options.rules;
    let file = match keys {
        [] => None,
        keys => rules.download(list.state.db(), action.name, keys).await?,
    };
    let Some(file) = file else {
        list.page.messages.add(Level::Warning, NOTHING_SELECTED);
        return Ok(list.redirect());
    };
    Ok(attachment(file.name, file.media_type, file.content))
}

async fn delete_selected(list: &ListPage<'_>, form: &Form) -> Result<Response> {
    let (state, page, model) = (list.state, list.page, list.list.model);
    page.staff.require(page.staff.may("delete", model))?;
    let user = page.staff.user();
    let count_text = |objects: &[Object]| model.counted(objects.len() as u64);
    let db = state.db();
    let objects = match selected(list, form, db).await? {
        Selected::Objects(objects) => objects,
        Selected::TooMany => return Ok(too_many(list, "deleted")),
        Selected::Changed => {
            let text = "The list has changed since you looked at it. Nothing has been deleted: choose again.";
            page.messages.add(Level::Warning, text);
            return Ok(list.redirect());
        }
    };
    if objects.is_empty() {
        page.messages.add(Level::Warning, NOTHING_SELECTED);
        return Ok(list.redirect());
    }
    if form.has("post") {
        let tx = state.core.db.write().begin().await?;
        let keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
        let objects = model
            .select_for_update(&tx, &keys, state.core.now())
            .await?;
        if !delete_locked(page, state, model, tx, &objects).await? {
            page.messages.add(
                Level::Warning,
                &still_referenced(&format!("the selected {}", count_text(&objects))),
            );
            return Ok(list.redirect());
        }
        let text = format!("Successfully deleted {}.", count_text(&objects));
        page.messages.add(Level::Success, &text);
        return Ok(list.redirect());
    }
    let keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
    page.staff
        .require(model.may_change(db, user, &keys).await?)?;
    let plan = Plan::new(&state.site, model, &objects, db, user).await?;
    let count_text = count_text(&objects);
    let mut hidden = vec![("action".to_owned(), DELETE.to_owned())];
    if form.get("select_across") == Some("1") {
        // All objects of the list: the form has a digest of their keys, and one key so that the selection is not empty.
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
    let mut breadcrumbs = Crumb::to_changelist(model);
    breadcrumbs.push(Crumb::current("Delete multiple objects"));
    let title = if plan.is_possible() {
        "Delete multiple objects"
    } else {
        "Cannot delete the selected objects"
    };
    let filters = list.list.params.text();
    let context = context! {
        plan => Serde(plan),
        question => format!("the selected {count_text}"),
        hidden => Serde(hidden),
        back => format!("{}?{filters}", model.url()),
    };
    page.render(
        "admin/delete_confirmation.html",
        title,
        breadcrumbs,
        context,
    )
}

/// The selected objects.
enum Selected {
    Objects(Vec<Object>),
    /// More than [`ACTION_LIMIT`].
    TooMany,
    /// Not the objects that the confirmation page listed.
    Changed,
}

async fn selected(list: &ListPage<'_>, form: &Form, db: Connection<'_>) -> Result<Selected> {
    let model = list.list.model;
    let mut query = model.select();
    if form.get("select_across") == Some("1") {
        list.list.narrow(&mut query, list.min_key());
    } else {
        let keys: Vec<i32> = form
            .all(SELECTED)
            .filter_map(|key| key.parse().ok())
            .collect();
        if keys.is_empty() {
            return Ok(Selected::Objects(Vec::new()));
        }
        query.and_where(model.column(KEY).is_in(keys));
    }
    query
        .order_by_expr(model.column(KEY), sea_orm::sea_query::Order::Asc)
        .limit(ACTION_LIMIT + 1);
    let objects = model.all(db, query, list.list.now).await?;
    if objects.len() as u64 > ACTION_LIMIT {
        return Ok(Selected::TooMany);
    }
    let selects_all = form.get("select_across") == Some("1");
    // A confirmed action on all objects of the list must have the digest of the confirmation page.
    let is_confirmed = match form.get("expected") {
        Some(expected) => expected == digest(&objects),
        None => !(selects_all && form.has("post")),
    };
    if !is_confirmed {
        return Ok(Selected::Changed);
    }
    Ok(Selected::Objects(objects))
}

/// The SHA-256 of the objects' keys, in hexadecimal.
fn digest(objects: &[Object]) -> String {
    let keys = objects.iter().fold(Sha256::new(), |hash, object| {
        hash.chain_update(object.id.to_be_bytes())
    });
    hex(&keys.finalize())
}
