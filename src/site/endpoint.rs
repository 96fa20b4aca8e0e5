//! The outermost endpoint: every response is logged and counted, with its final status. A page in memory is sent without the others.

use std::{
    future::{Future, ready},
    sync::Arc,
};

use futures_util::future::Either;
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use tracing::Instrument;

use super::{
    request_log::RequestLog,
    request_metrics::{RequestMetrics, RouteMetrics},
};
use crate::{
    core::Core,
    polls_app::{
        pages::{Lookup, Miss, PageCache, PageId},
        urls,
    },
    web::{
        body::BodyMemory,
        request_info::{Head, RequestInfo, RouteName},
    },
};

/// The endpoint around `next`.
#[derive(Debug)]
pub struct SiteEndpoint<E> {
    next: E,
    core: Arc<Core>,
    bodies: BodyMemory,
    metrics: RequestMetrics,
    pages: PageCache,
    page_metrics: PageMetrics,
}

/// The metrics of the public pages.
#[derive(Debug)]
struct PageMetrics {
    index: RouteMetrics,
    detail: RouteMetrics,
    results: RouteMetrics,
}

impl<E> SiteEndpoint<E> {
    /// The endpoint around `next`, which counts requests in `metrics`.
    pub fn new(next: E, core: Arc<Core>, metrics: RequestMetrics, pages: PageCache) -> Self {
        Self {
            next,
            core,
            bodies: BodyMemory::default(),
            page_metrics: PageMetrics {
                index: metrics.of_route(urls::INDEX),
                detail: metrics.of_route(urls::DETAIL),
                results: metrics.of_route(urls::RESULTS),
            },
            metrics,
            pages,
        }
    }
}

impl<E: Endpoint> Endpoint for SiteEndpoint<E> {
    type Output = Response;

    fn call(&self, request: Request) -> impl Future<Output = Result<Response>> + Send {
        let mut log = RequestLog::new(&self.core, &request);
        let miss = match self.pages.look_up(&request, log.source, log.start) {
            Lookup::Hit(response, page) => {
                if log.is_traced() {
                    log.begin_span(request.headers());
                }
                let head = Head::of(&request, log.source.address);
                let (metrics, took) = (self.page_metrics.of(page), log.start.elapsed());
                metrics.observe(head.method, response.status(), took);
                let response = log.finish(head, metrics.route(), took, response);
                return Either::Left(ready(Ok(response)));
            }
            Lookup::Miss(miss) => Some(miss),
            Lookup::Other => None,
        };
        // Boxed: the future of the whole site is large, and a page from memory does not need it.
        Either::Right(Box::pin(self.call_next(request, log, miss)))
    }
}

impl<E: Endpoint> SiteEndpoint<E> {
    async fn call_next(
        &self,
        mut request: Request,
        mut log: RequestLog<'_>,
        miss: Option<Miss>,
    ) -> Result<Response> {
        if let Some(miss) = miss {
            request.set_data(miss);
        }
        request.set_data(self.core.clone());
        request.set_data(self.bodies.clone());
        let route = RouteName::default();
        request.set_data(route.clone());
        let info = Arc::new(RequestInfo::new(&request, log.source, log.id(), log.start));
        request.set_data(info.clone());
        log.begin_span(request.headers());
        let in_flight = self.metrics.begin();
        let response = self.next.call(request).instrument(log.span.clone()).await;
        let response = response?.into_response();
        drop(in_flight);
        let route = route.get().cloned().unwrap_or_else(|| "other".into());
        let took = log.start.elapsed();
        self.metrics
            .observe(&info.method, &route, response.status(), took);
        Ok(log.finish(info.head(), &route, took, response))
    }
}

impl PageMetrics {
    fn of(&self, page: PageId) -> &RouteMetrics {
        match page {
            PageId::Index => &self.index,
            PageId::Detail(_) => &self.detail,
            PageId::Results(_) => &self.results,
        }
    }
}
