//! Which requests a plan is made of: paths, order, what travels alone, what stands on what.

use std::sync::Arc;

use jiff::SignedDuration;
use uuid::Uuid;

use super::*;
use crate::deal::Help;
use crate::ids::{Etag, LinkId, TenantId};
use crate::mapping::DEFAULT;
use crate::referral::{CustomerProfile, Reading};

const OPPORTUNITY: &str = "b1f0a3d2-1112-4a6e-9d51-000d3a3be645";

fn policy() -> Policy {
    Policy {
        tenant: TenantId::new(Uuid::from_u128(1)),
        mapping: Arc::new(Mapping::parse(DEFAULT).unwrap()),
        cosell_only: true,
        display_checkmark: true,
        settle: SignedDuration::from_secs(600),
        waits_percent: 100,
        dry_run: false,
        close_delay: SignedDuration::ZERO,
        paused: None,
    }
}

/// A referral; `status` and what else is given are members of the JSON.
fn referral(status: &str, more: &str) -> Referral {
    serde_json::from_str(&format!(
        r#"{{"id":"8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10","eTag":"\"r\"","externalReferenceId":"{OPPORTUNITY}","name":"Deal",
            {status},"consent":{{"consentToShareReferralWithMicrosoftSellers":true}},
            "details":{{"notes":"Notes","dealValue":100,"currency":"EUR","closingDateTime":"2026-06-30T00:00:00Z",
            "requirements":{{"solutions":[{{"id":"SOL-1","price":7}}]}}}}{more}}}"#
    ))
    .unwrap()
}

