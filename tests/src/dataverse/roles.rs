//! Security roles of the connector's application user: what it may do, and how far.
//!
//! Knows: two roles, their privileges, the functions that tell of them. Refuses to know: people's roles; a seller may do
//! anything here. Guarantee: what the application user is told it may do is what it may do.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/retrieveuserprivileges>

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::address::{Arguments, Segment, split_outside_quotes, unquote};
use super::cell::Object;
use super::query::Options;
use super::refusal::Refusal;
use super::schema::Table;
use super::web::{Answer, Call, only};
use super::{Dataverse, Environment, Key, seed};

/// How far a privilege reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The user's own rows.
    Basic,
    /// The rows of the user's business unit.
    Local,
    /// And of the business units below it.
    Deep,
    /// All rows.
    Global,
}

impl Depth {
    /// The depth of this name, as the Web API spells it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Basic, Self::Local, Self::Deep, Self::Global];
        all.into_iter().find(|depth| depth.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Local => "Local",
            Self::Deep => "Deep",
            Self::Global => "Global",
        }
    }
}

/// The connector's own role.
const CONNECTOR: &str = "Co-sell Connector";
/// The delivered role of those who install things.
const CUSTOMIZER: &str = "System Customizer";

/// What a customizer may do besides reading and writing rows.
const CUSTOMIZING: [&str; 18] = [
    "prvCreatePublisher",
    "prvReadPublisher",
    "prvWritePublisher",
    "prvCreateSolution",
    "prvReadSolution",
    "prvWriteSolution",
    "prvCreateEntity",
    "prvReadEntity",
    "prvWriteEntity",
    "prvCreateAttribute",
    "prvReadAttribute",
    "prvWriteAttribute",
    "prvCreateRelationship",
    "prvReadRelationship",
    "prvCreateEntityKey",
    "prvReadEntityKey",
    "prvWriteCustomization",
    "prvPublishCustomization",
];

/// What is shown of a role.
const ROLE_COLUMNS: [&str; 2] = ["roleid", "name"];

/// What may be done to rows of a table.
const VERBS: [&str; 7] = ["Create", "Read", "Write", "Delete", "Append", "AppendTo", "Assign"];

#[derive(Clone, Debug)]
struct Role {
    name: &'static str,
    privileges: BTreeMap<String, Depth>,
    /// Whether the application user has it.
    held: bool,
}

/// The roles of the environment.
#[derive(Clone, Debug)]
pub(super) struct Roles(Vec<Role>);

impl Default for Roles {
    /// Both are held, so that nothing is refused until a test says so.
    fn default() -> Self {
        let mut connector = BTreeMap::new();
        for table in [
            "Opportunity",
            "Account",
            "Contact",
            "Lead",
            "cosell_DealSolution",
            "Activity",
        ] {
            connector.extend(VERBS.map(|verb| (format!("prv{verb}{table}"), Depth::Global)));
        }
        for table in ["TransactionCurrency", "User", "Organization", "Role"] {
            connector.extend(["Read", "AppendTo"].map(|verb| (format!("prv{verb}{table}"), Depth::Global)));
        }
        let customizer = CUSTOMIZING.map(|name| (name.to_owned(), Depth::Global)).into();
        Self(vec![
            Role {
                name: CONNECTOR,
                privileges: connector,
                held: true,
            },
            Role {
                name: CUSTOMIZER,
                privileges: customizer,
                held: true,
            },
        ])
    }
}

impl Roles {
    /// How far a privilege of the application user reaches; none without it.
    fn depth(&self, privilege: &str) -> Option<Depth> {
        let held = self.0.iter().filter(|role| role.held);
        held.filter_map(|role| role.privileges.get(privilege)).max().copied()
    }

    /// Everything the application user may do.
    fn all(&self) -> BTreeMap<&str, Depth> {
        let mut all = BTreeMap::new();
        for (name, depth) in self.0.iter().filter(|role| role.held).flat_map(|role| &role.privileges) {
            let reach = all.entry(name.as_str()).or_insert(*depth);
            *reach = (*reach).max(*depth);
        }
        all
    }

    /// Takes out what a table brought that is not installed.
    pub(super) fn strip(&mut self) {
        for role in &mut self.0 {
            role.privileges.retain(|name, _| !name.contains("cosell_"));
        }
    }

    /// Those who install things may use what they have made.
    pub(super) fn made(&mut self, table: &Table) {
        for role in self.0.iter_mut().filter(|role| role.name == CUSTOMIZER) {
            let of_table = VERBS.map(|verb| (format!("prv{verb}{}", table.schema), Depth::Global));
            role.privileges.extend(of_table);
        }
    }
}

