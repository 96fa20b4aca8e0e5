//! When another user has changed an object while its form was open: who, what, and what the form then shows.

use std::collections::{BTreeSet, HashSet};

use sea_orm::{DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;

use super::{
    BoundField, Editor, FormContext, is_same,
    mark::{ForeignChange, Mark},
};
use crate::{
    admin::{field::Kind, log, model::Model},
    db::Connection,
    entities::{log_entry, user},
    web::format::Moment,
};

/// Entries of the log that are shown at most.
const MAX_ENTRIES: u64 = 5;

/// What happened meanwhile.
#[derive(Debug, Serialize)]
pub struct ConcurrentChange {
    /// Who did something, when, and what.
    pub entries: Vec<Entry>,
    /// What is different.
    pub changes: Vec<ForeignChange>,
    /// Whether the object is gone.
    pub is_deleted: bool,
}

/// An entry of the log.
#[derive(Debug, Serialize)]
pub struct Entry {
    user: String,
    time: Moment,
    text: String,
}

impl ConcurrentChange {
    /// Asks the log.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(
        model: &Model,
        id: i32,
        mark: &Mark,
        changes: Vec<ForeignChange>,
        db: Connection<'_>,
        form_context: FormContext<'_>,
    ) -> Result<Self, DbErr> {
        let type_id = log::find_content_type(db, model).await?;
        let rows = log_entry::Entity::find()
            .filter(log_entry::COLUMN.object_id.eq(id.to_string()))
            .filter(
                log_entry::COLUMN
                    .content_type_id
                    .eq(type_id.unwrap_or_default()),
            )
            .filter(log_entry::COLUMN.action_time.gte(mark.at))
            .find_also_related(user::Entity)
            .order_by_desc(log_entry::Column::ActionTime)
            .order_by_desc(log_entry::Column::Id)
            .limit(MAX_ENTRIES)
            .all(&db)
            .await?;
        let entry = |(row, who): (log_entry::Model, Option<user::Model>)| Entry {
            user: who.map_or_else(|| "Another user".to_owned(), |user| user.username),
            time: Moment::new(row.action_time, form_context.now, form_context.zone),
            text: match row.action_flag {
                3 => "Deleted it.".to_owned(),
                _ => log::shown(&row.change_message),
            },
        };
        Ok(Self {
            entries: rows.into_iter().map(entry).collect(),
            changes,
            is_deleted: false,
        })
    }
}

/// Lets a form show what others have stored, wherever its user has not typed something else. Rows that others have
/// deleted stay as new ones if the user has changed them; rows that others have added come to those that there are.
pub fn take_theirs(editor: &mut Editor<'_>, mark: &Mark, form_context: FormContext<'_>) {
    let take = |fields: &mut Vec<BoundField<'_>>| {
        for bound in fields {
            let Some(theirs) = bound.theirs.clone() else {
                continue;
            };
            if bound.field.kind == Kind::ManyToMany {
                // What either has added, less what either has taken out.
                let keeps = |key: &&String| {
                    theirs.contains(key) || bound.raw.contains(key) && !bound.initial.contains(key)
                };
                let drops = |key: &&String| bound.initial.contains(key) && !bound.raw.contains(key);
                let all: BTreeSet<&String> = theirs.iter().chain(&bound.raw).collect();
                let kept = all.into_iter().filter(keeps).filter(|key| !drops(key));
                bound.raw = kept.cloned().collect();
                bound.theirs = None;
            } else if is_same(bound.field, &bound.raw, &bound.initial, form_context.zone) {
                bound.raw = theirs;
                bound.theirs = None;
            }
        }
    };
    take(&mut editor.main.fields);
    for formset in &mut editor.formsets {
        let prefix = formset.inline.prefix();
        for row in &mut formset.forms {
            take(&mut row.form.fields);
        }
        // A row whose object is gone goes too, unless the user has changed it: then it becomes a new one.
        formset.forms.retain_mut(|row| {
            let Some(before) = row.lost.and_then(|id| mark.contents(&prefix, id)) else {
                return true;
            };
            row.lost = None;
            row.form.errors.clear();
            let was_touched = row.form.fields.iter().any(|bound| {
                let known = before.get(bound.field.name);
                known.is_some_and(|known| {
                    !is_same(bound.field, known, &bound.raw, form_context.zone)
                })
            });
            was_touched && !row.is_deleted
        });
        let shown: HashSet<i32> = formset
            .forms
            .iter()
            .filter_map(|row| row.form.object.as_ref().map(|o| o.id))
            .collect();
        for object in formset.present.clone() {
            if !shown.contains(&object.id) && mark.contents(&prefix, object.id).is_none() {
                formset.push(Some(object), form_context);
            }
        }
        formset.renumber();
    }
}
