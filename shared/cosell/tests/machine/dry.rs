//! `DRY_RUN`: everything is read and planned, what would be written is told, and nothing is.

use super::*;

fn dry(world: &mut World) {
    world.policy = Some(rules(Policy {
        dry_run: true,
        ..world.rules().clone()
    }));
}

/// What the audit says of a look, and that nothing came of it.
fn looked_at(world: &mut World, hint: &Hint) -> Vec<Code> {
    let (writes, audited) = (world.vendor_writes, world.audit.len());
    let report = world.deliver(hint);
    assert_eq!(world.vendor_writes, writes);
    let [entry] = &world.audit[audited..] else {
        panic!("{:#?}", &world.audit[audited..])
    };
    assert_eq!((report.outcome, entry.outcome), (Outcome::Planned, Outcome::Planned));
    assert_eq!(entry.findings, report.findings);
    codes(&entry.findings)
}

#[test]
fn a_dry_look_tells_what_it_would_write() {
    for (story, would) in [
        (inbound(("Active", "Accepted")), Code::Created),
        (outbound(true), Code::Created),
        (edited_in_partner_center(), Code::Carried),
        (edited_in_dynamics(), Code::Carried),
        (won_in_partner_center(), Code::Carried),
        (leads::arrives(), Code::Created),
    ] {
        let guard = Told(story.name);
        let mut world = story.world.clone();
        let before: Vec<Link> = world.links().collect();
        dry(&mut world);
        let told = looked_at(&mut world, &story.hint);
        assert!(told.contains(&would) && told.contains(&Code::DryRun), "{told:?}");
        // The deal is as it was, but for a version and the name of its record.
        let link = only_link(&world);
        assert_eq!((&link.pending, &link.due), (&None, &None));
        assert_eq!(before.first().and_then(|link| link.base.clone()), link.base);
        // Once it is meant, it is done.
        world.policy = None;
        world.deliver(&story.hint);
        world.settle();
        world.assert_one_deal_in_step();
        std::mem::forget(guard);
    }
}

/// What a dry look knows of a record keeps nobody from linking it.
#[test]
fn a_dry_look_claims_no_record() {
    let Story {
        mut world, hint, other, ..
    } = outbound(false);
    dry(&mut world);
    looked_at(&mut world, &hint);
    world.policy = None;
    // Somebody makes the referral by hand.
    let mut record = ReferralRecord::active(REFERRAL, world.now);
    record.reference = Some(OPPORTUNITY.to_string());
    record.name = world.rows[&OPPORTUNITY].shown().text("name").map(ToOwned::to_owned);
    world.referrals.insert(REFERRAL, record);
    world.deliver(&from_referral(REFERRAL, Cause::ReferralCreated));
    world.settle();
    world.deliver(&hint);
    world.deliver(&other);
    world.settle();
    world.assert_in_step(1);
}

/// Who follows a dry run finds its number of changes.
#[test]
fn a_dry_look_counts_the_changes() {
    for (story, count) in [(edited_in_partner_center(), 3), (won_in_partner_center(), 2)] {
        let mut world = story.world.clone();
        dry(&mut world);
        let audited = world.audit.len();
        looked_at(&mut world, &story.hint);
        let entry = &world.audit[audited];
        assert_eq!(entry.changes.len(), count);
        let told = entry
            .findings
            .iter()
            .find(|finding| finding.code == Code::DryRun)
            .unwrap();
        assert!(told.text.ends_with(&format!(": {count} change(s)")), "{}", told.text);
    }
}
