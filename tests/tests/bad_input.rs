//! What comes in wrong: forged and broken posts, and referrals the likes of which no document shows.
//!
//! Every test lets a deal without fault in at the same time. Guarantee shown: what is wrong gets a clear answer or a clear
//! finding on its own deal, nothing that goes on beside it is held up, and no function panics.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::time::Duration;

use cosell_tests::partner_center::{Inbound, InboundDeal, Release, SignedPost, Variant};
use cosell_tests::switchboard::Fault;
use cosell_tests::world::{Sharing, World};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// Longer than any delivery on loopback takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Choices of the sync state column.
const SYNCED: i64 = 727_000_001;
const ERROR: i64 = 727_000_002;

// ---- helpers ----------------------------------------------------------------------------------------------------------

/// A world that a good deal enters while something else goes wrong.
struct Scene {
    world: World,
    good: String,
}

impl Scene {
    async fn begin() -> Self {
        let world = World::start().await;
        let good = world.portal_creates(&json!({ "name": "Deal without fault" }));
        Self { world, good }
    }

    /// The good deal got through, nothing panicked, and the world is in order.
    async fn end(self) {
        let Self { world, good } = self;
        world.settle().await;
        let row = world.opportunity(&world.opportunity_of(&good));
        assert_eq!(row["cosell_syncstatus"], json!(SYNCED), "{row:#}");
        assert_eq!(row["name"], "✔ Deal without fault");
        for function in [&world.webhook, &world.sync] {
            let panics: Vec<String> = function
                .logs()
                .into_iter()
                .filter(|line| line.contains("panicked"))
                .collect();
            assert!(panics.is_empty(), "{panics:#?}");
        }
        world.close().await;
    }

    /// Microsoft sends a deal whose record was spoilt before anybody could look at it.
    fn microsoft_sends_spoilt(&self, spoil: &str) -> Inbound {
        self.world.partner_center.hold_deliveries(true);
        let sent = self.world.microsoft_sends(&InboundDeal::default());
        self.world
            .partner_center
            .microsoft_edits_exactly(&sent.referral, spoil)
            .unwrap();
        self.world.partner_center.hold_deliveries(false);
        self.world.partner_center.release(Release::InOrder);
        sent
    }

    /// A deal that both sides have, in step.
    async fn with_a_linked_deal(&self) -> (String, String) {
        let referral = self.world.portal_creates(&json!({}));
        self.world.settle().await;
        (self.world.opportunity_of(&referral), referral)
    }

    /// What a person is told about a referral's deal: pairs of code and text.
    fn attention(&self, referral: &str) -> Vec<(String, String)> {
        let links = self.world.links();
        let link = links.iter().find(|link| link["referral"] == referral);
        link.map(|link| findings(&link["attention"])).unwrap_or_default()
    }

    /// The one thing that a person is told about a referral's deal, which must be of this kind.
    fn one_attention(&self, referral: &str, code: &str) -> String {
        let attention = self.attention(referral);
        assert_eq!(attention.len(), 1, "{attention:?} {}", self.world.state_of_affairs());
        assert_eq!(attention[0].0, code, "{attention:?}");
        let audited = self.audited(referral, code);
        assert!(
            audited.contains(&attention[0].1),
            "not in the audit: {attention:?} {audited:?}"
        );
        attention[0].1.clone()
    }

    /// Texts of the findings of this kind in the audit of a referral's deal.
    fn audited(&self, referral: &str, code: &str) -> Vec<String> {
        let records = self.world.audit();
        let own = records.iter().filter(|record| record["referral"] == referral);
        let all = own.flat_map(|record| findings(&record["findings"]));
        all.filter(|(found, _)| found == code).map(|(_, text)| text).collect()
    }

    /// The opportunity tells its seller: cross mark, state Error, and these words in the trail.
    fn is_told_to_the_seller(&self, opportunity: &str, words: &str) {
        let row = self.world.opportunity(opportunity);
        assert_eq!(row["cosell_syncstatus"], json!(ERROR), "{row:#}");
        assert!(row["name"].as_str().unwrap().starts_with("✘ "), "{row:#}");
        assert!(row["cosell_audit"].as_str().unwrap().contains(words), "{row:#}");
    }

