//! The shape of a referral: every member, its type, and whose it is.
//!
//! Knows: names, types, owners. Refuses to know: rules that need more than one member. Guarantee: what [`conform`] lets
//! through has only known members, in the vendor's spelling, with values of the right type.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::document::{Document, Members};
use super::refusal::Refusal;
use super::vocabulary;

/// Who may give a member its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The service; never sent in a POST.
    Service,
    /// The creator, once.
    Creator,
    /// The owner of the record, while it is not closed.
    Editor,
    /// Seen in stored records but not part of the published definition: refused in a POST, tolerated in an update that
    /// sends back what it read.
    Observed,
}

/// The type of a value. `null` is accepted everywhere.
#[derive(Debug)]
pub(super) enum Shape {
    Text,
    Flag,
    /// A number; a text that spells one is accepted and stored as a number.
    Number,
    /// A date with time and zone.
    Moment,
    Guid,
    Choice(&'static [&'static str]),
    SalesStage,
    Any,
    List(&'static Shape),
    Object(&'static [Member]),
    /// An object that a stored record shows empty while nobody has set a member.
    Extra(&'static Shape),
}

/// One member of an object.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) owner: Owner,
    pub(super) shape: Shape,
}

const fn service(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        owner: Owner::Service,
        shape,
    }
}

const fn creator(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        owner: Owner::Creator,
        shape,
    }
}

const fn editor(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        owner: Owner::Editor,
        shape,
    }
}

const fn observed(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        owner: Owner::Observed,
        shape,
    }
}

const PERSON: Shape = Shape::Object(&[
    editor("firstName", Shape::Text),
    editor("lastName", Shape::Text),
    editor("phoneNumber", Shape::Text),
    editor("email", Shape::Text),
    observed("title", Shape::Text),
    observed("emailValidationStatus", Shape::Text),
    observed("phoneValidationStatus", Shape::Text),
    editor(
        "contactPreference",
        Shape::Object(&[
            editor("locale", Shape::Text),
            editor("disableNotifications", Shape::Flag),
        ]),
    ),
]);

const TAG: Shape = Shape::Object(&[creator("id", Shape::Text)]);

const SOLUTION: Shape = Shape::Object(&[
    editor("id", Shape::Text),
    editor("name", Shape::Text),
    editor("type", Shape::Choice(vocabulary::SOLUTION_TYPES)),
    editor("publisherName", Shape::Text),
    editor("solutionType", Shape::Text),
    editor("price", Shape::Number),
    editor("quantity", Shape::Number),
    editor("currency", Shape::Text),
    editor("closingDateTime", Shape::Moment),
]);

const DEVICE: Shape = Shape::Object(&[
    creator("customerLicenseAgreementNumber", Shape::Any),
    creator("deviceCategory", Shape::Any),
    creator("siliconType", Shape::Any),
    creator("azureCertifiedDevice", Shape::Any),
    creator("attachServices", Shape::Any),
]);

const REQUIREMENTS: Shape = Shape::Object(&[
    creator("industries", Shape::List(&TAG)),
    creator("products", Shape::List(&TAG)),
    creator("services", Shape::List(&TAG)),
    editor("solutions", Shape::List(&SOLUTION)),
    creator("offers", Shape::List(&Shape::Any)),
    observed("salesPlays", Shape::List(&Shape::Any)),
    creator(
        "additionalRequirements",
        Shape::Object(&[
            creator("iot", Shape::Extra(&DEVICE)),
            creator(
                "attributes",
                Shape::List(&Shape::Object(&[
                    creator("type", Shape::Text),
                    creator("id", Shape::Text),
                ])),
            ),
        ]),
    ),
]);

const CONTRACT: Shape = Shape::Object(&[
    editor("value", Shape::Number),
    editor("currency", Shape::Text),
    editor("startDateTime", Shape::Moment),
    editor("endDateTime", Shape::Moment),
    editor("signDateTime", Shape::Moment),
    editor("term", Shape::Choice(vocabulary::TERMS)),
]);

const REGISTERED_SOLUTION: Shape = Shape::Object(&[
    editor("id", Shape::Text),
    observed("name", Shape::Text),
    editor("value", Shape::Number),
    editor("currency", Shape::Text),
    editor("isDeployedOnAzure", Shape::Flag),
    editor("primaryDeploymentOn", Shape::Choice(vocabulary::DEPLOYMENTS)),
    editor("pricingModel", Shape::Choice(vocabulary::PRICING_MODELS)),
    editor(
        "marketplaceTransactionDetails",
        Shape::Object(&[
            editor("isMarketplaceTransacted", Shape::Flag),
            editor("marketplaceTransactionDateTime", Shape::Moment),
        ]),
    ),
]);

/// A deal registration as it is read.
const REGISTRATION: Shape = Shape::Object(&[
    service("id", Shape::Text),
    editor("type", Shape::Choice(&["AzureIPCoSell"])),
    service("registrationDateTime", Shape::Moment),
    service("status", Shape::Text),
    service("statusReason", Shape::Text),
    editor("contract", CONTRACT),
    editor("solutionDetails", Shape::List(&REGISTERED_SOLUTION)),
    service("statusHistory", Shape::Any),
]);

