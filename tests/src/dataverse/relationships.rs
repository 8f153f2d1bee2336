//! Relationships of one row to many: the definition that a look-up comes with.
//!
//! Knows: how a relationship is written and shown. Refuses to know: what becomes of rows whose target is deleted; a
//! cascade is recorded and not carried out. Guarantee: every look-up has its relationship, and is made by nothing else.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-update-entity-relationships-using-web-api>

use http::StatusCode;
use serde_json::json;

use super::Environment;
use super::address::{Arguments, Segment, unquote};
use super::customize::json as body;
use super::definition::{Definition, invalid, lookup};
use super::metadata::{CRM, Facts, metadata_id};
use super::refusal::Refusal;
use super::schema::{Column, Kind, Table, Target, kept};
use super::web::{Answer, Call};

const SET: &str = "RelationshipDefinitions";
const CLASS: &str = "OneToManyRelationshipMetadata";

/// What can be done with the many when the one is assigned, deleted and so on.
const CASCADES: [&str; 6] = ["Assign", "Delete", "Merge", "Reparent", "Share", "Unshare"];
const CASCADE_VALUES: [&str; 6] = ["NoCascade", "Cascade", "Active", "UserOwned", "RemoveLink", "Restrict"];

/// Which end of its relationships a table is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    One,
    Many,
}

impl Environment {
    pub(super) fn make_relationship(&mut self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let naming = self.admit(call, "prvCreateRelationship")?;
        self.require("prvCreateAttribute")?;
        let sent = body(SET, call.body)?;
        let definition = Definition::read(SET, &sent, &[CLASS, "ManyToManyRelationshipMetadata"])?;
        if definition.class() != CLASS {
            return Err(super::definition::not_kept("A relationship of many to many"));
        }
        definition.allow(&[&[
            "SchemaName",
            "ReferencedEntity",
            "ReferencedAttribute",
            "ReferencingEntity",
            "ReferencingEntityNavigationPropertyName",
            "ReferencedEntityNavigationPropertyName",
            "Lookup",
            "AssociatedMenuConfiguration",
            "CascadeConfiguration",
            "IsHierarchical",
            "IsValidForAdvancedFind",
            "IsCustomizable",
        ]])?;
        let schema = definition.text("SchemaName")?;
        naming.check(schema)?;
        let one = self.side(definition.text("ReferencedEntity")?)?;
        let many = self.side(definition.text("ReferencingEntity")?)?;
        if definition
            .get("ReferencedAttribute")
            .is_some_and(|said| *said != json!(one.key))
        {
            return Err(invalid(format!(
                "'ReferencedAttribute' is not '{}', the key of '{}'.",
                one.key, one.name
            )));
        }
        definition.required("AssociatedMenuConfiguration")?;
        let cascade = definition.required("CascadeConfiguration")?.as_object();
        let cascade = cascade.ok_or_else(|| definition.wrong("'CascadeConfiguration' is not an object."))?;
        for (name, value) in cascade.iter().filter(|(name, _)| !name.starts_with('@')) {
            let known = CASCADES.contains(&name.as_str()) || ["RollupView", "Archive"].contains(&name.as_str());
            let fits = value.as_str().is_some_and(|value| CASCADE_VALUES.contains(&value));
            if !(known && fits) {
                return Err(definition.wrong(format!("'{name}' of 'CascadeConfiguration' cannot be {value}.")));
            }
        }
        let taken = self
            .all_relationships()
            .any(|(_, _, _, name)| name.eq_ignore_ascii_case(schema));
        if taken {
            let message = "A relationship with the specified name already exists. Please specify a unique name.";
            return Err(Refusal::bad("0x8004432B", message));
        }
        definition.required("Lookup")?;
        let inner = definition.inner("Lookup", "LookupAttributeMetadata")?;
        let inner = inner.ok_or_else(|| invalid("'Lookup' is missing."))?;
        let navigation = match definition.get("ReferencingEntityNavigationPropertyName") {
            Some(_) => definition.text("ReferencingEntityNavigationPropertyName")?,
            None => inner.text("SchemaName")?,
        };
        let target = Target {
            navigation: kept(navigation),
            table: one.name,
        };
        let column = lookup(&inner, &naming, Kind::Lookup(Box::leak(Box::new([target]))), schema)?;
        self.place_column(many.name, column)?;
        let id = metadata_id(&[many.name, schema, one.name]);
        Ok(self.made(&format!("{SET}({id})")))
    }

    fn side(&self, name: &str) -> Result<std::sync::Arc<Table>, Refusal> {
        self.schema.table(name).cloned().ok_or_else(|| {
            let message = format!("The entity with a name = '{name}' was not found in the MetadataCache.");
            Refusal::bad("0x80041102", message)
        })
    }

