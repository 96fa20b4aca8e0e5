//! `django_admin_log`: the actions in the admin, with messages in Django's JSON (`django/contrib/admin/utils.py`).

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::model::Model;
use crate::{
    db::{Connection, Transaction},
    entities::{content_type, log_entry},
    signing::ascii_json,
};

/// The maximum length of `object_repr`, in characters.
const MAX_REPR: usize = 200;
/// Rows per INSERT, with 7 parameters each; SQLite's limit is 32,766 parameters.
const ROWS_PER_INSERT: usize = 1000;

/// The action of an entry: Django's `LogEntry.action_flag` 1, 2, 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An object was added.
    Addition = 1,
    /// An object was changed.
    Change = 2,
    /// An object was deleted.
    Deletion = 3,
}

/// The change message of one form, in Django's order.
#[derive(Debug, Default)]
pub struct ChangeMessage(Vec<Value>);

impl ChangeMessage {
    /// Records that the object was added.
    pub fn added(&mut self) {
        self.0.push(json!({"added": {}}));
    }

    /// Records changed fields of the object, by their labels.
    pub fn changed(&mut self, fields: &[String]) {
        if !fields.is_empty() {
            self.0.push(json!({"changed": {"fields": fields}}));
        }
    }

    /// Records that an object of an inline was added.
    pub fn inline_added(&mut self, name: &str, object: &str) {
        self.0
            .push(json!({"added": {"name": name, "object": object}}));
    }

    /// Records changed fields of an object of an inline.
    pub fn inline_changed(&mut self, name: &str, object: &str, fields: &[String]) {
        self.0
            .push(json!({"changed": {"name": name, "object": object, "fields": fields}}));
    }

    /// Records that an object of an inline was deleted.
    pub fn inline_deleted(&mut self, name: &str, object: &str) {
        self.0
            .push(json!({"deleted": {"name": name, "object": object}}));
    }

    /// The JSON of the column `change_message`.
    pub fn stored(self) -> String {
        ascii_json(&Value::Array(self.0), ", ", ": ")
    }
}

/// The common columns of log entries.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    /// The key of the user.
    pub user_id: i32,
    /// The model of the objects.
    pub model: &'a Model,
    /// The time of the action.
    pub now: DateTime<Utc>,
}

impl Log<'_> {
    /// Inserts entries for objects, given as key and label.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn write(
        &self,
        tx: &Transaction,
        action: Action,
        objects: &[(i32, &str)],
        message: &str,
    ) -> Result<(), DbErr> {
        let content_type_id = content_type_id(tx, self.model).await?;
        for objects in objects.chunks(ROWS_PER_INSERT) {
            let row = |(id, label): &(i32, &str)| log_entry::ActiveModel {
                action_time: Set(self.now),
                object_id: Set(Some(id.to_string())),
                object_repr: Set(label.chars().take(MAX_REPR).collect()),
                action_flag: Set(action as i16),
                change_message: Set(message.to_owned()),
                content_type_id: Set(Some(content_type_id)),
                user_id: Set(self.user_id),
                ..log_entry::ActiveModel::default()
            };
            log_entry::Entity::insert_many(objects.iter().map(row))
                .exec_without_returning(tx)
                .await?;
        }
        Ok(())
    }
}

/// The key of a model's content type, which is created if it does not exist.
async fn content_type_id(tx: &Transaction, model: &Model) -> Result<i32, DbErr> {
    if let Some(found) = find_content_type(Connection::Transaction(tx), model).await? {
        return Ok(found);
    }
    let row = content_type::ActiveModel {
        app_label: Set(model.options.app_label.to_owned()),
        model: Set(model.options.name.to_owned()),
        ..content_type::ActiveModel::default()
    };
    Ok(content_type::Entity::insert(row)
        .exec(tx)
        .await?
        .last_insert_id)
}

/// The key of a model's content type, if it has one.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn find_content_type(db: Connection<'_>, model: &Model) -> Result<Option<i32>, DbErr> {
    let query = content_type::Entity::find()
        .filter(content_type::COLUMN.app_label.eq(model.options.app_label))
        .filter(content_type::COLUMN.model.eq(model.options.name));
    Ok(query.one(&db).await?.map(|found| found.id))
}

/// The change message of an entry as text (Django's `get_change_message`).
pub fn get_change_message(change_message: &str) -> String {
    let parsed = change_message
        .starts_with('[')
        .then(|| serde_json::from_str::<Vec<Value>>(change_message));
    let Some(Ok(parts)) = parsed else {
        return change_message.to_owned();
    };
    let sentences: Vec<String> = parts.iter().filter_map(action_text).collect();
    if sentences.is_empty() {
        "No fields changed.".to_owned()
    } else {
        sentences.join(" ")
    }
}

fn action_text(part: &Value) -> Option<String> {
    let (verb, details) = part.as_object()?.iter().next()?;
    let text = |name| details.get(name).and_then(Value::as_str);
    let object =
        text("name").map(|name| format!("{name} “{}”", text("object").unwrap_or_default()));
    Some(match (verb.as_str(), object) {
        ("added", Some(object)) => format!("Added {object}."),
        ("added", None) => "Added.".to_owned(),
        ("changed", object) => {
            let fields: Vec<&str> = details
                .get("fields")?
                .as_array()?
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let fields = text_list(&fields);
            object.map_or_else(
                || format!("Changed {fields}."),
                |object| format!("Changed {fields} for {object}."),
            )
        }
        ("deleted", object) => format!("Deleted {}.", object?),
        _ => return None,
    })
}

/// Joins names with commas, and with `and` before the last (Django's `get_text_list`).
fn text_list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::get_change_message;

    #[test]
    fn change_messages_are_formatted_as_in_django() {
        for (stored, text) in [
            ("[]", "No fields changed."),
            (r#"[{"added": {}}]"#, "Added."),
            (
                r#"[{"added": {"name": "choice", "object": "A"}}]"#,
                "Added choice “A”.",
            ),
            (
                r#"[{"changed": {"fields": ["A", "B", "C"]}}]"#,
                "Changed A, B and C.",
            ),
            (
                r#"[{"changed": {"fields": ["A", "B"]}}, {"changed": {"name": "choice", "object": "X", "fields": ["V"]}}]"#,
                "Changed A and B. Changed V for choice “X”.",
            ),
            (
                r#"[{"deleted": {"name": "choice", "object": "\u00e9"}}]"#,
                "Deleted choice “é”.",
            ),
            ("", ""),
            ("plain", "plain"),
            ("[broken", "[broken"),
        ] {
            assert_eq!(get_change_message(stored), text);
        }
    }
}
