//! The closed lists of words the vendor accepts.
//!
//! Knows: literals. Refuses to know: when which one is allowed.

/// Referral life cycle.
pub(super) const STATUSES: &[&str] = &["New", "Active", "Closed"];
/// Finer steps of the life cycle.
pub(super) const SUBSTATUSES: &[&str] = &["Pending", "Received", "Accepted", "Won", "Lost", "Declined", "Expired"];
/// How far a lead is qualified.
pub(super) const QUALIFICATIONS: &[&str] = &["None", "Direct", "MarketingQualified", "SalesQualified"];
/// Whether other organisations take part.
pub(super) const TYPES: &[&str] = &["Independent", "Shared"];
/// What a referral may be addressed to.
pub(super) const TARGETS: &[&str] = &["None", "BusinessProfileLocation", "SolutionProfile"];
/// Kinds of solution tags; `Name` is a solution of the catalogue.
pub(super) const SOLUTION_TYPES: &[&str] = &["None", "Category", "Name"];
/// Kinds of customer numbers.
pub(super) const PROFILE_TYPES: &[&str] = &["Duns", "External"];
/// How Microsoft can help; `Unknown` means no help is asked for.
pub(super) const ASSISTANCE: &[&str] = &[
    "Unknown",
    "WorkloadSpecificValueProposition",
    "CustomerTechnicalArchitecture",
    "ProofOfConceptOrDemo",
    "QuotesOrLicensing",
    "PostSalesCustomerSuccess",
    "GeneralOrOther",
];
/// Sales stages by name; live data holds percentages as text as well.
pub(super) const SALES_STAGES: &[&str] = &["Qualify", "Develop", "Propose", "Close"];
/// Customer sizes; an empty text is stored for "not known".
pub(super) const SIZES: &[&str] = &[
    "",
    "1to50employees",
    "51to500employees",
    "Morethan500employees",
    "1to9employees",
    "10to50employees",
    "51to250employees",
    "251to1000employees",
    "1001to5000employees",
    "5001to10000employees",
    "10001to20000employees",
    "Morethan20000employees",
];

/// Contract terms of a deal registration.
pub(super) const TERMS: &[&str] = &["Perpetual", "Finite"];
/// Where a registered solution mostly runs.
pub(super) const DEPLOYMENTS: &[&str] = &["Customer", "Partner"];
/// How a registered solution is paid for.
pub(super) const PRICING_MODELS: &[&str] = &["PayAsYouGo", "Other"];

/// Paths that a PATCH may name.
pub(super) const PATCH_PATHS: &[&str] = &[
    "/campaignId",
    "/consent/consentToShareReferralWithMicrosoftSellers",
    "/customerProfile/team",
    "/customerProfile/team/-",
    "/details/closingDateTime",
    "/details/currency",
    "/details/dealValue",
    "/details/notes",
    "/details/requirements/solutions",
    "/details/requirements/solutions/-",
    "/externalReferenceId",
    "/referralProgram",
    "/salesStage",
    "/status",
    "/substatus",
    "/statusReason",
    "/team",
    "/team/-",
];

/// Paths that a PATCH of a deal registration may name.
pub(super) const REGISTRATION_PATHS: &[&str] = &[
    "/registrations/0/contract/startDateTime",
    "/registrations/0/contract/endDateTime",
    "/registrations/0/contract/signDateTime",
    "/registrations/0/contract/term",
    "/registrations/0/contract/value",
    "/registrations/0/solutionDetails/0/value",
    "/registrations/0/solutionDetails/0/currency",
    "/registrations/0/solutionDetails/0/isDeployedOnAzure",
    "/registrations/0/solutionDetails/0/primaryDeploymentOn",
    "/registrations/0/solutionDetails/0/pricingModel",
    "/registrations/0/solutionDetails/0/marketplaceTransactionDetails/isMarketplaceTransacted",
    "/registrations/0/solutionDetails/0/marketplaceTransactionDetails/marketplaceTransactionDateTime",
];

/// Fires for the tenant's own records.
pub(super) const REFERRAL_CREATED: &str = "referral-created";
/// Fires for the tenant's own records.
pub(super) const REFERRAL_UPDATED: &str = "referral-updated";
/// Fires for records of others in a shared engagement.
pub(super) const RELATED_CREATED: &str = "related-referral-created";
/// Fires for records of others in a shared engagement.
pub(super) const RELATED_UPDATED: &str = "related-referral-updated";
/// Fires on request.
pub(super) const TEST_CREATED: &str = "test-created";

/// Every event name that can be registered.
pub(super) const EVENTS: &[&str] = &[
    TEST_CREATED,
    REFERRAL_CREATED,
    REFERRAL_UPDATED,
    RELATED_CREATED,
    RELATED_UPDATED,
    "subscription-updated",
    "subscription-active",
    "usagerecords-thresholdExceeded",
    "invoice-ready",
    "azure-fraud-event-detected",
    "granular-admin-relationship-approved",
    "granular-admin-relationship-activated",
    "granular-admin-relationship-terminated",
    "granular-admin-relationship-expired",
    "granular-admin-access-assignment-created",
    "granular-admin-access-assignment-activated",
    "granular-admin-access-assignment-updated",
    "granular-admin-access-assignment-deleted",
    "reseller-relationship-accepted-by-customer",
    "indirect-reseller-relationship-accepted-by-customer",
    "dap-admin-relationship-approved",
    "dap-admin-relationship-terminated",
    "dap-admin-relationship-terminated-by-microsoft",
];

/// ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET \
    FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ \
    IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML \
    MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS \
    PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL \
    TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// ISO 4217, money in circulation.
const CURRENCIES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP \
    BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF \
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD \
    LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR \
    PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY \
    TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// Whether this is a country code of two letters.
pub(super) fn is_country(code: &str) -> bool {
    COUNTRIES.split_ascii_whitespace().any(|known| known == code)
}

/// Whether this is a currency code.
pub(super) fn is_currency(code: &str) -> bool {
    CURRENCIES.split_ascii_whitespace().any(|known| known == code)
}
