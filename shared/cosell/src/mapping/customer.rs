//! Who is behind an opportunity: the account, its people, its country.
//!
//! Knows: in which columns a CRM keeps names and addresses. Refuses to know: which account a referral belongs to.

use std::collections::BTreeSet;

use super::{Mapping, cut};
use crate::amount::Amount;
use crate::deal::{Help, Particulars};
use crate::opportunity::{Cell, Row, RowChange};
use crate::reconcile::call::Table;
use crate::referral::{Address, CustomerProfile, Member};

/// UTF-16 units of an account's name; longer names are cut, and searched for as they were cut.
const NAME_ROOM: usize = 160;

/// Columns of the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountColumns {
    /// What the customer is called.
    pub name: String,
    /// Street.
    pub line1: String,
    /// Second line.
    pub line2: String,
    /// City.
    pub city: String,
    /// State or province.
    pub state: String,
    /// Postal code.
    pub postal_code: String,
    /// Country.
    pub country: String,
    /// Web site, by which a customer is found when the name does not help.
    pub website: String,
    /// Mail address, likewise.
    pub email: String,
}

/// How the country of an account is spelt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CountryKind {
    /// Text: a name or a code.
    #[default]
    Text,
    /// A choice whose numbers stand for two-letter codes.
    Choice(Vec<(String, i64)>),
}

/// Columns of a person: a contact or an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonColumns {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Mail address.
    pub email: String,
    /// Phone number.
    pub phone: String,
    /// Phone number that is taken when the other is empty.
    pub mobile: String,
}

impl PersonColumns {
    /// All columns, without repeats.
    #[must_use]
    pub fn all(&self) -> Vec<&str> {
        let names = [
            &self.first_name,
            &self.last_name,
            &self.email,
            &self.phone,
            &self.mobile,
        ];
        let names: BTreeSet<&str> = names.into_iter().map(String::as_str).collect();
        names.into_iter().collect()
    }

    pub(super) fn list(&self) -> String {
        self.all().join(",")
    }

    fn member(&self, row: &Row) -> Member {
        let text = |column: &str| row.text(column).unwrap_or_default().trim().to_owned();
        let phone_number = Some(text(&self.phone))
            .filter(|phone| !phone.is_empty())
            .unwrap_or_else(|| text(&self.mobile));
        Member {
            first_name: text(&self.first_name),
            last_name: text(&self.last_name),
            phone_number,
            email: text(&self.email),
        }
    }
}

impl Mapping {
    /// Columns of the account.
    #[must_use]
    pub const fn account(&self) -> &AccountColumns {
        &self.account
    }

    /// Columns of the contact.
    #[must_use]
    pub const fn contact(&self) -> &PersonColumns {
        &self.contact
    }

    /// Columns of the owner.
    #[must_use]
    pub const fn owner(&self) -> &PersonColumns {
        &self.owner
    }

    /// How the country of an account is spelt.
    #[must_use]
    pub const fn country_kind(&self) -> &CountryKind {
        &self.country
    }

    /// Columns of the account that are read with an opportunity, without repeats.
    #[must_use]
    pub fn account_columns(&self) -> Vec<&str> {
        let a = &self.account;
        let names = [
            &a.name,
            &a.line1,
            &a.line2,
            &a.city,
            &a.state,
            &a.postal_code,
            &a.country,
        ];
        let names: BTreeSet<&str> = names.into_iter().map(String::as_str).collect();
        names.into_iter().collect()
    }

    /// What an opportunity says beyond its terms: who the customer is, who sells, what is asked of Microsoft.
    #[must_use]
    pub fn particulars(&self, row: &Row) -> Particulars {
        let account = row.row("parentaccountid").or_else(|| row.row("customerid_account"));
        let columns = &self.account;
        let mut customer = account.map_or_else(CustomerProfile::default, |account| {
            let text = |column: &str| account.text(column).unwrap_or_default().trim().to_owned();
            CustomerProfile {
                name: text(&columns.name),
                address: Address {
                    address_line1: text(&columns.line1),
                    address_line2: text(&columns.line2),
                    city: text(&columns.city),
                    state: text(&columns.state),
                    postal_code: text(&columns.postal_code),
                    country: self.country_of(account),
                },
                team: Vec::new(),
            }
        });
        customer
            .team
            .extend(row.row("parentcontactid").map(|contact| self.contact.member(contact)));
        Particulars {
            customer,
            // What an application made is nobody's yet.
            team: row
                .row("owninguser")
                .filter(|owner| owner.guid("applicationid").is_none())
                .map(|owner| self.owner.member(owner))
                .into_iter()
                .collect(),
            help: self.help_of(row.cell(&self.columns.help)),
            message: row.text(&self.columns.message).map(ToOwned::to_owned),
            solutions: self.solution_rows(row),
        }
    }

