//! Reading: options, filters, pages, expanded rows, annotations, definitions.

use serde_json::{Value, json};

use super::Bench;
use crate::dataverse::seed;

async fn names(bench: &Bench, query: &str) -> Vec<String> {
    let reply = bench
        .get(&format!("opportunities?$select=name&$orderby=name&{query}"))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.ids("name")
}

async fn three(bench: &Bench) {
    for (name, value, date) in [
        ("Alpha", json!(100), json!("2026-01-09")),
        ("beta's", json!(200.5), json!("2026-02-01")),
        ("Gamma", Value::Null, Value::Null),
    ] {
        let row = json!({ "name": name, "estimatedvalue": value, "estimatedclosedate": date });
        bench.dataverse.seller_creates("opportunity", &row).unwrap();
    }
}

#[tokio::test]
async fn filters_compare_as_the_server_does() {
    let bench = Bench::new().await;
    three(&bench).await;
    for (filter, expected) in [
        ("name eq 'ALPHA'", vec!["Alpha"]),
        ("name eq 'Beta''s'", vec!["beta's"]),
        ("name ne 'alpha'", vec!["beta's", "Gamma"]),
        ("estimatedvalue gt 100", vec!["beta's"]),
        ("estimatedvalue ge 100.0", vec!["Alpha", "beta's"]),
        (
            "estimatedvalue lt 200.5 or estimatedvalue eq null",
            vec!["Alpha", "Gamma"],
        ),
        ("estimatedvalue ne null and not contains(name,'ALP')", vec!["beta's"]),
        ("estimatedclosedate le 2026-01-31", vec!["Alpha"]),
        ("startswith(name,'b') or endswith(name,'MA')", vec!["beta's", "Gamma"]),
        ("not (name eq 'alpha' or name eq 'gamma')", vec!["beta's"]),
        ("cosell_syncwithpartnercenter eq true", vec![]),
        (
            "(statecode eq 0 and modifiedon ge 2020-01-01T00:00:00Z) and name eq 'gamma'",
            vec!["Gamma"],
        ),
        (
            &format!("_ownerid_value eq {}", seed::SELLER),
            vec!["Alpha", "beta's", "Gamma"],
        ),
    ] {
        assert_eq!(names(&bench, &format!("$filter={filter}")).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn what_is_not_understood_is_refused() {
    let bench = Bench::new().await;
    for query in [
        "$select=estimatedvalu",
        "$select=Name",
        "$select=ownerid",
        "$select=",
        "$filter=nam eq 'x'",
        "$filter=name eq 5",
        "$filter=name eq 'x",
        "$filter=estimatedvalue eq '5'",
        "$filter=name like 'x'",
        "$filter=not name eq 'x'",
        "$filter=name eq 'x' and",
        "$filter=_ownerid_value eq '5'",
        "$filter=_ownerid_value gt 9d0e1f2a-0001-4c0f-9a55-000d3a3be645",
        "$filter=estimatedclosedate eq 2026-01-09T00:00:00Z",
        "$orderby=nam",
        "$orderby=name downwards",
        "$top=0",
        "$skip=1",
        "$search=x",
        "filter=name eq 'x'",
        "$top=1&$top=2",
        "$expand=customerid",
        "$expand=Owninguser",
        "$expand=ownerid($select=fullname)",
        "$expand=owninguser($filter=x)",
        "$count=yes",
    ] {
        let reply = bench.get(&format!("opportunities?{query}")).await;
        assert_eq!(reply.refusal(), (400, "0x80060888".to_owned()), "{query}");
    }
    assert_eq!(
        bench
            .get_preferring("opportunities?$top=1", "odata.maxpagesize=5")
            .await
            .status,
        400
    );
    assert_eq!(
        bench.get("opportunitys").await.refusal(),
        (404, "0x80060888".to_owned())
    );
    assert_eq!(bench.get("Opportunities").await.status, 404);
    assert_eq!(
        bench.get("opportunities(name='x')").await.refusal(),
        (400, "0x80060890".to_owned())
    );
    assert_eq!(
        bench.get("opportunities(cosell_referralidentifier='a*b')").await.status,
        400
    );
    assert_eq!(bench.get("opportunities(5)").await.status, 400);
    let put = bench.send(http::Method::PUT, "opportunities", &[], "{}").await;
    assert_eq!(put.refusal(), (405, "0x80060888".to_owned()));
}

#[tokio::test]
async fn a_removed_column_is_unknown_everywhere() {
    let bench = Bench::new().await;
    bench.dataverse.remove_column("opportunity", "cosell_audit");
    assert_eq!(
        bench.get("opportunities?$select=cosell_audit").await.code(),
        "0x80060888"
    );
    assert_eq!(
        bench
            .post("opportunities", &json!({ "cosell_audit": "x" }))
            .await
            .code(),
        "0x80048d19"
    );
}

#[tokio::test]
async fn pages_are_followed_by_their_link_and_by_nothing_else() {
    let bench = Bench::new().await;
    for number in 0..5 {
        bench.opportunity(&format!("Deal {number}"));
    }
    let prefer = "odata.maxpagesize=2";
    let first = bench
        .get_preferring("opportunities?$select=name&$orderby=name&$count=true", prefer)
        .await;
    assert_eq!(first.header("preference-applied"), prefer);
    assert_eq!(first.json()["@odata.count"], 5);
    let mut seen = first.ids("name");
    let mut next = first.json()["@odata.nextLink"].as_str().map(str::to_owned);
    while let Some(link) = next {
        let again = bench.get_preferring(&link, prefer).await;
        let page = bench.get_preferring(&link, prefer).await;
        assert_eq!(again.ids("name"), page.ids("name"), "a link may be followed twice");
        let altered = link.replace("pagenumber", "PageNumber");
        assert_eq!(bench.get_preferring(&altered, prefer).await.status, 400);
        seen.extend(page.ids("name"));
        next = page.json()["@odata.nextLink"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ["Deal 0", "Deal 1", "Deal 2", "Deal 3", "Deal 4"]);
    let count = bench.get("opportunities/$count?$filter=name ne 'Deal 3'").await;
    assert_eq!((count.text.as_str(), count.header("content-type")), ("4", "text/plain"));
    assert_eq!(
        bench
            .get("opportunities?$select=name&$orderby=name desc&$top=2")
            .await
            .ids("name"),
        ["Deal 4", "Deal 3"]
    );
}

#[tokio::test]
async fn a_row_brings_the_rows_it_points_to() {
    let bench = Bench::new().await;
    let account = bench.dataverse.add_account("Fabrikam, Inc.").unwrap();
    let contact = bench
        .dataverse
        .add_contact("Ana", "Ruiz", "ana@fabrikam.example", Some(account))
        .unwrap();
    let row = json!({ "name": "Deal", "estimatedvalue": 1234567.5, "estimatedclosedate": "2026-03-31",
                      "cosell_howcanmicrosofthelp": 727_000_002,
                      "customerid_account@odata.bind": format!("/accounts({account})"),
                      "parentcontactid@odata.bind": format!("/contacts({contact})") });
    let id = bench.dataverse.seller_creates("opportunity", &row).unwrap();
    let target = format!(
        "opportunities({id})?$select=estimatedvalue,_customerid_value,estimatedclosedate,cosell_howcanmicrosofthelp,statuscode&$expand=\
         transactioncurrencyid($select=isocurrencycode,currencyprecision),customerid_account($select=name),\
         customerid_contact($select=fullname),parentcontactid($select=fullname;$expand=parentcustomerid_account($select=name)),\
         owninguser($select=fullname,internalemailaddress)"
    );
    let plain = bench.get(&target).await.json();
    assert_eq!(plain["transactioncurrencyid"]["isocurrencycode"], "USD");
    assert_eq!(plain["customerid_account"]["name"], "Fabrikam, Inc.");
    assert_eq!(plain["customerid_contact"], Value::Null);
    assert_eq!(plain["parentcontactid"]["fullname"], "Ana Ruiz");
    assert_eq!(
        plain["parentcontactid"]["parentcustomerid_account"]["name"],
        "Fabrikam, Inc."
    );
    assert_eq!(plain["owninguser"]["internalemailaddress"], "ana.silva@partner.example");
    assert!(
        plain["_transactioncurrencyid_value"].is_string(),
        "an amount brings its currency"
    );
    assert!(
        plain
            .as_object()
            .unwrap()
            .keys()
            .all(|key| !key.contains('@') || key.starts_with("@odata"))
    );

    let annotated = bench
        .get_preferring(&target, "odata.include-annotations=\"*\"")
        .await
        .json();
    let formatted = |property: &str| annotated[format!("{property}@OData.Community.Display.V1.FormattedValue")].clone();
    assert_eq!(formatted("estimatedvalue"), "$1,234,567.50");
    assert_eq!(formatted("estimatedclosedate"), "3/31/2026");
    assert_eq!(formatted("cosell_howcanmicrosofthelp"), "Proof of concept or demo");
    assert_eq!(formatted("statuscode"), "In Progress");
    assert_eq!(formatted("_customerid_value"), "Fabrikam, Inc.");
    assert_eq!(
        annotated["_customerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"],
        "account"
    );
    assert_eq!(
        annotated["_customerid_value@Microsoft.Dynamics.CRM.associatednavigationproperty"],
        "customerid_account"
    );
}

#[tokio::test]
async fn stale_reads_show_the_past_and_writes_do_not() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    bench.dataverse.stale_reads(std::time::Duration::from_secs(60));
    let address = format!("opportunities({id})");
    assert_eq!(bench.get(&address).await.status, 404);
    assert_eq!(
        bench
            .get("transactioncurrencies?$select=isocurrencycode")
            .await
            .ids("isocurrencycode")
            .len(),
        3
    );
    let patched = bench
        .patch(&address, &[("if-match", &bench.etag(id))], &json!({ "name": "Newer" }))
        .await;
    assert_eq!(patched.status, 204);
    bench.clock.advance(jiff::SignedDuration::from_secs(61));
    assert_eq!(bench.get(&address).await.json()["name"], "Newer");
}

#[tokio::test]
async fn definitions_tell_what_writes_enforce() {
    let bench = Bench::new().await;
    let table = "EntityDefinitions(LogicalName='opportunity')";
    let select = "$select=LogicalName,EntitySetName,ChangeTrackingEnabled,IsOptimisticConcurrencyEnabled";
    let entity = bench.get(&format!("{table}?{select}")).await.json();
    assert_eq!(
        (
            entity["EntitySetName"].as_str(),
            entity["ChangeTrackingEnabled"].as_bool()
        ),
        (Some("opportunities"), Some(true))
    );
    assert!(entity["MetadataId"].is_string());
    let filter = "$filter=LogicalName eq 'cosell_audit' or LogicalName eq 'cosell_absent'";
    let columns = bench
        .get(&format!(
            "{table}/Attributes?$select=LogicalName,AttributeType&{filter}"
        ))
        .await
        .json();
    let found = columns["value"].as_array().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["@odata.type"], "#Microsoft.Dynamics.CRM.MemoAttributeMetadata");
    assert_eq!(found[0]["AttributeType"], "Memo");
    assert_eq!(
        bench
            .get(&format!("{table}/Attributes(LogicalName='cosell_absent')"))
            .await
            .status,
        404
    );
    let cast = format!("{table}/Attributes(LogicalName='statuscode')/Microsoft.Dynamics.CRM.StatusAttributeMetadata");
    let reasons = bench
        .get(&format!(
            "{cast}?$select=LogicalName&$expand=OptionSet($select=Options)"
        ))
        .await
        .json();
    assert_eq!(reasons["OptionSet"]["Options"][4]["State"], 2);
    assert_eq!(
        bench.get(&format!("{table}?$select=Nonsense")).await.code(),
        "0x80060888"
    );
    let keys = bench
        .get(&format!(
            "{table}/Keys?$select=SchemaName,KeyAttributes,EntityKeyIndexStatus"
        ))
        .await
        .json();
    assert_eq!(keys["value"][0]["EntityKeyIndexStatus"], "Active");
    bench.dataverse.change_tracking(false);
    let tracked = bench
        .get("EntityDefinitions?$select=LogicalName&$filter=ChangeTrackingEnabled eq true")
        .await;
    assert!(!tracked.ids("LogicalName").contains(&"opportunity".to_owned()));
    let organization = bench
        .get("organizations?$select=name,expirechangetrackingindays,_basecurrencyid_value")
        .await;
    assert_eq!(organization.json()["value"][0]["expirechangetrackingindays"], 7);
}

#[tokio::test]
async fn a_long_list_comes_in_pages_of_its_own() {
    let bench = Bench::new().await;
    let [deal, other] = ["Deal", "Other"].map(|name| bench.opportunity(name));
    for (deal, name) in [(deal, "One"), (other, "None"), (deal, "Two"), (deal, "Three")] {
        let row = json!({ "cosell_name": name, "cosell_OpportunityId@odata.bind": format!("/opportunities({deal})") });
        bench.dataverse.seller_creates("cosell_dealsolution", &row).unwrap();
    }
    let list = "cosell_opportunity_dealsolution";
    let whole = format!("opportunities({deal})?$select=name&$expand={list}($select=cosell_name)");
    let read = bench.get(&whole).await.json();
    assert_eq!(read[list].as_array().unwrap().len(), 3);
    assert_eq!(read.get(format!("{list}@odata.nextLink")), None);
    bench.dataverse.list_page(2);
    let read = bench.get(&whole).await.json();
    let mut seen: Vec<Value> = read[list].as_array().unwrap().clone();
    assert_eq!(seen.len(), 2);
    let link = read[format!("{list}@odata.nextLink")].as_str().unwrap();
    let rest = bench.get(link).await.json();
    seen.extend(rest["value"].as_array().unwrap().iter().cloned());
    assert_eq!(rest.get("@odata.nextLink"), None);
    let mut names: Vec<&str> = seen.iter().map(|row| row["cosell_name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["One", "Three", "Two"]);
    let rebuilt = link.replace("offset", "page");
    assert_eq!(bench.get(&rebuilt).await.status, 400);
}
