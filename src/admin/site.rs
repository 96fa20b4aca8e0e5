//! The registry of models (Django's `AdminSite`).

use serde::Serialize;

use super::{
    model::{Inline, Model, ModelAdmin},
    rules::Dashboard,
};
use crate::{
    auth::login::User,
    contenttypes::{app_verbose_name, capfirst},
};

/// The registered models of a site.
#[derive(Default)]
pub struct AdminSite {
    models: Vec<Model>,
    /// What the index shows besides the models.
    pub dashboard: Option<Box<dyn Dashboard>>,
}

/// An app on the index page.
#[derive(Debug, Serialize)]
pub struct AppEntry {
    /// The app's label.
    pub label: &'static str,
    /// The app's verbose name.
    pub name: String,
    /// The URL of its page.
    pub url: String,
    /// Its models for which the user has any permission, sorted by name.
    pub models: Vec<ModelEntry>,
}

/// A model on the index page.
#[derive(Debug, Serialize)]
pub struct ModelEntry {
    /// The model's verbose name, plural.
    pub name: String,
    /// The URL of the changelist.
    pub url: String,
    /// Whether the user may add one.
    pub can_add: bool,
    /// Whether the user may change them, and not only view them.
    pub can_change: bool,
}

impl AdminSite {
    /// Registers a model.
    pub fn register(&mut self, admin: ModelAdmin) {
        self.models.push(Model::new(admin));
    }

    /// All models, in the order of registration.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model with an app label and a name.
    pub fn find(&self, app_label: &str, name: &str) -> Option<&Model> {
        self.models
            .iter()
            .find(|model| model.options.app_label == app_label && model.options.name == name)
    }

    /// The model of a table.
    pub fn of_table(&self, table: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.table() == table)
    }

    /// The apps and models for which a user has any permission, sorted by name.
    pub fn apps(&self, user: &User) -> Vec<AppEntry> {
        let mut apps: Vec<AppEntry> = Vec::new();
        for model in &self.models {
            let may = |action| user.has_perm(&model.permission(action));
            if !["add", "change", "delete", "view"].into_iter().any(may) {
                continue;
            }
            let entry = ModelEntry {
                name: capfirst(model.options.verbose_name_plural),
                url: model.url(),
                can_add: may("add"),
                can_change: may("change"),
            };
            match apps
                .iter_mut()
                .find(|app| app.label == model.options.app_label)
            {
                Some(app) => app.models.push(entry),
                None => apps.push(AppEntry {
                    label: model.options.app_label,
                    name: app_verbose_name(model.options.app_label),
                    url: format!("/admin/{}/", model.options.app_label),
                    models: vec![entry],
                }),
            }
        }
        apps.sort_by_key(|app| app.name.to_lowercase());
        for app in &mut apps {
            app.models.sort_by(|a, b| a.name.cmp(&b.name));
        }
        apps
    }

    /// The inlines of a model for which a user has any permission.
    pub fn inlines<'a>(&self, model: &'a Model, user: &User) -> Vec<&'a Inline> {
        let may_view = |inline: &&Inline| {
            let may = |action| user.has_perm(&inline.model.permission(action));
            ["add", "change", "delete", "view"].into_iter().any(may)
        };
        model.options.inlines.iter().filter(may_view).collect()
    }
}

impl std::fmt::Debug for AdminSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.models.iter().map(|model| model.table()))
            .finish()
    }
}