    /// Every look-up of every table with the place it leads to and the name of its relationship.
    fn all_relationships(&self) -> impl Iterator<Item = (&Table, &Column, Target, String)> {
        self.schema.0.iter().flat_map(|table| {
            table.columns.iter().flat_map(move |column| {
                let targets = column.targets().iter();
                targets.map(move |target| (&**table, column, *target, name(table, column, *target)))
            })
        })
    }

    /// `GET RelationshipDefinitions`, whole or one of them.
    pub(super) fn relationships(&self, call: &Call<'_>, first: &Segment, rest: &[Segment]) -> Result<Answer, Refusal> {
        call.condition.refuse_any()?;
        let cast = match rest {
            [] => false,
            [cast] if cast.name == format!("{CRM}.{CLASS}") && cast.arguments.is_none() => true,
            _ => {
                return Err(Refusal::no_segment(
                    rest.last().map_or("", |segment| segment.name.as_str()),
                ));
            }
        };
        let tag = (!cast).then(|| format!("#{CRM}.{CLASS}"));
        let Some(arguments) = &first.arguments else {
            let all = self
                .all_relationships()
                .map(|(table, column, target, name)| (tag.clone(), self.relationship(table, column, target, &name)));
            return self.several(call, all.collect(), CLASS, SET);
        };
        let wanted = match arguments {
            Arguments::Plain(id) => Err(id),
            Arguments::Named(pairs) => match pairs.as_slice() {
                [(name, literal)] if name == "SchemaName" => Ok(unquote(literal).unwrap_or_default()),
                _ => {
                    return Err(Refusal::query(
                        "A relationship is addressed by its id or its SchemaName.",
                    ));
                }
            },
        };
        let found = self.all_relationships().find(|(table, _, target, name)| match &wanted {
            Ok(wanted) => name == wanted,
            Err(id) => metadata_id(&[table.name, name, target.table]).to_string() == **id,
        });
        let (table, column, target, name) = found.ok_or_else(|| {
            let message = "Could not find a relationship with the specified name or id.";
            Refusal::new(StatusCode::NOT_FOUND, "0x80060888", message)
        })?;
        self.single(call, &self.relationship(table, column, target, &name), tag, CLASS, SET)
    }

    /// The relationships of one table, from one of their ends.
    pub(super) fn relationships_of(
        &self,
        call: &Call<'_>,
        asked: &Table,
        end: End,
        path: &str,
    ) -> Result<Answer, Refusal> {
        let all = self.all_relationships().filter(|(table, _, target, _)| match end {
            End::Many => table.name == asked.name,
            End::One => target.table == asked.name,
        });
        let all = all.map(|(table, column, target, name)| (None, self.relationship(table, column, target, &name)));
        self.several(call, all.collect(), CLASS, path)
    }

    /// The many end of a relationship, by the name under which the one knows it.
    pub(super) fn many(&self, one: &Table, navigation: &str) -> Option<(&Table, &Column)> {
        let mut all = self.all_relationships();
        all.find(|(_, _, target, name)| target.table == one.name && name == navigation)
            .map(|(table, column, _, _)| (table, column))
    }

    fn relationship(&self, table: &Table, column: &Column, target: Target, name: &str) -> Facts {
        let referenced = self.schema.table(target.table).map_or("", |table| table.key);
        Facts::default()
            .with("SchemaName", name)
            .with("RelationshipType", "OneToManyRelationship")
            .with("IsCustomRelationship", &column.is_custom())
            .with("IsManaged", &false)
            .with("ReferencedEntity", target.table)
            .with("ReferencedAttribute", referenced)
            .with("ReferencingEntity", table.name)
            .with("ReferencingAttribute", column.name)
            .with("ReferencingEntityNavigationPropertyName", target.navigation)
            .with("ReferencedEntityNavigationPropertyName", name)
            .with(
                "MetadataId",
                &metadata_id(&[table.name, name, target.table]).to_string(),
            )
    }
}

/// The name of a look-up's relationship; of delivered ones only those that are documented are true to life.
fn name(table: &Table, column: &Column, target: Target) -> String {
    if let Some(said) = column.about.and_then(|about| about.relationship.clone()) {
        return said;
    }
    let documented = match (table.name, target.navigation) {
        ("cosell_dealsolution", "cosell_OpportunityId") => "cosell_opportunity_dealsolution",
        ("cosell_dealsolution", "cosell_LeadId") => "cosell_lead_dealsolution",
        ("opportunity", "customerid_account") => "opportunity_customer_accounts",
        ("opportunity", "customerid_contact") => "opportunity_customer_contacts",
        ("opportunity", "parentaccountid") => "opportunity_parent_account",
        ("opportunity", "parentcontactid") => "opportunity_parent_contact",
        _ => return format!("{}_{}_{}", table.schema, column.name, target.table),
    };
    documented.to_owned()
}