/// A whole referral, in the order in which the service prints it.
pub(super) const REFERRAL: Shape = Shape::Object(&[
    service("@odata.context", Shape::Text),
    service("id", Shape::Guid),
    creator("engagementId", Shape::Guid),
    editor("name", Shape::Text),
    service("organizationId", Shape::Text),
    service("organizationName", Shape::Text),
    editor("externalReferenceId", Shape::Text),
    service("createdDateTime", Shape::Moment),
    service("updatedDateTime", Shape::Moment),
    service("expirationDateTime", Shape::Moment),
    service("acceptedDateTime", Shape::Moment),
    service("closedDateTime", Shape::Moment),
    editor("status", Shape::Choice(vocabulary::STATUSES)),
    editor("substatus", Shape::Choice(vocabulary::SUBSTATUSES)),
    editor("statusReason", Shape::Text),
    creator("qualification", Shape::Choice(vocabulary::QUALIFICATIONS)),
    creator("type", Shape::Choice(vocabulary::TYPES)),
    service("direction", Shape::Text),
    service("eTag", Shape::Text),
    creator("mpnId", Shape::Text),
    editor("salesStage", Shape::SalesStage),
    editor("campaignId", Shape::Text),
    service("favorite", Shape::Flag),
    service("isSpam", Shape::Flag),
    service("quality", Shape::Text),
    service("dealSensitivity", Shape::Text),
    service("referralProgram", Shape::Text),
    service("referralSource", Shape::Text),
    service("callToAction", Shape::Text),
    service("createdVia", Shape::Text),
    service("lastModifiedVia", Shape::Text),
    service("lastRunId", Shape::Text),
    service("registrationStatus", Shape::Text),
    service("tags", Shape::List(&Shape::Any)),
    creator(
        "target",
        Shape::List(&Shape::Object(&[
            creator("type", Shape::Choice(vocabulary::TARGETS)),
            creator("id", Shape::Text),
        ])),
    ),
    creator(
        "customerProfile",
        Shape::Object(&[
            creator("name", Shape::Text),
            creator("size", Shape::Choice(vocabulary::SIZES)),
            service("isMatchingComplete", Shape::Flag),
            creator(
                "address",
                Shape::Object(&[
                    creator("addressLine1", Shape::Text),
                    creator("addressLine2", Shape::Text),
                    creator("city", Shape::Text),
                    creator("state", Shape::Text),
                    creator("postalCode", Shape::Text),
                    creator("country", Shape::Text),
                    creator("region", Shape::Text),
                ]),
            ),
            editor("team", Shape::List(&PERSON)),
            creator(
                "ids",
                Shape::List(&Shape::Object(&[
                    creator("profileType", Shape::Choice(vocabulary::PROFILE_TYPES)),
                    creator("id", Shape::Text),
                ])),
            ),
        ]),
    ),
    creator(
        "consent",
        Shape::Object(&[
            creator("consentToToShareInfoWithOthers", Shape::Flag),
            creator("consentToContact", Shape::Flag),
            creator("consentToMicrosoftToContactSpecificPartners", Shape::Flag),
            editor("consentToShareReferralWithMicrosoftSellers", Shape::Flag),
        ]),
    ),
    creator(
        "details",
        Shape::Object(&[
            editor("notes", Shape::Text),
            editor("dealValue", Shape::Number),
            editor("currency", Shape::Text),
            editor("closingDateTime", Shape::Moment),
            creator("customerRequestedContact", Shape::Any),
            creator("customerAction", Shape::Text),
            observed("incentiveLevel", Shape::Text),
            creator("requirements", REQUIREMENTS),
        ]),
    ),
    editor("team", Shape::List(&PERSON)),
    creator(
        "inviteContext",
        Shape::Object(&[
            creator("notes", Shape::Text),
            creator("assistanceRequestCode", Shape::Choice(vocabulary::ASSISTANCE)),
            observed("invitedMpnId", Shape::Text),
            service(
                "invitedBy",
                Shape::Object(&[
                    service("organizationId", Shape::Text),
                    service("organizationName", Shape::Text),
                ]),
            ),
        ]),
    ),
    service(
        "trackingInfo",
        Shape::Object(&[
            service("microsoftMsxId", Shape::Text),
            service("microsoftUSFedOpportunityId", Shape::Text),
            service("microsoftUSFedLeadId", Shape::Text),
            service("migratedPSCDealId", Shape::Text),
            service("migratedPSCPartnerDealId", Shape::Text),
        ]),
    ),
    service("registrations", Shape::List(&REGISTRATION)),
    service("links", Shape::Any),
]);

/// How strictly a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The body of a POST: what the service owns is refused.
    Creation,
    /// The body of a PUT or the value of a PATCH: what was read may be sent back.
    Update,
}

