//! Both vendors for a deployment: Entra, Partner Center and Dynamics 365 as a partner has them before the first day.
//!
//! Knows: which applications are registered and who may sign in. Refuses to know: the connector. The CRM starts without
//! any column of ours.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use cosell_tests::clock::Clock;
use cosell_tests::dataverse::{Access, Authorize, Dataverse};
use cosell_tests::entra::{Entra, TokenCheck};
use cosell_tests::partner_center::PartnerCenter;
use cosell_tests::switchboard::Switchboard;

/// The partner's tenant.
pub(crate) const TENANT: &str = "7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11";

/// The Entra application that acts for a person at Partner Center.
pub(crate) const PARTNER_APP: (&str, &str) = ("1d0b6a34-51b8-4c07-9a35-0c44f0f4a001", "partner-secret");

/// The Entra application that is a user of the CRM.
pub(crate) const DATAVERSE_APP: (&str, &str) = ("1d0b6a34-51b8-4c07-9a35-0c44f0f4a002", "dataverse-secret");

/// The simulators, running.
pub(crate) struct Vendors {
    pub(crate) entra: Entra,
    pub(crate) partner_center: PartnerCenter,
    pub(crate) dataverse: Dataverse,
    pub(crate) switchboard: Switchboard,
}

impl Vendors {
    /// Starts them on free ports; the roots of Partner Center's certificates go to `anchors`.
    pub(crate) async fn start(anchors: &Path) -> Result<Self, String> {
        let trouble = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        let (switchboard, clock) = (Switchboard::new(), Clock::default());
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let entra = Entra::start(&switchboard, &clock, anywhere)
            .await
            .map_err(trouble("Entra"))?;
        let partner_center = PartnerCenter::start(&switchboard, &clock, &entra, anywhere, anywhere, anywhere)
            .await
            .map_err(trouble("Partner Center"))?;
        let audience = Arc::new(OnceLock::<String>::new());
        let dataverse = Dataverse::start(
            &switchboard,
            &clock,
            anywhere,
            authorize(entra.clone(), Arc::clone(&audience)),
        )
        .await
        .map_err(trouble("Dynamics 365"))?;
        let _ = audience.set(dataverse.url());
        entra.add_app_client(TENANT, PARTNER_APP.0, PARTNER_APP.1);
        entra.add_app_client(TENANT, DATAVERSE_APP.0, DATAVERSE_APP.1);
        std::fs::write(anchors, partner_center.trust_anchors_pem()).map_err(trouble("the trust anchors"))?;
        Ok(Self {
            entra,
            partner_center,
            dataverse,
            switchboard,
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
