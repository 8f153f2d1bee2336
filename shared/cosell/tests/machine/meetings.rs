//! Records that no deal has, or that belong elsewhere: what is made of them at first sight, and what is said of them once.

use cosell::order::Order;

use super::orders::give;
use super::*;

/// What the audit has said so far.
fn said(world: &World) -> Vec<Code> {
    let findings = world.audit.iter().flat_map(|entry| &entry.findings);
    findings.map(|finding| finding.code).collect()
}

#[test]
fn a_referral_that_is_announced_too_early_is_looked_for_a_few_times() {
    let mut world = World::new();
    // A comparison announces nothing.
    let report = world.deliver(&from_referral(REFERRAL, Cause::Compare));
    assert_eq!((report.outcome, world.links().count()), (Outcome::Ignored, 0));
    let report = world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    assert_eq!(report.outcome, Outcome::Due);
    let waiting = world.find(Subject::Referral(REFERRAL)).unwrap();
    assert_eq!(waiting.due.map(|due| due.why), Some("not_visible".to_owned()));
    world.settle();
    let given_up = world.find(Subject::Referral(REFERRAL)).unwrap();
    assert_eq!((given_up.due, given_up.opportunity), (None, None));
    assert_eq!(world.vendor_writes, 0);
    // It comes at last, and is a deal like any other.
    let record = ReferralRecord::active(REFERRAL, world.now);
    world.referrals.insert(REFERRAL, record);
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    world.settle();
    world.assert_in_step(1);
}

#[test]
fn only_a_type_that_nobody_knows_is_asked_about_and_that_once() {
    for (kind, is_asked) in [("Independent", false), ("Novel", true)] {
        let Story { mut world, hint, .. } = inbound(("New", "Pending"));
        edit_referral(&mut world, REFERRAL, |referral| {
            (referral.kind, referral.inviter) = (kind.to_owned(), Some(cosell::referral::MICROSOFT));
        });
        let report = world.deliver(&hint);
        let outcome = if is_asked { Outcome::Parked } else { Outcome::Ignored };
        assert_eq!(report.outcome, outcome, "{kind}");
        assert_eq!(said(&world).contains(&Code::UnknownValue), is_asked, "{kind}");
        let before: Vec<_> = world.links().map(|link| link.version).collect();
        assert_eq!(before.len(), usize::from(is_asked), "{kind}");
        world.deliver(&hint);
        let after: Vec<_> = world.links().map(|link| link.version).collect();
        assert_eq!((before, world.vendor_writes), (after, 0), "{kind}");
    }
}

#[test]
fn a_customer_who_may_be_several_is_asked_about_and_no_other() {
    for count in [0, 1, 2] {
        let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
        for number in 0..count {
            let key = ("accounts", Uuid::from_u128(0xC1 + number));
            world.people.insert(key, [("name".to_owned(), text("Fabrikam"))].into());
        }
        world.deliver(&hint);
        world.settle();
        assert_eq!(said(&world).contains(&Code::Ambiguous), count == 2, "{count}");
        let link = world.find(Subject::Referral(REFERRAL)).unwrap();
        let asked = listed(&link);
        assert_eq!(asked, vec![Code::Ambiguous; usize::from(count == 2)], "{count}");
    }
}

/// A row that carries the id of a referral which is another row's, or was unlinked, is no second deal of it.
#[test]
fn a_copied_id_joins_nothing() {
    for (is_parted, code) in [(false, Code::AlreadyLinked), (true, Code::Unlinked)] {
        let (mut world, referral, opportunity) = in_step(false);
        if is_parted {
            give(&mut world, opportunity, Order::Unlink);
        }
        let copy = OpportunityId::new(Uuid::from_u128(0xB2));
        sellers_row(&mut world, copy, false);
        edit_row(
            &mut world,
            copy,
            "cosell_referralidentifier",
            text(&referral.to_string()),
        );
        let (writes, referrals) = (world.vendor_writes, world.referrals.len());
        let report = world.deliver(&from_row(copy));
        world.settle();
        assert_eq!(report.outcome, Outcome::Parked);
        let kept = world.find(Subject::Opportunity(copy)).unwrap();
        let codes = listed(&kept);
        assert_eq!((codes, kept.referral), (vec![code], None));
        assert_eq!((world.vendor_writes, world.referrals.len()), (writes, referrals));
        let version = kept.version;
        world.deliver(&from_row(copy));
        assert_eq!(world.find(Subject::Opportunity(copy)).unwrap().version, version);
    }
}

