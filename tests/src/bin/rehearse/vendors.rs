//! Both vendors as a partner has them before the first day.
//!
//! Knows: which applications are registered in Entra, and that the CRM has no column of ours. Refuses to know: the
//! connector.

use std::path::Path;

use cosell_tests::dataverse::Crm;
pub(crate) use cosell_tests::vendors::Vendors;
pub(crate) use cosell_tests::world::TENANT;

/// The Entra application that acts for a person at Partner Center: id and secret.
pub(crate) const PARTNER_APP: (&str, &str) = ("2f4e7c90-5b1a-4f0e-9b3a-0d6f1c2b7a55", "partner-center-secret");

/// The Entra application whose user is in the CRM: id and secret.
pub(crate) const DATAVERSE_APP: (&str, &str) = ("33333333-3333-4333-8333-333333333333", "dataverse-secret");

/// What the guide has the admin register in Entra.
const REDIRECT: &str = "http://localhost:8400/consent";

/// Starts them on free ports; the roots of Partner Center's certificates go to `anchors`.
pub(crate) async fn start(anchors: &Path) -> Result<Vendors, String> {
    let vendors = Vendors::start([0; 5], Crm::Plain)
        .await
        .map_err(|taken| taken.to_string())?;
    for (id, secret) in [PARTNER_APP, DATAVERSE_APP] {
        vendors.entra.add_app_client(TENANT, id, secret);
    }
    if !vendors.entra.add_redirect(TENANT, PARTNER_APP.0, REDIRECT) {
        return Err(format!("Entra does not register {REDIRECT}"));
    }
    std::fs::write(anchors, vendors.partner_center.trust_anchors_pem())
        .map_err(|error| format!("{} cannot be written: {error}", anchors.display()))?;
    Ok(vendors)
}