    fn is_in_step(&self, opportunity: &str) {
        let row = self.world.opportunity(opportunity);
        assert_eq!(row["cosell_syncstatus"], json!(SYNCED), "{row:#}");
        assert!(row["name"].as_str().unwrap().starts_with("✔ "), "{row:#}");
    }

    /// The event about a referral that exists: were it believed, it would be queued.
    fn event(&self) -> Vec<u8> {
        self.world.partner_center.event_body("referral-updated", &self.good)
    }

    /// The webhook answers this, and puts nothing on the queue.
    async fn is_answered(&self, post: &SignedPost, status: u16) {
        self.world.source.pause();
        assert!(self.world.partner_center.quiet(PATIENCE).await);
        let before = self.world.aws.queue_messages(&self.world.queue).len();
        assert_eq!(
            self.world.post(post).await,
            status,
            "{:?}",
            self.world.webhook.logs().last()
        );
        // The last batch may still be leaving the queue; nothing may come onto it.
        assert!(
            self.world.aws.queue_messages(&self.world.queue).len() <= before,
            "it was queued"
        );
        self.world.source.resume();
    }
}

fn findings(list: &Value) -> Vec<(String, String)> {
    let text = |finding: &Value, member: &str| finding[member].as_str().unwrap_or_default().to_owned();
    let list = list.as_array().into_iter().flatten();
    list.map(|finding| (text(finding, "code"), text(finding, "text")))
        .collect()
}

