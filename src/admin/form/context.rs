//! What the forms of a request depend on.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::{
    admin::{site::AdminSite, state::AdminState},
    auth::login::User,
};

/// What the forms of a request depend on.
#[derive(Clone, Copy)]
pub struct FormContext<'a> {
    /// The site.
    pub site: &'a AdminSite,
    /// The time zone of what is typed and shown.
    pub zone: Tz,
    /// The present time.
    pub now: DateTime<Utc>,
    /// The user who fills them in.
    pub user: &'a User,
}

impl<'a> FormContext<'a> {
    /// That of a request of `user`.
    pub fn new(state: &'a AdminState, user: &'a User) -> Self {
        Self {
            site: &state.site,
            zone: state.core.settings.time_zone,
            now: state.core.now(),
            user,
        }
    }
}
