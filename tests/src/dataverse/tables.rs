//! The tables of the simulated environment, as data: opportunities and leads with the columns of the co-sell solution.
//!
//! Knows: names, types, limits, choices, navigation names. Refuses to know: rows and requests. Guarantee: a column that
//! is not listed here or in `neighbours` does not exist for any request.

use super::schema::{AlternateKey, Column, Index, Kind, More, Named, State, Table, Target};
use super::{components, neighbours};

use Kind::{Boolean, Choice, Date, Decimal, Guid, Instant, Lookup, Memo, Money, Text, Whole};

const TRILLION: i64 = 1_000_000_000_000;
pub(super) const AMOUNT: Kind = Money(-TRILLION, TRILLION);

pub(super) const ACCOUNT: Target = Target {
    navigation: "parentaccountid",
    table: "account",
};
const CONTACT: Target = Target {
    navigation: "parentcontactid",
    table: "contact",
};
const CURRENCY: Target = Target {
    navigation: "transactioncurrencyid",
    table: "transactioncurrency",
};

/// A lookup from navigation names to the tables they lead to.
macro_rules! lookup {
    ($($navigation:literal => $table:literal),+) => {
        Lookup(&[$(Target { navigation: $navigation, table: $table }),+])
    };
}
pub(super) use lookup;

const OPPORTUNITY_STATES: &[State] = &[
    State {
        value: 0,
        label: "Open",
        statuses: &[(1, "In Progress"), (2, "On Hold")],
    },
    State {
        value: 1,
        label: "Won",
        statuses: &[(3, "Won")],
    },
    State {
        value: 2,
        label: "Lost",
        statuses: &[(4, "Canceled"), (5, "Out-Sold")],
    },
];

const LEAD_STATES: &[State] = &[
    State {
        value: 0,
        label: "Open",
        statuses: &[(1, "New"), (2, "Contacted")],
    },
    State {
        value: 1,
        label: "Qualified",
        statuses: &[(3, "Qualified")],
    },
    State {
        value: 2,
        label: "Disqualified",
        statuses: &[
            (4, "Lost"),
            (5, "Cannot Contact"),
            (6, "No Longer Interested"),
            (7, "Canceled"),
        ],
    },
];

const HELP: &[Named] = &[
    (727_000_000, "Workload specific value proposition"),
    (727_000_001, "Customer technical architecture"),
    (727_000_002, "Proof of concept or demo"),
    (727_000_003, "Quotes or licensing"),
    (727_000_004, "Post sales customer success"),
    (727_000_005, "General or other"),
];

const SYNC_STATUS: &[Named] = &[
    (727_000_000, "Not synced"),
    (727_000_001, "Synced"),
    (727_000_002, "Error"),
    (727_000_003, "Waiting"),
    (727_000_004, "Paused"),
];

const TIME_FRAMES: &[Named] = &[
    (0, "Immediate"),
    (1, "This Quarter"),
    (2, "Next Quarter"),
    (3, "This Year"),
    (4, "Unknown"),
];

/// All tables.
pub(super) fn all() -> Vec<Table> {
    vec![
        opportunity(),
        lead(),
        neighbours::account(),
        neighbours::contact(),
        neighbours::currency(),
        neighbours::user(),
        neighbours::opportunity_close(),
        neighbours::organization(),
        neighbours::deal_solution(),
        components::publisher(),
        components::solution(),
    ]
}

/// Whether a name is the co-sell solution's, by its publisher's prefix.
pub(super) fn is_co_sell(name: &str) -> bool {
    name.starts_with("cosell_")
}

/// Columns that every user-owned table carries.
pub(super) fn owned(key: &'static str) -> Vec<Column> {
    let mut columns = unowned(key);
    columns.extend([
        Column::new("ownerid", lookup!("ownerid" => "systemuser")),
        Column::new("owninguser", lookup!("owninguser" => "systemuser")).read_only(),
    ]);
    columns
}

/// Columns that every table of the organization carries.
pub(super) fn unowned(key: &'static str) -> Vec<Column> {
    let mut columns = stamped(key);
    columns.extend([
        Column::new("statecode", Kind::State).update_only(),
        Column::new("statuscode", Kind::Status),
        Column::new("overriddencreatedon", Instant).create_only(),
        Column::new("importsequencenumber", Whole(i32::MIN as i64, i32::MAX as i64)).create_only(),
    ]);
    columns
}

