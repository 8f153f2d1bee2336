//! Every single request goes wrong once: its process is killed, the connection is cut, the vendor has no time.
//!
//! Most tests here are the share of all cases that fits into every run; `make matrix` plays every request of `sync` and of
//! `webhook` in every flow, broken in every way. It takes most of an hour. `FLOW`, `MISHAP`, `FUNCTION` and `REQUEST` (from
//! 1) choose a part of it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "the number of cases belongs into the report of a run"
)]

mod common;
mod faults;

use std::fmt::Debug;

use cosell_tests::switchboard::Exchange;

use self::faults::{Caller, Flow, Mishap, is_a_read, is_of_sync, try_each_request};

/// Whether `sync` asked a vendor, who may throttle.
fn is_to_a_vendor(exchange: &Exchange) -> bool {
    is_of_sync(exchange) && exchange.api != "aws"
}

/// Whether `sync` had something written or sent. A read that fails is a read that is repeated.
fn is_a_write_of_sync(exchange: &Exchange) -> bool {
    is_of_sync(exchange) && !is_a_read(exchange)
}

/// Breaks each counted request of a flow once; tells all that went wrong.
async fn break_each_request(flow: Flow, mishap: Mishap, counted: fn(&Exchange) -> bool) {
    let tried = try_each_request(flow, mishap, counted, None).await;
    assert!(
        tried.failed.is_empty(),
        "{} of {} cases failed\n{}",
        tried.failed.len(),
        tried.cases,
        tried.failed.join("\n\n")
    );
    // A look more or less is made now and then; a flow whose requests are never the same would test nothing.
    assert!(
        tried.unmet.len() * 5 <= tried.cases,
        "of {} requests, these were not made again: {:#?}",
        tried.cases,
        tried.unmet
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbound_create_survives_a_kill_after_every_request() {
    break_each_request(Flow::InboundCreate, Mishap::Killed, is_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_in_the_portal_survives_a_kill_after_every_request() {
    break_each_request(Flow::PortalCreate, Mishap::Killed, is_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cosell_create_survives_a_kill_after_every_request() {
    break_each_request(Flow::CosellCreate, Mishap::Killed, is_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_toward_partner_center_survives_a_kill_after_every_request() {
    break_each_request(Flow::TowardPartnerCenter, Mishap::Killed, is_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_toward_dynamics_survives_a_kill_after_every_request() {
    break_each_request(Flow::TowardDynamics, Mishap::Killed, is_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn solutions_toward_dynamics_survive_a_kill_after_every_request() {
    break_each_request(Flow::SolutionsTowardDynamics, Mishap::Killed, is_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn solutions_toward_dynamics_survive_a_connection_that_is_cut_after_any_write() {
    break_each_request(Flow::SolutionsTowardDynamics, Mishap::Dropped, is_a_write_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn solutions_toward_partner_center_survive_a_kill_after_every_request() {
    break_each_request(Flow::SolutionsTowardPartnerCenter, Mishap::Killed, is_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cosell_create_survives_a_connection_that_is_cut_before_any_write() {
    break_each_request(Flow::CosellCreate, Mishap::Refused, is_a_write_of_sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_survive_a_connection_that_is_cut_after_any_write() {
    for flow in [Flow::PortalCreate, Flow::CosellCreate] {
        break_each_request(flow, Mishap::Dropped, is_a_write_of_sync).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_survive_a_vendor_that_has_no_time_for_any_request() {
    for flow in [Flow::PortalCreate, Flow::CosellCreate] {
        break_each_request(flow, Mishap::Throttled, is_to_a_vendor).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_survive_a_vendor_that_goes_down_at_any_request() {
    for flow in [Flow::PortalCreate, Flow::CosellCreate] {
        break_each_request(flow, Mishap::Unavailable, is_to_a_vendor).await;
    }
}

/// What `make` was given; blank counts as nothing.
#[expect(clippy::disallowed_methods, reason = "this program's settings are its variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.trim().is_empty())
}

/// The one that a variable names, or all.
fn chosen<T: Copy + Debug>(name: &str, all: &[T]) -> Vec<T> {
    let Some(wanted) = variable(name) else {
        return all.to_vec();
    };
    let found: Vec<T> = all.iter().copied().filter(|one| format!("{one:?}") == wanted).collect();
    assert!(!found.is_empty(), "{name} is {wanted:?}; choose one of {all:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "most of an hour: make matrix"]
async fn every_fault_at_every_request_ends_in_the_same_world() {
    let only = variable("REQUEST").map(|text| text.parse().expect("REQUEST is a whole number from 1"));
    let (mut cases, mut unmet, mut failed) = (0, 0, Vec::new());
    for flow in chosen("FLOW", &Flow::ALL) {
        for mishap in chosen("MISHAP", &Mishap::ALL) {
            for caller in chosen("FUNCTION", &Caller::ALL) {
                let tried = try_each_request(flow, mishap, caller.requests(), only).await;
                cases += tried.cases;
                unmet += tried.unmet.len();
                failed.extend(tried.failed);
            }
        }
    }
    println!("{cases} cases, {} failed, {unmet} without their request", failed.len());
    assert!(cases > 0, "no request has this number");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
