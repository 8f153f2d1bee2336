//! What a referral must hold, who may change what, and when.
//!
//! Knows: creation rules, the life cycle, the phases of editing, deal registration. Refuses to know: transport, storage,
//! who is asking. Guarantee: every rule is judged on the document before and the document after, so one request is one
//! decision however it was spelt.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use super::document::Document;
use super::refusal::Refusal;
use super::schema::{self, Owner};
use super::vocabulary;

/// Owner of the records that are Microsoft's, and the target that invites Microsoft.
pub(super) const MICROSOFT: &str = "msft";

const VISIBLE: [&str; 2] = ["consent", "consentToShareReferralWithMicrosoftSellers"];
const SOLUTIONS: [&str; 3] = ["details", "requirements", "solutions"];
/// Most solutions, and most team members, of one deal.
const MOST_ENTRIES: usize = 50;
/// A deal may be registered when it took at least this long from creation to winning.
const REGISTRATION_DELAY: SignedDuration = SignedDuration::from_hours(72);

/// What the receiver of a deal may send before, or when, turning it down: the answer and nothing else. (The 2019 flow
/// wrote its CRM id earlier, by PUT; the current guide names the id among what may go with the acceptance.)
const WHILE_NEW: &[&str] = &["/status", "/substatus", "/statusReason"];
/// What may accompany the acceptance of a deal.
const ON_ACCEPTANCE: &[&str] = &[
    "/status",
    "/substatus",
    "/externalReferenceId",
    "/name",
    "/details/dealValue",
    "/details/currency",
    "/details/closingDateTime",
    "/details/notes",
    "/campaignId",
    "/team",
];

/// Whether this referral, being created, invites Microsoft.
pub(super) fn invites_microsoft(referral: &Document) -> bool {
    referral
        .list_at(&["target"])
        .iter()
        .any(|target| target.text_at(&["id"]) == Some(MICROSOFT))
}

/// Whether the record belongs to Microsoft.
pub(super) fn is_microsofts(referral: &Document) -> bool {
    referral.text_at(&["organizationId"]) == Some(MICROSOFT)
}

/// Status and substatus.
pub(super) fn position(referral: &Document) -> (&str, &str) {
    (
        referral.text_at(&["status"]).unwrap_or_default(),
        referral.text_at(&["substatus"]).unwrap_or_default(),
    )
}

/// Whether Microsoft's sellers can see the deal.
pub(super) fn is_visible(referral: &Document) -> bool {
    referral.at(&VISIBLE) == Some(&Document::Flag(true))
}

/// The rules for entering a deal, whatever else exists.
pub(super) fn check_creation(referral: &Document) -> Result<(), Refusal> {
    for name in [
        "type",
        "customerProfile",
        "consent",
        "details",
        "qualification",
        "target",
    ] {
        present(referral, &[name])?;
    }
    for path in [
        &["name"][..],
        &["customerProfile", "name"],
        &["customerProfile", "address", "addressLine1"],
        &["customerProfile", "address", "city"],
        &["customerProfile", "address", "country"],
    ] {
        filled(referral, path)?;
    }
    if !vocabulary::is_country(
        referral
            .text_at(&["customerProfile", "address", "country"])
            .unwrap_or_default(),
    ) {
        return Err(Refusal::invalid(
            "/customerProfile/address/country",
            "The country must be an ISO 3166 code of two letters.",
        ));
    }
    for name in ["consentToContact", "consentToToShareInfoWithOthers"] {
        if referral.at(&["consent", name]) != Some(&Document::Flag(true)) {
            return Err(Refusal::invalid(
                format!("/consent/{name}"),
                "The people named must have consented.",
            ));
        }
    }
    present(referral, &VISIBLE)?;
    TERMS.iter().try_for_each(|term| check_term(referral, term))?;
    check_solutions(referral)?;
    let attributes = referral.list_at(&["details", "requirements", "additionalRequirements", "attributes"]);
    let intent = attributes
        .iter()
        .find(|known| known.text_at(&["type"]) == Some("CustomerMarketplaceIntent"));
    if intent
        .and_then(|intent| intent.text_at(&["id"]))
        .is_none_or(str::is_empty)
    {
        return Err(Refusal::invalid(
            "/details/requirements/additionalRequirements/attributes",
            "The customer's marketplace intent is missing.",
        ));
    }
    if referral.list_at(&["team"]).is_empty() {
        return Err(Refusal::invalid(
            "/team",
            "At least one member of the own team is needed.",
        ));
    }
    check_people(referral, &["team"])?;
    if referral
        .text_at(&["mpnId"])
        .is_some_and(|id| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(Refusal::invalid("/mpnId", "The partner id is a number."));
    }
    if !matches!(position(referral), ("", "") | ("New", "Pending")) {
        return Err(Refusal::illegal_move("A referral starts as New and Pending."));
    }
    if referral.text_at(&["statusReason"]).is_some() {
        return Err(Refusal::invalid("/statusReason", "A reason is given when closing."));
    }
    check_kind(referral)
}

