//! The public pages in memory: each is rendered once per change, not once per request.
//!
//! - A page is served from memory only while the [`ChangeFeed`] is current: at most a second ago, this process knew of every
//!   committed change. Its own changes are added before their responses ([`PageCache::changed`]).
//! - `Changes` numbers the changes. Before a page's data is read, the number is remembered; a page is served if no later change
//!   concerns it.
//! - A change of a client that another process has committed may not be known here: its mark ([`read_your_writes`]) lets it read
//!   from the database for a while.
//! - Concurrent requests for a page that is not up to date wait for one of them to render it.
//! - What differs between visitors is part of the `Key`, or is the CSRF token, which is inserted into each response.

mod cached;
mod changes;
mod client;
mod key;

use std::{
    future::{Future, pending},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::Either;
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{Method, StatusCode, header},
};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use quick_cache::{
    Weighter,
    sync::{Cache, EntryAction, EntryResult},
};

pub use self::{cached::VariesByVoter, key::PageId};
use self::{
    cached::{CachedPage, Validity},
    changes::Changes,
    client::Client,
    key::Key,
};
use crate::{
    core::Core,
    db::{Change, ChangeFeed},
    polls_app::{
        voter_cookies::{Notice, VoterCookies},
        voters,
    },
    web::{
        cookies::{self, Jar},
        headers, hosts,
        page::{ForCache, ValidUntil},
        read_your_writes::{self, Changed},
        request_info::{RequestInfo, Source},
    },
};

/// The usual size of a page in memory, in bytes.
const USUAL_SIZE: u64 = 8 * 1024;
/// What the cache itself needs for an entry, in bytes, about.
const OVERHEAD: usize = 128;
/// How long requests for a page that cannot be cached, such as a 404, do not wait for each other.
const UNCACHEABLE_TTL: Duration = Duration::from_secs(1);

/// The pages in memory. One per process, shared by all requests.
#[derive(Debug, Clone)]
pub struct PageCache {
    /// None if it is switched off.
    enabled: Option<Arc<Enabled>>,
    counters: PageCounters,
}

/// The metrics of the cache.
#[derive(Debug, Clone, Default)]
pub struct PageCounters {
    /// Pages served from memory.
    pub hits: Counter,
    /// Pages rendered for the cache.
    pub renders: Counter,
    /// 1 while changes are received.
    pub connected: Gauge,
}

#[derive(Debug)]
struct Enabled {
    core: Arc<Core>,
    pages: Cache<Key, Entry, Sizes>,
    changes: Arc<Changes>,
    feed: ChangeFeed,
}

/// What is known of a page.
#[derive(Debug, Clone)]
enum Entry {
    Page(Arc<CachedPage>),
    /// At that moment it could not be cached.
    Uncacheable(Instant),
}

/// The sizes of entries.
#[derive(Debug, Clone)]
struct Sizes;

impl Weighter<Key, Entry> for Sizes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        let page = match entry {
            Entry::Page(page) => page.size(),
            Entry::Uncacheable(_) => 0,
        };
        (OVERHEAD + size_of::<(Key, Entry)>() + page) as u64
    }
}

/// A response from memory, or what is needed to make one.
#[derive(Debug)]
pub enum Lookup {
    /// The page.
    Hit(Response, PageId),
    /// [`PageCache::render_miss`] renders the page if it can be cached.
    Miss(Miss),
    /// The request is not for a page that may be served from memory.
    Other,
}

/// A request for a page that is not in memory; request data for [`PageCache::render_miss`].
#[derive(Debug, Clone)]
pub struct Miss {
    key: Key,
    /// The number of the last change that the response has to show.
    change: u64,
    client: Client,
}

impl PageCache {
    /// An empty cache of the size in the settings. Has to be called on a tokio runtime.
    pub fn start(core: &Arc<Core>) -> Self {
        let size = core.settings.page_cache_size;
        // In debug mode a template may change at any time.
        if size == 0 || core.settings.debug {
            return Self {
                enabled: None,
                counters: PageCounters::default(),
            };
        }
        let changes = Arc::new(Changes::new());
        let received = changes.clone();
        let on_change = move |change: Change<'_>| received.apply(change);
        let feed = ChangeFeed::start(core.db.write(), &core.settings.database, on_change);
        let items = usize::try_from(size / USUAL_SIZE).unwrap_or(usize::MAX);
        Self {
            counters: PageCounters {
                connected: feed.connected().clone(),
                ..PageCounters::default()
            },
            enabled: Some(Arc::new(Enabled {
                core: core.clone(),
                pages: Cache::with_weighter(items, size, Sizes),
                changes,
                feed,
            })),
        }
    }