// ---- posts ------------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_post_is_refused_and_says_nothing() {
    let scene = Scene::begin().await;
    let body = scene.event();
    let bare = SignedPost {
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body: body.clone(),
    };
    scene.is_answered(&bare, 401).await;
    let unsigned = scene
        .world
        .partner_center
        .certificate_variant(Variant::MissingSignature, &body)
        .unwrap();
    scene.is_answered(&unsigned, 401).await;
    let answer = reqwest::Client::new()
        .post(scene.world.gateway.url())
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.unwrap()),
        (401, String::new())
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_anybody_but_microsoft_signed_is_refused() {
    let scene = Scene::begin().await;
    for variant in [
        Variant::WrongKey,
        Variant::Sha1Algorithm,
        Variant::MissingCertificateUrl,
        Variant::ExpiredCertificate,
        Variant::EarlyCertificate,
        Variant::WrongOrganisation,
        Variant::UntrustedRoot,
        Variant::SelfSigned,
        Variant::ForeignUrl,
        Variant::UnknownFile,
    ] {
        let post = scene
            .world
            .partner_center
            .certificate_variant(variant, &scene.event())
            .unwrap();
        scene.is_answered(&post, 401).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_was_changed_or_truncated_on_the_way_is_refused() {
    let scene = Scene::begin().await;
    let body = scene.event();
    let tampered = scene
        .world
        .partner_center
        .certificate_variant(Variant::TamperedBody, &body)
        .unwrap();
    scene.is_answered(&tampered, 401).await;
    let mut truncated = scene.world.partner_center.sign_post(&body).unwrap();
    truncated.body.truncate(body.len() / 2);
    scene.is_answered(&truncated, 401).await;
    truncated.body.clear();
    scene.is_answered(&truncated, 401).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_too_large_is_refused_before_anything_is_verified() {
    let scene = Scene::begin().await;
    let mut body = scene.event();
    body.resize(64 * 1024 + 1, b' ');
    scene
        .is_answered(&scene.world.partner_center.sign_post(&body).unwrap(), 413)
        .await;
    // One byte less is read: blanks at the end are still JSON.
    body.truncate(64 * 1024);
    assert_eq!(
        scene
            .world
            .post(&scene.world.partner_center.sign_post(&body).unwrap())
            .await,
        200
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_post_that_is_no_event_is_malformed() {
    let scene = Scene::begin().await;
    let whole = scene.event();
    let half = &whole[..whole.len() / 2];
    let nameless = br#"{"ResourceUri":"https://api.partnercenter.microsoft.com/engagements/v1/referrals/1"}"#;
    let pointless = br#"{"EventName":"referral-updated","ResourceUri":"https://api.partnercenter.microsoft.com/"}"#;
    for body in [
        &b"no JSON at all"[..],
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b"null",
        half,
        nameless,
        pointless,
    ] {
        scene
            .is_answered(&scene.world.partner_center.sign_post(body).unwrap(), 400)
            .await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_knows_is_answered_and_ignored() {
    let scene = Scene::begin().await;
    for event in ["invoice-ready", "referral-renamed", ""] {
        let body = scene.world.partner_center.event_body(event, &scene.good);
        scene
            .is_answered(&scene.world.partner_center.sign_post(&body).unwrap(), 200)
            .await;
    }
    let is_it = |line: &String| line.contains("referral-renamed") && line.contains("ignored");
    let logs = scene.world.webhook.logs_once(|lines| lines.iter().any(is_it)).await;
    assert!(logs.iter().any(is_it), "{logs:#?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_about_a_referral_that_does_not_exist_leaves_nothing_behind() {
    let scene = Scene::begin().await;
    let nowhere = Uuid::new_v4().to_string();
    let body = scene.world.partner_center.event_body("referral-created", &nowhere);
    assert_eq!(
        scene
            .world
            .post(&scene.world.partner_center.sign_post(&body).unwrap())
            .await,
        200
    );
    scene.world.settle().await;
    assert_eq!(scene.attention(&nowhere), []);
    assert!(
        scene
            .audited(&nowhere, "stale")
            .iter()
            .any(|text| text.contains(&nowhere)),
        "{:#?}",
        scene.world.audit()
    );
    scene.end().await;
}

// ---- referrals --------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_new_referral_of_unknown_status_waits_for_a_person_and_is_taken_up_once_it_is_understood() {
    let scene = Scene::begin().await;
    let sent = scene.microsoft_sends_spoilt(r#"{"status": "Simmering", "substatus": "Gently"}"#);
    scene.world.settle().await;
    let text = scene.one_attention(&sent.referral, "unknown_value");
    assert!(text.contains("Simmering/Gently"), "{text}");
    assert!(scene.world.opportunities_of(&sent.referral).is_empty());

    let known = json!({ "status": "New", "substatus": "Pending" });
    scene
        .world
        .partner_center
        .microsoft_edits(&sent.referral, known)
        .unwrap();
    scene.world.settle().await;
    scene.is_in_step(&scene.world.opportunity_of(&sent.referral));
    assert_eq!(scene.attention(&sent.referral), []);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referral_of_an_unknown_type_is_not_silently_left_out() {
    let scene = Scene::begin().await;
    let sent = scene.microsoft_sends_spoilt(r#"{"type": "Federated", "qualification": "Hopeful"}"#);
    scene.world.settle().await;
    let text = scene.one_attention(&sent.referral, "unknown_value");
    assert!(text.contains("Federated"), "{text}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_values_on_a_linked_deal_leave_their_fields_alone_and_the_others_go_on() {
    let scene = Scene::begin().await;
    let (opportunity, referral) = scene.with_a_linked_deal().await;
    let edit = r#"{"status": "Simmering", "details": {"closingDateTime": "at harvest", "notes": "All the same."}}"#;
    scene
        .world
        .partner_center
        .microsoft_edits_exactly(&referral, edit)
        .unwrap();
    scene.world.settle().await;
    let row = scene.world.opportunity(&opportunity);
    assert_eq!(row["description"], "All the same.");
    assert_eq!(
        (&row["statecode"], &row["estimatedclosedate"]),
        (&json!(0), &json!("2027-04-01"))
    );
    let attention = scene.attention(&referral);
    let codes: Vec<&str> = attention.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["unknown_value", "unknown_value"], "{attention:?}");
    for part in ["Simmering", "at harvest"] {
        assert!(
            attention.iter().any(|(_, text)| text.contains(part)),
            "{part} in {attention:?}"
        );
        scene.is_told_to_the_seller(&opportunity, part);
    }

    let edit = json!({ "status": "Active", "details": { "closingDateTime": "2027-08-01T00:00:00Z" } });
    scene.world.partner_center.microsoft_edits(&referral, edit).unwrap();
    scene.world.settle().await;
    assert_eq!(scene.attention(&referral), []);
    scene.is_in_step(&opportunity);
    assert_eq!(
        scene.world.opportunity(&opportunity)["estimatedclosedate"],
        "2027-08-01"
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referral_without_its_parts_still_becomes_an_opportunity() {
    let scene = Scene::begin().await;
    let sent = scene.microsoft_sends_spoilt(
        r#"{"name": null, "customerProfile": null, "consent": null, "details": null, "inviteContext": null,
            "trackingInfo": null, "target": null}"#,
    );
    scene.world.settle().await;
    let row = scene.world.opportunity(&scene.world.opportunity_of(&sent.referral));
    assert!(
        row["name"].as_str().unwrap().contains(&sent.referral),
        "a row nobody can find: {}",
        row["name"]
    );
    assert_eq!((&row["estimatedvalue"], &row["statuscode"]), (&Value::Null, &json!(2)));
    assert_eq!(scene.attention(&sent.referral), []);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_object_in_the_place_of_a_list_is_an_empty_list() {
    let scene = Scene::begin().await;
    let sent = scene.microsoft_sends_spoilt(
        r#"{"target": {}, "team": {}, "customerProfile": {"team": {}}, "details": {"requirements": {"solutions": {}}}}"#,
    );
    scene.world.settle().await;
    let opportunity = scene.world.opportunity_of(&sent.referral);
    let row = scene.world.opportunity(&opportunity);
    assert_eq!(
        (&row["cosell_solutions"], &row["_parentcontactid_value"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(row["estimatedvalue"], json!(52_000.0));
    scene.is_in_step(&opportunity);
    assert_eq!(scene.attention(&sent.referral), []);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_everywhere_are_told_and_take_no_other_deal_along() {
    let mut scene = Scene::begin().await;
    // Where there is no consent at all, consent cannot be restored; that refusal is told on the deal as well.
    scene.world.tolerate("partner_center");
    let (opportunity, referral) = scene.with_a_linked_deal().await;
    let nulls = r#"{"engagementId": null, "name": null, "status": null, "substatus": null, "statusReason": null,
        "qualification": null, "type": null, "direction": null, "target": null, "team": null, "mpnId": null,
        "customerProfile": null, "consent": null, "details": null, "inviteContext": null, "trackingInfo": null}"#;
    scene
        .world
        .partner_center
        .microsoft_edits_exactly(&referral, nulls)
        .unwrap();
    let unseen = scene.microsoft_sends_spoilt(nulls);
    scene.world.settle().await;

    let attention = scene.attention(&referral);
    assert!(
        attention
            .iter()
            .any(|(code, text)| code == "unknown_value" && text.contains("stage")),
        "{attention:?}"
    );
    for (_, text) in &attention {
        scene.is_told_to_the_seller(&opportunity, text);
    }
    let row = scene.world.opportunity(&opportunity);
    assert_eq!(row["statecode"], json!(0));
    assert!(
        row["name"].as_str().unwrap().ends_with("Sable Ridge backup refresh"),
        "{}",
        row["name"]
    );
    // What Partner Center emptied is empty here too, and the trail says what stood there.
    assert!(
        row["cosell_audit"].as_str().unwrap().contains("9000 USD to nothing"),
        "{}",
        row["cosell_audit"]
    );

    scene.one_attention(&unseen.referral, "unknown_value");
    assert!(scene.world.opportunities_of(&unseen.referral).is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referral_that_cannot_be_read_is_listed_with_the_place_at_fault() {
    let scene = Scene::begin().await;
    let sent = scene.microsoft_sends_spoilt(r#"{"name": {"text": "a name in a box"}}"#);
    scene.world.settle().await;
    let text = scene.one_attention(&sent.referral, "refused");
    assert!(text.contains("name"), "{text}");

    scene
        .world
        .partner_center
        .microsoft_edits(&sent.referral, json!({ "name": "Out of the box" }))
        .unwrap();
    scene.world.settle().await;
    assert_eq!(scene.attention(&sent.referral), []);
    scene.is_in_step(&scene.world.opportunity_of(&sent.referral));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_referral_at_all_is_listed_on_its_deal() {
    let scene = Scene::begin().await;
    scene.world.partner_center.hold_deliveries(true);
    let bodies = [
        "",
        "<html>Our services are not available right now</html>",
        "[]",
        "null",
        "{\"id\": 7}",
        "\"\"",
    ];
    let sent = bodies.map(|body| {
        // Each has a customer of its own: several accounts of one name would be a finding of their own.
        let sent = scene.world.microsoft_sends(&InboundDeal {
            microsoft_record: false,
            customer: format!("Growers of {body:?}"),
            ..InboundDeal::default()
        });
        let path = format!("/v1.0/engagements/referrals/{}", sent.referral);
        let nonsense = Fault::Answer {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        scene
            .world
            .switchboard
            .plan(0, 1, nonsense, move |exchange| exchange.target.starts_with(&path));
        (body, sent.referral)
    });
    scene.world.partner_center.hold_deliveries(false);
    scene.world.partner_center.release(Release::InOrder);
    scene.world.settle().await;
    for (body, referral) in sent {
        assert!(
            !scene.audited(&referral, "refused").is_empty(),
            "{body}: {:#?}",
            scene.world.audit()
        );
        scene
            .world
            .invoke(json!({ "command": "resync", "referral": referral }))
            .await
            .unwrap();
        scene.is_in_step(&scene.world.opportunity_of(&referral));
    }
    scene.end().await;
}

// ---- currencies, texts, money -----------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_in_a_currency_the_crm_lacks_waits_for_the_currency() {
    let scene = Scene::begin().await;
    let sent = scene.world.microsoft_sends(&InboundDeal {
        currency: "CHF".to_owned(),
        ..InboundDeal::default()
    });
    scene.world.settle().await;
    let text = scene.one_attention(&sent.referral, "currency_missing");
    assert!(text.contains("CHF"), "{text}");
    assert!(scene.world.opportunities_of(&sent.referral).is_empty());

    scene.world.dataverse.add_currency("CHF", 2, 0.9).unwrap();
    scene.world.invoke(json!({ "run": "compare" })).await.unwrap();
    scene.world.settle().await;
    let opportunity = scene.world.opportunity_of(&sent.referral);
    scene.is_in_step(&opportunity);
    assert_eq!(scene.world.opportunity(&opportunity)["estimatedvalue"], json!(52_000.0));
    assert_eq!(scene.attention(&sent.referral), []);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_deal_whose_currency_changes_to_one_the_crm_lacks_keeps_its_value_until_it_is_there() {
    let scene = Scene::begin().await;
    let (opportunity, referral) = scene.with_a_linked_deal().await;
    scene.world.portal_edits(
        &referral,
        json!({ "details": { "dealValue": 8100, "currency": "SEK", "notes": "In kronor." } }),
    );
    scene.world.settle().await;
    let text = scene.one_attention(&referral, "currency_missing");
    scene.is_told_to_the_seller(&opportunity, &text);
    let row = scene.world.opportunity(&opportunity);
    assert_eq!(
        (&row["estimatedvalue"], &row["description"]),
        (&json!(9000.0), &json!("In kronor."))
    );

    let krona = scene.world.dataverse.add_currency("SEK", 2, 10.0).unwrap();
    scene.world.invoke(json!({ "run": "compare" })).await.unwrap();
    scene.world.settle().await;
    let row = scene.world.opportunity(&opportunity);
    assert_eq!(row["estimatedvalue"], json!(8100.0));
    assert_eq!(row["_transactioncurrencyid_value"], json!(krona.to_string()));
    scene.is_in_step(&opportunity);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_over_the_limit_are_cut_between_characters_and_never_cut_back() {
    let scene = Scene::begin().await;
    // Dataverse counts UTF-16 units: the 2000th unit is the first half of a pair.
    let notes = format!("{}😀 and more", "n".repeat(1999));
    let name = format!("{}😀 and more", "N".repeat(297));
    let sent = scene.microsoft_sends_spoilt(&json!({ "name": name, "details": { "notes": notes } }).to_string());
    scene.world.settle().await;
    let opportunity = scene.world.opportunity_of(&sent.referral);
    let row = scene.world.opportunity(&opportunity);
    assert_eq!(row["description"], json!("n".repeat(1999)));
    assert_eq!(row["name"], json!(format!("✔ {}", "N".repeat(297))));
    assert_eq!(
        scene.audited(&sent.referral, "text_cut").len(),
        2,
        "{:#?}",
        scene.world.audit()
    );
    assert!(
        row["cosell_audit"]
            .as_str()
            .unwrap()
            .contains("it was cut there and stays whole in Partner Center")
    );

    // Accepting sends value and date along; the texts that were cut stay where they are whole.
    scene
        .world
        .seller_edits(&opportunity, &json!({ "statuscode": 1, "estimatedvalue": 53_000 }));
    scene.world.settle().await;
    for run in [
        json!({ "run": "compare" }),
        json!({ "command": "resync", "referral": sent.referral }),
    ] {
        scene.world.invoke(run).await.unwrap();
        scene.world.settle().await;
    }
    let record = scene.world.referral(&sent.referral);
    assert_eq!(
        (&record["status"], &record["details"]["dealValue"]),
        (&json!("Active"), &json!(53_000))
    );
    assert_eq!(
        (&record["name"], &record["details"]["notes"]),
        (&json!(name), &json!(notes))
    );

    // A later, longer text is cut the same way and said again.
    let longer = format!("{notes} {notes}");
    scene
        .world
        .portal_edits(&sent.referral, json!({ "details": { "notes": longer } }));
    scene.world.settle().await;
    assert_eq!(
        scene.world.opportunity(&opportunity)["description"],
        json!("n".repeat(1999))
    );
    assert_eq!(scene.world.referral(&sent.referral)["details"]["notes"], json!(longer));
    scene.is_in_step(&opportunity);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_keeps_every_digit_where_it_was_typed() {
    let scene = Scene::begin().await;
    let (opportunity, referral) = scene.with_a_linked_deal().await;
    // The nearest float is ...345, which would be rounded up.
    let exact = "123456789012.34499999999999999";
    let edit = format!(r#"{{"details": {{"dealValue": {exact}}}}}"#);
    scene
        .world
        .partner_center
        .portal_edits_exactly(&referral, &edit)
        .unwrap();
    scene.world.settle().await;
    let row = scene
        .world
        .dataverse
        .row_text("opportunities", opportunity.parse().unwrap())
        .unwrap();
    assert!(row.contains(r#""estimatedvalue":123456789012.34"#), "{row}");
    scene.is_in_step(&opportunity);

    // Rounding is not an edit: nothing of it travels back, not even with another change.
    scene
        .world
        .seller_edits(&opportunity, &json!({ "description": "Rounded here." }));
    scene.world.settle().await;
    scene
        .world
        .invoke(json!({ "command": "resync", "referral": referral }))
        .await
        .unwrap();
    scene.world.settle().await;
    let record = scene.world.partner_center.referral_text(&referral).unwrap();
    assert!(record.contains(exact), "{record}");
    assert!(record.contains("Rounded here."), "{record}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_no_decimal_holds_is_told_and_left_alone() {
    let scene = Scene::begin().await;
    let (opportunity, referral) = scene.with_a_linked_deal().await;
    let number = format!("1.{}", "1234567890".repeat(6));
    let edit = format!(r#"{{"details": {{"dealValue": {number}, "notes": "So exact."}}}}"#);
    scene
        .world
        .partner_center
        .microsoft_edits_exactly(&referral, &edit)
        .unwrap();
    scene.world.settle().await;
    let text = scene.one_attention(&referral, "unknown_value");
    assert!(text.contains("1.12345678901234567890"), "{text}");
    let row = scene.world.opportunity(&opportunity);
    assert_eq!(
        (&row["estimatedvalue"], &row["description"]),
        (&json!(9000.0), &json!("So exact."))
    );
    let record = scene.world.partner_center.referral_text(&referral).unwrap();
    assert!(record.contains(&number), "{record}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_beyond_what_the_crm_stores_is_refused_on_its_own_deal() {
    let mut scene = Scene::begin().await;
    let (opportunity, referral) = scene.with_a_linked_deal().await;
    // The refusal is what this is about.
    scene.world.tolerate("dataverse");
    scene
        .world
        .portal_edits(&referral, json!({ "details": { "dealValue": 5_000_000_000_000_i64 } }));
    scene.world.settle().await;
    let text = scene.one_attention(&referral, "refused");
    assert!(text.contains("estimatedvalue"), "{text}");
    assert_eq!(scene.world.opportunity(&opportunity)["estimatedvalue"], json!(9000.0));

    scene
        .world
        .portal_edits(&referral, json!({ "details": { "dealValue": 5_000 } }));
    scene.world.settle().await;
    assert_eq!(scene.world.opportunity(&opportunity)["estimatedvalue"], json!(5000.0));
    assert_eq!(scene.attention(&referral), []);
    scene.is_in_step(&opportunity);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_deal_beyond_what_the_crm_stores_is_created_once_it_is_corrected() {
    let mut scene = Scene::begin().await;
    scene.world.tolerate("dataverse");
    let referral = scene.world.portal_creates(&json!({
        "customerProfile": { "name": "Deep Pockets" }, "details": { "dealValue": 5_000_000_000_000_i64 }
    }));
    scene
        .world
        .until("the deal is listed", |_| !scene.attention(&referral).is_empty())
        .await;
    let text = scene.one_attention(&referral, "refused");
    assert!(text.contains("estimatedvalue"), "{text}");
    assert!(scene.world.opportunities_of(&referral).is_empty());

    scene
        .world
        .portal_edits(&referral, json!({ "details": { "dealValue": 5_000 } }));
    scene.world.settle().await;
    let opportunity = scene.world.opportunity_of(&referral);
    assert_eq!(scene.world.opportunity(&opportunity)["estimatedvalue"], json!(5000.0));
    scene.is_in_step(&opportunity);
    scene.end().await;
}

// ---- references -------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_names_nothing_is_told_and_no_opportunity_is_made_up() {
    let scene = Scene::begin().await;
    let nowhere = Uuid::new_v4().to_string();
    let foreign = scene
        .world
        .portal_creates(&json!({ "name": "From another CRM", "externalReferenceId": "CRM-4711" }));
    let dangling = scene
        .world
        .portal_creates(&json!({ "name": "From nowhere", "externalReferenceId": nowhere }));
    scene.world.settle().await;
    for (referral, named) in [(&foreign, "CRM-4711"), (&dangling, nowhere.as_str())] {
        let text = scene.one_attention(referral, "reference_names_nothing");
        assert!(
            text.contains(named) && text.contains("clear it in Partner Center"),
            "{text}"
        );
        assert!(scene.world.opportunities_of(referral).is_empty());
        assert_eq!(scene.world.referral(referral)["externalReferenceId"], named);
    }

    scene
        .world
        .portal_edits(&dangling, json!({ "externalReferenceId": "" }));
    scene.world.settle().await;
    assert_eq!(scene.attention(&dangling), []);
    scene.is_in_step(&scene.world.opportunity_of(&dangling));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_is_changed_on_a_linked_deal_is_told_and_not_overwritten() {
    let scene = Scene::begin().await;
    let (opportunity, referral) = scene.with_a_linked_deal().await;
    scene.world.portal_edits(
        &referral,
        json!({ "externalReferenceId": "OPP-1", "details": { "notes": "Renumbered." } }),
    );
    scene.world.settle().await;
    let text = scene.one_attention(&referral, "reference_names_nothing");
    assert!(text.contains("OPP-1") && text.contains(&opportunity), "{text}");
    scene.is_told_to_the_seller(&opportunity, "OPP-1");
    assert_eq!(scene.world.referral(&referral)["externalReferenceId"], "OPP-1");
    assert_eq!(scene.world.opportunity(&opportunity)["description"], "Renumbered.");

    scene
        .world
        .portal_edits(&referral, json!({ "externalReferenceId": opportunity }));
    scene.world.settle().await;
    assert_eq!(scene.attention(&referral), []);
    scene.is_in_step(&opportunity);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_referrals_that_name_the_same_opportunity_are_told_apart() {
    let scene = Scene::begin().await;
    let (opportunity, referral) = scene.with_a_linked_deal().await;
    let second = scene
        .world
        .portal_creates(&json!({ "name": "A copy", "externalReferenceId": opportunity }));
    scene.world.settle().await;
    let text = scene.one_attention(&second, "already_linked");
    assert!(text.contains(&referral), "{text}");
    scene.is_in_step(&opportunity);
    assert_eq!(
        scene.world.opportunity(&opportunity)["cosell_referralidentifier"],
        json!(referral)
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_names_a_referral_which_does_not_exist_is_told() {
    let scene = Scene::begin().await;
    let opportunity = scene.world.seller_enters(&Sharing {
        sync: false,
        ..Sharing::default()
    });
    let nowhere = Uuid::new_v4().to_string();
    let change = json!({ "cosell_referralidentifier": nowhere, "cosell_syncwithpartnercenter": true });
    scene.world.seller_edits(&opportunity, &change);
    scene.world.settle().await;
    let link = scene.world.link_of(&opportunity).unwrap();
    let attention = findings(&link["attention"]);
    assert_eq!(attention.len(), 1, "{attention:?}");
    assert_eq!(attention[0].0, "reference_names_nothing");
    assert!(attention[0].1.contains(&nowhere), "{attention:?}");
    assert!(scene.world.referrals_of(&opportunity).is_empty());
    scene.end().await;
}