/// How type, target, visibility and invitation belong together.
fn check_kind(referral: &Document) -> Result<(), Refusal> {
    let targets = referral.list_at(&["target"]);
    for (index, target) in targets.iter().enumerate() {
        let (kind, id) = (target.text_at(&["type"]), target.text_at(&["id"]).unwrap_or_default());
        let fits = match kind {
            Some("BusinessProfileLocation") => id == MICROSOFT || uuid::Uuid::try_parse(id).is_ok(),
            Some("SolutionProfile") => is_solution_id(id),
            _ => false,
        };
        if !fits {
            return Err(Refusal::invalid(format!("/target/{index}"), "The target is not known."));
        }
    }
    let shared = referral.text_at(&["type"]) == Some("Shared");
    if shared == targets.is_empty() {
        return Err(Refusal::invalid(
            "/target",
            "A shared referral has a target, an independent one has none.",
        ));
    }
    if !shared {
        return Ok(());
    }
    if !is_visible(referral) {
        return Err(Refusal::invalid(
            format!("/{}", VISIBLE.join("/")),
            "A shared referral is visible to Microsoft.",
        ));
    }
    if referral.list_at(&["customerProfile", "team"]).is_empty() {
        return Err(Refusal::invalid(
            "/customerProfile/team",
            "A shared referral needs a customer contact.",
        ));
    }
    check_people(referral, &["customerProfile", "team"])?;
    if !invites_microsoft(referral) {
        return Ok(());
    }
    if targets.len() > 1 {
        return Err(Refusal::invalid(
            "/target",
            "An invitation of Microsoft has no other target.",
        ));
    }
    match referral.text_at(&["inviteContext", "assistanceRequestCode"]) {
        None | Some("Unknown") => Err(Refusal::invalid(
            "/inviteContext/assistanceRequestCode",
            "Say how Microsoft can help.",
        )),
        Some(_) => Ok(()),
    }
}

/// Whether an invitation of Microsoft fits the partner's own record of the engagement.
pub(super) fn check_invitation(own: Option<&Document>) -> Result<(), Refusal> {
    let Some(own) = own else {
        return Err(Refusal::invalid(
            "/engagementId",
            "Microsoft is invited to an engagement of your own.",
        ));
    };
    if position(own).0 != "Active" {
        return Err(Refusal::illegal_move(
            "Microsoft can only be invited to an active deal.",
        ));
    }
    if !is_visible(own) {
        return Err(Refusal::invalid(
            format!("/{}", VISIBLE.join("/")),
            "The own referral must be visible first.",
        ));
    }
    Ok(())
}