impl Dataverse {
    /// Whether the application user has a role: `Co-sell Connector` or `System Customizer`; false when there is no such
    /// role. Without any it may not even enter.
    pub fn role(&self, name: &str, held: bool) -> bool {
        let mut environment = self.environment();
        let role = environment.roles.0.iter_mut().find(|role| role.name == name);
        role.map(|role| role.held = held).is_some()
    }

    /// Sets how far a privilege reaches in the connector's own role; `None` takes it out of every role.
    pub fn privilege(&self, name: &str, depth: Option<Depth>) {
        let mut environment = self.environment();
        for role in &mut environment.roles.0 {
            role.privileges.remove(name);
            if let Some(depth) = depth.filter(|_| role.name == CONNECTOR) {
                role.privileges.insert(name.to_owned(), depth);
            }
        }
    }
}

/// The part of a privilege's name that stands for a table.
fn subject(table: &Table) -> &'static str {
    match table.name {
        "systemuser" => "User",
        // Closing is recorded as an activity.
        "opportunityclose" => "Activity",
        _ => table.schema,
    }
}

impl Environment {
    /// Refuses what the application user may not do to a table; `whole` says that rows are meant, not something below.
    pub(super) fn check_privilege(&self, call: &Call<'_>, table: &Table, whole: bool) -> Result<(), Refusal> {
        let verb = match *call.method {
            Method::GET => "Read",
            Method::POST if whole => "Create",
            Method::DELETE if whole => "Delete",
            _ => "Write",
        };
        let reach = self.require(&format!("prv{verb}{}", subject(table)))?;
        if call.preferences.track_changes && reach < Depth::Global {
            return Err(missing(&format!("prvRead{}", subject(table)), "organization-level "));
        }
        Ok(())
    }

    /// How far a privilege reaches, or the refusal for not having it.
    pub(super) fn require(&self, privilege: &str) -> Result<Depth, Refusal> {
        if self.roles.0.iter().all(|role| !role.held) {
            let message = "The user has no roles assigned.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "0x80042f09", message));
        }
        self.roles.depth(privilege).ok_or_else(|| missing(privilege, ""))
    }