/// A base of other columns says nothing: both records are read, whichever the hint is about.
#[test]
fn a_deal_of_an_older_mapping_is_met_anew() {
    let (mut world, referral, opportunity) = in_step(false);
    let mut mapping = Mapping::parse(mapping::DEFAULT).unwrap();
    mapping.version += 1;
    let version = mapping.version;
    world.policy = Some(rules(Policy {
        mapping: Arc::new(mapping),
        ..world::POLICY.clone()
    }));
    edit_referral(&mut world, referral, |record| {
        record.notes = Some("Unheard of".to_owned())
    });
    world.deliver(&from_row(opportunity));
    world.settle();
    world.assert_in_step(1);
    let link = world.find(Subject::Opportunity(opportunity)).unwrap();
    assert_eq!(link.mapping_version, version);
    // The owner of the notes is Dynamics; what gave way to it is recorded.
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Talked to Ada"));
    let changes = world.audit.iter().flat_map(|entry| &entry.changes);
    let lost: Vec<String> = changes
        .filter(|change| change.lost)
        .map(|change| change.old.to_string())
        .collect();
    assert_eq!(lost, ["Unheard of"]);
}

/// The row of a deal that is being made shows up in the poll: whoever makes it, or its date, sees to the rest.
#[test]
fn a_row_that_is_being_made_is_left_to_its_maker() {
    let Story {
        mut world, hint, other, ..
    } = inbound(("Active", "Accepted"));
    let mut maker = world.begin(&hint);
    while world.rows.is_empty() {
        assert!(matches!(world.step(&mut maker), world::Went::On));
    }
    let before = (
        world.vendor_writes,
        world.links().map(|link| link.version).collect::<Vec<_>>(),
    );
    let report = world.deliver(&other);
    let after = (
        world.vendor_writes,
        world.links().map(|link| link.version).collect::<Vec<_>>(),
    );
    assert_eq!((report.outcome, before), (Outcome::Due, after));
    world.settle();
    world.assert_in_step(1);
}

/// Another name, the same house: an account is known by its web site or its mail, if it is in the same country.
#[test]
fn a_customer_is_known_by_where_it_is_at_home() {
    for (site, country, is_known) in [
        ("https://www.fabrikam.example/about", "DE", true),
        ("https://www.fabrikam.example", "France", false),
        ("https://fabrikam.example.net", "DE", false),
    ] {
        let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
        let key = Uuid::from_u128(0xC1);
        let cells = [
            ("name", "Fabrikam Holding"),
            ("websiteurl", site),
            ("address1_country", country),
        ];
        let cells = cells.map(|(column, value)| (column.to_owned(), text(value)));
        world.people.insert(("accounts", key), cells.into());
        world.deliver(&hint);
        world.settle();
        let accounts = world.people.keys().filter(|(set, _)| *set == "accounts").count();
        assert_eq!(accounts, if is_known { 1 } else { 2 }, "{site}, {country}");
        let row = &world.rows[&world::POLICY.tenant.opportunity_for(REFERRAL)];
        let is_bound = row.cells["parentaccountid"] == text(&format!("/accounts({key})"));
        assert_eq!(is_bound, is_known, "{site}, {country}");
    }
}

/// A poll may show Microsoft's half before ours: it leads to ours, if there is one. An event about it says that what goes
/// with it may be another partner's, and ours has an event of its own.
#[test]
fn microsofts_half_leads_to_ours_when_a_poll_shows_it() {
    for (has_own, cause, is_met) in [
        (true, Cause::PartnerCenterPoll, true),
        (true, Cause::RelatedReferralCreated, false),
        (false, Cause::PartnerCenterPoll, false),
    ] {
        let Story { mut world, .. } = inbound(("Active", "Accepted"));
        let half = ReferralId::new(Uuid::from_u128(0xA2));
        let own = &world.referrals[&REFERRAL];
        let microsofts = ReferralRecord {
            id: half,
            microsofts: true,
            ..own.clone()
        };
        world.referrals.insert(half, microsofts);
        if !has_own {
            world.referrals.remove(&REFERRAL);
        }
        world.now += SignedDuration::from_secs(3600);
        let report = world.deliver(&from_referral(half, cause));
        world.settle();
        let link = world.find(Subject::Referral(half));
        if is_met {
            let link = link.unwrap();
            assert_eq!((link.referral, link.microsoft), (Some(REFERRAL), Some(half)));
            assert_eq!(world.rows.len(), 1);
            assert!(link.attention.is_empty() && link.due.is_none(), "{link:#?}");
        } else {
            assert_eq!((report.outcome, world.vendor_writes), (Outcome::Ignored, 0));
            assert_eq!(world.links().count(), 0);
            let codes = codes(&report.findings);
            assert_eq!(codes, [Code::OutOfScope]);
        }
    }
}

