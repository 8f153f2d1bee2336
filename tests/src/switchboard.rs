//! The one way into every simulator: an HTTP/1.1 server on loopback that records each exchange and can break it.
//!
//! Knows: requests, answers, faults, their order across all simulators of a world. Refuses to know: what any of them
//! mean. Guarantee: a request is numbered before its simulator sees it, and no request is handled without being
//! recorded.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tower::ServiceExt;

/// What a simulator saw and answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Position among all requests of the world, from 1.
    pub number: u64,
    /// When it came.
    pub at: Instant,
    /// Which simulator took it: `entra`, `partner_center`, `registration`, `dataverse`, `aws`, `certificates`.
    pub api: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Path with query, as sent.
    pub target: String,
    /// Request headers.
    pub headers: HeaderMap,
    /// Request body.
    pub body: Bytes,
    /// Status of the answer; none while under way, or when the connection was cut.
    pub status: Option<StatusCode>,
    /// Body of the answer, empty while none was sent.
    pub answer: Bytes,
    /// Headers of the answer; none of one that a fault gave.
    pub answer_headers: HeaderMap,
}

impl Exchange {
    /// Whether it could have changed anything: every method but GET.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    /// Whether the body of the request holds this text.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(text)
    }
}

/// What was asked of whom, a line for each exchange.
#[must_use]
pub fn lines(exchanges: &[Exchange]) -> Vec<String> {
    exchanges
        .iter()
        .map(|exchange| format!("{} {} {}", exchange.api, exchange.method, exchange.target))
        .collect()
}

/// One way an exchange can go wrong.
#[derive(Clone)]
pub enum Fault {
    /// The connection is cut before the simulator sees the request.
    Refuse,
    /// The simulator applies the request; the connection is cut before the answer.
    DropAfterApply,
    /// The simulator never sees it; this answer is given instead.
    Answer {
        /// Status to give.
        status: StatusCode,
        /// Headers to give.
        headers: Vec<(&'static str, String)>,
        /// Body to give.
        body: String,
    },
    /// The simulator applies the request; its answer is replaced by this status without a body.
    AnswerAfterApply(StatusCode),
    /// The answer is withheld for this long after the request was applied.
    Stall(Duration),
    /// The simulator applies the request, then this runs (it may kill the client's process), then the connection is cut.
    RunAfterApply(Arc<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "refuse",
            Self::DropAfterApply => "drop after apply",
            Self::Answer { .. } => "answer",
            Self::AnswerAfterApply(_) => "answer after apply",
            Self::Stall(_) => "stall",
            Self::RunAfterApply(_) => "run after apply",
        })
    }
}

type Matcher = Box<dyn Fn(&Exchange) -> bool + Send>;

struct Planned {
    matches: Matcher,
    /// How many matching requests to let pass first.
    skip: usize,
    /// How many to break after that.
    times: usize,
    fault: Fault,
}

#[derive(Default)]
struct State {
    exchanges: Vec<Exchange>,
    faults: Vec<Planned>,
    /// Numbers of the requests that met a fault.
    broken: Vec<u64>,
}

/// Shared by all simulators of one world. Cheap to clone.
#[derive(Clone, Default)]
pub struct Switchboard {
    state: Arc<Mutex<State>>,
    counter: Arc<AtomicU64>,
    listeners: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Switchboard {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Breaks `times` requests that match, after letting `skip` of them pass.
    pub fn plan(&self, skip: usize, times: usize, fault: Fault, matches: impl Fn(&Exchange) -> bool + Send + 'static) {
        self.state().faults.push(Planned {
            matches: Box::new(matches),
            skip,
            times,
            fault,
        });
    }

    /// Faults that were planned and never (or not fully) met; a scenario that ends with some has a mistake in it.
    #[must_use]
    pub fn unused_faults(&self) -> Vec<String> {
        let state = self.state();
        state
            .faults
            .iter()
            .filter(|planned| planned.times > 0)
            .map(|planned| format!("{:?}", planned.fault))
            .collect()
    }

    /// The requests that met a fault, in order of arrival.
    #[must_use]
    pub fn broken(&self) -> Vec<Exchange> {
        let state = self.state();
        let met = |exchange: &&Exchange| state.broken.contains(&exchange.number);
        state.exchanges.iter().filter(met).cloned().collect()
    }

    /// Forgets all faults that are still planned.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Number of the newest request; use it as a mark for [`Switchboard::since`].
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.counter.load(Ordering::SeqCst)
    }

