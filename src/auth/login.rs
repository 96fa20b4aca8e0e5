//! The user of a session, and login (`django/contrib/auth/__init__.py`).

use std::net::IpAddr;

use chrono::TimeDelta;
use sea_orm::{DbErr, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::{
    Auth,
    hashers::PasswordCheck,
    permissions::Permissions,
    throttle::{Admission, Throttle},
    users,
};
use crate::{
    core::Core,
    db::Connection,
    entities::user,
    error::Result,
    sessions::{Session, SessionStore},
    signing::hex,
    web::login_state::LoginState,
};

/// The permission to add questions.
pub const ADD_POLLS: &str = "polls_app.add_question";
const USER_ID: &str = "_auth_user_id";
const BACKEND: &str = "_auth_user_backend";
const HASH: &str = "_auth_user_hash";
/// The only authentication backend.
const MODEL_BACKEND: &str = "django.contrib.auth.backends.ModelBackend";
/// The salt of the session's hash.
const HASH_SALT: &str = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

/// A user and their permissions.
#[derive(Debug, Clone)]
pub struct User {
    /// The row of the user.
    pub row: user::Model,
    /// The permissions of the user.
    pub permissions: Permissions,
}

impl User {
    /// Whether the user has a permission, given as `polls_app.change_question`.
    pub fn has_perm(&self, permission: &str) -> bool {
        self.permissions.contains(permission)
    }

    /// What public pages show of the user.
    pub fn login_state(&self) -> LoginState {
        LoginState::User {
            is_staff: self.row.is_staff,
            adds_polls: self.has_perm(ADD_POLLS),
        }
    }

    /// The first name or, without one, the username.
    pub fn short_name(&self) -> &str {
        match self.row.first_name.as_str() {
            "" => &self.row.username,
            name => name,
        }
    }
}

/// Who may log in on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// All active users.
    Active,
    /// Active members of staff.
    Staff,
}

impl Audience {
    /// Django's message for a refused login.
    pub fn refusal(self) -> &'static str {
        match self {
            Self::Active => {
                "Please enter a correct username and password. Note that both fields may be case-sensitive."
            }
            Self::Staff => {
                "Please enter the correct username and password for a staff account. Note that both fields may be \
                 case-sensitive."
            }
        }
    }

    fn includes(self, user: &user::Model) -> bool {
        user.is_active && (self == Self::Active || user.is_staff)
    }
}

/// The result of a login attempt.
#[derive(Debug)]
pub enum LoginResult {
    /// The user is logged in.
    LoggedIn,
    /// The name or the password is wrong, or the user is inactive or not in the audience.
    Refused,
    /// Too many attempts have failed; the time until the next is admitted.
    Throttled(TimeDelta),
}

/// The user of a session; `None` if there is none, or the user was deleted or is inactive. Loads the session, and flushes it
/// if the user's password has changed since the login.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn current_user(core: &Core, session: &Session) -> Result<Option<User>, DbErr> {
    let keys = &core.settings.security.keys;
    session.load(SessionStore::of(core), core.now()).await?;
    let text = |name| match session.get(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (Some(id), Some(MODEL_BACKEND)) = (text(USER_ID), text(BACKEND).as_deref()) else {
        return Ok(None);
    };
    let Ok(id) = id.parse::<i32>() else {
        return Ok(None);
    };
    let Some(row) = user::Entity::find_by_id(id).one(core.db.write()).await? else {
        return Ok(None);
    };
    if !row.is_active {
        return Ok(None);
    }
    let stored = text(HASH).unwrap_or_default();
    let is_equal = |hash: [u8; 32]| bool::from(hex(&hash).as_bytes().ct_eq(stored.as_bytes()));
    match keys
        .salted_hmacs(HASH_SALT, &row.password)
        .position(is_equal)
    {
        Some(0) => {}
        Some(_) => {
            // Signed with a fallback key: sign it with the current one.
            session.cycle_key();
            session.set(HASH, session_hash(core, &row.password));
        }
        None => {
            session.flush();
            return Ok(None);
        }
    }
    let permissions = Permissions::load(Connection::Database(core.db.write()), &row).await?;
    Ok(Some(User { row, permissions }))
}

