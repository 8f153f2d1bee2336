//! Deliveries of events to the registered URL: signing, repeating, and the ways in which they go wrong.
//!
//! Knows: the body of an event, attempts and their spacing, what is held back or lost. Refuses to know: why an event
//! fires. Guarantee: an event is tried at most ten times and every attempt is on record.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::certificates::{Authority, Carrier};
use super::registration::Registration;
use crate::clock::Clock;

/// How often the vendor tries before it gives up for good.
const ATTEMPTS: u32 = 10;

/// An event and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// Name of the event.
    pub event: String,
    /// Id of the referral, or of the test event.
    pub referral: String,
    /// Status of each answer, in order; 0 where there was none.
    pub attempts: Vec<u16>,
    /// Whether no further attempt will be made: answered with success, given up, or dropped on purpose.
    pub done: bool,
    /// When each attempt ended.
    #[serde(skip)]
    pub(super) moments: Vec<Timestamp>,
}

impl Delivery {
    /// Whether the receiver has acknowledged it.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.attempts.last().is_some_and(|status| (200..300).contains(status))
    }
}

/// In which order held deliveries go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// As they were raised.
    InOrder,
    /// Newest first.
    Reversed,
    /// As they were raised, each this many times.
    Repeated(usize),
}

/// What happened, as the event tells it.
pub(super) struct Notice<'a> {
    pub(super) event: &'a str,
    pub(super) resource: &'a str,
    pub(super) id: &'a str,
    pub(super) uri: String,
    pub(super) changed: Timestamp,
}

impl Notice<'_> {
    /// The exact bytes that are signed and sent.
    pub(super) fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            event_name: &'a str,
            resource_uri: &'a str,
            resource_name: &'a str,
            audit_uri: Option<&'a str>,
            resource_change_utc_date: String,
        }
        let body = Body {
            event_name: self.event,
            resource_uri: &self.uri,
            resource_name: self.resource,
            audit_uri: None,
            resource_change_utc_date: self.changed.strftime("%Y-%m-%dT%H:%M:%S%.7f+00:00").to_string(),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// Everything needed to send one event.
#[derive(Clone)]
struct Parcel {
    /// Position in the book.
    entry: usize,
    url: String,
    carrier: Carrier,
    body: Vec<u8>,
}

/// Names below `localhost` are this machine (RFC 6761), which glibc does not know; emulators of API gateways use them.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found: Addrs = if is_localhost(&host) {
                Box::new(std::iter::once(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
            } else {
                // Port 0 stands for the one of the URL.
                Box::new(
                    tokio::net::lookup_host((host, 0))
                        .await?
                        .collect::<Vec<_>>()
                        .into_iter(),
                )
            };
            Ok(found)
        })
    }
}

/// `localhost`, or a name below it.
pub(super) fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

struct Book {
    deliveries: Vec<Delivery>,
    held: Vec<Parcel>,
    hold: bool,
    drop: bool,
    copies: usize,
    backoff: Duration,
    timeout: Duration,
}

/// Takes events to their receiver. Cheap to clone.
#[derive(Clone)]
pub(super) struct Courier {
    authority: Arc<Authority>,
    client: reqwest::Client,
    clock: Clock,
    runtime: Handle,
    book: Arc<Mutex<Book>>,
    under_way: watch::Sender<usize>,
}

impl Courier {
    /// Must be called within a runtime, on which the deliveries will run.
    pub(super) fn new(authority: Arc<Authority>, clock: Clock) -> reqwest::Result<Self> {
        // Fails when a provider is already there, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(Loopback)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let book = Book {
            deliveries: Vec::new(),
            held: Vec::new(),
            hold: false,
            drop: false,
            copies: 1,
            backoff: Duration::from_millis(200),
            timeout: Duration::from_secs(30),
        };
        Ok(Self {
            authority,
            client,
            clock,
            runtime: Handle::current(),
            book: Arc::new(Mutex::new(book)),
            under_way: watch::Sender::new(0),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an event to the registered URL; returns its place in the book.
    pub(super) fn raise(&self, notice: &Notice<'_>, registration: &Registration) -> usize {
        let mut book = self.book();
        let first = book.deliveries.len();
        for _ in 0..book.copies {
            let parcel = Parcel {
                entry: book.deliveries.len(),
                url: registration.url.clone(),
                carrier: registration.carrier(),
                body: notice.body(),
            };
            let dropped = book.drop;
            book.deliveries.push(Delivery {
                event: notice.event.to_owned(),
                referral: notice.id.to_owned(),
                attempts: Vec::new(),
                done: dropped,
                moments: Vec::new(),
            });
            if book.hold && !dropped {
                book.held.push(parcel);
            } else if !dropped {
                self.dispatch(vec![parcel]);
            }
        }
        first
    }

    /// Sends parcels one after the other, each with all its attempts.
    fn dispatch(&self, parcels: Vec<Parcel>) {
        self.under_way.send_modify(|count| *count += 1);
        let courier = self.clone();
        self.runtime.spawn(async move {
            for parcel in parcels {
                courier.deliver(parcel).await;
            }
            courier.under_way.send_modify(|count| *count -= 1);
        });
    }

    async fn deliver(&self, parcel: Parcel) {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                // Each wait is twice the one before.
                let wait = self.book().backoff.saturating_mul(1 << (attempt - 1));
                tokio::time::sleep(wait).await;
            }
            let status = self.attempt(&parcel).await;
            let success = (200..300).contains(&status);
            let mut book = self.book();
            if let Some(delivery) = book.deliveries.get_mut(parcel.entry) {
                delivery.attempts.push(status);
                delivery.moments.push(self.clock.now());
                delivery.done |= success || attempt + 1 == ATTEMPTS;
            }
            if success {
                return;
            }
        }
    }

    async fn attempt(&self, parcel: &Parcel) -> u16 {
        let Ok(signed) = self.authority.sign(&parcel.body, parcel.carrier) else {
            return 0;
        };
        let timeout = self.book().timeout;
        let mut request = self.client.post(&parcel.url).timeout(timeout);
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        request
            .body(signed.body)
            .send()
            .await
            .map_or(0, |answer| answer.status().as_u16())
    }

    pub(super) fn hold(&self, on: bool) {
        self.book().hold = on;
    }

    pub(super) fn drop_all(&self, on: bool) {
        self.book().drop = on;
    }

    pub(super) fn copies(&self, copies: usize) {
        self.book().copies = copies.max(1);
    }

    pub(super) fn backoff(&self, base: Duration) {
        self.book().backoff = base;
    }

    pub(super) fn timeout(&self, timeout: Duration) {
        self.book().timeout = timeout;
    }

    /// Sends what was held back.
    pub(super) fn release(&self, order: Release) {
        let mut held = std::mem::take(&mut self.book().held);
        match order {
            Release::InOrder => {}
            Release::Reversed => held.reverse(),
            Release::Repeated(times) => {
                held = held
                    .into_iter()
                    .flat_map(|parcel| std::iter::repeat_n(parcel, times))
                    .collect();
            }
        }
        if !held.is_empty() {
            self.dispatch(held);
        }
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.book().deliveries.clone()
    }

    pub(super) fn delivery(&self, entry: usize) -> Option<Delivery> {
        self.book().deliveries.get(entry).cloned()
    }

    /// Waits until nothing is under way; false when that took too long. What is held back is not under way.
    pub(super) async fn quiet(&self, timeout: Duration) -> bool {
        let mut count = self.under_way.subscribe();
        tokio::time::timeout(timeout, count.wait_for(|count| *count == 0))
            .await
            .is_ok_and(|waited| waited.is_ok())
    }
}