/// Columns that every table carries.
pub(super) fn stamped(key: &'static str) -> Vec<Column> {
    vec![
        Column::new(key, Kind::Key).create_only(),
        Column::new("createdon", Instant).read_only(),
        Column::new("modifiedon", Instant).read_only(),
        Column::new("createdby", lookup!("createdby" => "systemuser")).read_only(),
        Column::new("modifiedby", lookup!("modifiedby" => "systemuser")).read_only(),
        Column::new("versionnumber", Kind::Version).read_only(),
    ]
}

/// Columns of every table that holds amounts.
pub(super) fn priced() -> [Column; 2] {
    [
        Column::new("transactioncurrencyid", Lookup(&[CURRENCY])),
        Column::new("exchangerate", Decimal(12)).read_only(),
    ]
}

pub(super) fn addressed() -> [Column; 6] {
    [
        Column::new("address1_line1", Text(250)),
        Column::new("address1_line2", Text(250)),
        Column::new("address1_city", Text(80)),
        Column::new("address1_stateorprovince", Text(50)),
        Column::new("address1_postalcode", Text(20)),
        Column::new("address1_country", Text(80)),
    ]
}

/// The columns that the co-sell solution adds to `opportunity` and `lead`.
fn co_sell() -> [Column; 12] {
    [
        Column::named("cosell_SyncWithPartnerCenter", "cosell_syncwithpartnercenter", Boolean).default(0),
        Column::named("cosell_ReferralIdentifier", "cosell_referralidentifier", Text(100)),
        Column::named("cosell_ReferralLink", "cosell_referrallink", Kind::Link(500)),
        Column::named("cosell_HowCanMicrosoftHelp", "cosell_howcanmicrosofthelp", Choice(HELP)),
        Column::named("cosell_ReferralVisibility", "cosell_referralvisibility", Boolean).default(0),
        Column::named("cosell_MicrosoftCrmId", "cosell_microsoftcrmid", Text(100)),
        Column::named("cosell_ReferralProgram", "cosell_referralprogram", Text(100)),
        Column::named("cosell_Solutions", "cosell_solutions", Memo(4000)),
        Column::named("cosell_NotesToMicrosoft", "cosell_notestomicrosoft", Memo(2000)),
        Column::named("cosell_CloseReason", "cosell_closereason", Text(200)),
        Column::named("cosell_Audit", "cosell_audit", Memo(100_000)),
        Column::named("cosell_SyncStatus", "cosell_syncstatus", Choice(SYNC_STATUS)).default(727_000_000),
    ]
}

const REFERRAL_KEY: AlternateKey = AlternateKey {
    schema: "cosell_ReferralKey",
    column: "cosell_referralidentifier",
    index: Index::Active,
};