/// Checks a value against a shape and returns it in the vendor's spelling.
pub(super) fn conform(value: Document, shape: &Shape, path: &str, reading: Reading) -> Result<Document, Refusal> {
    let wrong = |expected: &str| {
        Err(Refusal::invalid(
            path,
            format!("The value of '{path}' must be {expected}."),
        ))
    };
    match (shape, value) {
        (_, Document::Null) => Ok(Document::Null),
        (Shape::Any, value) => Ok(value),
        (Shape::Extra(inner), value) => conform(value, inner, path, reading),
        (Shape::Text, value @ Document::Text(_)) | (Shape::Flag, value @ Document::Flag(_)) => Ok(value),
        (Shape::Number, Document::Number(digits) | Document::Text(digits)) if decimal(&digits).is_some() => {
            Ok(Document::Number(digits))
        }
        (Shape::Moment, Document::Text(text)) if text.parse::<Timestamp>().is_ok() => Ok(Document::Text(text)),
        (Shape::Guid, Document::Text(text)) if uuid::Uuid::try_parse(&text).is_ok() => {
            Ok(Document::Text(text.to_ascii_lowercase()))
        }
        (Shape::Choice(words), Document::Text(text)) => {
            match words.iter().find(|word| word.eq_ignore_ascii_case(&text)) {
                Some(word) => Ok(Document::from(*word)),
                None => wrong("one of the published values"),
            }
        }
        (Shape::SalesStage, Document::Text(text)) => {
            let percentage = text.parse::<u8>().is_ok_and(|percentage| percentage <= 100);
            if percentage || vocabulary::SALES_STAGES.contains(&text.as_str()) {
                Ok(Document::Text(text))
            } else {
                wrong("a sales stage or a percentage")
            }
        }
        (Shape::List(item), Document::List(items)) => {
            let items = items.into_iter().enumerate();
            let items = items.map(|(index, value)| conform(value, item, &format!("{path}/{index}"), reading));
            Ok(Document::List(items.collect::<Result<_, _>>()?))
        }
        (Shape::Object(known), Document::Object(members)) => {
            let mut conforming = Members::default();
            for (name, value) in members.0 {
                let place = format!("{path}/{name}");
                let Some(member) = find(known, &name).filter(|member| reading.knows(member)) else {
                    return Err(Refusal::invalid(
                        &place,
                        format!("'{place}' is not a member of the referral."),
                    ));
                };
                if reading == Reading::Creation && member.owner == Owner::Service {
                    return Err(Refusal::invalid(&place, format!("'{place}' is set by the service.")));
                }
                let place = format!("{path}/{}", member.name);
                if conforming.get(member.name).is_some() {
                    return Err(Refusal::invalid(&place, format!("'{place}' is given twice.")));
                }
                conforming.set(member.name, conform(value, &member.shape, &place, reading)?);
            }
            Ok(Document::Object(conforming))
        }
        (Shape::Text | Shape::Choice(_) | Shape::SalesStage, _) => wrong("a text"),
        (Shape::Flag, _) => wrong("true or false"),
        (Shape::Number, _) => wrong("a number"),
        (Shape::Moment, _) => wrong("a date and time with zone"),
        (Shape::Guid, _) => wrong("a GUID"),
        (Shape::List(_), _) => wrong("an array"),
        (Shape::Object(_), _) => wrong("an object"),
    }
}

impl Reading {
    fn knows(self, member: &Member) -> bool {
        self == Self::Update || member.owner != Owner::Observed
    }
}

/// The member of this name; letter case does not matter on input.
fn find(members: &'static [Member], name: &str) -> Option<&'static Member> {
    members.iter().find(|member| member.name.eq_ignore_ascii_case(name))
}

/// The shape under a JSON pointer, and the owner of its last named member. Numbers and `-` step into arrays.
pub(super) fn locate(pointer: &str) -> Option<(Owner, &'static Shape)> {
    let mut shape = &REFERRAL;
    let mut owner = Owner::Service;
    for step in pointer.strip_prefix('/')?.split('/') {
        match shape {
            Shape::Object(members) => {
                let member = members.iter().find(|member| member.name == step)?;
                (owner, shape) = (member.owner, &member.shape);
            }
            Shape::List(item) if step == "-" || step.parse::<usize>().is_ok() => shape = item,
            _ => return None,
        }
    }
    Some((owner, shape))
}

/// An exact number, if the text spells one that money arithmetic can hold.
pub(super) fn decimal(digits: &str) -> Option<Decimal> {
    Decimal::from_str_exact(digits)
        .or_else(|_| Decimal::from_scientific(digits))
        .ok()
}

/// A referral of nothing but nulls and empty arrays: what a stored record shows for members nobody has set.
pub(super) fn blank(shape: &Shape) -> Document {
    match shape {
        Shape::Object(members) => Document::Object(Members(
            members
                .iter()
                .filter(|member| member.owner != Owner::Observed || matches!(member.shape, Shape::List(_)))
                .map(|member| (member.name.to_owned(), blank(&member.shape)))
                .collect(),
        )),
        Shape::List(_) => Document::List(Vec::new()),
        Shape::Extra(_) => Document::empty_object(),
        _ => Document::Null,
    }
}