    fn help_of(&self, cell: &Cell) -> Option<Help> {
        let Cell::Number(number) = cell else { return None };
        let value = i64::try_from(number.decimal()).ok()?;
        let mut codes = self.help.iter();
        let code = codes
            .find(|(_, number)| **number == value)
            .map(|(code, _)| code.clone());
        Some(Help(code.unwrap_or_else(|| value.to_string())))
    }

    /// The help that every new opportunity wants, which is no seller's wish.
    pub(crate) fn constant_help(&self) -> Option<Help> {
        let constants = self.constants.get(&Table::Opportunity)?;
        let (_, cell) = constants.cells().find(|(column, _)| *column == self.columns.help)?;
        self.help_of(cell)
    }

    /// The two-letter code of an account's country, or what stands there when nobody knows its code; blank when empty.
    #[must_use]
    pub fn country_of(&self, account: &Row) -> String {
        let column = &self.account.country;
        match (&self.country, account.cell(column)) {
            (CountryKind::Text, _) => self.country(account.text(column).unwrap_or_default().trim()),
            (CountryKind::Choice(_), Cell::Null) => String::new(),
            (CountryKind::Choice(values), Cell::Number(number)) => {
                let is_it = |listed: &i64| number == &Amount::new((*listed).into());
                values
                    .iter()
                    .find(|(_, listed)| is_it(listed))
                    .map_or_else(|| format!("choice {number}"), |(code, _)| code.clone())
            }
            (CountryKind::Choice(_), cell) => format!("{cell:?}"),
        }
    }

    /// A customer's name as an account holds it.
    #[must_use]
    pub fn account_name<'a>(&self, name: &'a str) -> &'a str {
        cut(name.trim(), NAME_ROOM).0.trim_end()
    }

    /// The row of a customer that the CRM does not know.
    #[must_use]
    pub fn new_account(&self, customer: &CustomerProfile) -> RowChange {
        let mut change = self.constants(Table::Account);
        let (columns, address) = (&self.account, &customer.address);
        for (column, text, room) in [
            (&columns.name, &customer.name, NAME_ROOM),
            (&columns.line1, &address.address_line1, 250),
            (&columns.line2, &address.address_line2, 250),
            (&columns.city, &address.city, 80),
            (&columns.state, &address.state, 50),
            (&columns.postal_code, &address.postal_code, 20),
        ] {
            set_text(&mut change, column, text, room);
        }
        match &self.country {
            CountryKind::Text => set_text(&mut change, &columns.country, &address.country, 80),
            // A country that the choice does not have stays empty: nothing else of the customer is lost by it.
            CountryKind::Choice(values) => {
                let code = self.country(address.country.trim());
                if let Some((_, number)) = values.iter().find(|(listed, _)| listed == &code) {
                    change.set(columns.country.clone(), Cell::Number(Amount::new((*number).into())));
                }
            }
        }
        change
    }

    /// The row of a person at the customer's whom the CRM does not know.
    #[must_use]
    pub fn new_contact(&self, person: &Member) -> RowChange {
        let mut change = self.constants(Table::Contact);
        let columns = &self.contact;
        for (column, text, room) in [
            (&columns.first_name, &person.first_name, 50),
            (&columns.last_name, &person.last_name, 50),
            (&columns.email, &person.email, 100),
            (&columns.phone, &person.phone_number, 50),
        ] {
            set_text(&mut change, column, text, room);
        }
        change
    }

    /// The mail domain of a person, unless anybody may have an address there.
    #[must_use]
    pub fn company_domain(&self, person: &Member) -> Option<String> {
        let (_, domain) = person.email.trim().rsplit_once('@')?;
        let domain = domain.to_lowercase();
        let is_domain = domain.contains('.')
            && domain
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        (is_domain && !self.free_mail.contains(&domain)).then_some(domain)
    }

    /// Whether an account is at home in a mail domain and a country: its web site or mail address is there, and its
    /// country is the same, or nobody entered one.
    #[must_use]
    pub fn is_at_home(&self, account: &Row, domain: &str, country: &str) -> bool {
        let is_there = |host: &str| {
            let host = host.to_lowercase();
            let rest = host.strip_suffix(domain);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let site = account.text(&self.account.website).unwrap_or_default().trim();
        let site = site.split_once("://").map_or(site, |(_, rest)| rest);
        let host = site.split(['/', ':', '?', '#']).next().unwrap_or_default();
        let mail = account.text(&self.account.email).unwrap_or_default().trim();
        let mail = mail.rsplit_once('@').map_or("", |(_, host)| host);
        let there = self.country_of(account);
        (is_there(host) || is_there(mail))
            && (there.is_empty() || country.trim().is_empty() || there == self.country(country.trim()))
    }
}

pub(crate) fn set_text(change: &mut RowChange, column: &str, text: &str, room: usize) {
    let text = cut(text.trim(), room).0.trim_end();
    if !text.is_empty() {
        change.set(column, Cell::Text(text.to_owned()));
    }
}