fn opportunity() -> Table {
    let mut columns = owned("opportunityid");
    columns.extend(priced());
    columns.extend(co_sell());
    columns.extend([
        Column::new("name", Text(300)),
        Column::new("description", Memo(2000)),
        Column::new("currentsituation", Memo(2000)),
        Column::new("customerneed", Memo(2000)),
        Column::new("customerpainpoints", Memo(2000)),
        Column::new("proposedsolution", Memo(2000)),
        Column::new("qualificationcomments", Memo(2000)),
        Column::new("quotecomments", Memo(2000)),
        Column::new("estimatedvalue", AMOUNT),
        Column::new("estimatedvalue_base", Decimal(4)).read_only(),
        Column::new("actualvalue", AMOUNT),
        Column::new("budgetamount", Money(0, TRILLION)),
        Column::new(
            "budgetstatus",
            Choice(&[
                (0, "No Committed Budget"),
                (1, "May Buy"),
                (2, "Can Buy"),
                (3, "Will Buy"),
            ]),
        ),
        Column::new("isrevenuesystemcalculated", Boolean).default(0),
        Column::new("estimatedclosedate", Date),
        Column::new("actualclosedate", Date),
        Column::new("finaldecisiondate", Date),
        Column::new("closeprobability", Whole(0, 100)),
        Column::new("opportunityratingcode", Choice(&[(1, "Hot"), (2, "Warm"), (3, "Cold")])),
        Column::new("prioritycode", Choice(&[(1, "Default Value")])).default(1),
        Column::new(
            "salesstage",
            Choice(&[(0, "Qualify"), (1, "Develop"), (2, "Propose"), (3, "Close")]),
        ),
        Column::new("salesstagecode", Choice(&[(1, "Default Value")])).default(1),
        Column::new("stepname", Text(200)),
        Column::new("stepid", Guid),
        Column::new("stageid", Guid),
        Column::new("processid", Guid),
        Column::new("traversedpath", Text(1250)),
        Column::new(
            "customerid",
            lookup!("customerid_account" => "account", "customerid_contact" => "contact"),
        ),
        Column::new("parentaccountid", Lookup(&[ACCOUNT])),
        Column::new("parentcontactid", Lookup(&[CONTACT])),
        Column::new("originatingleadid", lookup!("originatingleadid" => "lead")),
        Column::new(
            "need",
            Choice(&[
                (0, "Must have"),
                (1, "Should have"),
                (2, "Good to have"),
                (3, "No need"),
            ]),
        ),
        Column::new("timeline", Choice(TIME_FRAMES)),
        Column::new("purchasetimeframe", Choice(TIME_FRAMES)),
        Column::new(
            "purchaseprocess",
            Choice(&[(0, "Individual"), (1, "Committee"), (2, "Unknown")]),
        ),
        Column::new(
            "initialcommunication",
            Choice(&[(0, "Contacted"), (1, "Not Contacted")]),
        ),
        Column::new("pricingerrorcode", Whole(0, 38)).default(0),
        Column::new("skippricecalculation", Whole(0, 1)),
        Column::new("totalamount", AMOUNT).update_only(),
        Column::new("totallineitemamount", AMOUNT).update_only(),
        Column::new("totaltax", AMOUNT).update_only(),
        Column::new("emailaddress", Text(100)),
        Column::new(
            "msdyn_forecastcategory",
            Choice(&[
                (100_000_001, "Pipeline"),
                (100_000_002, "Best case"),
                (100_000_003, "Committed"),
                (100_000_004, "Omitted"),
                (100_000_005, "Won"),
                (100_000_006, "Lost"),
            ]),
        ),
    ]);
    Table {
        name: "opportunity",
        schema: "Opportunity",
        set: "opportunities",
        key: "opportunityid",
        primary_name: "name",
        columns,
        keys: vec![REFERRAL_KEY],
        states: OPPORTUNITY_STATES,
        writable: true,
        tracked: true,
        // A second language, which a careless replacement of the definition loses.
        more: More {
            display: vec![(1033, "Opportunity".to_owned()), (1031, "Verkaufschance".to_owned())],
            plural: vec![(1033, "Opportunities".to_owned()), (1031, "Verkaufschancen".to_owned())],
            ..More::default()
        },
    }
}

fn lead() -> Table {
    let mut columns = owned("leadid");
    columns.extend(priced());
    columns.extend(addressed());
    columns.extend(co_sell());
    columns.extend([
        Column::new("subject", Text(300)),
        Column::new("firstname", Text(50)),
        Column::new("lastname", Text(50)),
        Column::new("fullname", Text(160)).read_only(),
        Column::new("companyname", Text(100)),
        Column::new("emailaddress1", Text(100)),
        Column::new("jobtitle", Text(100)),
        Column::new("telephone1", Text(50)),
        Column::new("mobilephone", Text(20)),
        Column::new("websiteurl", Text(200)),
        Column::new("description", Memo(2000)),
        Column::new("estimatedamount", AMOUNT),
        Column::new("estimatedamount_base", Decimal(4)).read_only(),
        Column::new("estimatedclosedate", Date),
        Column::new("parentaccountid", Lookup(&[ACCOUNT])),
        Column::new("parentcontactid", Lookup(&[CONTACT])),
    ]);
    Table {
        name: "lead",
        schema: "Lead",
        set: "leads",
        key: "leadid",
        primary_name: "subject",
        columns,
        keys: vec![REFERRAL_KEY],
        states: LEAD_STATES,
        writable: true,
        tracked: true,
        more: More::default(),
    }
}
