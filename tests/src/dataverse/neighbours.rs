//! The tables around opportunities and leads, as data.
//!
//! Knows: names, types, limits, navigation names. Refuses to know: rows and requests. Guarantee: tables that the
//! connector's role may only read say so here.

use super::schema::{Column, Kind, More, State, Table, Target};
use super::tables::{ACCOUNT, AMOUNT, addressed, lookup, owned, priced, stamped};

use Kind::{Boolean, Decimal, Guid, Instant, Lookup, Memo, Text, Whole};

pub(super) const ACTIVE_STATES: &[State] = &[
    State {
        value: 0,
        label: "Active",
        statuses: &[(1, "Active")],
    },
    State {
        value: 1,
        label: "Inactive",
        statuses: &[(2, "Inactive")],
    },
];

const CLOSE_STATES: &[State] = &[
    State {
        value: 0,
        label: "Open",
        statuses: &[(1, "Open")],
    },
    State {
        value: 1,
        label: "Completed",
        statuses: &[(2, "Completed")],
    },
    State {
        value: 2,
        label: "Canceled",
        statuses: &[(3, "Canceled")],
    },
];

pub(super) fn account() -> Table {
    let mut columns = owned("accountid");
    columns.extend(addressed());
    columns.extend([
        Column::new("name", Text(160)),
        Column::new("accountnumber", Text(20)),
        Column::new("emailaddress1", Text(100)),
        Column::new("telephone1", Text(50)),
        Column::new("websiteurl", Text(200)),
        Column::new("description", Memo(2000)),
        Column::new("parentaccountid", Lookup(&[ACCOUNT])),
    ]);
    Table {
        name: "account",
        schema: "Account",
        set: "accounts",
        key: "accountid",
        primary_name: "name",
        columns,
        keys: Vec::new(),
        states: ACTIVE_STATES,
        writable: true,
        tracked: true,
        more: More::default(),
    }
}

pub(super) fn contact() -> Table {
    let mut columns = owned("contactid");
    columns.extend(addressed());
    columns.extend([
        Column::new("firstname", Text(50)),
        Column::new("lastname", Text(50)),
        Column::new("fullname", Text(160)).read_only(),
        Column::new("emailaddress1", Text(100)),
        Column::new("jobtitle", Text(100)),
        Column::new("telephone1", Text(50)),
        Column::new("mobilephone", Text(50)),
        Column::new("websiteurl", Text(200)),
        Column::new("description", Memo(2000)),
        Column::new(
            "parentcustomerid",
            lookup!("parentcustomerid_account" => "account", "parentcustomerid_contact" => "contact"),
        ),
    ]);
    Table {
        name: "contact",
        schema: "Contact",
        set: "contacts",
        key: "contactid",
        primary_name: "fullname",
        columns,
        keys: Vec::new(),
        states: ACTIVE_STATES,
        writable: true,
        tracked: true,
        more: More::default(),
    }
}

pub(super) fn currency() -> Table {
    let mut columns = stamped("transactioncurrencyid");
    columns.extend([
        Column::new("statecode", Kind::State).update_only(),
        Column::new("statuscode", Kind::Status),
        Column::new("isocurrencycode", Text(5)),
        Column::new("currencyname", Text(100)),
        Column::new("currencysymbol", Text(13)),
        Column::new("currencyprecision", Whole(0, 10)),
        Column::new("exchangerate", Decimal(12)),
    ]);
    Table {
        name: "transactioncurrency",
        schema: "TransactionCurrency",
        set: "transactioncurrencies",
        key: "transactioncurrencyid",
        primary_name: "currencyname",
        columns,
        keys: Vec::new(),
        states: ACTIVE_STATES,
        writable: false,
        tracked: false,
        more: More::default(),
    }
}

pub(super) fn user() -> Table {
    let mut columns = stamped("systemuserid");
    columns.extend([
        Column::new("fullname", Text(200)).read_only(),
        Column::new("firstname", Text(256)),
        Column::new("lastname", Text(256)),
        Column::new("internalemailaddress", Text(100)),
        Column::new("domainname", Text(1024)),
        Column::new("title", Text(128)),
        Column::new("jobtitle", Text(100)),
        Column::new("mobilephone", Text(64)),
        Column::new("address1_telephone1", Text(64)),
        Column::new("isdisabled", Boolean).default(0),
        Column::new("applicationid", Guid),
    ]);
    Table {
        name: "systemuser",
        schema: "SystemUser",
        set: "systemusers",
        key: "systemuserid",
        primary_name: "fullname",
        columns,
        keys: Vec::new(),
        states: &[],
        writable: false,
        tracked: false,
        more: More::default(),
    }
}

pub(super) fn opportunity_close() -> Table {
    let mut columns = owned("activityid");
    columns.extend(priced());
    columns.extend([
        Column::new("subject", Text(200)),
        Column::new("description", Memo(2000)),
        Column::new("actualrevenue", AMOUNT),
        Column::new("actualstart", Instant),
        Column::new("actualend", Instant),
        Column::new("opportunityid", lookup!("opportunityid" => "opportunity")),
        Column::new("opportunitystatecode", Whole(0, 2)).read_only(),
        Column::new("opportunitystatuscode", Whole(0, i32::MAX as i64)).read_only(),
    ]);
    Table {
        name: "opportunityclose",
        schema: "OpportunityClose",
        set: "opportunitycloses",
        key: "activityid",
        primary_name: "subject",
        columns,
        keys: Vec::new(),
        states: CLOSE_STATES,
        writable: false,
        tracked: false,
        more: More::default(),
    }
}

pub(super) fn organization() -> Table {
    let mut columns = stamped("organizationid");
    columns.extend([
        Column::new("name", Text(160)),
        Column::new("languagecode", Whole(0, i32::MAX as i64)),
        Column::new("expirechangetrackingindays", Whole(0, 365)),
        Column::new("basecurrencyid", lookup!("basecurrencyid" => "transactioncurrency")),
    ]);
    Table {
        name: "organization",
        schema: "Organization",
        set: "organizations",
        key: "organizationid",
        primary_name: "name",
        columns,
        keys: Vec::new(),
        states: &[],
        writable: false,
        tracked: false,
        more: More::default(),
    }
}

pub(super) fn deal_solution() -> Table {
    let mut columns = owned("cosell_dealsolutionid");
    columns.extend(priced());
    columns.extend([
        Column::named("cosell_Name", "cosell_name", Text(100)),
        Column::named("cosell_SolutionId", "cosell_solutionid", Text(100)),
        Column::named("cosell_PublisherName", "cosell_publishername", Text(200)),
        Column::named("cosell_SolutionType", "cosell_solutiontype", Text(20)),
        Column::named("cosell_Quantity", "cosell_quantity", Whole(0, i32::MAX as i64)),
        Column::named("cosell_Price", "cosell_price", AMOUNT),
        Column::named(
            "cosell_OpportunityId",
            "cosell_opportunityid",
            lookup!("cosell_OpportunityId" => "opportunity"),
        ),
        Column::named("cosell_LeadId", "cosell_leadid", lookup!("cosell_LeadId" => "lead")),
    ]);
    Table {
        name: "cosell_dealsolution",
        schema: "cosell_DealSolution",
        set: "cosell_dealsolutions",
        key: "cosell_dealsolutionid",
        primary_name: "cosell_name",
        columns,
        keys: Vec::new(),
        states: ACTIVE_STATES,
        writable: true,
        tracked: true,
        more: More::default(),
    }
}
