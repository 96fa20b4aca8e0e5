//! Concurrent changes of an object while its form was open: their log entries, and a three-way merge of the form with them.

use std::collections::{BTreeSet, HashSet};

use sea_orm::{DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;

use super::{
    BoundField, Editor, FormContext, is_same,
    version::{FieldChange, FormVersion},
};
use crate::{
    admin::{field::Kind, log, model::Model},
    db::Connection,
    entities::{log_entry, user},
    web::format::FormattedTime,
};

/// The maximum number of log entries in a [`ConcurrentChange`].
const MAX_ENTRIES: u64 = 5;

/// The changes by other users since a form was rendered.
#[derive(Debug, Serialize)]
pub struct ConcurrentChange {
    /// The latest log entries since then, newest first.
    pub entries: Vec<Entry>,
    /// The differences between the form as rendered and the stored object.
    pub changes: Vec<FieldChange>,
    /// Whether the object was deleted.
    pub is_deleted: bool,
}

/// A log entry.
#[derive(Debug, Serialize)]
pub struct Entry {
    user: String,
    time: FormattedTime,
    text: String,
}

impl ConcurrentChange {
    /// Reads the log entries since the form was rendered.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn find(
        model: &Model,
        id: i32,
        version: &FormVersion,
        changes: Vec<FieldChange>,
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
            .filter(log_entry::COLUMN.action_time.gte(version.at))
            .find_also_related(user::Entity)
            .order_by_desc(log_entry::Column::ActionTime)
            .order_by_desc(log_entry::Column::Id)
            .limit(MAX_ENTRIES)
            .all(&db)
            .await?;
        let entry = |(row, user): (log_entry::Model, Option<user::Model>)| Entry {
            user: user.map_or_else(|| "Another user".to_owned(), |user| user.username),
            time: FormattedTime::new(row.action_time, form_context.now, form_context.zone),
            text: match row.action_flag {
                3 => "Deleted it.".to_owned(),
                _ => log::get_change_message(&row.change_message),
            },
        };
        Ok(Self {
            entries: rows.into_iter().map(entry).collect(),
            changes,
            is_deleted: false,
        })
    }
}

/// Merges the other users' changes into a form, except for fields that its user has changed. Rows of objects deleted by others
/// become new objects if the user has changed them; rows of objects added by others are appended.
pub fn merge_concurrent_changes(
    editor: &mut Editor<'_>,
    version: &FormVersion,
    form_context: FormContext<'_>,
) {
    let merge_fields = |fields: &mut Vec<BoundField<'_>>| {
        for bound in fields {
            let Some(theirs) = bound.theirs.clone() else {
                continue;
            };
            if bound.field.kind == Kind::ManyToMany {
                // The keys that either user has added, without those that either has removed.
                let is_selected = |key: &&String| {
                    theirs.contains(key) || bound.raw.contains(key) && !bound.initial.contains(key)
                };
                let is_removed =
                    |key: &&String| bound.initial.contains(key) && !bound.raw.contains(key);
                let all: BTreeSet<&String> = theirs.iter().chain(&bound.raw).collect();
                let merged = all
                    .into_iter()
                    .filter(is_selected)
                    .filter(|key| !is_removed(key));
                bound.raw = merged.cloned().collect();
                bound.theirs = None;
            } else if is_same(bound.field, &bound.raw, &bound.initial, form_context.zone) {
                bound.raw = theirs;
                bound.theirs = None;
            }
        }
    };
    merge_fields(&mut editor.main.fields);
    for formset in &mut editor.formsets {
        let prefix = formset.inline.prefix();
        for row in &mut formset.forms {
            merge_fields(&mut row.form.fields);
        }
        // A row whose object was deleted is removed, unless the user has changed it: then it becomes a new object.
        formset.forms.retain_mut(|row| {
            let Some(before) = row.missing_id.and_then(|id| version.contents(&prefix, id)) else {
                return true;
            };
            row.missing_id = None;
            row.form.errors.clear();
            let is_changed = row.form.fields.iter().any(|bound| {
                let known = before.get(bound.field.name);
                known.is_some_and(|known| {
                    !is_same(bound.field, known, &bound.raw, form_context.zone)
                })
            });
            is_changed && !row.is_deleted
        });
        let form_ids: HashSet<i32> = formset
            .forms
            .iter()
            .filter_map(|row| row.form.object.as_ref().map(|o| o.id))
            .collect();
        for object in formset.objects.clone() {
            if !form_ids.contains(&object.id) && version.contents(&prefix, object.id).is_none() {
                formset.push(Some(object), form_context);
            }
        }
        formset.renumber();
    }
}