    /// What is asked of a user in particular: its roles and privileges.
    pub(super) fn of_user(
        &self,
        call: &Call<'_>,
        table: &Table,
        first: &Segment,
        rest: &[Segment],
    ) -> Result<Option<Answer>, Refusal> {
        let (Some(arguments), "systemuser") = (&first.arguments, table.name) else {
            return Ok(None);
        };
        let named = |segment: &Segment| segment.name.strip_prefix("Microsoft.Dynamics.CRM.").map(str::to_owned);
        match rest {
            [] if call.query.contains("systemuserroles_association") => {
                only(call.method, &Method::GET, "a user's roles")?;
                self.require("prvReadRole")?;
                self.with_roles(call, table, arguments).map(Some)
            }
            [roles] if roles.name == "systemuserroles_association" && roles.arguments.is_none() => {
                only(call.method, &Method::GET, "a user's roles")?;
                self.require("prvReadRole")?;
                self.roles_of(call, table, arguments).map(Some)
            }
            [function] => match named(function).as_deref() {
                Some("RetrieveUserPrivileges") => {
                    let all = self.roles.all();
                    self.privileges(call, table, arguments, "RetrieveUserPrivilegesResponse", all)
                        .map(Some)
                }
                Some("RetrieveUserPrivilegeByPrivilegeName") => {
                    let wanted = match &function.arguments {
                        Some(Arguments::Named(pairs)) => match pairs.as_slice() {
                            [(name, literal)] if name == "PrivilegeName" => unquote(literal),
                            _ => None,
                        },
                        _ => None,
                    };
                    let wanted = wanted.ok_or_else(|| Refusal::no_segment(&function.name))?;
                    let found = self.roles.all();
                    let found = found.into_iter().filter(|(name, _)| *name == wanted).collect();
                    self.privileges(
                        call,
                        table,
                        arguments,
                        "RetrieveUserPrivilegeByPrivilegeNameResponse",
                        found,
                    )
                    .map(Some)
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn privileges(
        &self,
        call: &Call<'_>,
        table: &Table,
        arguments: &Arguments,
        class: &str,
        held: BTreeMap<&str, Depth>,
    ) -> Result<Answer, Refusal> {
        only(call.method, &Method::GET, class)?;
        Options::read(call.query, &[])?;
        let held = if self.application_user(table, arguments)? {
            held
        } else {
            BTreeMap::new()
        };
        let privileges: Vec<_> = held
            .into_iter()
            .map(|(name, depth)| {
                json!({
                    "Depth": depth.name(), "PrivilegeId": privilege_id(name).to_string(),
                    "BusinessUnitId": seed::BUSINESS_UNIT.to_string(), "PrivilegeName": name,
                    "RecordFilterId": Uuid::nil().to_string(), "RecordFilterUniqueName": "",
                })
            })
            .collect();
        let context = format!("{}/$metadata#Microsoft.Dynamics.CRM.{class}", self.root());
        let object = Object::default().with("@odata.context", &context);
        Ok(Answer::json(
            StatusCode::OK,
            &object.with("RolePrivileges", &privileges),
        ))
    }

    /// Whether the address is that of the connector's user; another user's is none, an absent one is refused.
    fn application_user(&self, table: &Table, arguments: &Arguments) -> Result<bool, Refusal> {
        let key = self.key(table, arguments)?;
        let found = self.find(&self.view(), table, &key);
        let found = found.ok_or_else(|| key.missing(table))?;
        Ok(found == seed::APPLICATION_USER)
    }

    /// `GET systemusers(id)/systemuserroles_association?$select=name`.
    fn roles_of(&self, call: &Call<'_>, table: &Table, arguments: &Arguments) -> Result<Answer, Refusal> {
        call.condition.refuse_any()?;
        let options = Options::read(call.query, &["$select"])?;
        let is_ours = self.application_user(table, arguments)?;
        let described = options.select.as_ref().map(|select| format!("({select})"));
        let context = format!("{}/$metadata#roles{}", self.root(), described.unwrap_or_default());
        let selected = match &options.select {
            Some(select) => select.split(',').map(str::trim).collect(),
            None => ROLE_COLUMNS.to_vec(),
        };
        let roles = self.held(&selected, is_ours)?;
        let object = Object::default().with("@odata.context", &context);
        Ok(Answer::json(StatusCode::OK, &object.with("value", &roles)))
    }

    /// The roles of a user, as rows with the selected columns and the key.
    fn held(&self, selected: &[&str], is_ours: bool) -> Result<Vec<Object>, Refusal> {
        if let Some(unknown) = selected.iter().find(|column| !ROLE_COLUMNS.contains(column)) {
            return Err(Refusal::no_property(unknown, "role"));
        }
        let held = self.roles.0.iter().filter(|role| role.held && is_ours);
        Ok(held
            .map(|role| {
                let mut shown = Object::default();
                if selected.contains(&"name") {
                    shown.put("name", role.name);
                }
                shown.with("roleid", &role_id(role.name).to_string())
            })
            .collect())
    }

    /// `GET systemusers(id)?$expand=systemuserroles_association($select=name)`, with or without a `$select`.
    fn with_roles(&self, call: &Call<'_>, table: &Table, arguments: &Arguments) -> Result<Answer, Refusal> {
        call.condition.refuse_any()?;
        let options = Options::read(call.query, &["$select", "$expand"])?;
        let expand = options.expand.unwrap_or_default();
        let parts = split_outside_quotes(&expand, ',');
        let [part] = parts.as_slice() else {
            return Err(Refusal::query("Only the roles are expanded here."));
        };
        let inside = part
            .trim()
            .strip_prefix("systemuserroles_association")
            .unwrap_or_default();
        let selected = match inside.strip_prefix("($select=").and_then(|rest| rest.strip_suffix(')')) {
            Some(selected) => selected.split(',').map(str::trim).collect(),
            None if inside.is_empty() => ROLE_COLUMNS.to_vec(),
            None => return Err(Refusal::query(format!("'{part}' is not understood."))),
        };
        let projection = self.projection(table, options.select.as_deref(), None)?;
        let key = self.key(table, arguments)?;
        let view = self.view();
        let found = self.find(&view, table, &key);
        let row = found
            .and_then(|id| view.row(table.name, id))
            .ok_or_else(|| Key::missing(&key, table))?;
        let is_ours = row.id == seed::APPLICATION_USER;
        let roles = self.held(&selected, is_ours)?;
        let context = self.context(table, &projection) + "/$entity";
        let object = Object::default().with("@odata.context", &context);
        let object = self.shape(&view, table, row, &projection, &call.preferences.annotations, object);
        Ok(Answer::json(
            StatusCode::OK,
            &object.with("systemuserroles_association", &roles),
        ))
    }
}

fn missing(privilege: &str, reach: &str) -> Refusal {
    let message = format!(
        "Principal user (Id={}, type=8) is missing {reach}{privilege} privilege (Id={}).",
        seed::APPLICATION_USER,
        privilege_id(privilege)
    );
    Refusal::new(StatusCode::FORBIDDEN, "0x80040220", message)
}

fn privilege_id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

fn role_id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
}
