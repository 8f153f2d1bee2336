//! JSON Patch as this API understands it: `add` and `replace`, on listed paths.
//!
//! Knows: operations, pointers, values. Refuses to know: the life cycle, storage. Guarantee: a refused operation leaves
//! no trace of the others, because the changed document is returned and the original is never touched.

use super::document::{Document, Members};
use super::refusal::Refusal;
use super::schema::{self, Owner, Reading, conform};
use super::vocabulary::{PATCH_PATHS, REGISTRATION_PATHS};

const REGISTER: &str = "/registrations/-";

/// One operation, its value checked.
struct Operation {
    add: bool,
    path: String,
    value: Document,
}

/// The referral after all operations, or the first refusal. `unlisted` opens every member that its owner may edit.
pub(super) fn apply(referral: &Document, body: Document, unlisted: bool) -> Result<Document, Refusal> {
    let Document::List(items) = body else {
        return Err(Refusal::invalid("referral", "The body must be an array of operations."));
    };
    if items.is_empty() {
        return Err(Refusal::invalid("referral", "The array of operations is empty."));
    }
    let operations = items
        .into_iter()
        .map(|item| read(item, unlisted))
        .collect::<Result<Vec<_>, _>>()?;
    let names = |path: &str| operations.iter().any(|operation| operation.path == path);
    if names("/status") != names("/substatus") {
        return Err(Refusal::illegal_move("Status and substatus are changed together."));
    }
    let mut changed = referral.clone();
    for operation in operations {
        perform(&mut changed, operation)?;
    }
    Ok(changed)
}

/// Whether the changed document holds more deal registrations than before.
pub(super) fn registers(before: &Document, after: &Document) -> bool {
    after.list_at(&["registrations"]).len() > before.list_at(&["registrations"]).len()
}

fn read(item: Document, unlisted: bool) -> Result<Operation, Refusal> {
    let Document::Object(Members(members)) = item else {
        return Err(Refusal::invalid("referral", "An operation must be an object."));
    };
    let (mut op, mut path, mut value) = (None, None, None);
    for (name, member) in members {
        match name.as_str() {
            "op" => op = Some(member),
            "path" => path = Some(member),
            "value" => value = Some(member),
            _ => {
                return Err(Refusal::invalid(
                    "referral",
                    format!("'{name}' is not a member of an operation."),
                ));
            }
        }
    }
    let (Some(Document::Text(op)), Some(Document::Text(path)), Some(value)) = (op, path, value) else {
        return Err(Refusal::invalid(
            "referral",
            "An operation has the members op, path and value.",
        ));
    };
    let add = match op.as_str() {
        "add" => true,
        "replace" => false,
        _ => {
            return Err(Refusal::invalid(
                path,
                format!("The operation '{op}' is not supported."),
            ));
        }
    };
    let listed = PATCH_PATHS.contains(&path.as_str())
        || REGISTRATION_PATHS.contains(&path.as_str())
        || (path == REGISTER && add);
    let refused = || Refusal::invalid(&path, format!("The path '{path}' cannot be changed."));
    let (owner, shape) = schema::locate(&path).ok_or_else(refused)?;
    if !(listed || unlisted && owner == Owner::Editor) {
        return Err(refused());
    }
    let reading = if path == REGISTER {
        Reading::Creation
    } else {
        Reading::Update
    };
    let value = conform(value, shape, &path, reading)?;
    Ok(Operation { add, path, value })
}

fn perform(referral: &mut Document, operation: Operation) -> Result<(), Refusal> {
    let Operation { add, path, value } = operation;
    let missing = || Refusal::invalid(&path, format!("There is nothing at '{path}'."));
    let mut steps: Vec<&str> = path.split('/').skip(1).collect();
    let last = steps.pop().ok_or_else(missing)?;
    let mut place = referral;
    for step in steps {
        place = match place {
            Document::Object(members) => members.get_mut(step),
            Document::List(items) => step.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            _ => None,
        }
        .ok_or_else(missing)?;
    }
    match place {
        Document::List(items) if last == "-" && add => items.push(value),
        Document::List(items) => {
            let slot = last.parse::<usize>().ok().and_then(|index| items.get_mut(index));
            *slot.ok_or_else(missing)? = value;
        }
        Document::Object(members) if add || members.get(last).is_some() => members.set(last, value),
        _ => return Err(missing()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::apply;

    fn referral() -> Document {
        Document::parse(
            r#"{"name":"Deal","externalReferenceId":null,"details":{"dealValue":0.10,"notes":"a"},"team":[],
                "status":"Active","substatus":"Accepted"}"#,
        )
        .unwrap()
    }

    fn patched(operations: &str) -> Result<Document, String> {
        apply(&referral(), Document::parse(operations).unwrap(), false).map_err(|refusal| refusal.target)
    }

    #[test]
    fn operations_apply_together() {
        let after = patched(
            r#"[{"op":"replace","path":"/details/dealValue","value":"123456789012345.67"},
                {"op":"add","path":"/team/-","value":{"firstName":"A"}},
                {"op":"replace","path":"/externalReferenceId","value":"x"}]"#,
        )
        .unwrap();
        assert_eq!(
            after.at(&["details", "dealValue"]),
            Some(&Document::Number("123456789012345.67".to_owned()))
        );
        assert_eq!(after.list_at(&["team"]).len(), 1);
        assert_eq!(after.text_at(&["externalReferenceId"]), Some("x"));
    }

    #[test]
    fn anything_but_add_and_replace_on_listed_paths_is_refused() {
        for (operations, place) in [
            (r#"[{"op":"remove","path":"/team","value":null}]"#, "/team"),
            (r#"[{"op":"test","path":"/status","value":"Active"}]"#, "/status"),
            (r#"[{"op":"replace","path":"/name","value":"x"}]"#, "/name"),
            (r#"[{"op":"replace","path":"/eTag","value":"x"}]"#, "/eTag"),
            (r#"[{"op":"replace","path":"/team/-","value":{}}]"#, "/team/-"),
            (r#"[{"op":"replace","path":"/campaignId","value":"x"}]"#, "/campaignId"),
            (
                r#"[{"op":"add","path":"/details/dealValue","value":"much"}]"#,
                "/details/dealValue",
            ),
            (r#"[{"op":"replace","path":"/status","value":"Closed"}]"#, "/status"),
            ("[]", "referral"),
            (r#"[{"op":"add","path":"/team"}]"#, "referral"),
        ] {
            assert_eq!(patched(operations), Err(place.to_owned()), "{operations}");
        }
    }

    #[test]
    fn unlisted_members_can_be_opened() {
        let operations = Document::parse(r#"[{"op":"replace","path":"/name","value":"New"}]"#).unwrap();
        let after = apply(&referral(), operations, true).unwrap();
        assert_eq!(after.text_at(&["name"]), Some("New"));
        let operations = Document::parse(r#"[{"op":"replace","path":"/eTag","value":"x"}]"#).unwrap();
        assert!(apply(&referral(), operations, true).is_err());
    }
}
