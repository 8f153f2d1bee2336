//! Who is behind an opportunity: the account, its people, its country.

use super::Mapping;
use crate::deal::{Help, Particulars};
use crate::opportunity::Row;
use crate::referral::{Address, CustomerProfile, Member};

/// Columns of the account, and of the person tables, that are read with an opportunity.
pub(super) const ACCOUNT: &str =
    "name,address1_line1,address1_line2,address1_city,address1_stateorprovince,address1_postalcode,address1_country";
pub(super) const CONTACT: &str = "firstname,lastname,emailaddress1,telephone1,mobilephone";
pub(super) const OWNER: &str = "firstname,lastname,internalemailaddress,mobilephone,address1_telephone1,applicationid";

impl Mapping {
    /// What an opportunity says beyond its terms: who the customer is, who sells, what is asked of Microsoft.
    #[must_use]
    pub fn particulars(&self, row: &Row) -> Particulars {
        let account = row.row("parentaccountid").or_else(|| row.row("customerid_account"));
        let mut customer = account.map_or_else(CustomerProfile::default, |account| {
            let text = |column| account.text(column).unwrap_or_default().trim().to_owned();
            CustomerProfile {
                name: text("name"),
                address: Address {
                    address_line1: text("address1_line1"),
                    address_line2: text("address1_line2"),
                    city: text("address1_city"),
                    state: text("address1_stateorprovince"),
                    postal_code: text("address1_postalcode"),
                    country: self.country(&text("address1_country")),
                },
                team: Vec::new(),
            }
        });
        customer.team.extend(
            row.row("parentcontactid")
                .map(|contact| member(contact, "emailaddress1", "telephone1")),
        );
        Particulars {
            customer,
            // What an application made is nobody's yet.
            team: row
                .row("owninguser")
                .filter(|owner| owner.guid("applicationid").is_none())
                .map(|owner| member(owner, "internalemailaddress", "address1_telephone1"))
                .into_iter()
                .collect(),
            help: row.integer(&self.columns.help).map(|value| {
                let code = self
                    .help
                    .iter()
                    .find(|(_, number)| **number == value)
                    .map(|(code, _)| code.clone());
                Help(code.unwrap_or_else(|| value.to_string()))
            }),
            message: row.text(&self.columns.message).map(ToOwned::to_owned),
        }
    }

    /// The two-letter code of a country, or the text as it is when there is no entry for it.
    fn country(&self, text: &str) -> String {
        self.countries.get(&text.to_lowercase()).cloned().unwrap_or_else(|| {
            if text.len() == 2 {
                text.to_ascii_uppercase()
            } else {
                text.to_owned()
            }
        })
    }
}

fn member(row: &Row, email: &str, phone: &str) -> Member {
    let text = |column| row.text(column).unwrap_or_default().trim().to_owned();
    let phone_number = Some(text(phone))
        .filter(|phone| !phone.is_empty())
        .unwrap_or_else(|| text("mobilephone"));
    Member {
        first_name: text("firstname"),
        last_name: text("lastname"),
        phone_number,
        email: text(email),
    }
}
