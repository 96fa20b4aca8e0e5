//! The state that the views of the admin share.

use std::sync::Arc;

use super::{changelist::paging::PageMaps, site::AdminSite};
use crate::{auth::Auth, core::Core, db::Connection};

/// The state of the admin, one per process. [`super::routes`] attaches it to its routes as poem data.
#[derive(Debug)]
pub struct AdminState {
    /// The settings, databases and clock.
    pub core: Arc<Core>,
    /// Password hashing, login and its metrics.
    pub auth: Arc<Auth>,
    /// The registered models.
    pub site: AdminSite,
    /// The page maps of long tables.
    pub page_maps: PageMaps,
}

impl AdminState {
    /// The state without page maps.
    pub fn new(core: Arc<Core>, auth: Arc<Auth>, site: AdminSite) -> Self {
        Self {
            core,
            auth,
            site,
            page_maps: PageMaps::default(),
        }
    }

    /// The database that pages read from: the primary, so that they show what was just saved.
    pub fn db(&self) -> Connection<'_> {
        Connection::Database(self.core.db.write())
    }
}
