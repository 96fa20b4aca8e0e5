//! What an app decides for its models: the rules of a model, and the dashboard of the index.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use minijinja::Value as TemplateValue;
use sea_orm::{DbErr, Value};

use super::{changes::Changes, options::ObjectAction};
use crate::{
    auth::{Auth, login::User},
    db::{Connection, Transaction},
    error::Result,
};

/// The rules of a model. Each method has a default.
#[async_trait]
pub trait Rules: Send + Sync {
    /// Whether `user` may add an object, if they have the permission for the model.
    fn may_add(&self, _: &User) -> bool {
        true
    }

    /// The objects among `ids` that `user` may neither change nor delete, although they have the permissions for the model.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    async fn unchangeable_keys(
        &self,
        _: Connection<'_>,
        _: &User,
        _ids: &[i32],
    ) -> Result<BTreeSet<i32>, DbErr> {
        Ok(BTreeSet::new())
    }

    /// Validates changes before they are stored, and may add errors to fields. `id` is the object's key; `None` if it is new.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    async fn validate(
        &self,
        _: &Transaction,
        _: &User,
        _id: Option<i32>,
        _: &mut Changes,
    ) -> Result<(), DbErr> {
        Ok(())
    }

    /// Converts the virtual fields of a new object to columns, before the transaction begins.
    ///
    /// # Errors
    /// When the conversion fails, for example because no slot for hashing the password is free within 10 s.
    async fn prepare(&self, _: &Auth, _: &mut Changes) -> Result<()> {
        Ok(())
    }

    /// The text and the link of a field of the type [`VirtualKind::Description`](super::options::VirtualKind::Description).
    fn describe(&self, _field: &str, _values: &Values<'_>) -> Description {
        Description::default()
    }

    /// Called after an object has been stored, in its transaction, with the names of the fields that have been changed. Returns what the
    /// user has to know.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    async fn after_save(
        &self,
        _: &Transaction,
        _id: i32,
        _changed: &[&str],
        _now: DateTime<Utc>,
    ) -> Result<Vec<String>, DbErr> {
        Ok(Vec::new())
    }

    /// The actions that an object's page offers at `now`.
    fn available_actions(&self, _: &Values<'_>, _now: DateTime<Utc>) -> Vec<ObjectAction> {
        Vec::new()
    }

    /// Does an action with objects that are locked, and returns the keys of those that it has changed.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    async fn act(
        &self,
        _: &Transaction,
        _action: &str,
        _ids: &[i32],
        _now: DateTime<Utc>,
    ) -> Result<Vec<i32>, DbErr> {
        Ok(Vec::new())
    }

    /// The file of a download of objects.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    async fn download(
        &self,
        _: Connection<'_>,
        _action: &str,
        _ids: &[i32],
    ) -> Result<Option<Download>, DbErr> {
        Ok(None)
    }

    /// Whether "Save" redirects from the form of a new object to its change form.
    fn continues_after_add(&self) -> bool {
        false
    }
}

impl Rules for () {}

/// A file that a user downloads.
#[derive(Debug)]
pub struct Download {
    /// The name of the file.
    pub name: &'static str,
    /// The media type.
    pub media_type: &'static str,
    /// The content.
    pub content: Vec<u8>,
}

/// What the index of the admin shows besides the models.
#[async_trait]
pub trait Dashboard: Send + Sync {
    /// The template, which has [`Self::context`] as `dashboard`.
    fn template(&self) -> &'static str;

    /// What it shows to a user at `now`, in a time zone; `None` if nothing.
    ///
    /// # Errors
    /// When the database cannot be reached or a query fails.
    async fn context(
        &self,
        db: Connection<'_>,
        user: &User,
        now: DateTime<Utc>,
        zone: Tz,
    ) -> Result<Option<TemplateValue>, DbErr>;
}

/// The columns of an object by name.
pub struct Values<'a>(pub(super) &'a dyn Fn(&str) -> Option<&'a Value>);

impl Values<'_> {
    /// A column with a time.
    pub fn time(&self, column: &str) -> Option<DateTime<Utc>> {
        match (self.0)(column) {
            Some(Value::ChronoDateTimeUtc(time)) => *time,
            _ => None,
        }
    }

    /// A text column.
    pub fn text(&self, column: &str) -> &str {
        match (self.0)(column) {
            Some(Value::String(Some(text))) => text,
            _ => "",
        }
    }
}

/// A text in place of an input.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Description {
    /// The text.
    pub text: String,
    /// The URL of the link, relative to the object's page.
    pub link: &'static str,
    /// The text of the link.
    pub link_text: &'static str,
}
