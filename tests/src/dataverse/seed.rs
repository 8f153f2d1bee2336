//! What a new environment holds: currencies, an organization, the connector's user and a seller.
//!
//! Knows: fixed ids, so that scenarios can name them. Refuses to know: requests. Guarantee: seeded rows are visible to
//! every reader from the first moment, however stale its reads are.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::{Changes, Writing, assignments};
use super::refusal::Refusal;
use super::rows::Row;
use super::write::Author;
use super::{Crm, Environment};

/// US dollar, the base currency.
pub const USD: Uuid = Uuid::from_u128(0x0c9d_4b7e_0001_4e2e_8b7a_000d_3a3b_e645);
/// Euro.
pub const EUR: Uuid = Uuid::from_u128(0x0c9d_4b7e_0002_4e2e_8b7a_000d_3a3b_e645);
/// Pound sterling.
pub const GBP: Uuid = Uuid::from_u128(0x0c9d_4b7e_0003_4e2e_8b7a_000d_3a3b_e645);
/// The organization.
pub const ORGANIZATION: Uuid = Uuid::from_u128(0xabcd_abcd_0000_4000_8000_000d_3a3b_e645);
/// The business unit, which appears in `WhoAmI` only.
pub const BUSINESS_UNIT: Uuid = Uuid::from_u128(0xabcd_abcd_0001_4000_8000_000d_3a3b_e645);
/// The connector's application user, owner of what it creates.
pub const APPLICATION_USER: Uuid = Uuid::from_u128(0x9d0e_1f2a_0001_4c0f_9a55_000d_3a3b_e645);
/// The publisher of what is made without one.
pub const DEFAULT_PUBLISHER: Uuid = Uuid::from_u128(0xd21a_ab71_79e7_11dd_8874_0018_8b01_e34f);
/// The publisher of the co-sell solution.
pub const CO_SELL_PUBLISHER: Uuid = Uuid::from_u128(0xabcd_abcd_0002_4000_8000_000d_3a3b_e645);
/// The co-sell solution.
pub const CO_SELL_SOLUTION: Uuid = Uuid::from_u128(0xabcd_abcd_0003_4000_8000_000d_3a3b_e645);
/// The seller, owner of what people create.
pub const SELLER: Uuid = Uuid::from_u128(0x9d0e_1f2a_0002_4c0f_9a55_000d_3a3b_e645);

impl Environment {
    pub(super) fn seed(&mut self, crm: Crm) -> Result<(), Refusal> {
        let currency = |code: &str, name: &str, symbol: &str, rate: f64| {
            json!({ "isocurrencycode": code, "currencyname": name, "currencysymbol": symbol,
                    "currencyprecision": 2, "exchangerate": rate })
        };
        self.plant("transactioncurrency", USD, &currency("USD", "US Dollar", "$", 1.0))?;
        self.plant("transactioncurrency", EUR, &currency("EUR", "Euro", "€", 0.9))?;
        self.plant("transactioncurrency", GBP, &currency("GBP", "Pound Sterling", "£", 0.8))?;
        let organization = json!({ "name": "orgabcd", "languagecode": 1033, "expirechangetrackingindays": 7,
                                   "basecurrencyid@odata.bind": format!("/transactioncurrencies({USD})") });
        self.plant("organization", ORGANIZATION, &organization)?;
        let application = json!({ "firstname": "#", "lastname": "Co-sell Connector",
                                  "applicationid": "33333333-3333-4333-8333-333333333333" });
        self.plant("systemuser", APPLICATION_USER, &application)?;
        let seller = json!({ "firstname": "Ana", "lastname": "Silva", "title": "Account Executive",
                             "internalemailaddress": "ana.silva@partner.example",
                             "mobilephone": "+49 170 5550100", "address1_telephone1": "+49 30 5550100" });
        self.plant("systemuser", SELLER, &seller)?;
        let standard = json!({ "uniquename": "DefaultPublisherorgabcd", "friendlyname": "Default Publisher for orgabcd",
                               "customizationprefix": "new", "customizationoptionvalueprefix": 10000 });
        self.plant("publisher", DEFAULT_PUBLISHER, &standard)?;
        if crm == Crm::Plain {
            return Ok(());
        }
        let publisher = json!({ "uniquename": "cosellsync", "friendlyname": "Co-sell Sync",
                                "customizationprefix": "cosell", "customizationoptionvalueprefix": 72700 });
        self.plant("publisher", CO_SELL_PUBLISHER, &publisher)?;
        let solution = json!({ "uniquename": "CoSellSync", "friendlyname": "Co-sell Sync", "version": "1.0.0.0",
                               "publisherid@odata.bind": format!("/publishers({CO_SELL_PUBLISHER})") });
        self.plant("solution", CO_SELL_SOLUTION, &solution)
    }

    /// Puts a row in place as an administrator would, before anyone looks.
    fn plant(&mut self, table: &str, id: Uuid, values: &Value) -> Result<(), Refusal> {
        let table = self.schema.get(table)?;
        let changes = Changes::from_value(table.set, values)?;
        let assigned = assignments(self, &table, &changes, Writing::Create)?;
        let row: Row = self.new_row(Author::Application, &table, id, assigned)?;
        let mut row = row;
        row.set("modifiedon", row.get("createdon").cloned());
        self.store.commit(table.name, row, Timestamp::UNIX_EPOCH);
        Ok(())
    }
}
