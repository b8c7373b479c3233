//! What the OpenAPI document says of every operation without its handler: what follows from its method, its path and the scope that it needs.
//! That is its name, the headers that it honours, those of its answers, and how it may be refused. Pure.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::header::{ETAG, LOCATION, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderName, Method};
use node::problem::{self, Type};
use node::wait::{METADATA, WAIT};
use serde_json::{Map, Value, json};

use super::answer::REPLAYED;
use super::gate::{RATE_LIMIT, RATE_LIMIT_POLICY, REQUEST_ID};
use super::idempotency::{IDEMPOTENCY_KEY, KEY_CHARS_MAX, KEY_CHARS_MIN};
use super::scopes::{Rule, rule};

/// Completes a document that was made from the handlers.
pub(super) fn complete(document: &mut Value) {
    flatten(document);
    split(document);
    fill_answers(document);
    close_requests(document);
    document["components"]["headers"] = headers().into();
    document["components"]["responses"] = refused().into();
    let schemas = document["components"]["schemas"].clone();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (name, operation) in item.as_object_mut().into_iter().flatten() {
            let Ok(method) = name.to_uppercase().parse::<Method>() else { continue };
            let place = path.trim_start_matches("/api/v1").replace(['{', '}'], "").replace(['/', '-'], "_");
            operation["operationId"] = format!("{name}{place}").into();
            // An operation without a rule is nobody's, and a test says so.
            let Some(rule) = rule(&method, path) else { continue };
            if let Rule::Scope(scope) = rule {
                operation["x-scope"] = scope.to_string().into();
            }
            say_headers(operation, (&method, rule));
            say_refusals(operation, (&method, path, rule));
            say_answers(operation, (&method, rule), &schemas);
        }
    }
}

/// A type that has another's members has them itself: what belongs to an object stands in one place.
fn flatten(document: &mut Value) {
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    let all = schemas.clone();
    schemas.values_mut().for_each(|schema| flatten_within(schema, &all));
}

fn flatten_within(value: &mut Value, all: &Map<String, Value>) {
    if let Some(parts) = value.get("allOf").and_then(Value::as_array) {
        let (mut members, mut required) = (Map::new(), Vec::new());
        for part in parts {
            let part = referred(part).and_then(|name| all.get(name)).unwrap_or(part);
            members.extend(part["properties"].as_object().cloned().unwrap_or_default());
            required.extend(part["required"].as_array().cloned().unwrap_or_default());
        }
        let description = value["description"].clone();
        *value = json!({ "type": "object", "description": description, "properties": members, "required": required });
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|inner| flatten_within(inner, all)),
        Value::Array(items) => items.iter_mut().for_each(|inner| flatten_within(inner, all)),
        _ => {}
    }
}

/// The name of the schema that a reference leads to.
fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// Names of the schemas that bodies of requests have, or those of answers.
fn used(document: &Value, part: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let items = document["paths"].as_object().into_iter().flatten().filter_map(|(_, item)| item.as_object());
    for (_, operation) in items.flatten() {
        collect(&operation[part], &document["components"]["schemas"], &mut names);
    }
    names
}

/// A type that requests have and answers, too, has two schemas: an answer leaves nothing out.
fn split(document: &mut Value) {
    let (asked, answered) = (used(document, "requestBody"), used(document, "responses"));
    let schemas = &document["components"]["schemas"];
    let both: Vec<_> =
        asked.intersection(&answered).filter(|name| schemas[*name].get("properties").is_some()).collect();
    for name in &both {
        document["components"]["schemas"][given(name)] = document["components"]["schemas"][*name].clone();
    }
    let rename = |value: &mut Value| both.iter().for_each(|name| refer_to_given(value, name));
    for (_, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            operation.get_mut("requestBody").into_iter().for_each(rename);
        }
    }
    let asked = asked.difference(&answered).cloned().chain(both.iter().map(|name| given(name)));
    for name in asked.collect::<Vec<_>>() {
        rename(&mut document["components"]["schemas"][name]);
    }
}

/// What a schema is called that answers have, too, as requests have it.
fn given(name: &str) -> String {
    format!("{name}Given")
}

fn refer_to_given(value: &mut Value, name: &str) {
    if referred(value) == Some(name) {
        value["$ref"] = format!("#/components/schemas/{}", given(name)).into();
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|inner| refer_to_given(inner, name)),
        Value::Array(items) => items.iter_mut().for_each(|inner| refer_to_given(inner, name)),
        _ => {}
    }
}

