//! The HTTP face: who may enter, which request is meant, how an answer is put.
//!
//! Knows: paths, verbs, headers. Refuses to know: rules about rows. Guarantee: a request that no rule describes is
//! refused; none falls through to a friendly default.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use uuid::Uuid;

use super::address::{Arguments, Segment, segments};
use super::body::Changes;
use super::cell::Object;
use super::close::Outcome;
use super::preconditions::{Condition, Patch};
use super::prefer::{Annotations, Preferences};
use super::query::Options;
use super::refusal::Refusal;
use super::rows::Row;
use super::schema::Table;
use super::write::Author;
use super::{Access, Dataverse, Environment, Key, control_web, seed};

/// More than any request of the API may carry.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// An answer before it is put on the wire.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content_type: "",
            body: String::new(),
        }
    }

    pub(super) fn json(status: StatusCode, body: &Object) -> Self {
        let content_type = "application/json; odata.metadata=minimal";
        Self {
            status,
            headers: Vec::new(),
            content_type,
            body: body.text(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn response(self) -> Response {
        let mut builder = Response::builder().status(self.status);
        if !self.content_type.is_empty() {
            builder = builder.header("content-type", self.content_type);
        }
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder.body(Body::from(self.body)).unwrap_or_else(|error| {
            let mut response = Response::new(Body::from(error.to_string()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }
}

/// One request of the API, taken apart.
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) preferences: Preferences,
    pub(super) condition: Condition,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

pub(super) async fn handle(State(dataverse): State<Dataverse>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return Answer::empty(StatusCode::PAYLOAD_TOO_LARGE).response();
    };
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    if let Some(path) = path.strip_prefix("/_control") {
        return control_web::answer(&dataverse, &parts.method, path, query, &body).response();
    }
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let access = dataverse.authorize(authorization);
    let customizing = match access {
        Access::Granted => dataverse.customizing(&parts.method, path).await,
        Access::Unauthorized | Access::NotAMember => Ok(None),
    };
    let _customizing = match customizing {
        Ok(held) => held,
        Err(refusal) => return refused(&refusal, &Annotations::default()).response(),
    };
    let mut environment = dataverse.environment();
    let answer = match access {
        Access::Unauthorized => unauthorized(&environment.url),
        Access::NotAMember => refused(&Refusal::not_a_member(), &Annotations::default()),
        Access::Granted => enter(&mut environment, &parts.method, path, query, &parts.headers, &body),
    };
    let request_id = Uuid::new_v4().to_string();
    answer
        .with("odata-version", "4.0")
        .with("x-ms-service-request-id", request_id.as_str())
        .with("req_id", request_id)
        .response()
}

fn unauthorized(url: &str) -> Answer {
    let challenge = format!(
        "Bearer authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize, resource_id={url}/"
    );
    // The body of this answer is not documented, so it is something that no client can decode.
    let body = "<html><body>The requested resource requires authentication.</body></html>".to_owned();
    Answer {
        status: StatusCode::UNAUTHORIZED,
        headers: Vec::new(),
        content_type: "text/html",
        body,
    }
    .with("www-authenticate", challenge)
}

fn refused(refusal: &Refusal, annotations: &Annotations) -> Answer {
    let mut error = Object::default()
        .with("code", refusal.code())
        .with("message", refusal.message());
    for (name, value) in [
        ("Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus", "0"),
        ("Microsoft.PowerApps.CDS.ErrorDetails.SubErrorCode", "0"),
        (
            "Microsoft.PowerApps.CDS.HelpLink",
            "http://go.microsoft.com/fwlink/?LinkID=398563",
        ),
        ("Microsoft.PowerApps.CDS.TraceText", ""),
        ("Microsoft.PowerApps.CDS.InnerError.Message", refusal.message()),
    ] {
        if annotations.includes(name) {
            error.put(format!("@{name}"), value);
        }
    }
    Answer::json(refusal.status(), &Object::default().with("error", &error))
}

fn enter(
    environment: &mut Environment,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let read = || -> Result<(&str, Preferences, Condition), Refusal> {
        let versions = ["/api/data/v9.2/", "/api/data/v9.1/", "/api/data/v9.0/"];
        let rest = versions.iter().find_map(|version| path.strip_prefix(version));
        let rest = rest.ok_or_else(|| Refusal::no_segment(path))?;
        Ok((rest, Preferences::read(headers)?, Condition::read(headers)?))
    };
    let (path, preferences, condition) = match read() {
        Ok(read) => read,
        Err(refusal) => return refused(&refusal, &Annotations::default()),
    };
    if !environment.switches.member {
        return refused(&Refusal::not_a_member(), &preferences.annotations);
    }
    let call = Call {
        method,
        path,
        query,
        preferences,
        condition,
        headers,
        body,
    };
    environment.settle(headers);
    match environment.dispatch(&call) {
        Ok(answer) => match call.preferences.applied() {
            Some(applied) => answer.with("preference-applied", applied),
            None => answer,
        },
        Err(refusal) => refused(&refusal, &call.preferences.annotations),
    }
}

impl Environment {
    fn dispatch(&mut self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let segments = segments(call.path)?;
        let (first, rest) = segments.split_first().ok_or_else(|| Refusal::no_segment(call.path))?;
        if let Some(answer) = self.customization(call, first, rest)? {
            return Ok(answer);
        }
        if first.name == "EntityDefinitions" {
            let answer = self.metadata(call, first, rest)?;
            self.looked(call, first, rest);
            return Ok(answer);
        }
        if let Some(answer) = self.unbound(call, first, rest)? {
            return Ok(answer);
        }
        let table = self
            .schema
            .set(&first.name)
            .and_then(|table| self.seen(&table))
            .ok_or_else(|| Refusal::no_segment(&first.name))?;
        if *call.method != Method::GET && !table.writable {
            return Err(Refusal::no_privilege("write", table.name));
        }
        self.check_privilege(call, &table, rest.is_empty())?;
        if let Some(answer) = self.of_user(call, &table, first, rest)? {
            return Ok(answer);
        }
        match (&first.arguments, rest) {
            (None, []) => match *call.method {
                Method::GET => {
                    call.condition.refuse_any()?;
                    Ok(Answer::json(
                        StatusCode::OK,
                        &self.list(&table, call.query, &call.preferences)?,
                    ))
                }
                Method::POST => self.post(call, &table),
                _ => Err(Refusal::wrong_verb(format!(
                    "{} is not for {}.",
                    call.method, table.set
                ))),
            },
            (None, [count]) if count.name == "$count" && count.arguments.is_none() => {
                only(call.method, &Method::GET, "$count")?;
                let body = self.count(&table, call.query)?.to_string();
                Ok(Answer {
                    content_type: "text/plain",
                    body,
                    ..Answer::empty(StatusCode::OK)
                })
            }
            (Some(arguments), []) => match *call.method {
                Method::GET => self.get(call, &table, arguments),
                Method::PATCH => self.patch(call, &table, arguments),
                Method::DELETE => self.remove(call, &table, arguments),
                _ => Err(Refusal::wrong_verb(format!(
                    "{} is not for a row of {}.",
                    call.method, table.set
                ))),
            },
            (Some(arguments), [action]) if action.name == "Microsoft.Dynamics.CRM.QualifyLead" => {
                only(call.method, &Method::POST, &action.name)?;
                call.condition.refuse_any()?;
                Options::read(call.query, &[])?;
                let key = self.key(&table, arguments)?;
                let id = self
                    .find(&self.store.present(), &table, &key)
                    .ok_or_else(|| key.missing(&table))?;
                Ok(Answer::json(
                    StatusCode::OK,
                    &self.qualify(Author::Application, &table, id, call.body)?,
                ))
            }
            (Some(arguments), [list]) if self.many(&table, &list.name).is_some() => {
                only(call.method, &Method::GET, &list.name)?;
                call.condition.refuse_any()?;
                Ok(Answer::json(
                    StatusCode::OK,
                    &self.list_of(call, &table, arguments, &list.name)?,
                ))
            }
            (Some(arguments), [property]) => self.property(call, &table, arguments, &property.name),
            (Some(arguments), [navigation, reference]) if reference.name == "$ref" => {
                only(call.method, &Method::DELETE, "$ref")?;
                if table.navigation(&navigation.name).is_none() {
                    return Err(Refusal::no_segment(&navigation.name));
                }
                self.change_one(call, &table, arguments, &navigation.name, b"{\"value\":null}")
            }
            _ => Err(Refusal::no_segment(
                rest.last().map_or(call.path, |segment| segment.name.as_str()),
            )),
        }
    }

    /// Functions and actions that belong to no table.
    fn unbound(&mut self, call: &Call<'_>, first: &Segment, rest: &[Segment]) -> Result<Option<Answer>, Refusal> {
        if !rest.is_empty() {
            return Ok(None);
        }
        let typed = |name: &str| {
            Object::default().with(
                "@odata.context",
                &format!("{}/$metadata#Microsoft.Dynamics.CRM.{name}", self.root()),
            )
        };
        let answer = match first.name.as_str() {
            "WhoAmI" => typed("WhoAmIResponse")
                .with("BusinessUnitId", &seed::BUSINESS_UNIT.to_string())
                .with("UserId", &seed::APPLICATION_USER.to_string())
                .with("OrganizationId", &seed::ORGANIZATION.to_string()),
            "RetrieveVersion" => typed("RetrieveVersionResponse").with("Version", "9.2.25012.00176"),
            name => {
                let Some(outcome) = Outcome::of_action(name) else {
                    return Ok(None);
                };
                only(call.method, &Method::POST, name)?;
                call.condition.refuse_any()?;
                Options::read(call.query, &[])?;
                self.close_by_action(Author::Application, outcome, call.body)?;
                return Ok(Some(Answer::empty(StatusCode::NO_CONTENT)));
            }
        };
        only(call.method, &Method::GET, &first.name)?;
        Options::read(call.query, &[])?;
        Ok(Some(Answer::json(StatusCode::OK, &answer)))
    }

    fn get(&self, call: &Call<'_>, table: &Table, arguments: &Arguments) -> Result<Answer, Refusal> {
        let options = Options::read(call.query, &["$select", "$expand"])?;
        let projection = self.projection(table, options.select.as_deref(), options.expand.as_deref())?;
        let key = self.key(table, arguments)?;
        let view = self.view();
        let row = self
            .find(&view, table, &key)
            .and_then(|id| view.row(table.name, id))
            .ok_or_else(|| key.missing(table))?;
        let etag = row.etag();
        match &call.condition {
            Condition::None => {}
            // Expanded rows and annotations may change without the row, so the answer is always whole with them.
            Condition::Changed(_) if options.expand.is_some() || call.preferences.annotations.any() => {}
            Condition::Changed(_) if call.condition.is_known(&etag) => {
                return Ok(Answer::empty(StatusCode::NOT_MODIFIED).with("etag", etag));
            }
            Condition::Changed(_) => {}
            _ => call.condition.refuse_any()?,
        }
        let context = self.context(table, &projection) + "/$entity";
        let object = Object::default().with("@odata.context", &context);
        let object = self.shape(&view, table, row, &projection, &call.preferences.annotations, object);
        Ok(Answer::json(StatusCode::OK, &object).with("etag", etag))
    }

    /// The rows of a list of one row, a page of them.
    fn list_of(&self, call: &Call<'_>, table: &Table, arguments: &Arguments, name: &str) -> Result<Object, Refusal> {
        let options = Options::read(call.query, &["$select", "$skiptoken"])?;
        let key = self.key(table, arguments)?;
        let view = self.view();
        let one = self.find(&view, table, &key).ok_or_else(|| key.missing(table))?;
        let inside = options
            .select
            .map(|select| format!("$select={select}"))
            .unwrap_or_default();
        let list = self
            .list_expansion(table, &format!("{name}({inside})"))?
            .ok_or_else(|| Refusal::no_segment(name))?;
        let offset = |token: &str| {
            token
                .strip_prefix("<cookie offset=\"")?
                .strip_suffix("\" />")?
                .parse()
                .ok()
        };
        let from = match options.skip_token.as_deref().map(offset) {
            None => 0,
            Some(Some(from)) => from,
            Some(None) => return Err(Refusal::query("The paging link is not one that was issued.")),
        };
        let (rows, next) = self.list_page(&view, table, one, &list, from, &call.preferences.annotations);
        let many = self.schema.get(list.table)?;
        let mut answer = Object::default()
            .with("@odata.context", &self.context(&many, &list.projection))
            .with("value", &rows);
        if let Some(next) = next {
            answer.put("@odata.nextLink", &next);
        }
        Ok(answer)
    }

    fn post(&mut self, call: &Call<'_>, table: &Table) -> Result<Answer, Refusal> {
        call.condition.refuse_any()?;
        let options = Options::read(call.query, &["$select"])?;
        self.projection(table, options.select.as_deref(), None)?;
        let changes = Changes::parse(table.set, call.body)?;
        let row = self.create(Author::Application, table, Uuid::new_v4(), changes)?;
        if call.preferences.representation {
            return self.representation(call, table, &row, StatusCode::CREATED);
        }
        let url = format!("{}/{}({})", self.root(), table.set, row.id);
        Ok(Answer::empty(StatusCode::NO_CONTENT)
            .with("odata-entityid", url.as_str())
            .with("location", url))
    }

    fn patch(&mut self, call: &Call<'_>, table: &Table, arguments: &Arguments) -> Result<Answer, Refusal> {
        let options = Options::read(call.query, &["$select"])?;
        self.projection(table, options.select.as_deref(), None)?;
        let key = self.key(table, arguments)?;
        let mut changes = Changes::parse(table.set, call.body)?;
        let found = self.find(&self.store.present(), table, &key);
        let etag = found
            .and_then(|id| self.store.row(table.name, id))
            .map(|row| row.etag());
        let decided = call.condition.patch(etag.as_deref(), || key.missing(table))?;
        let (row, status) = match (decided, found) {
            (Patch::Update, Some(id)) => {
                if let Key::Alternate { column, .. } = &key {
                    changes.remove(column);
                }
                (self.update(Author::Application, table, id, changes)?, StatusCode::OK)
            }
            _ => {
                let id = match &key {
                    Key::Id(id) => *id,
                    Key::Alternate { column, value } => {
                        if changes.raw(column).is_none() {
                            changes.set(*column, &value.as_str().into());
                        }
                        Uuid::new_v4()
                    }
                };
                (
                    self.create(Author::Application, table, id, changes)?,
                    StatusCode::CREATED,
                )
            }
        };
        if call.preferences.representation {
            return self.representation(call, table, &row, status);
        }
        // The address is repeated as it was given, so it may show the alternate key and not the id.
        Ok(Answer::empty(StatusCode::NO_CONTENT).with("odata-entityid", format!("{}/{}", self.root(), call.path)))
    }

    fn remove(&mut self, call: &Call<'_>, table: &Table, arguments: &Arguments) -> Result<Answer, Refusal> {
        Options::read(call.query, &[])?;
        let key = self.key(table, arguments)?;
        let id = self
            .find(&self.store.present(), table, &key)
            .ok_or_else(|| key.missing(table))?;
        let etag = self.store.row(table.name, id).map(|row| row.etag()).unwrap_or_default();
        call.condition.delete(&etag)?;
        self.delete(table, id)?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }

    /// `PUT` and `DELETE` of a single value.
    fn property(
        &mut self,
        call: &Call<'_>,
        table: &Table,
        arguments: &Arguments,
        property: &str,
    ) -> Result<Answer, Refusal> {
        if table.property(property).is_none() {
            return Err(Refusal::no_segment(property));
        }
        match *call.method {
            Method::PUT => self.change_one(call, table, arguments, property, call.body),
            Method::DELETE => self.change_one(call, table, arguments, property, b"{\"value\":null}"),
            _ => Err(Refusal::wrong_verb(format!(
                "{} is not for a single value.",
                call.method
            ))),
        }
    }

    fn change_one(
        &mut self,
        call: &Call<'_>,
        table: &Table,
        arguments: &Arguments,
        property: &str,
        body: &[u8],
    ) -> Result<Answer, Refusal> {
        Options::read(call.query, &[])?;
        let key = self.key(table, arguments)?;
        let id = self
            .find(&self.store.present(), table, &key)
            .ok_or_else(|| key.missing(table))?;
        let etag = self.store.row(table.name, id).map(|row| row.etag());
        call.condition.patch(etag.as_deref(), || key.missing(table))?;
        let sent = Changes::parse(table.set, body)?;
        let value = sent
            .raw("value")
            .ok_or_else(|| Refusal::payload(table.set, "'value' is missing."))?;
        let mut changes = Changes::default();
        changes.set_raw(property, value.to_owned());
        self.update(Author::Application, table, id, changes)?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }

    fn representation(&self, call: &Call<'_>, table: &Table, row: &Row, status: StatusCode) -> Result<Answer, Refusal> {
        let options = Options::read(call.query, &["$select"])?;
        let projection = self.projection(table, options.select.as_deref(), None)?;
        let context = self.context(table, &projection) + "/$entity";
        let object = Object::default().with("@odata.context", &context);
        let view = self.store.present();
        let object = self.shape(&view, table, row, &projection, &call.preferences.annotations, object);
        Ok(Answer::json(status, &object).with("etag", row.etag()))
    }
}

pub(super) fn only(method: &Method, wanted: &Method, resource: &str) -> Result<(), Refusal> {
    if method == wanted {
        Ok(())
    } else {
        Err(Refusal::wrong_verb(format!("{method} is not for {resource}.")))
    }
}