    /// The metrics.
    pub fn counters(&self) -> &PageCounters {
        &self.counters
    }

    /// The size of all pages, in bytes.
    pub fn size(&self) -> u64 {
        self.enabled
            .as_ref()
            .map_or(0, |cache| cache.pages.weight())
    }

    /// Has to be called after this process has committed a change of a question or its choices, before it responds.
    pub fn changed(&self, question_id: i32) {
        if let Some(cache) = &self.enabled {
            cache.changes.add(question_id);
        }
    }

    /// Whether all changes that were committed up to a second ago are known. It has to be asked for to stay so.
    pub fn is_current(&self, now: Instant) -> bool {
        let cache = self.enabled.as_ref();
        cache.is_some_and(|cache| cache.feed.is_current(now))
    }

    /// The number of the last known change of a question.
    pub fn last_change(&self, question_id: i32) -> u64 {
        let page = PageId::Results(question_id);
        let cache = self.enabled.as_ref();
        cache.map_or(0, |cache| cache.changes.last_of(page))
    }

    /// Completes at the next change that is known after this call; never if the cache is switched off.
    pub fn change(&self) -> impl Future<Output = ()> + '_ {
        match &self.enabled {
            Some(cache) => Either::Left(cache.changes.next()),
            None => Either::Right(pending()),
        }
    }

    /// Middleware: after a response with [`Changed`], any question may have changed.
    ///
    /// # Errors
    /// Those of `next`.
    pub async fn any_changed<E: Endpoint>(
        self,
        next: Arc<E>,
        request: Request,
    ) -> Result<Response> {
        let response = next.call(request).await?.into_response();
        let is_changed = response.data::<Changed>().is_some();
        if let Some(cache) = self.enabled.as_ref().filter(|_| is_changed) {
            cache.changes.add_any();
        }
        Ok(response)
    }

    /// Looks for the page of a request in memory.
    pub fn look_up(&self, request: &Request, source: Source, now: Instant) -> Lookup {
        let looked_up = self
            .enabled
            .as_ref()
            .and_then(|cache| cache.miss(request, source, now).map(|miss| (cache, miss)));
        let Some((cache, miss)) = looked_up else {
            return Lookup::Other;
        };
        match cache.pages.get(&miss.key) {
            Some(Entry::Page(page)) if !page.is_for(&miss.client) => Lookup::Other,
            Some(Entry::Page(page)) if cache.is_up_to_date(&page, miss.change) => {
                self.counters.hits.inc();
                Lookup::Hit(cache.response(&page, &miss.client), miss.key.page)
            }
            _ => Lookup::Miss(miss),
        }
    }

    /// Middleware: responds to a [`Miss`] in the request data with a page that is rendered for all visitors, if it can be
    /// cached.
    ///
    /// # Errors
    /// Those of `next`.
    pub async fn render_miss<E: Endpoint>(
        self,
        next: Arc<E>,
        mut request: Request,
    ) -> Result<Response> {
        let miss = request.data::<Miss>().cloned();
        let Some((cache, miss)) = self.enabled.as_ref().zip(miss) else {
            return Ok(next.call(request).await?.into_response());
        };
        let entry = cache.pages.entry_async(&miss.key, |_, entry| match entry {
            Entry::Page(page) if !page.is_for(&miss.client) => EntryAction::Retain(None),
            Entry::Page(page) if cache.is_up_to_date(page, miss.change) => {
                EntryAction::Retain(Some(page.clone()))
            }
            Entry::Uncacheable(since) if since.elapsed() < UNCACHEABLE_TTL => {
                EntryAction::Retain(None)
            }
            _ => EntryAction::ReplaceWithGuard,
        });
        let deadline = RequestInfo::of(&request).deadline(cache.core.live.get().timeout);
        let guard = match tokio::time::timeout_at(deadline, entry).await {
            Ok(EntryResult::Retained(Some(page))) => {
                self.counters.hits.inc();
                return Ok(cache.response(&page, &miss.client));
            }
            Ok(EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _)) => guard,
            // It cannot be cached; or after the deadline, for which there is an error page.
            _ => return Ok(next.call(request).await?.into_response()),
        };
        let (change, since) = (cache.changes.last(), cache.core.now());
        let for_cache = ForCache::default();
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        request.set_data(for_cache.clone());
        let response = next.call(request).await;
        let uncacheable = Entry::Uncacheable(Instant::now());
        let mut response = match response {
            Ok(response) => response.into_response(),
            Err(error) => {
                // It fails if the entry has been evicted already.
                let _ = guard.insert(uncacheable);
                return Err(error);
            }
        };
        let until = response.data::<ValidUntil>().copied();
        let Some(ValidUntil(until)) = until.filter(|_| response.status() == StatusCode::OK) else {
            let _ = guard.insert(uncacheable);
            return Ok(response);
        };
        let body = response.take_body().into_bytes().await?;
        // As of a session that is saved with every request: for this client only.
        let headers = response.headers_mut();
        let cookies: Vec<_> = headers
            .get_all(header::SET_COOKIE)
            .iter()
            .cloned()
            .collect();
        headers.remove(header::SET_COOKIE);
        let validity = Validity {
            change,
            since,
            until,
            varies: response.data().copied(),
        };
        let page = Arc::new(CachedPage::new(
            validity,
            response.headers().clone(),
            &body,
            for_cache.placeholder(),
        ));
        self.counters.renders.inc();
        // It fails if the page has been evicted already. A page that has no place would be rendered by one request after the other.
        let is_storable = page.size() as u64 <= cache.pages.shard_capacity() / 2;
        let entry = if is_storable {
            Entry::Page(page.clone())
        } else {
            uncacheable
        };
        let _ = guard.insert(entry);
        let mut response = cache.response(&page, &miss.client);
        for cookie in cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// Stops listening for changes, and closes the connection.
    pub async fn close(&self) {
        if let Some(cache) = &self.enabled {
            cache.feed.close().await;
        }
    }
}

