//! What the connector's application user is told of itself.

use http::Method;
use serde_json::json;

use super::super::Depth;
use super::super::seed::{APPLICATION_USER, SELLER};
use super::Bench;

#[tokio::test]
async fn a_user_learns_its_roles_in_both_documented_ways() {
    let bench = Bench::new().await;
    let who = bench.get("WhoAmI").await.json()["UserId"].as_str().unwrap().to_owned();
    assert_eq!(who, APPLICATION_USER.to_string());
    let roles = async || {
        bench
            .get(&format!("systemusers({who})/systemuserroles_association?$select=name"))
            .await
            .ids("name")
    };
    assert_eq!(roles().await, ["Co-sell Connector", "System Customizer"]);
    let expanded = bench
        .get(&format!(
            "systemusers({who})?$select=fullname,isdisabled&$expand=systemuserroles_association($select=name)"
        ))
        .await
        .json();
    assert_eq!(expanded["isdisabled"], false);
    assert_eq!(expanded["systemuserroles_association"][1]["name"], "System Customizer");
    bench.dataverse.role("System Customizer", false);
    assert_eq!(roles().await, ["Co-sell Connector"]);
    let seller = bench
        .get(&format!(
            "systemusers({SELLER})/systemuserroles_association?$select=name"
        ))
        .await;
    assert_eq!(seller.ids("name"), Vec::<String>::new());
    let unknown = bench
        .get(&format!(
            "systemusers({who})/systemuserroles_association?$select=colour"
        ))
        .await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn a_user_may_do_what_it_is_told_it_may_do() {
    let bench = Bench::new().await;
    let all = format!("systemusers({APPLICATION_USER})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()");
    let depth = async |name: &str| {
        let told = bench.get(&all).await.json();
        let privileges = told["RolePrivileges"].as_array().unwrap().clone();
        let found = privileges.into_iter().find(|one| one["PrivilegeName"] == name);
        found.map(|one| one["Depth"].as_str().unwrap().to_owned())
    };
    assert_eq!(depth("prvReadOpportunity").await.as_deref(), Some("Global"));
    assert_eq!(depth("prvCreateAttribute").await.as_deref(), Some("Global"));
    bench.dataverse.privilege("prvReadOpportunity", Some(Depth::Local));
    assert_eq!(depth("prvReadOpportunity").await.as_deref(), Some("Local"));
    assert_eq!(bench.get("opportunities?$select=name").await.status, 200);
    let tracked = bench
        .get_preferring("opportunities?$select=name", "odata.track-changes")
        .await;
    assert_eq!(
        tracked.refusal(),
        (403, "0x80040220".to_owned()),
        "changes are for those who read all"
    );
    bench.dataverse.privilege("prvWriteOpportunity", None);
    assert_eq!(depth("prvWriteOpportunity").await, None);
    let deal = bench.opportunity("Deal");
    let refused = bench
        .patch(
            &format!("opportunities({deal})"),
            &[("if-match", "*")],
            &json!({ "name": "Other" }),
        )
        .await;
    assert_eq!(refused.refusal(), (403, "0x80040220".to_owned()));
    assert_eq!(bench.row(deal)["name"], "Deal");
    let one = format!(
        "systemusers({APPLICATION_USER})/Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeName(PrivilegeName='prvReadLead')"
    );
    assert_eq!(
        bench.get(&one).await.json()["RolePrivileges"][0]["PrivilegeName"],
        "prvReadLead"
    );
}

#[tokio::test]
async fn a_user_without_any_role_reads_nothing() {
    let bench = Bench::new().await;
    for role in ["Co-sell Connector", "System Customizer"] {
        assert!(bench.dataverse.role(role, false));
    }
    assert!(!bench.dataverse.role("Nobody", true));
    let refused = bench.send(Method::GET, "opportunities?$select=name", &[], "").await;
    assert_eq!(refused.refusal(), (403, "0x80042f09".to_owned()));
}