    /// Everything recorded after the mark, in order of arrival.
    #[must_use]
    pub fn since(&self, mark: u64) -> Vec<Exchange> {
        self.state()
            .exchanges
            .iter()
            .filter(|exchange| exchange.number > mark)
            .cloned()
            .collect()
    }

    /// Forgets what was recorded up to a mark: for a world that stays up for hours.
    pub fn forget_until(&self, mark: u64) {
        self.state().exchanges.retain(|exchange| exchange.number > mark);
    }

    fn begin(&self, mut exchange: Exchange) -> (u64, Option<Fault>) {
        let number = self.counter.fetch_add(1, Ordering::SeqCst) + 1;
        exchange.number = number;
        let mut state = self.state();
        let mut fault = None;
        for planned in &mut state.faults {
            if planned.times == 0 || !(planned.matches)(&exchange) {
                continue;
            }
            if planned.skip > 0 {
                planned.skip -= 1;
                continue;
            }
            planned.times -= 1;
            fault = Some(planned.fault.clone());
            break;
        }
        if fault.is_some() {
            state.broken.push(number);
        }
        state.exchanges.push(exchange);
        (number, fault)
    }

    fn end(&self, number: u64, status: StatusCode, headers: HeaderMap, answer: Bytes) {
        if let Some(exchange) = self
            .state()
            .exchanges
            .iter_mut()
            .rev()
            .find(|exchange| exchange.number == number)
        {
            exchange.status = Some(status);
            exchange.answer = answer;
            exchange.answer_headers = headers;
        }
    }

    /// Serves `router` on `address` (port 0 picks a free one) until [`Switchboard::stop`]; returns where.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn serve(&self, api: &'static str, address: SocketAddr, router: Router) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        let board = self.clone();
        let listening = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(_) => break,
                    },
                    Some(_) = connections.join_next() => continue,
                };
                let (board, router) = (board.clone(), router.clone());
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let (board, router) = (board.clone(), router.clone());
                        async move { board.exchange(api, router, request).await }
                    });
                    // An error here is a cut connection, which is either planned or the client's doing.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listening.abort_handle());
        Ok(bound)
    }

    /// Serves nobody any more, and lets go of what the simulators hold: thousands of worlds are played one after another.
    pub fn stop(&self) {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(AbortHandle::abort);
    }

    async fn exchange(
        &self,
        api: &'static str,
        router: Router,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let target = parts
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string);
        let (number, fault) = self.begin(Exchange {
            number: 0,
            at: Instant::now(),
            api,
            method: parts.method.clone(),
            target,
            headers: parts.headers.clone(),
            body: body.clone(),
            status: None,
            answer: Bytes::new(),
            answer_headers: HeaderMap::new(),
        });
        match &fault {
            Some(Fault::Refuse) => return Err(Cut),
            Some(Fault::Answer { status, headers, body }) => {
                let mut answer = Response::builder().status(*status);
                for (name, value) in headers {
                    answer = answer.header(*name, value);
                }
                self.end(number, *status, HeaderMap::new(), Bytes::from(body.clone()));
                return answer.body(Body::from(body.clone())).map_err(|_| Cut);
            }
            Some(Fault::DropAfterApply | Fault::AnswerAfterApply(_) | Fault::Stall(_) | Fault::RunAfterApply(_))
            | None => {}
        }
        let answer = router
            .oneshot(Request::from_parts(parts, Body::from(body)))
            .await
            .map_err(|_| Cut)?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        self.end(number, parts.status, parts.headers.clone(), body.clone());
        match fault {
            Some(Fault::DropAfterApply) => return Err(Cut),
            Some(Fault::AnswerAfterApply(status)) => {
                // On record stays what the simulator did.
                return Response::builder().status(status).body(Body::empty()).map_err(|_| Cut);
            }
            Some(Fault::RunAfterApply(run)) => {
                run();
                return Err(Cut);
            }
            Some(Fault::Stall(wait)) => tokio::time::sleep(wait).await,
            Some(Fault::Refuse | Fault::Answer { .. }) | None => {}
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }
}

/// The connection is to be cut without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection cut")
    }
}

impl std::error::Error for Cut {}
