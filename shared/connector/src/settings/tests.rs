//! Which settings are accepted, and what is said of the others.

use super::*;

const AWS: [(&str, &str); 3] = [
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "id"),
    ("AWS_SECRET_ACCESS_KEY", "key"),
];

const SYNC: [(&str, &str); 7] = [
    (
        "QUEUE_URL",
        "https://sqs.eu-west-1.amazonaws.com/000000000000/hints.fifo",
    ),
    ("LINKS_TABLE", "links"),
    ("AUDIT_TABLE", "audit"),
    ("PARTNER_TENANT_ID", "7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11"),
    ("PARTNER_CENTER_SECRET", "cosell/partner-center"),
    ("DATAVERSE_URL", "https://contoso.crm4.dynamics.com/"),
    ("DATAVERSE_SECRET", "cosell/dataverse"),
];

fn sync(changes: &[(&str, &str)]) -> Result<Sync, String> {
    let pairs: Vec<_> = changes.iter().chain(&AWS).chain(&SYNC).copied().collect();
    let lookup = |name: &str| {
        let found = pairs.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Sync::load(&lookup).map_err(|error| error.to_string())
}

fn registration(changes: &[(&str, &str)]) -> Result<Registration, String> {
    let lookup = |name: &str| {
        let found = changes.iter().chain(&AWS).chain(&SYNC).find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Registration::load(&lookup).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let settings = sync(&[]).unwrap();
    assert_eq!(settings.entra.as_str(), "https://login.microsoftonline.com");
    assert_eq!(settings.partner_center.as_str(), "https://api.partner.microsoft.com");
    // A trailing slash would change the audience of the token.
    assert_eq!(settings.dataverse.as_str(), "https://contoso.crm4.dynamics.com");
    assert_eq!(settings.dataverse_tenant, settings.partner_tenant);
    assert_eq!(settings.mapping_file, None);
    assert_eq!(settings.settle, Duration::from_secs(600));
    assert_eq!(settings.close_delay, Duration::from_secs(300));
    assert!(settings.cosell_only && settings.display_checkmark && !settings.dry_run);
    assert_eq!(settings.paused, None);
    let rate = |per_second| Rate { per_second, workers: 5 };
    assert_eq!(
        (settings.dataverse_rate, settings.partner_center_rate),
        (rate(10), rate(5))
    );

    let settings = registration(&[]).unwrap();
    assert_eq!(
        settings.partner_center_webhooks.as_str(),
        "https://api.partnercenter.microsoft.com"
    );
    assert_eq!(settings.webhook_url, None);
    assert_eq!(settings.webhook_events.len(), 5);
}

#[test]
fn everything_missing_is_named_in_one_error() {
    let error = Sync::load(&|_| None).unwrap_err();
    assert_eq!(error.code(), "settings_invalid");
    for (variable, _) in AWS.iter().chain(&SYNC) {
        assert!(
            error.to_string().contains(&format!("{variable} is not set")),
            "{variable}: {error}"
        );
    }
    let error = Registration::load(&|_| Some("  ".to_owned())).unwrap_err().to_string();
    assert!(error.contains("PARTNER_TENANT_ID is not set") && error.contains("PARTNER_CENTER_SECRET is not set"));
}

#[test]
fn everything_wrong_is_named_with_its_value_and_what_would_be_right() {
    let error = sync(&[
        ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/hints"),
        ("ENTRA_URL", "http://login.microsoftonline.com"),
        ("PARTNER_TENANT_ID", "common"),
        ("DATAVERSE_TENANT_ID", "contoso.onmicrosoft.com"),
        ("DATAVERSE_URL", "https://crm.example.com"),
        ("LINKS_TABLE", "two words"),
        ("DRY_RUN", "yes"),
        ("PAUSED", "both"),
        ("SETTLE_SECONDS", "0"),
        ("DATAVERSE_RATE", "-1"),
    ])
    .unwrap_err();
    for expected in [
        "QUEUE_URL is \"https://sqs.eu-west-1.amazonaws.com/000000000000/hints\": it must name a FIFO queue",
        "ENTRA_URL is \"http://login.microsoftonline.com\": it must be an https URL",
        "PARTNER_TENANT_ID is \"common\": it must be the tenant's GUID",
        "DATAVERSE_TENANT_ID is \"contoso.onmicrosoft.com\": it must be",
        "DATAVERSE_URL is \"https://crm.example.com\": it must be the host of a Dataverse environment",
        "LINKS_TABLE is \"two words\": it must be a name without blanks",
        "DRY_RUN is \"yes\": it must be `true` or `false`",
        "PAUSED is \"both\": it must be `none`, `toward_dynamics` or `toward_partner_center`",
        "SETTLE_SECONDS is \"0\": it must be a whole number from 1 to 86400",
        "DATAVERSE_RATE is \"-1\": it must be",
    ] {
        assert!(error.contains(expected), "{expected}\n{error}");
    }
}

#[test]
fn an_optional_setting_that_cannot_be_read_is_a_problem_all_the_same() {
    assert!(registration(&[("WEBHOOK_URL", "http://example.com/webhook")]).is_err());
    assert!(registration(&[("WEBHOOK_EVENTS", "referral-created,,x")]).is_err());
    let settings = registration(&[("WEBHOOK_EVENTS", " b, a,b")]).unwrap();
    let names: Vec<_> = settings.webhook_events.iter().map(EventName::as_str).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_relative_mapping_lies_beside_the_program() {
    let mapping = |changes: &[(&str, &str)]| sync(changes).unwrap().mapping_file;
    let in_lambda = ("LAMBDA_TASK_ROOT", "/var/task");
    let is_at = |path: &str| Some(PathBuf::from(path));
    assert_eq!(
        mapping(&[("MAPPING_FILE", "mapping.toml"), in_lambda]),
        is_at("/var/task/mapping.toml")
    );
    assert_eq!(
        mapping(&[("MAPPING_FILE", "/opt/own.toml"), in_lambda]),
        is_at("/opt/own.toml")
    );
    assert_eq!(mapping(&[("MAPPING_FILE", "mapping.toml")]), is_at("mapping.toml"));
    assert_eq!(mapping(&[in_lambda]), None);
}

#[test]
fn a_direction_is_paused_by_its_name() {
    for (text, side) in [
        ("none", None),
        ("", None),
        ("toward_dynamics", Some(Side::Dynamics)),
        ("toward_partner_center", Some(Side::PartnerCenter)),
    ] {
        assert_eq!(sync(&[("PAUSED", text)]).unwrap().paused, side, "{text}");
    }
}

#[test]
fn only_roots_are_endpoints_and_passwords_are_not_repeated() {
    assert_eq!(
        Endpoint::parse("http://127.0.0.1:4001/").unwrap().as_str(),
        "http://127.0.0.1:4001"
    );
    for text in [
        "https://example.com/path",
        "https://example.com/?q",
        "https://example.com/#f",
        "https://user@example.com",
        "http://example.com",
        "example.com",
        "",
    ] {
        assert!(Endpoint::parse(text).is_err(), "{text}");
    }
    let error = sync(&[("ENTRA_URL", "https://me:hunter2@example.com")]).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
    for url in ["http://example.com/a?sig=hunter2", "https://me:a?hunter2@example.com"] {
        let error = sync(&[("ENTRA_URL", url)]).unwrap_err();
        assert!(!error.contains("hunter2") && !error.contains("me:a"), "{error}");
    }
}

#[test]
fn of_a_url_scheme_host_and_path_are_public() {
    for (url, public) in [
        (
            "https://a.example:8443/hook?api-version=1&sig=k#f",
            "https://a.example:8443/hook",
        ),
        (" HTTPS://me:pw@A.example ", "https://a.example/"),
        ("sig=k", "(no URL)"),
        ("", "(no URL)"),
    ] {
        assert_eq!(public_part(url), public, "{url}");
    }
}

#[test]
fn a_webhook_may_carry_one_owner_mark_and_stand_below_localhost() {
    let owner = |text: &str| WebhookUrl::parse(text).map(|url| url.owner());
    for (text, mark) in [
        ("https://a.example/webhook", None),
        (
            "https://a.example/webhook?owner=cosell-staging-0a1b2c3d",
            Some("cosell-staging-0a1b2c3d"),
        ),
        ("https://a.example/webhook?x=1&owner=m", Some("m")),
        ("http://127.0.0.1:4000/webhook?owner=m", Some("m")),
        ("http://ab12.execute-api.localhost:4566/webhook?owner=m", Some("m")),
    ] {
        assert_eq!(owner(text), Ok(mark.map(str::to_owned)), "{text}");
    }
    for text in [
        "https://a.example/webhook?owner=",
        "https://a.example/webhook?owner",
        "https://a.example/webhook?owner=a&owner=b",
        "https://a.example/webhook?owner=a%20b",
        "http://a.example/webhook?owner=m",
        "http://localhost.example/webhook",
        "http://evillocalhost/webhook",
    ] {
        assert!(owner(text).is_err(), "{text}");
    }
    // A name below localhost is good for being posted to, and for nothing else.
    assert!(Endpoint::parse("http://ab12.localhost:4566").is_err());
    assert_eq!(
        public_webhook("https://a.example/hook?sig=k&owner=cosell-production-1"),
        "https://a.example/hook?owner=cosell-production-1"
    );
    for text in [
        "https://a.example/hook?sig=k",
        "https://a.example/hook?owner=k%2Bs/=",
        "https://a.example/hook?owner=a&owner=b",
    ] {
        assert_eq!(public_webhook(text), "https://a.example/hook", "{text}");
    }
}

#[test]
fn a_token_for_the_crm_goes_to_microsofts_hosts_only() {
    for text in [
        "https://contoso.crm.dynamics.com",
        "https://contoso.api.crm4.dynamics.com",
        "https://contoso.crm21.dynamics.com",
        "https://contoso.crm.microsoftdynamics.us",
        "http://localhost:4002",
    ] {
        assert!(Endpoint::parse_dataverse(text).is_ok(), "{text}");
    }
    for text in [
        "https://crm.dynamics.com",
        "https://contoso.crm4.dynamics.com.example.com",
        "https://contoso.crmx.dynamics.com",
        "https://a.b.crm4.dynamics.com",
        "https://contoso.crm4.dynamics.com:8443",
        "https://evildynamics.com",
        "https://10.0.0.1",
    ] {
        assert!(Endpoint::parse_dataverse(text).is_err(), "{text}");
    }
}

#[test]
fn origins_are_compared_whole() {
    let endpoint = Endpoint::parse("https://contoso.crm4.dynamics.com").unwrap();
    let is_ours = |text: &str| endpoint.is_origin_of(&Url::parse(text).unwrap());
    assert!(is_ours(
        "https://CONTOSO.crm4.dynamics.com:443/api/data/v9.2/x?$deltatoken=1"
    ));
    assert!(!is_ours("http://contoso.crm4.dynamics.com/"));
    assert!(!is_ours("https://contoso.crm4.dynamics.com:444/"));
    assert!(!is_ours("https://other.crm4.dynamics.com/"));
    assert!(!is_ours("https://user@contoso.crm4.dynamics.com/"));
}