/// What of a deal may not be read keeps nothing else apart, and where it is our own half, a person is told.
#[test]
fn a_half_that_may_not_be_read_is_left_out() {
    let (world, referral, opportunity) = in_step(true);
    let half = world.find(Subject::Referral(referral)).and_then(|link| link.microsoft);
    for (hidden, is_listed) in [(half.unwrap(), false), (referral, true)] {
        let mut world = world.clone();
        world.hidden = Some(hidden);
        edit_row(&mut world, opportunity, "description", text("Carried"));
        world.deliver(&from_row(opportunity));
        let report = world.deliver(&from_referral(referral, Cause::Compare));
        world.settle();
        let link = world.find(Subject::Referral(referral)).unwrap();
        let codes = listed(&link);
        assert_eq!(codes, vec![Code::Refused; usize::from(is_listed)], "{report:#?}");
        assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Carried"));
        world.hidden = None;
        world.deliver(&from_referral(referral, Cause::Operator));
        world.settle();
        world.assert_in_step(1);
    }
}

/// A lead that the CRM refuses to take stays one that is to be made.
#[test]
fn a_lead_that_was_refused_is_made_once_it_is_taken() {
    let Story { mut world, hint, .. } = leads::arrives();
    world.refused = Some(|call| matches!(call, Call::CreateRow { .. }));
    world.deliver(&hint);
    world.settle();
    let link = world.find(Subject::Referral(REFERRAL)).unwrap();
    let codes = listed(&link);
    assert_eq!((codes, link.due), (vec![Code::Refused], None));
    world.refused = None;
    edit_referral(&mut world, REFERRAL, |record| record.notes = Some("Newest".to_owned()));
    world.deliver(&from_referral(REFERRAL, Cause::Operator));
    world.settle();
    world.assert_lead_in_step();
    assert!(world.rows.is_empty());
    let lead = world.leads.values().next().unwrap();
    assert_eq!(lead.cells["description"], text("Newest"));
    assert!(!said(&world).contains(&Code::Carried), "it is made as it is by now");
}

/// Microsoft says no to a request for help: that is written down with what was wanted, and asked again by nobody but a
/// person.
#[test]
fn an_invitation_that_was_refused_waits_for_a_person() {
    let (mut world, referral, opportunity) = in_step(false);
    world.refused = Some(|call| matches!(call, Call::CreateReferral(_)));
    edit_row(
        &mut world,
        opportunity,
        "cosell_howcanmicrosofthelp",
        number(727_000_000),
    );
    world.deliver(&from_row(opportunity));
    world.settle();
    let link = world.find(Subject::Referral(referral)).unwrap();
    let codes = listed(&link);
    assert_eq!((codes, &link.pending, &link.due), (vec![Code::Refused], &None, &None));
    let asked = link.asked.unwrap();
    assert!(asked.help.is_some() && asked.refused.is_some(), "{asked:?}");
    world.refused = None;
    for cause in [Cause::DynamicsPoll, Cause::Compare] {
        world.deliver(&Hint::new(Subject::Opportunity(opportunity), cause));
        world.settle();
        assert_eq!(world.referrals.len(), 1, "{cause}");
    }
    world.deliver(&from_referral(referral, Cause::Operator));
    world.settle();
    assert_eq!(world.referrals.values().filter(|half| half.microsofts).count(), 1);
    world.assert_in_step(1);
}

/// One run makes everything there is to make, and what a creation has answered is not asked for again.
#[test]
fn a_creation_is_done_in_one_run_and_reads_no_more_than_it_has_to() {
    // The row; or the referral, its currency, and its customer: by name, by domain and by person.
    for (story, reads, asks) in [
        (outbound(false), 1, false),
        (outbound(true), 1, true),
        (inbound(("Active", "Accepted")), 5, false),
    ] {
        let mut world = story.world.clone();
        world.echoes = false;
        world.deliver(&story.hint);
        assert_eq!(world.vendor_reads, reads, "{}", story.name);
        let link = world.find(story.hint.subject).unwrap();
        assert_eq!((link.asked.is_some(), link.microsoft.is_some()), (asks, asks));
        // Both versions are known, so that the next change on one side costs no look at the other.
        let referral = world.referrals[&link.referral.unwrap()].etag();
        let row = world.rows.values().next().unwrap().etag();
        assert_eq!(
            (link.etags.referral, link.etags.opportunity),
            (Some(referral), Some(row)),
            "{}",
            story.name
        );
        world.settle();
        world.assert_in_step(1);
    }
}