/// The id of the session's user; the session must be loaded.
pub fn user_id(session: &Session) -> Option<i32> {
    session.get(USER_ID)?.as_str()?.parse().ok()
}

/// Logs in the user with a username and a password, if they belong to the audience of the page.
///
/// # Errors
/// When the database cannot be reached or written to, or when no slot for hashing is free within 10 s.
pub async fn log_in(
    auth: &Auth,
    session: &Session,
    (username, password): (&str, &str),
    audience: Audience,
    address: Option<IpAddr>,
) -> Result<LoginResult> {
    let core = &auth.core;
    let (db, now) = (core.db.write(), core.now());
    let throttle = Throttle::of(core);
    let attempt = match throttle.admit_login(username, address, now).await? {
        Admission::Admitted(attempt) => attempt,
        Admission::Refused(wait) => {
            auth.counters.throttled.inc();
            return Ok(LoginResult::Throttled(wait));
        }
    };
    let (found, verdict) = match compare(auth, username, password, address).await {
        Ok(compared) => compared,
        Err(error) => {
            throttle.withdraw(&attempt).await?;
            return Err(error);
        }
    };
    let is_allowed =
        |user: &user::Model| verdict != PasswordCheck::Wrong && audience.includes(user);
    let Some(mut user) = found.filter(is_allowed) else {
        auth.counters.failed.inc();
        return Ok(LoginResult::Refused);
    };
    // Before the transaction, since it takes long. A hash that cannot be renewed now is renewed at a later login.
    let renewed = if verdict == PasswordCheck::Outdated {
        let renewed = auth.hashing.make_password(password.to_owned(), address);
        renewed.await.ok()
    } else {
        None
    };
    let tx = db.begin().await?;
    // Unless a new password has been set since the comparison.
    if let Some(renewed) = renewed
        && users::replace_password(&tx, user.id, &user.password, &renewed).await?
    {
        user.password = renewed;
    }
    let update = user::Entity::update_many().col_expr(user::Column::LastLogin, Expr::value(now));
    update.filter(user::COLUMN.id.eq(user.id)).exec(&tx).await?;
    throttle.succeeded(&tx, &attempt, now).await?;
    tx.commit().await?;
    if let Err(error) = throttle.clean(now).await {
        let error = error.to_string();
        tracing::warn!(error = %error.escape_debug(), "expired login failures cannot be deleted");
    }

    session.load(SessionStore::of(core), now).await?;
    let own_id = Value::String(user.id.to_string());
    match session.get(USER_ID) {
        None => session.cycle_key(),
        Some(id)
            if id == own_id && session.get(HASH) == Some(session_hash(core, &user.password)) => {}
        // The session belongs to another user, or was created with an older password.
        Some(_) => session.flush(),
    }
    session.set(USER_ID, own_id);
    session.set(BACKEND, MODEL_BACKEND.into());
    session.set(HASH, session_hash(core, &user.password));
    Ok(LoginResult::LoggedIn)
}

/// The user of that name, if it exists, and the result of the comparison, which takes as long for an unknown username.
async fn compare(
    auth: &Auth,
    username: &str,
    password: &str,
    address: Option<IpAddr>,
) -> Result<(Option<user::Model>, PasswordCheck)> {
    let found = users::find(auth.core.db.write(), username).await?;
    let password = password.to_owned();
    let verdict = match &found {
        Some(user) => {
            let encoded = user.password.clone();
            auth.hashing
                .check_password(password, encoded, address)
                .await?
        }
        None => {
            auth.hashing.harden_runtime(password, address).await?;
            PasswordCheck::Wrong
        }
    };
    Ok((found, verdict))
}

/// Keeps this session valid after the user's password was changed; the user's other sessions become invalid (Django's
/// `update_session_auth_hash`).
pub fn update_session_auth_hash(core: &Core, session: &Session, encoded: &str) {
    session.cycle_key();
    session.set(HASH, session_hash(core, encoded));
}

fn session_hash(core: &Core, encoded: &str) -> Value {
    hex(&core.settings.security.keys.salted_hmac(HASH_SALT, encoded)).into()
}
