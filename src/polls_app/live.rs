//! Live results: server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) for the results pages.
//!
//! Each watched question has a task, which reads its results when they have changed, at most once a second, and hands them to all
//! streams of the question. It learns of changes as the pages in memory do; while changes are not received, it reads every second.
//! Each process reads for itself.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use hyper::body::Bytes;
use poem::{
    Body, Request, Response, handler,
    http::{HeaderValue, header},
    web::Data,
};
use prometheus_client::metrics::gauge::Gauge;
use sea_orm::DbErr;
use serde_json::json;
use tokio::sync::watch;

use super::{
    pages::PageCache,
    queries,
    shown::{Shown, question_id},
    tally::{self, Tally},
    visibility::Watcher,
};
use crate::{
    core::Core,
    entities::question_options::ResultsShown,
    error::{AppError, Result},
};

/// The shortest time between two readings of a question.
const PERIOD: Duration = Duration::from_secs(1);
/// How often a task looks whether changes are still received, and whether there are still streams.
const TICK: Duration = Duration::from_millis(500);
/// How often the results are read and sent again without a change, so that proxies keep the connection and lost ones are noticed.
const REPEAT: Duration = Duration::from_secs(15);
/// How long a stream of staff lasts before its rights are checked again, by a new request.
const STAFF_PERIOD: Duration = Duration::from_secs(30);
/// The number of streams of a process at most.
const MAX_STREAMS: usize = 20_000;

/// The live results of all questions. One per process.
#[derive(Debug, Clone)]
pub struct LiveResults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    pages: PageCache,
    /// The results of each watched question, once they have been read.
    questions: Mutex<HashMap<i32, Sender>>,
    count: AtomicUsize,
    streams: Gauge,
}

type Sender = watch::Sender<Option<Arc<Update>>>;

/// The results of a question at some moment.
#[derive(Debug, PartialEq, Eq)]
struct Update {
    /// The event for the streams.
    event: Bytes,
    /// When the results are shown.
    results: ResultsShown,
    is_closed: bool,
    is_published: bool,
    /// When voting ends, if it has not.
    closes_at: Option<DateTime<Utc>>,
}

impl Update {
    /// Whether a visitor sees the results.
    fn is_shown_to(&self, watcher: Watcher) -> bool {
        (self.is_published || watcher.may_preview) && watcher.sees(self.results, self.is_closed)
    }
}

/// The stream of events for the results of a question.
#[handler]
pub async fn events(
    Data(core): Data<&Arc<Core>>,
    Data(live): Data<&LiveResults>,
    request: &Request,
) -> Result<Response> {
    let id = question_id(request)?;
    let watcher = if live.is_public(id) {
        Watcher::default()
    } else {
        let shown = Shown::find(core, request).await?;
        if shown.context.hidden.is_some() {
            return Err(AppError::PermissionDenied);
        }
        shown.watcher()
    };
    let events = live.stream(id, watcher).ok_or(AppError::Busy)?;
    Ok(Response::builder()
        .header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        )
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
        // nginx would collect the events.
        .header("x-accel-buffering", HeaderValue::from_static("no"))
        .body(Body::from_bytes_stream(events)))
}

impl LiveResults {
    /// No watched questions yet. Has to be called on a tokio runtime.
    pub fn new(core: Arc<Core>, pages: PageCache) -> Self {
        Self(Arc::new(Inner {
            core,
            pages,
            questions: Mutex::default(),
            count: AtomicUsize::new(0),
            streams: Gauge::default(),
        }))
    }

    /// The number of open streams.
    pub fn streams(&self) -> &Gauge {
        &self.0.streams
    }

    fn questions(&self) -> MutexGuard<'_, HashMap<i32, Sender>> {
        self.0
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a question is watched, and its results are shown to all.
    fn is_public(&self, id: i32) -> bool {
        let questions = self.questions();
        let update = questions
            .get(&id)
            .and_then(|sender| sender.borrow().clone());
        update.is_some_and(|update| update.is_shown_to(Watcher::default()))
    }

    /// The events of a question; none when there are too many streams, or the server is about to stop.
    fn stream(
        &self,
        id: i32,
        watcher: Watcher,
    ) -> Option<impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<>> {
        let open = Open::new(&self.0)?;
        let receiver = {
            let mut questions = self.questions();
            if self.0.core.draining.is_cancelled() {
                return None;
            }
            let sender = questions.entry(id).or_insert_with(|| {
                let sender = Sender::new(None);
                tokio::spawn(self.clone().follow(id, sender.clone()));
                sender
            });
            let mut receiver = sender.subscribe();
            receiver.mark_changed();
            receiver
        };
        let state = Events {
            receiver,
            watcher,
            is_new: true,
            ends_at: watcher.may_preview.then(|| Instant::now() + STAFF_PERIOD),
            _open: open,
        };
        Some(stream::unfold(Some(state), |state| async {
            state?.next().await
        }))
    }