/// What has a default is in each answer all the same.
fn fill_answers(document: &mut Value) {
    for name in used(document, "responses") {
        let schema = &mut document["components"]["schemas"][name];
        let Some(members) = schema.get("properties").and_then(Value::as_object) else { continue };
        let filled =
            members.iter().filter(|(_, inner)| inner.get("default").is_some()).map(|(member, _)| member.clone());
        let mut required: BTreeSet<String> = filled.collect();
        required.extend(
            schema["required"].as_array().into_iter().flatten().filter_map(|one| Some(one.as_str()?.to_owned())),
        );
        if !required.is_empty() {
            schema["required"] = required.into_iter().collect();
        }
    }
}

/// Bodies of requests have no other members than they name, and null stands for the default ([`super::body`]).
fn close_requests(document: &mut Value) {
    for name in used(document, "requestBody") {
        let schema = &mut document["components"]["schemas"][name];
        let required = schema["required"].clone();
        let is_required = |member: &str| required.as_array().is_some_and(|all| all.iter().any(|one| one == member));
        let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for (member, inner) in members {
            if !is_required(member) {
                *inner = nullable(inner);
            }
        }
        schema["additionalProperties"] = false.into();
    }
    // A body is left out where nothing has to be said.
    let schemas = document["components"]["schemas"].clone();
    for (_, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            if let Some(name) = referred(&operation["requestBody"]["content"]["application/json"]["schema"]) {
                let needed = schemas[name]["required"].as_array().is_some_and(|all| !all.is_empty());
                operation["requestBody"]["required"] = needed.into();
            }
        }
    }
}

fn collect(value: &Value, schemas: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(name) = referred(value).filter(|name| !names.contains(*name)) {
                names.insert(name.to_owned());
                collect(&schemas[name], schemas, names);
            }
            members.values().for_each(|inner| collect(inner, schemas, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, schemas, names)),
        _ => {}
    }
}

fn nullable(schema: &Value) -> Value {
    let mut schema = schema.clone();
    match schema["type"].take() {
        Value::String(kind) => schema["type"] = json!([kind, "null"]),
        Value::Null if schema.get("oneOf").is_some() => _ = schema.as_object_mut().and_then(|all| all.remove("type")),
        // Anything, or a reference.
        Value::Null => {
            let members = schema.as_object_mut().map(std::mem::take).unwrap_or_default();
            let inner: Map<_, _> = members.into_iter().filter(|(name, _)| name != "type").collect();
            schema =
                if inner.contains_key("$ref") { json!({ "oneOf": [{ "type": "null" }, inner] }) } else { inner.into() };
        }
        kinds => schema["type"] = kinds,
    }
    schema
}

fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// The headers that a request may have.
fn say_headers(operation: &mut Value, (method, rule): (&Method, Rule)) {
    let text = || json!({ "type": "string" });
    let mut honoured = Vec::new();
    match *method {
        Method::POST if rule != Rule::Entrance => honoured.push((
            IDEMPOTENCY_KEY,
            "20 to 255 random characters: a repeated request gets the same answer",
            json!({ "type": "string", "minLength": KEY_CHARS_MIN, "maxLength": KEY_CHARS_MAX, "pattern": "^[!-~]*$" }),
        )),
        Method::PATCH | Method::DELETE => {
            honoured.push(("if-match", "The ETag of the version that it is for", text()));
        }
        _ => {}
    }
    if !matches!(rule, Rule::Open | Rule::Entrance) {
        let entry = json!({ "type": "integer", "format": "int64", "minimum": 0 });
        honoured.push((WAIT, "Entry of the metadata log that the answer has to reflect: the node waits for it", entry));
    }
    let honoured = honoured.into_iter().map(|(name, description, schema)| {
        json!({ "name": name, "in": "header", "required": false, "schema": schema, "description": description })
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.extend(honoured),
        None => operation["parameters"] = honoured.collect(),
    }
}

/// How an operation may be refused, whatever its handler says.
fn refusals(method: &Method, path: &str, rule: Rule) -> Vec<Type> {
    use Type as T;
    let (is_named, is_list) = (path.contains('{'), !path.ends_with('}'));
    let mut types = vec![T::Internal];
    if rule == Rule::Open {
        types.extend(is_named.then_some(T::NotFound));
        return types;
    }
    types.extend([T::Malformed, T::UnknownParameter, T::TooLarge, T::RateLimited, T::ControlAway]);
    let has_credential = rule != Rule::Entrance;
    if has_credential {
        types.extend([T::Unauthenticated, T::Expired, T::WrongKind, T::ScopeMissing, T::NotFound]);
    }
    if !is_change(method) {
        types.extend((is_list && has_credential).then_some(T::CursorInvalid));
        return types;
    }
    types.push(T::Csrf);
    if has_credential {
        types.extend([T::Quota, T::NameTaken, T::State, T::FromFile, T::LastOwner, T::VersionMismatch, T::StorageFull]);
    }
    if *method == Method::POST && has_credential {
        types.extend([T::Running, T::KeyReused]);
    }
    if matches!(*method, Method::POST | Method::PATCH) {
        types.push(T::Invalid);
    }
    types
}

/// Gives each refusal its form, those included that a handler names by its status.
fn say_refusals(operation: &mut Value, (method, path, rule): (&Method, &str, Rule)) {
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let named = responses.keys().filter(|status| status.starts_with(['4', '5'])).cloned().collect::<Vec<_>>();
    let general = refusals(method, path, rule).into_iter().map(|refusal| refusal.status().to_string());
    for status in named.into_iter().chain(general) {
        let refused = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.insert(status, refused);
    }
}

/// The answer to what is refused, by its status.
fn refused() -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for kind in Type::ALL {
        by_status.entry(kind.status()).or_default().push(kind.name());
    }
    let answer = |(status, names): (u16, Vec<&str>)| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let mut response = json!({
            "description": format!("A problem: {}", names.join(", ")),
            "content": { problem::CONTENT_TYPE: { "schema": schema } },
        });
        let own = match status {
            401 => &[WWW_AUTHENTICATE][..],
            429 | 503 => &[RETRY_AFTER],
            _ => &[],
        };
        say(&mut response, [REQUEST_ID, RATE_LIMIT_POLICY, RATE_LIMIT].iter().chain(own));
        (status.to_string(), response)
    };
    by_status.into_iter().map(answer).collect()
}

