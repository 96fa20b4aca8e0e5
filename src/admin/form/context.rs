//! The context of a request's forms.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::{
    admin::{site::AdminSite, state::AdminState},
    auth::login::User,
};

/// The context of a request's forms.
#[derive(Clone, Copy)]
pub struct FormContext<'a> {
    /// The registered models.
    pub site: &'a AdminSite,
    /// The time zone of entered and displayed times.
    pub zone: Tz,
    /// The time of the request.
    pub now: DateTime<Utc>,
    /// The user, whose permissions decide on inputs and rows.
    pub user: &'a User,
}

impl<'a> FormContext<'a> {
    /// The context for a request of `user`.
    pub fn new(state: &'a AdminState, user: &'a User) -> Self {
        Self {
            site: &state.site,
            zone: state.core.settings.time_zone,
            now: state.core.now(),
            user,
        }
    }
}