/// Two people type the same: that is agreed, and no vendor is told what it knows.
#[test]
fn what_both_have_typed_alike_takes_one_write_to_the_ledger() {
    let (mut world, referral, opportunity) = in_step(true);
    edit_row(&mut world, opportunity, "description", text("Alike"));
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Alike".to_owned())
    });
    let before = world.find(Subject::Referral(referral)).unwrap().version;
    let writes = world.vendor_writes;
    world.deliver(&from_referral(referral, Cause::Compare));
    let link = world.find(Subject::Referral(referral)).unwrap();
    assert_eq!((link.version, world.vendor_writes), (before + 1, writes));
    world.settle();
    world.assert_in_step(1);
}

/// What was announced before it could be seen is remembered under its own name. Once a deal has it, that is over.
#[test]
fn what_was_remembered_of_a_referral_ends_once_its_deal_has_it() {
    let Story {
        mut world, hint, other, ..
    } = outbound(false);
    world.echoes = false;
    assert_eq!(world.deliver(&other).outcome, Outcome::Due);
    world.deliver(&hint);
    let link = world.find(other.subject).unwrap();
    assert_eq!((link.opportunity, world.links().count()), (Some(OPPORTUNITY), 2));
    world.settle();
    let kept: Vec<Link> = world.links().filter(|kept| kept.id != link.id).collect();
    assert_eq!((&kept[0].due, &kept[0].attention[..]), (&None, &[][..]));
    world.assert_in_step(1);
}

/// A second reason takes the place of the first, and the first that of the second.
#[test]
fn whatever_a_referral_waits_for_by_now_is_what_is_asked() {
    let Story { mut world, hint, .. } = inbound(("New", "Pending"));
    for (kind, reference, code) in [
        ("Novel", None, Code::UnknownValue),
        ("Shared", Some("CRM-17"), Code::ReferenceNamesNothing),
        ("Novel", None, Code::UnknownValue),
    ] {
        edit_referral(&mut world, REFERRAL, |referral| {
            (referral.kind, referral.inviter) = (kind.to_owned(), Some(cosell::referral::MICROSOFT));
            referral.reference = reference.map(ToOwned::to_owned);
        });
        for _ in 0..2 {
            assert_eq!(world.deliver(&hint).outcome, Outcome::Parked);
        }
        let link = world.find(Subject::Referral(REFERRAL)).unwrap();
        assert_eq!(listed(&link), [code]);
    }
    assert_eq!(world.audit.len(), 3);
    assert!(world.audit.iter().all(|entry| entry.outcome == Outcome::Parked));
}

/// A referral that was copied names the opportunity of the first: it is listed, and nothing is joined.
#[test]
fn a_copied_reference_joins_nothing() {
    let (mut world, referral, opportunity) = in_step(false);
    let copy = ReferralId::new(Uuid::from_u128(0xA7));
    let record = world.referrals[&referral].clone();
    world.referrals.insert(copy, ReferralRecord { id: copy, ..record });
    let writes = world.vendor_writes;
    for _ in 0..2 {
        let report = world.deliver(&from_referral(copy, Cause::ReferralCreated));
        assert_eq!(report.outcome, Outcome::Parked);
    }
    let listed = listed(&world.find(Subject::Referral(copy)).unwrap());
    assert_eq!((listed, world.vendor_writes), (vec![Code::AlreadyLinked], writes));
    let link = world.find(Subject::Opportunity(opportunity)).unwrap();
    assert_eq!(link.referral, Some(referral));
}

/// Another connector has made both, and the referral was announced before it could be read.
#[test]
fn a_row_meets_a_referral_that_is_only_remembered() {
    let (mut world, referral, opportunity) = in_step(false);
    world.forget_links();
    let record = world.referrals.remove(&referral).unwrap();
    world.deliver(&from_referral(referral, Cause::ReferralCreated));
    assert_eq!(
        world.find(Subject::Referral(referral)).unwrap().due.unwrap().why,
        "not_visible"
    );
    world.referrals.insert(referral, record);
    assert_eq!(world.deliver(&from_row(opportunity)).outcome, Outcome::Written);
    world.settle();
    world.assert_in_step(1);
    assert!(world.links().all(|link| link.attention.is_empty()));
}