/// `SOL-<digits>-<three letters>`.
fn is_solution_id(id: &str) -> bool {
    let mut parts = id.split('-');
    let shape = (parts.next(), parts.next(), parts.next(), parts.next());
    matches!(shape, (Some("SOL"), Some(number), Some(letters), None)
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            && letters.len() == 3 && letters.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// Value, currency and closing date, each by its own rule.
const TERMS: [&str; 3] = ["dealValue", "currency", "closingDateTime"];

fn check_term(referral: &Document, term: &str) -> Result<(), Refusal> {
    let place = format!("/details/{term}");
    match (term, referral.at(&["details", term])) {
        ("dealValue", Some(Document::Number(digits)))
            if schema::decimal(digits).is_some_and(|value| value >= Decimal::ZERO) =>
        {
            Ok(())
        }
        ("dealValue", _) => Err(Refusal::invalid(place, "The deal needs a value that is not negative.")),
        ("currency", Some(Document::Text(code))) if vocabulary::is_currency(code) => Ok(()),
        ("currency", _) => Err(Refusal::invalid(place, "The currency must be an ISO 4217 code.")),
        _ => filled(referral, &["details", term]),
    }
}

fn check_solutions(referral: &Document) -> Result<(), Refusal> {
    let solutions = referral.list_at(&SOLUTIONS);
    let place = format!("/{}", SOLUTIONS.join("/"));
    if solutions.is_empty() || solutions.len() > MOST_ENTRIES {
        return Err(Refusal::invalid(place, "A deal has between one and fifty solutions."));
    }
    for (index, solution) in solutions.iter().enumerate() {
        let id = solution.text_at(&["id"]).unwrap_or_default();
        let known = match solution.text_at(&["type"]) {
            Some("Name") => is_solution_id(id),
            Some("Category") => !id.is_empty(),
            _ => false,
        };
        if !known {
            return Err(Refusal::invalid(
                format!("{place}/{index}"),
                "The solution is not known.",
            ));
        }
    }
    Ok(())
}

fn check_people(referral: &Document, path: &[&str]) -> Result<(), Refusal> {
    let place = format!("/{}", path.join("/"));
    let people = referral.list_at(path);
    if people.len() > MOST_ENTRIES {
        return Err(Refusal::invalid(place, "A team has at most fifty members."));
    }
    for (index, person) in people.iter().enumerate() {
        for name in ["firstName", "lastName", "phoneNumber", "email"] {
            if person.text_at(&[name]).is_none_or(str::is_empty) {
                return Err(Refusal::invalid(
                    format!("{place}/{index}/{name}"),
                    "This is needed to reach a person.",
                ));
            }
        }
    }
    Ok(())
}

fn present(referral: &Document, path: &[&str]) -> Result<(), Refusal> {
    match referral.at(path) {
        None | Some(Document::Null) => {
            let place = format!("/{}", path.join("/"));
            Err(Refusal::invalid(&place, format!("'{place}' is missing.")))
        }
        Some(_) => Ok(()),
    }
}

fn filled(referral: &Document, path: &[&str]) -> Result<(), Refusal> {
    present(referral, path)?;
    if referral.text_at(path).is_none_or(|text| text.trim().is_empty()) {
        let place = format!("/{}", path.join("/"));
        return Err(Refusal::invalid(&place, format!("'{place}' is empty.")));
    }
    Ok(())
}

/// Judges the step of a record's own organisation through the life cycle.
pub(super) fn check_move(from: (&str, &str), to: (&str, &str), reason: Option<&str>) -> Result<(), Refusal> {
    let legal = match (from, to) {
        (("Closed", _), _) => false,
        (from, to) if from == to => true,
        (("New", "Pending"), ("New", "Received")) | (("New", _), ("Active", "Accepted")) => true,
        (("New", _), ("Closed", "Declined")) | (("Active", _), ("Closed", "Won" | "Lost")) => true,
        _ => false,
    };
    if !legal {
        return Err(Refusal::illegal_move(format!(
            "A referral cannot go from {}/{} to {}/{}.",
            from.0, from.1, to.0, to.1
        )));
    }
    if matches!(to.1, "Declined" | "Lost") && reason.is_none_or(|reason| reason.trim().is_empty()) {
        return Err(Refusal::invalid("/statusReason", "A reason is needed."));
    }
    Ok(())
}

/// Judges a change that the owner of a record makes to it.
pub(super) fn check_change(before: &Document, after: &Document) -> Result<(), Refusal> {
    let mut changes = Vec::new();
    differences(before, after, "", &mut changes);
    let registering = |path: &String| path.starts_with("/registration");
    let (from, to) = (position(before), position(after));
    if from.0 == "Closed" && (changes.is_empty() || !changes.iter().all(registering)) {
        return Err(Refusal::illegal_move("A closed referral cannot be changed."));
    }
    let changed = |place: &str| changes.iter().any(|path| path == place);
    if from != to {
        check_move(from, to, after.text_at(&["statusReason"]))?;
    }
    if changed("/statusReason") && to.0 != "Closed" {
        return Err(Refusal::invalid("/statusReason", "A reason is given when closing."));
    }
    if from.0 == "New" {
        let allowed = if to.0 == "Active" { ON_ACCEPTANCE } else { WHILE_NEW };
        if let Some(path) = changes.iter().find(|path| !allowed.contains(&path.as_str())) {
            return Err(Refusal::invalid(
                path,
                "This cannot be changed before the referral is accepted.",
            ));
        }
    }
    if is_visible(before) && !is_visible(after) {
        return Err(Refusal::invalid(
            format!("/{}", VISIBLE.join("/")),
            "Visibility cannot be withdrawn.",
        ));
    }
    if changed("/name") {
        filled(after, &["name"])?;
    }
    for term in TERMS.iter().filter(|term| changed(&format!("/details/{term}"))) {
        check_term(after, term)?;
    }
    if changed("/details/requirements/solutions") {
        check_solutions(after)?;
    }
    for path in [&["team"][..], &["customerProfile", "team"]] {
        if changed(&format!("/{}", path.join("/"))) {
            check_people(after, path)?;
        }
    }
    Ok(())
}

/// Judges a replacement of a whole record: nothing but what its owner may edit differs.
pub(super) fn check_replacement(before: &Document, after: &Document) -> Result<(), Refusal> {
    let mut changes = Vec::new();
    differences(before, after, "", &mut changes);
    for path in changes {
        if !schema::locate(&path).is_some_and(|(owner, _)| owner == Owner::Editor) {
            return Err(Refusal::invalid(&path, format!("'{path}' cannot be changed.")));
        }
    }
    check_change(before, after)
}

/// Judges the registration of a deal for incentives.
pub(super) fn check_registration(own: &Document, microsofts: Option<&Document>) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::invalid("/registrations/-", message));
    if position(own).1 != "Won" {
        return refuse("Only a won deal can be registered.");
    }
    let agreed = match microsofts.map(position) {
        Some((_, substatus)) => matches!(substatus, "Accepted" | "Won"),
        None => is_visible(own),
    };
    if !agreed {
        return refuse("The deal is neither led by you in sight of Microsoft nor accepted by Microsoft.");
    }
    if !own
        .list_at(&SOLUTIONS)
        .iter()
        .any(|solution| solution.text_at(&["type"]) == Some("Name"))
    {
        return refuse("The deal holds no solution that is eligible.");
    }
    let moment = |name| own.text_at(&[name]).and_then(|text| text.parse::<Timestamp>().ok());
    match (moment("createdDateTime"), moment("closedDateTime")) {
        (Some(created), Some(closed)) if closed.duration_since(created) >= REGISTRATION_DELAY => Ok(()),
        _ => refuse("The deal was won within 72 hours."),
    }
}

