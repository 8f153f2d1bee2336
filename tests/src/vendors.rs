//! The vendors without the cloud and without the functions: Entra, Partner Center, Dynamics 365.
//!
//! Knows: how the three are wired to each other, and who is registered with Entra. Refuses to know: who calls them.
//! Guarantee: nothing listens anywhere but on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use crate::clock::Clock;
use crate::dataverse::{Access, Authorize, Crm, Dataverse};
use crate::entra::{Entra, TokenCheck};
use crate::partner_center::PartnerCenter;
use crate::switchboard::Switchboard;

/// What listens on each port, in the order in which [`Vendors::start`] takes them.
pub const LISTENERS: [&str; 5] = [
    "Entra",
    "Partner Center's referrals",
    "Partner Center's webhook registration",
    "Partner Center's certificates",
    "Dynamics 365",
];

/// An address that cannot be bound.
#[derive(Debug)]
pub struct Taken {
    /// Who was to listen there.
    pub listener: &'static str,
    /// On which port.
    pub port: u16,
    /// Why it cannot.
    pub error: std::io::Error,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} cannot listen on port {}: {}",
            self.listener, self.port, self.error
        )
    }
}

impl std::error::Error for Taken {}

/// The three vendors, running. Cheap to clone.
#[derive(Clone)]
pub struct Vendors {
    /// Records every exchange and breaks those it is told to.
    pub switchboard: Switchboard,
    /// The simulators' clock.
    pub clock: Clock,
    /// Tokens and sign-ins.
    pub entra: Entra,
    /// Referrals, registration, deliveries, certificates.
    pub partner_center: PartnerCenter,
    /// Opportunities.
    pub dataverse: Dataverse,
}

impl Vendors {
    /// Starts them on these ports of loopback; zero picks a free one.
    ///
    /// # Errors
    /// Which port cannot be used.
    pub async fn start(ports: [u16; 5], crm: Crm) -> Result<Self, Taken> {
        let [
            entra_port,
            referrals_port,
            webhooks_port,
            certificates_port,
            dataverse_port,
        ] = ports;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let [on_entra, on_referrals, .., on_dataverse] = LISTENERS;
        let taken = |listener, port| move |error| Taken { listener, port, error };
        let (switchboard, clock) = (Switchboard::new(), Clock::default());
        let entra = Entra::start(&switchboard, &clock, at(entra_port))
            .await
            .map_err(taken(on_entra, entra_port))?;
        let partner_center = PartnerCenter::start(
            &switchboard,
            &clock,
            &entra,
            at(referrals_port),
            at(webhooks_port),
            at(certificates_port),
        )
        .await
        .map_err(taken(on_referrals, referrals_port))?;
        let audience = Arc::new(OnceLock::<String>::new());
        let authorize = authorize(entra.clone(), Arc::clone(&audience));
        let dataverse = Dataverse::start_with(&switchboard, &clock, at(dataverse_port), authorize, crm)
            .await
            .map_err(taken(on_dataverse, dataverse_port))?;
        let _ = audience.set(dataverse.url());
        Ok(Self {
            switchboard,
            clock,
            entra,
            partner_center,
            dataverse,
        })
    }
}

fn authorize(entra: Entra, audience: Arc<OnceLock<String>>) -> Authorize {
    Arc::new(move |authorization| {
        let audience = audience.get().map(String::as_str).unwrap_or_default();
        match entra.check(authorization, audience) {
            TokenCheck::Valid { .. } => Access::Granted,
            _ => Access::Unauthorized,
        }
    })
}