impl Enabled {
    /// What a response from memory depends on, if the request may have one.
    fn miss(&self, request: &Request, source: Source, now: Instant) -> Option<Miss> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let page = PageId::parse(request.original_uri().path())?;
        let notice = match page {
            PageId::Results(id) => Notice::of(&self.core, request, id).map(|notice| (id, notice)),
            PageId::Detail(_) if voters::has_code(request) => return None,
            PageId::Detail(_) | PageId::Index => None,
        };
        let voted = notice.as_ref().map(|(_, notice)| notice.choice());
        if voted == Some(None) {
            return None;
        }
        let security = &self.core.settings.security;
        let origin = hosts::origin(request, source, security).ok()?;
        let is_redirected = headers::https_location(request, &origin, &security.headers).is_some();
        if is_redirected
            || read_your_writes::is_marked_by_another(&self.core, request)
            || security.session_save_every_request
                && cookies::get(request, &security.session_cookie.name).is_some()
            || !self.feed.is_current(now)
        {
            return None;
        }
        let jar = Jar::new(origin.is_secure, self.core.now());
        Some(Miss {
            key: Key::new(page, request, origin, voted.flatten()),
            change: self.changes.last_of(page),
            client: Client::new(&self.core, request, jar, notice.map(|(id, _)| id)),
        })
    }

    fn is_up_to_date(&self, page: &CachedPage, change: u64) -> bool {
        let now = self.core.now();
        let validity = &page.validity;
        validity.change >= change && validity.since <= now && now < validity.until
    }

    fn response(&self, page: &CachedPage, client: &Client) -> Response {
        let mut response = page.response(&client.headers, || client.token.text());
        let security = &self.core.settings.security;
        client.token.attach(&mut response, &security.csrf_cookie);
        if page
            .validity
            .varies
            .is_some_and(|varies| varies.needs_cookie)
        {
            // The cookie is one for all questions.
            let cookies = VoterCookies::of_page(&security.keys, client.jar, 0);
            cookies.identify_browser(&mut response, client.browser.as_deref());
        }
        if let Some(id) = client.notice_of {
            VoterCookies::of_page(&security.keys, client.jar, id).delete_notice(&mut response);
        }
        response
    }
}