/// Refuses a partner's write to a record that is Microsoft's.
pub(super) fn check_owner(referral: &Document) -> Result<(), Refusal> {
    if is_microsofts(referral) {
        return Err(Refusal::general(
            StatusCode::FORBIDDEN,
            "accessDenied",
            "The referral belongs to another organization.",
        ));
    }
    Ok(())
}

/// Pointers of the members in which two documents differ; arrays differ as a whole, an absent member is null.
pub(super) fn differences(before: &Document, after: &Document, path: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Document::Object(old), Document::Object(new)) => {
            for (name, value) in &old.0 {
                differences(
                    value,
                    new.get(name).unwrap_or(&Document::Null),
                    &format!("{path}/{name}"),
                    found,
                );
            }
            for (name, value) in new.0.iter().filter(|(name, _)| old.get(name).is_none()) {
                differences(&Document::Null, value, &format!("{path}/{name}"), found);
            }
        }
        (Document::Number(old), Document::Number(new)) if schema::decimal(old) == schema::decimal(new) => {}
        (old, new) if old == new => {}
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_move, is_solution_id};

    #[test]
    fn only_the_published_moves_are_legal() {
        let all = [
            ("New", "Pending"),
            ("New", "Received"),
            ("Active", "Accepted"),
            ("Closed", "Won"),
            ("Closed", "Lost"),
            ("Closed", "Declined"),
            ("Closed", "Expired"),
        ];
        let mut legal = Vec::new();
        for from in all {
            for to in all {
                if check_move(from, to, Some("reason")).is_ok() {
                    legal.push(format!("{}>{}", from.1, to.1));
                }
            }
        }
        assert_eq!(
            legal.join(" "),
            "Pending>Pending Pending>Received Pending>Accepted Pending>Declined Received>Received \
             Received>Accepted Received>Declined Accepted>Accepted Accepted>Won Accepted>Lost"
        );
        assert!(check_move(("New", "Pending"), ("Active", "Won"), None).is_err());
    }

    #[test]
    fn turning_down_and_losing_need_a_reason() {
        assert!(check_move(("New", "Pending"), ("Closed", "Declined"), None).is_err());
        assert!(check_move(("Active", "Accepted"), ("Closed", "Lost"), Some(" ")).is_err());
        assert!(check_move(("Active", "Accepted"), ("Closed", "Won"), None).is_ok());
    }

    #[test]
    fn a_solution_id_has_its_form() {
        assert!(is_solution_id("SOL-20817-KTR"));
        for wrong in ["SOL-20817", "SOL--KTR", "SOL-1-ktr", "SOL-1-KTR-2", "AdvancedAnalytics"] {
            assert!(!is_solution_id(wrong), "{wrong}");
        }
    }
}