    /// Reads the results of a question while it is watched.
    async fn follow(self, id: i32, sender: Sender) {
        let draining = self.0.core.draining.clone();
        tokio::select! {
            () = self.follow_changes(id, &sender) => {}
            () = draining.cancelled() => drop(self.questions().remove(&id)),
        }
        // The streams end with the last sender.
    }

    async fn follow_changes(&self, id: i32, sender: &Sender) {
        let Inner { core, pages, .. } = &*self.0;
        let (mut is_failed, mut sent) = (false, Instant::now());
        loop {
            let (change, start) = (pages.last_change(id), Instant::now());
            match self.read(id).await {
                Ok(Some(update)) => {
                    is_failed = false;
                    let is_new = sender.borrow().as_deref() != Some(&update);
                    if is_new {
                        sender.send_replace(Some(Arc::new(update)));
                        sent = Instant::now();
                    }
                }
                Ok(None) => {
                    // It was deleted.
                    self.questions().remove(&id);
                    return;
                }
                Err(error) if !is_failed => {
                    let error = error.to_string();
                    tracing::warn!("live results cannot be read: {}", error.escape_debug());
                    is_failed = true;
                }
                Err(_) => {}
            }
            if sent.elapsed() >= REPEAT {
                sender.send_modify(|_| {});
                sent = Instant::now();
            }
            tokio::time::sleep_until((start + PERIOD).into()).await;
            loop {
                let changed = pages.change();
                if sender.receiver_count() == 0 {
                    let mut questions = self.questions();
                    // A stream may have been added since.
                    if sender.receiver_count() == 0 {
                        questions.remove(&id);
                        return;
                    }
                }
                let now = Instant::now();
                let closes_at = sender.borrow().as_ref().and_then(|update| update.closes_at);
                if is_failed
                    || now.duration_since(sent) >= REPEAT
                    || !pages.is_current(now)
                    || pages.last_change(id) != change
                    || closes_at.is_some_and(|closes_at| closes_at <= core.now())
                {
                    break;
                }
                // Whatever comes first.
                let _ = tokio::time::timeout(TICK, changed).await;
            }
        }
    }

    async fn read(&self, id: i32) -> Result<Option<Update>, DbErr> {
        let core = &self.0.core;
        let Some(found) = queries::find(core.db.write(), id).await? else {
            return Ok(None);
        };
        let now = core.now();
        let (options, is_published) = (found.options, *found.question.pub_date <= now);
        let is_closed = options.is_closed(now);
        let version = tally::version(&found.question, &found.choices, &options, is_closed);
        let tally = Tally::new(found.choices, &options, |_| false);
        let choices = tally.choices.iter().map(|choice| {
            json!({
                "id": choice.id,
                "percent": choice.percent,
                "share": choice.share,
                "votes": choice.votes,
                "leads": choice.leads,
            })
        });
        let data = json!({
            "version": version,
            "votes": tally.votes_and_voters(),
            "choices": choices.collect::<Vec<_>>(),
        });
        Ok(Some(Update {
            event: format!("data: {data}\n\n").into(),
            results: options.results,
            is_closed,
            is_published,
            closes_at: options
                .closes_at
                .map(|closes_at| *closes_at)
                .filter(|_| !is_closed),
        }))
    }
}

/// A stream of events.
struct Events {
    receiver: watch::Receiver<Option<Arc<Update>>>,
    watcher: Watcher,
    /// Whether nothing has been sent yet.
    is_new: bool,
    /// When its rights have to be checked again.
    ends_at: Option<Instant>,
    _open: Open,
}

impl Events {
    /// The next event, and the rest of the stream; none when the question was deleted, or the server is about to stop.
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Option<Self>)> {
        loop {
            let changed = self.receiver.changed();
            match self.ends_at {
                None => changed.await.ok()?,
                Some(end) => match tokio::time::timeout_at(end.into(), changed).await {
                    Ok(changed) => changed.ok()?,
                    Err(_) => return Some((Ok(Bytes::from_static(RENEW)), None)),
                },
            }
            let Some(update) = self.receiver.borrow_and_update().clone() else {
                continue;
            };
            let is_new = std::mem::take(&mut self.is_new);
            if update.is_shown_to(self.watcher) {
                return Some((Ok(update.event.clone()), Some(self)));
            }
            // At first the update may be older than what the request was answered by.
            if !is_new {
                // The page says why they are hidden.
                return Some((Ok(Bytes::from_static(RELOAD)), None));
            }
        }
    }
}

/// The event after which a page has to ask for another stream.
const RENEW: &[u8] = b"event: renew\ndata: \n\n";
/// The event after which a page has to be loaded again.
const RELOAD: &[u8] = b"event: reload\ndata: \n\n";

/// An open stream, among the limited number of them.
#[derive(Debug)]
struct Open(Arc<Inner>);

impl Open {
    fn new(inner: &Arc<Inner>) -> Option<Self> {
        let open = Self(inner.clone());
        let before = inner.count.fetch_add(1, Ordering::Relaxed);
        inner.streams.inc();
        // Dropped, and not counted any more, if there are too many.
        (before < MAX_STREAMS).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.streams.dec();
    }
}
