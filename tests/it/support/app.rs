//! The site in this process: the real router on a real database, at a fixed time.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use poem::{EndpointExt, Response, endpoint::BoxEndpoint};
use polls::{
    admin::AdminSite,
    auth::hashers,
    db::Database,
    entities::{
        choice, content_type, log_entry, permission, question, question_options, user,
        user_user_permissions, voter,
    },
    settings::{Environment, Settings},
    site::{Site, admin_site},
};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel,
    PaginatorTrait, QueryFilter, QueryOrder, Statement,
};

use super::{Backend, Client, TestDatabase};

/// The time at which all tests of pages take place.
pub fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00.123456Z".parse().unwrap()
}

/// The password of every user that a test adds.
pub const PASSWORD: &str = "k3Lm-91xz";

/// What a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Superuser,
    Staff,
    NonStaff,
}

pub struct TestApp {
    pub site: Site,
    pub database: TestDatabase,
    router: Arc<BoxEndpoint<'static, Response>>,
}

/// A question as a test made it.
pub struct TestQuestion {
    pub id: i32,
    pub choices: Vec<i32>,
}

pub fn settings(database: &TestDatabase) -> Settings {
    let environment = Environment::from_iter([
        ("SECRET_KEY", "test-secret-key-0123456789"),
        ("SECRET_KEY_FALLBACKS", "older-key"),
        ("ALLOWED_HOSTS", "testserver"),
        (
            "CSRF_TRUSTED_ORIGINS",
            "https://*.trusted.example,https://one.example",
        ),
        ("RUST_LOG", "off"),
        ("DATABASE_URL", &database.url),
    ]);
    let mut settings = Settings::read(&environment).unwrap();
    settings.security.password_iterations = 1000;
    settings
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
        Self::with_site(database, settings, admin_site()).await
    }

    pub async fn with_site(database: TestDatabase, settings: Settings, admin: AdminSite) -> Self {
        let site = Site::build(settings, admin, now).await.unwrap();
        let router = Arc::new(site.router().boxed());
        Self {
            site,
            database,
            router,
        }
    }

    /// A client without cookies.
    pub fn visitor(&self) -> Client {
        Client::new(self.router.clone())
    }

    /// Adds a user with the password [`PASSWORD`] and these permissions, given as `polls_app.view_question`.
    pub async fn add_user(&self, username: &str, kind: Kind, permissions: &[&str]) -> i32 {
        let tx = self.site.core.db.write().begin().await.unwrap();
        let row = user::ActiveModel {
            password: Set(hashers::make_password(PASSWORD, 1000)),
            last_login: Set(None),
            is_superuser: Set(kind == Kind::Superuser),
            username: Set(username.to_owned()),
            first_name: Set(String::new()),
            last_name: Set(String::new()),
            email: Set(String::new()),
            is_staff: Set(kind != Kind::NonStaff),
            is_active: Set(true),
            date_joined: Set(now()),
            ..Default::default()
        };
        let id = user::Entity::insert(row)
            .exec(&tx)
            .await
            .unwrap()
            .last_insert_id;
        for name in permissions {
            let row = user_user_permissions::ActiveModel {
                user_id: Set(id),
                permission_id: Set(self.permission(name).await),
                ..Default::default()
            };
            user_user_permissions::Entity::insert(row)
                .exec(&tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        id
    }

    /// The key of a permission.
    pub async fn permission(&self, name: &str) -> i32 {
        let (app, codename) = name.split_once('.').unwrap();
        let found = permission::Entity::find()
            .find_also_related(content_type::Entity)
            .filter(content_type::COLUMN.app_label.eq(app))
            .filter(permission::COLUMN.codename.eq(codename))
            .one(self.site.core.db.write())
            .await
            .unwrap();
        found.unwrap_or_else(|| panic!("no permission {name}")).0.id
    }

    /// A superuser named `admin`, logged in.
    pub async fn superuser(&self) -> Client {
        self.add_user("admin", Kind::Superuser, &[]).await;
        self.logged_in("admin").await
    }

    /// A staff user `editor` with these permissions, logged in.
    pub async fn staff(&self, permissions: &[&str]) -> Client {
        self.add_user("editor", Kind::Staff, permissions).await;
        self.logged_in("editor").await
    }

    /// A user's browser.
    pub async fn logged_in(&self, username: &str) -> Client {
        let client = self.visitor();
        client
            .log_in(username, PASSWORD)
            .await
            .assert_redirect(302, "/admin/");
        client
    }

    /// The entries of the log, oldest first: user, action, object and message.
    pub async fn log(&self) -> Vec<(i32, i16, String, String)> {
        let rows = log_entry::Entity::find().order_by_asc(log_entry::Column::Id);
        let rows = rows.all(self.site.core.db.write()).await.unwrap();
        rows.into_iter()
            .map(|row| {
                (
                    row.user_id,
                    row.action_flag,
                    row.object_repr,
                    row.change_message,
                )
            })
            .collect()
    }

    /// A client that a user has logged in with on the public page.
    pub async fn public_login(&self, username: &str) -> Client {
        let client = self.visitor();
        let form = client.form("/accounts/login/", "login-form").await;
        let form = form.set("username", username).set("password", PASSWORD);
        form.submit(&client).await.assert_redirect(302, "/");
        client
    }

    /// The result of a query for one number.
    pub async fn number(&self, query: &str) -> i64 {
        let db = self.site.core.db.write();
        let statement = Statement::from_string(db.get_database_backend(), query);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// The key of the question that was added last.
    pub async fn latest_question(&self) -> i32 {
        let latest = question::Entity::find().order_by_desc(question::Column::Id);
        let latest = latest.one(self.site.core.db.write()).await.unwrap();
        latest.unwrap().id
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
        let tx = self.site.core.db.write().begin().await.unwrap();
        let row = question::ActiveModel {
            question_text: Set(text.to_owned()),
            pub_date: Set(pub_date.into()),
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
                votes: Set(0.into()),
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

    /// Stores the options of a question.
    pub async fn set_options(&self, id: i32, options: question_options::Model) {
        let tx = self.site.core.db.write().begin().await.unwrap();
        question_options::Entity::delete_by_id(id)
            .exec(&tx)
            .await
            .unwrap();
        let options = question_options::Model {
            question_id: id,
            ..options
        };
        question_options::Entity::insert(options.into_active_model().reset_all())
            .exec_without_returning(&tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.site.pages.changed(id);
    }

    /// The voters of a question, without aliases.
    pub async fn voters(&self, id: i32) -> u64 {
        let voters = voter::Entity::find()
            .filter(voter::COLUMN.question_id.eq(id))
            .filter(voter::COLUMN.is_alias.eq(false));
        voters.count(self.site.core.db.write()).await.unwrap()
    }

    pub async fn set_votes(&self, choice_id: i32, votes: i32) {
        let tx = self.site.core.db.write().begin().await.unwrap();
        let row = choice::ActiveModel {
            id: Set(choice_id),
            votes: Set(votes.into()),
            ..Default::default()
        };
        choice::Entity::update(row).exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn votes(&self, choice_id: i32) -> i32 {
        choice::Entity::find_by_id(choice_id)
            .one(self.site.core.db.write())
            .await
            .unwrap()
            .unwrap()
            .votes
            .0
            .try_into()
            .unwrap()
    }
}

/// Adds questions, one for each minute before 2026-11-20, with two choices each, and analyzes the tables.
pub async fn add_questions(db: &Database, count: u64) {
    let (series, date) = match db.get_database_backend() {
        DbBackend::Sqlite => (
            format!(
                "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
            ),
            "datetime('2026-11-20', '-' || n || ' minutes')",
        ),
        _ => (
            format!("WITH s AS (SELECT generate_series(1, {count}) AS n)"),
            "timestamptz '2026-11-20 00:00:00Z' - n * interval '1 minute'",
        ),
    };
    let tx = db.begin().await.unwrap();
    for sql in [
        format!(
            "{series} INSERT INTO polls_app_question (id, question_text, pub_date) SELECT n, 'Question ' || n, {date} FROM s"
        ),
        format!(
            "{series} INSERT INTO polls_app_choice (question_id, choice_text, votes) SELECT n, 'Yes', 1 FROM s"
        ),
        format!(
            "{series} INSERT INTO polls_app_choice (question_id, choice_text, votes) SELECT n, 'No', 2 FROM s"
        ),
        "ANALYZE".to_owned(),
    ] {
        tx.execute_unprepared(&sql).await.unwrap();
    }
    tx.commit().await.unwrap();
}