/// Headers of answers: name, type, whether each answer that names it has it, and what it says.
fn headers() -> Map<String, Value> {
    let described = [
        (REQUEST_ID, "string", true, "Identity of the request, also in the log and the audit"),
        (RATE_LIMIT_POLICY, "string", false, "How many requests there may be"),
        (RATE_LIMIT, "string", false, "How many are left"),
        (WWW_AUTHENTICATE, "string", true, "Which credential is wanted"),
        (RETRY_AFTER, "integer", false, "Seconds until it may be tried again"),
        (LOCATION, "string", true, "Where the browser goes"),
        (SET_COOKIE, "string", false, "The cookie of whoever is signed in"),
        (ETAG, "string", false, "The version of a row, unless the answer has what changes without it"),
        (METADATA, "integer", true, "Entry of the metadata log that the answer reflects"),
        (REPLAYED, "string", false, "`true`: the request was answered before"),
    ];
    let described = described.into_iter().map(|(name, kind, is_required, description)| {
        let header = json!({ "description": description, "required": is_required, "schema": { "type": kind } });
        (name.to_string(), header)
    });
    described.collect()
}

fn say<'a>(response: &mut Value, names: impl IntoIterator<Item = &'a HeaderName>) {
    for name in names {
        response["headers"][name.as_str()] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
}

/// The headers of answers, and what a client that knows the row already is told.
fn say_answers(operation: &mut Value, (method, rule): (&Method, Rule), schemas: &Value) {
    let tagged = tagged(&operation["responses"], schemas);
    if *method == Method::GET && tagged.is_some() {
        operation["responses"]["304"] = json!({ "description": "The client has this version" });
    }
    let is_limited = rule != Rule::Open;
    let is_known = is_limited && rule != Rule::Entrance;
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let is_done = status.starts_with('2');
        if !is_done && !status.starts_with('3') {
            continue;
        }
        let said = [
            (true, REQUEST_ID),
            (is_limited, RATE_LIMIT_POLICY),
            (is_limited, RATE_LIMIT),
            (is_known, METADATA),
            (is_known && is_done && *method == Method::POST, REPLAYED),
            (tagged.as_ref() == Some(status) || status == "304", ETAG),
            (status == "303", LOCATION),
            (rule == Rule::Entrance && *method == Method::POST, SET_COOKIE),
        ];
        say(response, said.iter().filter(|(is_said, _)| *is_said).map(|(_, name)| name));
    }
}

/// The status of the answer that is a row with a version.
fn tagged(responses: &Value, schemas: &Value) -> Option<String> {
    responses.as_object()?.iter().find_map(|(status, response)| {
        let name = referred(&response["content"]["application/json"]["schema"])?;
        let is_row = schemas[name]["properties"].get("version").is_some();
        let is_live = schemas[name]["properties"].get("stale_since_at").is_some();
        (is_row && !is_live).then(|| status.clone())
    })
}
