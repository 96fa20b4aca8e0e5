//! The site in this process: the real router on a real database, at a fixed time.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use poem::{EndpointExt, Response, endpoint::BoxEndpoint};
use polls::{
    app::{App, admin_site},
    entities::{choice, question},
    settings::{SecuritySettings, ServerSettings, Settings, loopback},
    signing::Keys,
    web,
};
use sea_orm::{ActiveValue::Set, EntityTrait};

use super::{Backend, Client, TestDatabase};

/// The time at which all tests of pages take place.
pub fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00.123456Z".parse().unwrap()
}

pub struct TestApp {
    pub app: Arc<App>,
    pub database: TestDatabase,
    router: Arc<BoxEndpoint<'static, Response>>,
}

/// A question as a test made it.
pub struct TestQuestion {
    pub id: i32,
    pub choices: Vec<i32>,
}

pub fn settings(database: &TestDatabase) -> Settings {
    Settings {
        debug: false,
        time_zone: chrono_tz::Tz::UTC,
        database: database.settings(),
        security: SecuritySettings {
            keys: Keys {
                current: "test-secret-key-0123456789".into(),
                fallbacks: vec!["older-key".into()],
            },
            password_iterations: 1000,
            allowed_hosts: vec!["testserver".to_owned()],
            csrf_trusted_origins: vec![
                "https://*.trusted.example".to_owned(),
                "https://one.example".to_owned(),
            ],
            trusted_proxies: loopback(),
        },
        server: ServerSettings {
            bind: "127.0.0.1:0".to_owned(),
            graceful_timeout: std::time::Duration::from_secs(5),
        },
    }
}

impl TestApp {
    pub async fn new(backend: Backend) -> Self {
        Self::on(TestDatabase::migrated(backend).await).await
    }

    pub async fn on(database: TestDatabase) -> Self {
        let settings = settings(&database);
        Self::with_settings(database, settings).await
    }

    pub async fn with_settings(database: TestDatabase, settings: Settings) -> Self {
        let app = App::build(settings, admin_site(), now).await.unwrap();
        let router = Arc::new(web::router(app.clone()).boxed());
        Self {
            app,
            database,
            router,
        }
    }

    /// Somebody with an empty cookie jar.
    pub fn visitor(&self) -> Client {
        Client::new(self.router.clone())
    }

    /// A question published an hour ago.
    pub async fn question(&self, text: &str, choices: &[&str]) -> TestQuestion {
        self.question_at(text, now() - TimeDelta::hours(1), choices)
            .await
    }

    pub async fn question_at(
        &self,
        text: &str,
        pub_date: DateTime<Utc>,
        choices: &[&str],
    ) -> TestQuestion {
        let tx = self.app.db.write().begin().await.unwrap();
        let row = question::ActiveModel {
            question_text: Set(text.to_owned()),
            pub_date: Set(pub_date),
            ..Default::default()
        };
        let id = question::Entity::insert(row)
            .exec(&tx)
            .await
            .unwrap()
            .last_insert_id;
        let mut ids = Vec::new();
        for text in choices {
            let row = choice::ActiveModel {
                choice_text: Set((*text).to_owned()),
                votes: Set(0),
                question_id: Set(id),
                ..Default::default()
            };
            ids.push(
                choice::Entity::insert(row)
                    .exec(&tx)
                    .await
                    .unwrap()
                    .last_insert_id,
            );
        }
        tx.commit().await.unwrap();
        TestQuestion { id, choices: ids }
    }

    pub async fn set_votes(&self, choice_id: i32, votes: i32) {
        let tx = self.app.db.write().begin().await.unwrap();
        let row = choice::ActiveModel {
            id: Set(choice_id),
            votes: Set(votes),
            ..Default::default()
        };
        choice::Entity::update(row).exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn votes(&self, choice_id: i32) -> i32 {
        choice::Entity::find_by_id(choice_id)
            .one(self.app.db.write())
            .await
            .unwrap()
            .unwrap()
            .votes
    }
}