/// Columns and what they show.
type Edits<'a> = &'a [(&'a str, Cell)];

/// An opportunity; what is given replaces what the referral above says.
fn row(edits: Edits<'_>) -> Row {
    let row: Row = serde_json::from_str(
        r#"{"@odata.etag":"W/\"o\"","name":"Deal","estimatedvalue":100,"estimatedclosedate":"2026-06-30","description":"Notes",
            "statecode":0,"statuscode":1,"cosell_referralvisibility":true,"cosell_solutions":"SOL-1",
            "cosell_opportunity_dealsolution":[],"transactioncurrencyid":{"isocurrencycode":"EUR","currencyprecision":2}}"#,
    )
    .unwrap();
    let mut cells: BTreeMap<String, Cell> = row
        .cells()
        .map(|(column, cell)| (column.to_owned(), cell.clone()))
        .collect();
    cells.extend(edits.iter().map(|(column, cell)| ((*column).to_owned(), cell.clone())));
    Row::from_cells(row.etag, cells)
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn number(number: i64) -> Cell {
    Cell::Number(Amount::new(number.into()))
}

const ACTIVE: &str = r#""status":"Active","substatus":"Accepted""#;
const NEW: &str = r#""status":"New","substatus":"Pending""#;
const WON: &str = r#""status":"Closed","substatus":"Won""#;

fn link() -> Link {
    let opportunity: OpportunityId = OPPORTUNITY.parse().unwrap();
    let mut link = Link::new(LinkId::from(opportunity));
    link.opportunity = Some(opportunity);
    link.referral = Some(referral(ACTIVE, "").id);
    link.referenced = true;
    link.shown.referral = link.referral;
    link.shown.status = Some(SyncStatus::Synced);
    link
}

fn base(referral: &Referral, row: &Row) -> Base {
    Base {
        referral: Terms::from_referral(referral),
        opportunity: policy().mapping.terms(row),
    }
}

/// Plans a deal that was in step with the two records of `before` and shows those of `now`.
fn planned(before: (&Referral, &Row), now: (Option<&Referral>, Option<&Row>), link: &Link) -> Result<Plan, Need> {
    planned_at(Timestamp::UNIX_EPOCH, &policy(), before, now, link)
}

/// The same at a time of its own, by other settings.
fn planned_at(
    at: Timestamp,
    policy: &Policy,
    before: (&Referral, &Row),
    now: (Option<&Referral>, Option<&Row>),
    link: &Link,
) -> Result<Plan, Need> {
    Look {
        at,
        now,
        ..Look::at_deal(policy, before, link)
    }
    .plan()
}

/// One look at a deal that was in step with the two records of `before`.
#[derive(Clone, Copy)]
struct Look<'a> {
    at: Timestamp,
    policy: &'a Policy,
    before: (&'a Referral, &'a Row),
    now: (Option<&'a Referral>, Option<&'a Row>),
    microsoft: Option<&'a Referral>,
    link: &'a Link,
    insists: bool,
}

impl<'a> Look<'a> {
    /// A look that finds both records as they were.
    fn at_deal(policy: &'a Policy, before: (&'a Referral, &'a Row), link: &'a Link) -> Self {
        Self {
            at: Timestamp::UNIX_EPOCH,
            policy,
            before,
            now: (Some(before.0), Some(before.1)),
            microsoft: None,
            link,
            insists: false,
        }
    }

    fn plan(self) -> Result<Plan, Need> {
        let base = base(self.before.0, self.before.1);
        let known = KnownCurrency {
            id: CurrencyId::new(Uuid::from_u128(9)),
            digits: 2,
        };
        let picture = Picture {
            link: self.link,
            base: Some(&base),
            referral: self.now.0,
            opportunity: self.now.1,
            microsoft: self.microsoft,
            currencies: &[(Currency::parse("USD").unwrap(), Some(known))].into(),
            taken: &BTreeSet::new(),
            refused_rows: &BTreeMap::new(),
            now: self.at,
            insists: self.insists,
            tries_again: false,
        };
        plan(&picture, self.policy)
    }
}

/// The plan after a change in Dynamics, as JSON, one PATCH a line.
fn patches(status: &str, edits: Edits<'_>, moved: Edits<'_>) -> Vec<String> {
    let (referral, before) = (referral(status, ""), row(edits));
    let row = row(&[edits, moved].concat());
    let plan = planned((&referral, &before), (Some(&referral), Some(&row)), &link()).unwrap();
    let patches = plan.referral.iter();
    patches
        .map(|(_, operations)| serde_json::to_string(operations).unwrap())
        .collect()
}

fn operation(path: &str, value: &str) -> String {
    format!(r#"{{"op":"replace","path":"{path}","value":{value}}}"#)
}

#[test]
fn each_field_has_its_paths() {
    let usd = Cell::Row(Box::new(Row::from_cells(
        None,
        [("isocurrencycode".to_owned(), text("USD"))].into(),
    )));
    let cases: [(Edits<'_>, Vec<String>); 5] = [
        (
            &[("description", text("New"))],
            vec![operation("/details/notes", r#""New""#)],
        ),
        (
            &[("description", Cell::Null)],
            vec![operation("/details/notes", r#""""#)],
        ),
        (
            &[("estimatedclosedate", text("2026-07-01"))],
            vec![operation("/details/closingDateTime", r#""2026-07-01T00:00:00Z""#)],
        ),
        (
            &[
                ("estimatedvalue", Cell::Number("12345678901234567.89".parse().unwrap())),
                ("transactioncurrencyid", usd),
            ],
            vec![
                operation("/details/dealValue", "12345678901234567.89"),
                operation("/details/currency", r#""USD""#),
            ],
        ),
        (
            // What stays on the list keeps the members that we do not know.
            &[("cosell_solutions", text("SOL-2\nSOL-1"))],
            vec![operation(
                "/details/requirements/solutions",
                r#"[{"id":"SOL-1","price":7},{"id":"SOL-2","name":"SOL-2","type":"Name"}]"#,
            )],
        ),
    ];
    for (moved, expected) in cases {
        assert_eq!(patches(ACTIVE, &[], moved), [format!("[{}]", expected.join(","))]);
    }
}

#[test]
fn the_life_cycle_of_the_referral_is_followed_request_by_request() {
    let hold = [("statuscode", number(2))];
    let accept = [
        operation("/status", r#""Active""#),
        operation("/substatus", r#""Accepted""#),
    ]
    .join(",");
    let close = |how: &str| {
        [
            operation("/status", r#""Closed""#),
            operation("/substatus", &format!("{how:?}")),
        ]
        .join(",")
    };
    let reason = |why: &str| operation("/statusReason", &format!("{why:?}"));
    let notes = operation("/details/notes", r#""New""#);
    let moved = |state: i64, status: i64| [("statecode", number(state)), ("statuscode", number(status))];
    let with_notes = |edits: [(&'static str, Cell); 2]| [edits.to_vec(), vec![("description", text("New"))]].concat();
    // Accepted, with what may travel along.
    assert_eq!(
        patches(NEW, &hold, &with_notes(moved(0, 1))),
        [format!("[{accept},{notes}]")]
    );
    // Nobody wins what was not accepted.
    assert_eq!(
        patches(NEW, &hold, &with_notes(moved(1, 3))),
        [format!("[{accept},{notes}]"), format!("[{}]", close("Won"))]
    );
    assert_eq!(
        patches(NEW, &hold, &moved(2, 4)),
        [format!("[{},{}]", close("Declined"), reason("Others"))]
    );
    // Closing comes last.
    let lost = [with_notes(moved(2, 5)), vec![("cosell_closereason", text("Too dear"))]].concat();
    assert_eq!(
        patches(ACTIVE, &[], &lost),
        [
            format!("[{notes}]"),
            format!("[{},{}]", close("Lost"), reason("Too dear"))
        ]
    );
    // Closed is closed.
    assert_eq!(
        patches(WON, &moved(1, 3), &with_notes(moved(2, 4))),
        Vec::<String>::new()
    );
}

#[test]
fn a_change_of_state_of_the_opportunity_travels_alone() {
    let (before, open) = (referral(ACTIVE, ""), row(&[]));
    let won = referral(WON, "");
    let lost = row(&[("statecode", number(2)), ("statuscode", number(4))]);
    // A row that was closed otherwise is opened first.
    for (now, opens) in [(&open, 0), (&lost, 1)] {
        let plan = planned((&before, &open), (Some(&won), Some(now)), &link()).unwrap();
        let Some((OpportunityRequest::Close(close), others)) = plan.opportunity.split_last() else {
            panic!("{:?}", plan.opportunity)
        };
        assert_eq!((close.won, close.status), (true, 3));
        let changes = others.iter().map(|request| match request {
            OpportunityRequest::Update(change) => serde_json::to_string(change).unwrap(),
            OpportunityRequest::Close(_) | OpportunityRequest::Qualify => panic!("closed twice"),
        });
        let states: Vec<_> = changes.filter(|change| change.contains("state")).collect();
        assert_eq!(states, vec![r#"{"statecode":0,"statuscode":1}"#; opens]);
    }
}

#[test]
fn an_action_without_a_version_wants_a_row_just_read() {
    let (before, open) = (referral(ACTIVE, ""), row(&[]));
    let won = referral(WON, "");
    let mut link = link();
    link.etags.opportunity = Some(Etag("W/\"o\"".to_owned()));
    let need = planned((&before, &open), (Some(&won), None), &link).unwrap_err();
    assert_eq!(need, Need::Opportunity);
}

#[test]
fn a_side_that_was_not_read_is_written_only_on_a_known_version() {
    let (before, open) = (referral(ACTIVE, ""), row(&[]));
    let edited = row(&[("description", text("New"))]);
    let mut link = link();
    assert_eq!(
        planned((&before, &open), (None, Some(&edited)), &link).unwrap_err(),
        Need::Referral
    );
    link.etags.referral = Some(Etag("\"r\"".to_owned()));
    let plan = planned((&before, &open), (None, Some(&edited)), &link).unwrap();
    assert_eq!(plan.referral.len(), 1);
}

#[test]
fn somebody_elses_reference_is_not_overwritten() {
    let (mut referral, row) = (referral(ACTIVE, ""), row(&[]));
    let of = |referral: &Referral| planned((referral, &row), (Some(referral), Some(&row)), &link()).unwrap();
    assert!(!of(&referral).writes());
    referral.external_reference_id = Some("  ".to_owned());
    assert_eq!(
        serde_json::to_string(&of(&referral).referral.first().unwrap().1).unwrap(),
        format!("[{}]", operation("/externalReferenceId", &format!("{OPPORTUNITY:?}")))
    );
    for foreign in ["CRM-77", "00000000-0000-0000-0000-000000000001"] {
        referral.external_reference_id = Some(foreign.to_owned());
        let plan = of(&referral);
        assert!(plan.referral.is_empty());
        assert_eq!(
            plan.attention.iter().map(|finding| finding.code).collect::<Vec<_>>(),
            [Code::ReferenceNamesNothing]
        );
    }
}

#[test]
fn a_name_takes_a_mark_only_where_there_is_room() {
    let mut shown = link();
    shown.shown.status = Some(SyncStatus::Waiting);
    for (length, marked) in [(298, true), (299, false), (300, false)] {
        let name = "x".repeat(length);
        let (mut referral, row) = (referral(ACTIVE, ""), row(&[("name", text(&name))]));
        referral.name = Some(name.clone());
        let plan = planned((&referral, &row), (Some(&referral), Some(&row)), &shown).unwrap();
        let [OpportunityRequest::Update(change)] = plan.opportunity.as_slice() else {
            panic!("{:?}", plan.opportunity)
        };
        let written = change
            .cells()
            .find(|(column, _)| *column == "name")
            .map(|(_, cell)| cell.clone());
        assert_eq!(
            written,
            Some(text(&if marked { format!("✔ {name}") } else { name })),
            "{length}"
        );
    }
}

#[test]
fn another_currency_brings_its_own_digits() {
    let (before, row) = (referral(ACTIVE, ""), row(&[]));
    let mut now = referral(ACTIVE, "");
    now.details.currency = Some("JPY".to_owned());
    let base = base(&before, &row);
    let link = link();
    let yen = Currency::parse("JPY").unwrap();
    let with = |currencies: BTreeMap<Currency, Option<KnownCurrency>>| {
        let picture = Picture {
            link: &link,
            base: Some(&base),
            referral: Some(&now),
            opportunity: Some(&row),
            microsoft: None,
            currencies: &currencies,
            taken: &BTreeSet::new(),
            refused_rows: &BTreeMap::new(),
            now: Timestamp::UNIX_EPOCH,
            insists: false,
            tries_again: false,
        };
        plan(&picture, &policy())
    };
    assert_eq!(with(BTreeMap::new()).unwrap_err(), Need::Currency(yen.clone()));
    let known = KnownCurrency {
        id: CurrencyId::new(Uuid::from_u128(9)),
        digits: 0,
    };
    let plan = with([(yen.clone(), Some(known))].into()).unwrap();
    assert_eq!(plan.money_digits, 0);
    let missing = with([(yen, None)].into()).unwrap();
    assert!(!missing.writes() || missing.shown.status == Some(SyncStatus::Error));
    assert_eq!(
        missing.attention.first().map(|finding| finding.code),
        Some(Code::CurrencyMissing)
    );
    assert_eq!(missing.merged.base, base);
}

#[test]
fn the_trail_is_bounded_and_newest_first() {
    let now: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
    let mut lines = Vec::new();
    for number in 0..100 {
        let finding = Finding::new(Code::Carried, format!("change\n{number} {}", "😀".repeat(400)));
        journal(&mut lines, &[finding], now);
    }
    assert_eq!(lines.len(), JOURNAL_LINES);
    assert!(
        lines
            .first()
            .is_some_and(|line| line.starts_with("2026-03-02 08:00 UTC - change 99 "))
    );
    assert!(lines.iter().all(|line| line.encode_utf16().count() <= JOURNAL_WIDTH));
}

#[test]
fn nobody_is_taken_off_a_list_of_people() {
    let bo = Member {
        first_name: "Bo".to_owned(),
        last_name: "Berg".to_owned(),
        phone_number: "1".to_owned(),
        email: "bo@partner.example".to_owned(),
    };
    let people = Term::people(&[bo]);
    let shows = |team: &str| -> Referral {
        serde_json::from_str(&format!(
            r#"{{"id":"8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10","team":{team},"customerProfile":{{"team":{team}}}}}"#
        ))
        .unwrap()
    };
    for (field, whole, one) in [
        (Field::Team, "/team", "/team/-"),
        (Field::Contacts, "/customerProfile/team", "/customerProfile/team/-"),
    ] {
        let paths = |referral: Option<&Referral>| {
            let operations = operations(field, &people, &Term::Nothing, referral, &[])?;
            Some(operations.iter().map(|operation| operation.path).collect::<Vec<_>>())
        };
        // A base from before lists were carried says nothing of who is on them.
        assert_eq!(paths(None), None);
        assert_eq!(paths(Some(&shows("[]"))), Some(vec![whole]));
        // Somebody without a mail address is on the list all the same.
        let listed = shows(r#"[{"firstName":"Nobody"}]"#);
        let known = Terms::from_referral(&listed).get(field).clone();
        let operations = operations(field, &people, &known, Some(&listed), &[]).unwrap();
        assert_eq!(
            operations.iter().map(|operation| operation.path).collect::<Vec<_>>(),
            [one]
        );
    }
}

#[test]
fn help_wanted_on_a_deal_that_microsoft_sent_is_explained_once() {
    let by = |organisation: &str| {
        let sent =
            format!(r#","organizationId":"us","inviteContext":{{"invitedBy":{{"organizationId":{organisation:?}}}}}"#);
        referral(ACTIVE, &sent)
    };
    let before = row(&[]);
    let wanted = row(&[("cosell_howcanmicrosofthelp", number(727_000_003))]);
    for (sender, half, told) in [
        ("msft", true, "Microsoft sent this deal itself"),
        ("msft", false, "Microsoft sent this deal itself"),
        ("them", true, "another partner sent this deal"),
        // What was asked for this one, before that was written down, is not known.
        ("us", true, ""),
    ] {
        let sent = by(sender);
        let mut link = link();
        link.etags.referral = sent.etag.clone();
        link.microsoft = half.then_some(sent.id);
        let need = planned((&sent, &before), (None, Some(&wanted)), &link).unwrap_err();
        assert_eq!(need, Need::Referral, "{sender}");
        let plan = planned((&sent, &before), (Some(&sent), Some(&wanted)), &link).unwrap();
        let texts: Vec<_> = plan.findings.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(texts.len(), usize::from(!told.is_empty()), "{sender}: {texts:?}");
        assert!(texts.iter().all(|text| text.starts_with(told)), "{sender}: {texts:?}");
        // The seller reads it in the trail, which is written by itself, and that once.
        assert_eq!(plan.opportunity.len(), texts.len(), "{sender}");
        link.asked = plan.asked;
        let again = planned((&sent, &before), (Some(&sent), Some(&wanted)), &link).unwrap();
        assert_eq!(
            (again.findings, again.opportunity),
            (Vec::new(), Vec::new()),
            "{sender}"
        );
        if !told.is_empty() {
            // Nor does any later look need the referral for it.
            let later = planned((&sent, &before), (None, Some(&wanted)), &link).unwrap();
            assert_eq!(later.asked, link.asked, "{sender}");
            // A wish that is withdrawn was never one that somebody was asked for.
            let withdrawn = planned((&sent, &before), (Some(&sent), Some(&before)), &link).unwrap();
            assert_eq!(
                (withdrawn.findings, withdrawn.opportunity),
                (Vec::new(), Vec::new()),
                "{sender}"
            );
        }
    }
}

/// What becomes of a deal that the seller closed, looked at so many seconds into the epoch; `seen` is what an earlier look
/// saw and since when.
fn closing_looked_at(at: i64, seen: Option<(Stage, i64)>) -> Plan {
    let time = |seconds| Timestamp::from_second(seconds).unwrap();
    let (referral, before) = (referral(ACTIVE, ""), row(&[]));
    let won = row(&[("statecode", number(1)), ("statuscode", number(3))]);
    let policy = Policy {
        close_delay: SignedDuration::from_secs(300),
        ..policy()
    };
    let mut link = link();
    link.closing = seen.map(|(stage, since)| Closing {
        stage: Term::stage(stage, None),
        since: time(since),
    });
    let now = (Some(&referral), Some(&won));
    planned_at(time(at), &policy, (&referral, &before), now, &link).unwrap()
}

#[test]
fn a_closing_waits_its_time_from_when_it_was_first_seen() {
    let since = |plan: &Plan| plan.closing.as_ref().map(|closing| closing.since.as_second());
    let is_told = |plan: &Plan| !plan.referral.is_empty();
    let is_announced = |plan: &Plan| plan.findings.iter().any(|finding| finding.code == Code::Closing);
    let looks = [
        // At first sight it begins to wait, and the seller is told.
        (closing_looked_at(1_000, None), Some(1_000), false, true),
        // Seen before, it goes on waiting until its time is over, and is not announced again.
        (
            closing_looked_at(1_299, Some((Stage::Won, 1_000))),
            Some(1_000),
            false,
            false,
        ),
        (closing_looked_at(1_300, Some((Stage::Won, 1_000))), None, true, false),
        // Closed otherwise before, it begins anew.
        (
            closing_looked_at(1_400, Some((Stage::Lost, 1_000))),
            Some(1_400),
            false,
            true,
        ),
    ];
    for (number, (plan, waits_since, told, announced)) in looks.iter().enumerate() {
        assert_eq!(since(plan), *waits_since, "look {number}");
        assert_eq!(is_told(plan), *told, "look {number}: {:?}", plan.referral);
        assert_eq!(is_announced(plan), *announced, "look {number}: {:?}", plan.findings);
    }
}

fn particulars(help: Option<&str>) -> Particulars {
    let member = |json: &str| serde_json::from_str(json).unwrap();
    let contact = member(r#"{"firstName":"Ada","lastName":"B","phoneNumber":"+49 1","email":"ada@fabrikam.example"}"#);
    let seller = member(r#"{"firstName":"Sam","lastName":"C","phoneNumber":"+49 2","email":"sam@partner.example"}"#);
    Particulars {
        customer: CustomerProfile {
            name: "Fabrikam".to_owned(),
            team: vec![contact],
            ..CustomerProfile::default()
        },
        team: vec![seller],
        help: help.map(|help| Help(help.to_owned())),
        message: help.map(|_| "Please call Ada".to_owned()),
        solutions: Vec::new(),
    }
}

/// Both bodies member by member (`create-a-referral`): who is asked, what they are asked, and who may see the deal.
#[test]
fn a_deal_is_shared_with_all_that_partner_center_demands() {
    let policy = policy();
    let id: OpportunityId = OPPORTUNITY.parse().unwrap();
    let hidden = [("cosell_referralvisibility", Cell::Flag(false))];
    let terms = policy.mapping.terms(&row(&hidden));
    let (alone, help) = (particulars(None), particulars(Some("GeneralQuestions")));
    let own = new_referral(id, &terms, &alone, &policy.mapping).unwrap();
    let own_json = serde_json::to_value(&own).unwrap();
    let shared = new_referral(id, &terms, &help, &policy.mapping).unwrap();
    let shared_json = serde_json::to_value(&shared).unwrap();
    let engagement = EngagementId::new(Uuid::from_u128(7));
    let microsofts = serde_json::to_value(new_microsoft_referral(shared, engagement, &help)).unwrap();
    let (consent, sellers) = ("consent", "consentToShareReferralWithMicrosoftSellers");
    for (body, kind, target, is_visible) in [
        (&own_json, "Independent", serde_json::json!([]), false),
        (
            &shared_json,
            "Shared",
            serde_json::json!([{"type": "SolutionProfile", "id": "SOL-1"}]),
            true,
        ),
    ] {
        assert_eq!(body["type"], kind, "{body:#}");
        assert_eq!(body["target"], target, "{body:#}");
        assert_eq!(body[consent][sellers], is_visible, "{body:#}");
        assert_eq!(body["externalReferenceId"], OPPORTUNITY, "{body:#}");
        assert_eq!(body["qualification"], "SalesQualified", "{body:#}");
        assert_eq!(
            (&body["engagementId"], &body["inviteContext"]),
            (&serde_json::Value::Null, &serde_json::Value::Null)
        );
    }
    assert_eq!(microsofts["engagementId"], engagement.to_string());
    assert_eq!(
        microsofts["externalReferenceId"],
        serde_json::Value::Null,
        "the reference is the partner's own"
    );
    assert_eq!(microsofts["inviteContext"]["notes"], "Please call Ada");
    assert_eq!(microsofts["inviteContext"]["assistanceRequestCode"], "GeneralQuestions");
    assert_eq!(
        microsofts["target"],
        serde_json::json!([{"type": "BusinessProfileLocation", "id": MICROSOFT}])
    );
    for member in ["name", "details", "customerProfile", "team", "type", "consent"] {
        assert_eq!(microsofts[member], shared_json[member], "{member}");
    }
}

/// What Partner Center would refuse is asked of the seller before anything is sent.
#[test]
fn a_deal_that_cannot_be_sent_names_what_stands_in_its_way() {
    let policy = policy();
    let many = (0..101).map(|n| format!("SOL-{n}")).collect::<Vec<_>>().join("\n");
    for (edits, part) in [
        ([("cosell_solutions", text(&many))], "101 solutions"),
        ([("transactioncurrencyid", Cell::Null)], "currency"),
        ([("estimatedclosedate", Cell::Null)], "Est. Close Date"),
        ([("statecode", number(7))], "Status"),
    ] {
        let said = validate(&policy.mapping.terms(&row(&edits)), &particulars(None), &policy.mapping);
        assert!(said.iter().any(|said| said.text.contains(part)), "{part}: {said:#?}");
    }
    let terms = policy.mapping.terms(&row(&[]));
    let findings = validate(&terms, &particulars(None), &policy.mapping);
    assert!(findings.iter().all(|said| said.field.is_none()), "{findings:#?}");
}

/// The row of a referral: open in the state that goes with the answer, with its value only where its currency is known.
#[test]
fn an_opportunity_begins_as_its_referral_stands() {
    let policy = policy();
    let known = KnownCurrency {
        id: CurrencyId::new(Uuid::from_u128(9)),
        digits: 2,
    };
    for (status, reason, currency) in [(NEW, 2, Some(known)), (ACTIVE, 1, Some(known)), (WON, 1, None)] {
        let referral = referral(status, "");
        let terms = Terms::from_referral(&referral);
        let new = NewOpportunity {
            referral: &referral,
            terms: &terms,
            currency,
            account: None,
            contact: None,
        };
        let (change, base, findings) = new_opportunity(&new, &policy);
        let cells: BTreeMap<&str, &Cell> = change.cells().collect();
        assert_eq!(cells["statuscode"], &number(reason), "{status}");
        assert_eq!(cells["cosell_syncwithpartnercenter"], &Cell::Flag(true));
        assert_eq!(cells.contains_key("estimatedvalue"), currency.is_some(), "{status}");
        assert_eq!(
            base.opportunity.get(Field::Value) != &Term::Nothing,
            currency.is_some(),
            "{status}"
        );
        assert_eq!(findings, [], "{status}");
    }
    let contact = referral(
        ACTIVE,
        r#","customerProfile":{"team":[{"firstName":"Ada","lastName":"B"}]}"#,
    );
    let change = new_contact(&contact, Some(AccountId::new(Uuid::from_u128(3))), &policy.mapping).unwrap();
    let cells: BTreeMap<&str, &Cell> = change.cells().collect();
    assert_eq!(cells["firstname"], &text("Ada"));
    let bound = text(&format!("/accounts({})", Uuid::from_u128(3)));
    assert_eq!(cells["parentcustomerid_account@odata.bind"], &bound);
    assert_eq!(new_contact(&referral(ACTIVE, ""), None, &policy.mapping), None);
}

/// Why a deal was lost is told to whoever reads the closed row.
#[test]
fn a_closing_carries_its_reason() {
    let lost = r#""status":"Closed","substatus":"Lost","statusReason":"Budget""#;
    let (before, row) = (referral(ACTIVE, ""), row(&[]));
    let plan = planned((&before, &row), (Some(&referral(lost, "")), Some(&row)), &link()).unwrap();
    let closing = plan.opportunity.iter().find_map(|request| match request {
        OpportunityRequest::Close(close) => Some(close),
        _ => None,
    });
    let closing = closing.unwrap();
    assert_eq!((closing.won, closing.description.as_deref()), (false, Some("Budget")));
}

/// Members that not every referral shows are put there, and emptied with an empty text.
#[test]
fn a_member_that_may_be_missing_is_added_and_emptied() {
    let sent = |field, term: &Term| {
        let operations = operations(field, term, &Term::Nothing, None, &[]).unwrap();
        serde_json::to_string(&operations).unwrap()
    };
    for (field, path) in [(Field::Campaign, "/campaignId"), (Field::Program, "/referralProgram")] {
        for (term, value) in [(Term::text(Some("One")), "One"), (Term::Nothing, "")] {
            let said = sent(field, &term);
            assert!(
                said.contains(&format!(r#""path":"{path}","value":"{value}""#)),
                "{said}"
            );
        }
    }
}

/// Columns of a deal that lacks nothing, and wants help.
fn wants_help(edits: Edits<'_>) -> Row {
    let record = |cells: &[(&str, &str)]| {
        let cells = cells
            .iter()
            .map(|(column, value)| ((*column).to_owned(), text(value)))
            .collect();
        Cell::Row(Box::new(Row::from_cells(None, cells)))
    };
    let whole = [
        (
            "parentaccountid",
            record(&[
                ("name", "Fabrikam"),
                ("address1_line1", "Way 1"),
                ("address1_city", "Bonn"),
                ("address1_country", "Germany"),
            ]),
        ),
        (
            "parentcontactid",
            record(&[
                ("firstname", "Ada"),
                ("lastname", "B"),
                ("emailaddress1", "ada@fabrikam.example"),
                ("telephone1", "1"),
            ]),
        ),
        (
            "owninguser",
            record(&[
                ("firstname", "Sam"),
                ("lastname", "C"),
                ("internalemailaddress", "sam@partner.example"),
                ("mobilephone", "2"),
            ]),
        ),
        ("cosell_howcanmicrosofthelp", number(727_000_003)),
    ];
    row(&[&whole, edits].concat())
}

/// What is said of it, beside what moves.
fn texts(plan: &Plan) -> Vec<&str> {
    let said = plan.findings.iter().filter(|finding| finding.code != Code::Carried);
    said.map(|finding| finding.text.as_str()).collect()
}

/// Asking Microsoft for help shows it the deal, and that is told as a change of the row.
#[test]
fn a_hidden_deal_is_shown_to_whoever_is_asked_for_help() {
    let hidden = ("cosell_referralvisibility", Cell::Flag(false));
    let mut there = referral(ACTIVE, "");
    there.consent.consent_to_share_referral_with_microsoft_sellers = Reading::Value(false);
    let paused = |side| Policy {
        paused: side,
        ..policy()
    };
    for (is_hidden, side, reveals) in [
        (true, None, true),
        (false, None, false),
        (true, Some(Side::Dynamics), false),
    ] {
        let edits = if is_hidden { vec![hidden.clone()] } else { Vec::new() };
        let before = row(&edits);
        let wanted = wants_help(&edits);
        let there = if is_hidden { there.clone() } else { referral(ACTIVE, "") };
        let (policy, link) = (paused(side), link());
        let look = Look {
            now: (Some(&there), Some(&wanted)),
            ..Look::at_deal(&policy, (&there, &before), &link)
        };
        let plan = look.plan().unwrap();
        let case = format!("hidden {is_hidden}, paused {side:?}: {:?}", plan.findings);
        assert!(plan.invites, "{case}");
        let shows = plan.merged.changes.iter().any(|change| {
            (change.field, change.side, &change.new) == (Field::Visibility, Side::Dynamics, &Term::Flag(true))
        });
        assert_eq!(shows, reveals, "{case}");
        let is_written = plan.merged.toward_opportunity.get(Field::Visibility) == &Term::Flag(true);
        assert_eq!(is_written, reveals, "{case}");
    }
}

#[test]
fn help_is_asked_for_once_and_again_only_by_a_person() {
    let (there, before, wanted) = (referral(ACTIVE, ""), row(&[]), wants_help(&[]));
    let (policy, mut link) = (policy(), link());
    let help = policy.mapping.particulars(&wanted).help;
    let look = |link: &Link, there: &Referral, insists: bool| {
        let look = Look {
            now: (Some(there), Some(&wanted)),
            insists,
            ..Look::at_deal(&policy, (there, &before), link)
        };
        look.plan().unwrap()
    };
    assert!(look(&link, &there, false).invites);
    // Refused before: said, and tried again only if a person asks for it.
    link.asked = Some(Asked {
        help: help.clone(),
        refused: Some("no such solution".to_owned()),
    });
    let again = look(&link, &there, false);
    assert_eq!((again.invites, texts(&again)), (false, vec!["no such solution"]));
    let insisted = look(&link, &there, true);
    assert_eq!((insisted.invites, texts(&insisted)), (true, Vec::new()));
    // Asked for something else before, and answered: what is wanted now is for the notes.
    link.microsoft = Some(there.id);
    link.asked = Some(Asked {
        help: Some(Help("Other".to_owned())),
        refused: None,
    });
    let other = look(&link, &there, false);
    assert!(!other.invites);
    let wish = help.unwrap().0;
    assert_eq!(
        texts(&other),
        [format!(
            "Microsoft is asked for help once; that {wish} is wanted now, tell it in the notes"
        )]
    );
    // Closed meanwhile, or known to be closed: nobody is asked.
    (link.microsoft, link.asked) = (None, None);
    let open = referral(ACTIVE, "");
    let closed = referral(WON, "");
    for (before_there, now) in [(&open, &closed), (&closed, &open)] {
        let look = Look {
            now: (Some(now), Some(&wanted)),
            ..Look::at_deal(&policy, (before_there, &before), &link)
        };
        let plan = look.plan().unwrap();
        assert!(!plan.invites);
        assert!(
            texts(&plan).iter().any(|text| text.contains("the referral is closed")),
            "{:?}",
            plan.findings
        );
    }
}

/// Under a pause toward Dynamics its columns stay, so nothing is told of Microsoft's half either.
#[test]
fn what_a_pause_does_not_show_is_not_told() {
    let (there, row, half) = (referral(ACTIVE, ""), row(&[]), referral(WON, ""));
    let link = link();
    for (side, codes) in [
        (None, vec![Code::MicrosoftMoved]),
        (Some(Side::Dynamics), vec![Code::Paused]),
    ] {
        let policy = Policy {
            paused: side,
            ..policy()
        };
        let look = Look {
            microsoft: Some(&half),
            ..Look::at_deal(&policy, (&there, &row), &link)
        };
        let plan = look.plan().unwrap();
        assert_eq!(plan.findings.iter().map(|said| said.code).collect::<Vec<_>>(), codes);
        assert_eq!(plan.shown == link.shown, side.is_some());
        assert_eq!(plan.opportunity.is_empty(), side.is_some());
    }
}

#[test]
fn a_move_that_was_refused_for_good_keeps_no_other_change_back() {
    let (before, open) = (referral(ACTIVE, ""), row(&[]));
    let mut won = referral(WON, "");
    won.details.notes = Some("New".to_owned());
    let mut link = link();
    link.attention = vec![refused_move("a plug-in says no")];
    link.etags.opportunity = open.etag.clone();
    let plan = planned((&before, &open), (Some(&won), Some(&open)), &link).unwrap();
    let changes: Vec<_> = plan
        .merged
        .changes
        .iter()
        .map(|change| (change.field, change.side))
        .collect();
    assert_eq!(changes, [(Field::Notes, Side::Dynamics)]);
    assert!(matches!(plan.opportunity[..], [OpportunityRequest::Update(_)]));
    assert_eq!(plan.attention, link.attention);
}

#[test]
fn an_amount_in_the_same_currency_moves_alone() {
    let (before, row) = (referral(ACTIVE, ""), row(&[]));
    let mut now = referral(ACTIVE, "");
    now.details.deal_value = Reading::Value("200".parse().unwrap());
    let plan = planned((&before, &row), (Some(&now), Some(&row)), &link()).unwrap();
    let [OpportunityRequest::Update(change)] = plan.opportunity.as_slice() else {
        panic!("{:?}", plan.opportunity)
    };
    let mut columns: Vec<_> = change.cells().map(|(column, _)| column).collect();
    columns.retain(|column| !column.starts_with("cosell_"));
    assert_eq!(columns, ["estimatedvalue"]);
}

#[test]
fn a_row_that_needs_no_write_needs_no_version() {
    let (there, row) = (referral(ACTIVE, ""), row(&[]));
    let plan = planned((&there, &row), (Some(&there), None), &link()).unwrap();
    assert!(!plan.writes());
}

/// A finding stands while the side that would show it settled was not looked at.
#[test]
fn a_finding_stands_as_long_as_nobody_can_have_settled_it() {
    let (there, row, edited) = (referral(ACTIVE, ""), row(&[]), row(&[("description", text("New"))]));
    let of = |code| Finding::field(code, Field::Notes, "said").on(Side::PartnerCenter);
    for (code, both, row_alone, referral_alone) in [
        (Code::UnknownValue, false, true, false),
        (Code::Refused, false, false, true),
        (Code::ManualConflict, false, true, true),
    ] {
        let mut link = link();
        link.attention = vec![of(code)];
        link.shown.status = Some(SyncStatus::Error);
        link.etags.referral = there.etag.clone();
        link.etags.opportunity = row.etag.clone();
        for (now, stands) in [
            ((Some(&there), Some(&row)), both),
            ((None, Some(&row)), row_alone),
            ((Some(&there), None), referral_alone),
        ] {
            let plan = planned((&there, &row), now, &link).unwrap();
            let case = format!("{code:?}, referral {}, row {}", now.0.is_some(), now.1.is_some());
            assert_eq!(!plan.attention.is_empty(), stands, "{case}: {:?}", plan.attention);
        }
    }
    // Somebody has touched the field: whatever was said of it is over.
    let mut link = link();
    link.attention = vec![of(Code::UnknownValue)];
    link.etags.referral = there.etag.clone();
    let plan = planned((&there, &row), (None, Some(&edited)), &link).unwrap();
    assert_eq!(plan.attention, []);
}

/// What Microsoft's half shows at first is our own; what it shows in the place of something else is Microsoft's, even if
/// we say the same.
#[test]
fn what_microsoft_says_is_told_when_it_is_news() {
    let (there, row, policy) = (referral(ACTIVE, ""), row(&[]), policy());
    let half = referral(ACTIVE, r#","trackingInfo":{"microsoftMsxId":"MSX-1"}"#);
    let with = |notes: Option<&str>, id: Option<&str>| {
        let mut link = link();
        link.shown.microsoft = Some(Stage::Active);
        link.shown.microsoft_notes = notes.map(str::to_owned);
        link.shown.microsoft_crm_id = id.map(str::to_owned);
        let look = Look {
            microsoft: Some(&half),
            ..Look::at_deal(&policy, (&there, &row), &link)
        };
        look.plan().unwrap()
    };
    let known = with(Some("Notes"), Some("MSX-1"));
    assert_eq!(texts(&known), Vec::<&str>::new());
    assert_eq!(known.opportunity, []);
    assert_eq!(texts(&with(None, Some("MSX-1"))), Vec::<&str>::new());
    assert_eq!(
        texts(&with(Some("Old"), Some("MSX-1"))),
        ["Microsoft's notes on the deal: Notes"]
    );
    let first = with(Some("Notes"), None);
    let [OpportunityRequest::Update(change)] = first.opportunity.as_slice() else {
        panic!("{:?}", first.opportunity)
    };
    let column = &policy.mapping.columns.microsoft_crm_id;
    let cells: BTreeMap<&str, &Cell> = change.cells().collect();
    assert_eq!(cells[column.as_str()], &text("MSX-1"));
}

/// A solution that was on the deal before gets its own row back, and not another one that rests.
#[test]
fn a_solution_that_comes_back_wakes_its_own_row() {
    let resting = |number: u128, solution: &str| {
        let cells = [
            ("cosell_dealsolutionid", text(&Uuid::from_u128(number).to_string())),
            ("cosell_solutionid", text(solution)),
            ("cosell_name", text(solution)),
            ("statecode", Cell::Number(Amount::new(1.into()))),
        ];
        let cells = cells.map(|(column, cell)| (column.to_owned(), cell));
        Row::from_cells(Some(Etag(format!("W/\"{number}\""))), cells.into())
    };
    let rows = Cell::Rows(vec![resting(0x51, "SOL-2"), resting(0x52, "SOL-3")]);
    let row = row(&[("cosell_opportunity_dealsolution", rows)]);
    let before = referral(ACTIVE, "");
    let mut now = referral(ACTIVE, "");
    let solutions = &mut now.details.requirements.solutions;
    solutions.push(serde_json::from_str(r#"{"id":"SOL-3","name":"Three","type":"Name"}"#).unwrap());
    let plan = planned((&before, &row), (Some(&now), Some(&row)), &link()).unwrap();
    let woken: Vec<_> = plan
        .solutions
        .iter()
        .filter_map(|request| match request {
            SolutionRequest::Activate { solution, key, .. } => Some((solution.0.as_str(), *key)),
            _ => None,
        })
        .collect();
    assert_eq!(woken, [("SOL-3", Uuid::from_u128(0x52))], "{:?}", plan.solutions);
}
