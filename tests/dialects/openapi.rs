//! The document and the server say the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};
use sessiond::domain::event::EventKind;
use sessiond::http::routes::Route;
use sessiond::http::{ops_routes, routes};
use sessiond_needs::on_both_stores;

use crate::harness::{Reply, Server, StoreKind, ask, get};

/// Whether a `Set-Cookie` line is that of the cookie by which a browser is known, beside that of the session.
fn is_known_browser(line: &str) -> bool {
    line.split('=').next().is_some_and(|name| name.ends_with("_known"))
}

/// Headers that are sent only where the document names them.
const ONLY_IF_DOCUMENTED: [&str; 6] = ["set-cookie", "retry-after", "allow", "www-authenticate", "location", "upgrade"];
/// Headers that every answer has.
const STAMPS: [(&str, &str); 3] =
    [("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")];
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let text = include_str!("../../openapi.yaml");
    Document { root: serde_saphyr::from_str(text).expect("YAML"), compiled: Mutex::default() }
});

/// Checks one real answer against `openapi.yaml`: its status, headers and body must be documented.
pub fn check(method: &str, target: &str, reply: &Reply) {
    DOCUMENT.check(Listener::Public, method, target, reply).unwrap_or_else(|why| panic!("{method} {target}: {why}"));
}

/// The same for the operations listener.
pub fn check_ops(method: &str, target: &str, reply: &Reply) {
    DOCUMENT
        .check(Listener::Operations, method, target, reply)
        .unwrap_or_else(|why| panic!("{method} {target}: {why}"));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    Public,
    Operations,
}

/// The document, and the schemas in it that were asked for, compiled once each. Places in it are JSON pointers.
struct Document {
    root: Value,
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    /// Follows references to the place of the definition.
    fn resolve(&self, pointer: String) -> (String, &Value) {
        let value = self.root.pointer(&pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolve(reference.trim_start_matches('#').to_owned()),
            None => (pointer, value),
        }
    }

    fn validate(&self, pointer: &str, instance: &Value) -> Result<(), String> {
        let compile = || {
            let (components, paths) = (&self.root["components"], &self.root["paths"]);
            let schema = json!({"$ref": format!("#{pointer}"), "components": components, "paths": paths});
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            Arc::new(options.build(&schema).unwrap_or_else(|error| panic!("{pointer}: {error}")))
        };
        let validator = self.compiled.lock().expect("no panic").entry(pointer.into()).or_insert_with(compile).clone();
        let errors: Vec<String> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
        if errors.is_empty() { Ok(()) } else { Err(format!("{instance} against {pointer}: {}", errors.join("; "))) }
    }

    /// The pointer of the path that `path` is an instance of.
    fn template(&self, listener: Listener, path: &str) -> Option<&str> {
        const ANY_BELOW: &str = "/verify/envoy/{path}";
        if listener == Listener::Public && path.starts_with("/verify/envoy/") {
            return self.paths(listener).find(|template| *template == ANY_BELOW);
        }
        self.paths(listener).find(|template| {
            let (mut wanted, mut given) = (template.split('/'), path.split('/'));
            let same =
                |(wanted, given): (&str, &str)| wanted == given || (wanted.starts_with('{') && !given.is_empty());
            wanted.by_ref().zip(given.by_ref()).all(same) && template.matches('/').count() == path.matches('/').count()
        })
    }

    fn paths(&self, listener: Listener) -> impl Iterator<Item = &str> {
        let listener_of = |item: &Value| {
            if item.get("servers").is_some() { Listener::Operations } else { Listener::Public }
        };
        let paths = self.root["paths"].as_object().expect("paths");
        paths.iter().filter(move |(_, item)| listener_of(item) == listener).map(|(path, _)| path.as_str())
    }

    /// The pointer of what documents this status of this request.
    fn response(
        &self,
        listener: Listener,
        method: &str,
        path: &str,
        status: u16,
        is_page: bool,
    ) -> Result<String, String> {
        let undocumented = || format!("{status} is not documented");
        let Some(template) = self.template(listener, path) else {
            // A path without a route: a page for a person, or 404, or a refusal of the head, in the words of the dialect that
            // has the prefix.
            if is_page {
                return (status == 404).then(|| "/components/responses/PageError".to_owned()).ok_or_else(undocumented);
            }
            let owners = self.root["x-unknown-routes"].as_array().expect("owners").iter();
            let prefix = |owner: &Value| owner["prefix"].as_str().expect("a prefix").to_owned();
            let owner = owners.filter(|o| format!("{path}/").starts_with(&prefix(o)) || prefix(o) == "/");
            let owner = owner.max_by_key(|o| prefix(o).len()).expect("an owner");
            let component = owner["response"]["$ref"].as_str().expect("a reference").trim_start_matches('#');
            let words =
                [400, 404, 405, 426, 431, 501].contains(&status).then(|| component.replace("404", &status.to_string()));
            return words.filter(|pointer| self.root.pointer(pointer).is_some()).ok_or_else(undocumented);
        };
        let item = format!("/paths/{}", template.replace('~', "~0").replace('/', "~1"));
        let operations = self.root.pointer(&item).and_then(Value::as_object).expect("an item");
        let method = match method.to_ascii_lowercase() {
            // Any method is answered like GET there, and HEAD like GET everywhere.
            _ if template.starts_with("/verify") => "get".into(),
            head if head == "head" => "get".into(),
            other => other,
        };
        let of = |operation: &str| {
            let pointer = format!("{item}/{operation}/responses/{status}");
            self.root.pointer(&pointer).map(|_| self.resolve(pointer).0)
        };
        if operations.contains_key(&method) {
            return of(&method).ok_or_else(undocumented);
        }
        // Without an operation for the method: only what is refused before one is looked for.
        let any = METHODS.iter().filter(|m| operations.contains_key(**m)).find_map(|m| of(m));
        any.filter(|_| [400, 405, 426, 431, 501].contains(&status)).ok_or_else(undocumented)
    }

    fn check(&self, listener: Listener, method: &str, target: &str, reply: &Reply) -> Result<(), String> {
        let kind = reply.header("content-type").unwrap_or_default();
        for (name, value) in STAMPS {
            let value = match name {
                // Or browsers would send `Origin: null` with the forms of a page.
                "referrer-policy" if kind.starts_with("text/html") => "same-origin",
                "cache-control" if target.starts_with("/assets/") && reply.status == 200 => {
                    "public, max-age=31536000, immutable"
                }
                _ => value,
            };
            if reply.all(name) != [value] {
                return Err(format!("{name}: {:?}", reply.all(name)));
            }
        }
        // Absolute form: RFC 9112 section 3.2.2.
        let path =
            target.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(target);
        let path = path.split('?').next().unwrap_or_default();
        if method == "OPTIONS" && reply.status == 204 && !path.starts_with("/verify") {
            let known = self.template(listener, path).is_some();
            return if reply.header("allow").is_some() == known { Ok(()) } else { Err("Allow".into()) };
        }
        if reply.status == 308 {
            // The path of a page with a slash behind it leads to the page.
            let to = path.strip_suffix('/').and_then(|bare| reply.header("location")?.strip_prefix(bare));
            return to.map(drop).ok_or_else(|| "Location".into());
        }
        let pointer = self.response(listener, method, path, reply.status, kind.starts_with("text/html"))?;
        self.check_headers(&pointer, reply).map_err(|why| format!("{}: {why}", reply.status))?;
        self.check_body(&pointer, method == "HEAD", reply).map_err(|why| format!("{}: {why}", reply.status))
    }

    fn check_headers(&self, response: &str, reply: &Reply) -> Result<(), String> {
        let none = Map::new();
        let documented = self.root.pointer(&format!("{response}/headers")).and_then(Value::as_object).unwrap_or(&none);
        for name in documented.keys() {
            let (pointer, header) = self.resolve(format!("{response}/headers/{name}"));
            let (known, values): (Vec<_>, Vec<_>) =
                reply.all(name).into_iter().partition(|value| is_known_browser(value));
            for value in known {
                let (_, rest) = value.split_once('=').ok_or("a cookie without a value")?;
                let (marks, rest) = rest.split_once(';').ok_or("a cookie without attributes")?;
                let marks: Vec<_> = marks.split('.').collect();
                if marks.len() > 4 || marks.iter().any(|mark| mark.len() != 43) || !rest.ends_with("Max-Age=31536000") {
                    return Err(format!("Set-Cookie: {value}"));
                }
            }
            if header["required"] == true && values.is_empty() {
                return Err(format!("{name} is required"));
            }
            if values.len() > 1 && !name.eq_ignore_ascii_case("set-cookie") {
                return Err(format!("{name} came {} times", values.len()));
            }
            let number = header.pointer("/schema/type").is_some_and(|kind| kind == "integer");
            let last = values.len().saturating_sub(1);
            for (at, value) in values.into_iter().enumerate() {
                let value = if number { value.parse::<i64>().map_or(json!(value), Value::from) } else { json!(value) };
                // Cookies set by other hosts are cleared before the one that counts.
                let pointer = if at < last { "/components/headers/ClearSessionIfAny" } else { pointer.as_str() };
                self.validate(&format!("{pointer}/schema"), &value)?;
            }
        }
        let silent = |name: &&&str| !documented.keys().any(|known| known.eq_ignore_ascii_case(name));
        match ONLY_IF_DOCUMENTED.iter().filter(|name| !reply.all(name).is_empty()).find(silent) {
            Some(name) => Err(format!("{name} is not documented: {:?}", reply.all(name))),
            None => Ok(()),
        }
    }

    fn check_body(&self, response: &str, head: bool, reply: &Reply) -> Result<(), String> {
        let content = self.root.pointer(&format!("{response}/content")).and_then(Value::as_object);
        let Some(content) = content.filter(|content| !content.is_empty()) else {
            return if reply.body.is_empty() { Ok(()) } else { Err(format!("a body: {:?}", reply.text())) };
        };
        let sent = reply.header("content-type").unwrap_or_default();
        // JSON is UTF-8 and has no parameters; text has.
        let is_sent =
            |kind: &&String| *kind == sent || (*kind != "application/json" && sent.starts_with(&format!("{kind};")));
        let Some(kind) = content.keys().find(is_sent) else {
            return Err(format!("{sent:?} and none of {:?}", content.keys().collect::<Vec<_>>()));
        };
        if head {
            return if reply.body.is_empty() { Ok(()) } else { Err("a body after HEAD".into()) };
        }
        let body = if kind == "application/json" {
            serde_json::from_slice(&reply.body).map_err(|error| format!("{error}: {:?}", reply.text()))?
        } else {
            Value::from(reply.text())
        };
        self.validate(&format!("{response}/content/{}/schema", kind.replace('/', "~1")), &body)
    }

    /// Every operation, as its pointer, its path and its method.
    fn operations(&self) -> impl Iterator<Item = (String, &str, &str)> {
        [Listener::Public, Listener::Operations].into_iter().flat_map(|listener| self.paths(listener)).flat_map(
            |path| {
                let item = format!("/paths/{}", path.replace('/', "~1"));
                let keys = self.root["paths"][path].as_object().expect("an item").keys();
                keys.filter(|key| METHODS.contains(&key.as_str()))
                    .map(move |method| (format!("{item}/{method}"), path, method.as_str()))
            },
        )
    }
}

#[test]
fn the_document_and_the_mount_table_name_the_same_routes() {
    for (listener, table) in [(Listener::Public, routes()), (Listener::Operations, ops_routes())] {
        // A route for any method is documented by its GET.
        let method = |route: &Route| route.method.as_ref().map_or("get".into(), |m| m.as_str().to_ascii_lowercase());
        let mounted: BTreeSet<_> = table.iter().map(|route| (route.path.clone(), method(route))).collect();
        let paths: BTreeSet<_> = DOCUMENT.paths(listener).collect();
        let documented = DOCUMENT.operations().filter(|(_, path, _)| paths.contains(path));
        let documented: BTreeSet<_> =
            documented.map(|(_, path, method)| (path.to_owned(), method.to_owned())).collect();
        assert_eq!(mounted, documented, "{listener:?}");
        assert!(!mounted.is_empty());
    }
}

#[test]
fn the_document_lists_every_kind_of_event() {
    let words: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(DOCUMENT.root["components"]["parameters"]["Kind"]["schema"]["enum"], json!(words));
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let mut seen = BTreeSet::new();
    for (pointer, ..) in DOCUMENT.operations() {
        let id = DOCUMENT.root.pointer(&format!("{pointer}/operationId")).and_then(Value::as_str);
        assert!(seen.insert(id.unwrap_or_else(|| panic!("{pointer} has none"))), "{id:?} twice");
    }
}

#[test]
fn every_body_has_examples_and_all_of_them_are_valid() {
    let mut bodies = BTreeSet::new();
    for (operation, ..) in DOCUMENT.operations() {
        let responses = DOCUMENT.root.pointer(&format!("{operation}/responses")).and_then(Value::as_object);
        let responses = responses.expect("responses").keys().map(|status| format!("{operation}/responses/{status}"));
        bodies.extend(responses.map(|pointer| DOCUMENT.resolve(pointer).0));
        let request = format!("{operation}/requestBody");
        bodies.extend(DOCUMENT.root.pointer(&request).map(|_| DOCUMENT.resolve(request).0));
    }
    let mut examples = 0;
    for body in &bodies {
        let content = DOCUMENT.root.pointer(&format!("{body}/content")).and_then(Value::as_object);
        for (kind, media) in content.into_iter().flatten() {
            let several = media.get("examples").and_then(Value::as_object).into_iter().flatten();
            let all: Vec<&Value> = several.map(|(_, e)| &e["value"]).chain(media.get("example")).collect();
            assert!(!all.is_empty(), "{body} has no example of {kind}");
            for example in all {
                let schema = format!("{body}/content/{}/schema", kind.replace('/', "~1"));
                DOCUMENT.validate(&schema, example).unwrap_or_else(|why| panic!("{why}"));
                examples += 1;
            }
        }
    }
    assert!(examples > 60, "{examples}");
    for (name, header) in DOCUMENT.root["components"]["headers"].as_object().expect("headers") {
        if let Some(example) = header.get("example") {
            let schema = format!("/components/headers/{name}/schema");
            DOCUMENT.validate(&schema, example).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
}

#[test]
fn no_component_is_left_over() {
    let text = DOCUMENT.root.to_string();
    for (section, components) in DOCUMENT.root["components"].as_object().expect("components") {
        for name in components.as_object().expect(section).keys().filter(|_| section != "securitySchemes") {
            assert!(text.contains(&format!("\"#/components/{section}/{name}\"")), "{section}/{name} is not used");
        }
    }
}

#[test]
fn every_type_of_the_canonical_table_occurs_under_its_status() {
    // 409, 426 and 429 come with their routes.
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "forbidden_error"),
        (404, "not_found_error"),
        (405, "method_not_allowed_error"),
        (408, "request_timeout_error"),
        (413, "payload_too_large_error"),
        (415, "unsupported_media_type_error"),
        (422, "validation_error"),
        (500, "internal_server_error"),
        (502, "bad_gateway_error"),
        (503, "overloaded_error"),
        (504, "gateway_timeout_error"),
    ] {
        let schema = format!("/components/responses/Canonical{status}/content/application~1json/schema");
        let body = |kind: &str| match status {
            422 => {
                json!({"code": status, "detail": "x", "type": kind, "errors": [{"loc": ["body"], "msg": "x", "type": "x"}]})
            }
            _ => json!({"code": status, "detail": "x", "type": kind}),
        };
        assert_eq!(DOCUMENT.validate(&schema, &body(kind)), Ok(()));
        assert!(DOCUMENT.validate(&schema, &body("other_error")).is_err(), "{status}");
        let used = DOCUMENT.operations().any(|(operation, ..)| {
            let pointer = format!("{operation}/responses/{status}");
            DOCUMENT.root.pointer(&pointer).is_some_and(|_| {
                DOCUMENT.resolve(pointer).0 == schema.trim_end_matches("/content/application~1json/schema")
            })
        });
        assert!(used, "{status}");
    }
}

#[test]
fn an_answer_that_is_not_documented_is_noticed() {
    let stamps = "X-Api-Commit: a\r\nX-Request-Id: b\r\nCache-Control: no-store\r\n\
        X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n";
    let session = "WWW-Authenticate: Session realm=\"sessiond\"\r\n";
    let json = "Content-Type: application/json\r\n";
    let not_logged_in = r#"{"error":{"code":401,"message":"not logged in"}}"#;
    let judge = |method: &str, path: &str, status: u16, headers: &str, body: &str| {
        let reply = Reply::parse(format!("HTTP/1.1 {status} X\r\n{headers}\r\n{body}").as_bytes());
        DOCUMENT.check(Listener::Public, method, path, &reply)
    };
    let with = |lines: &[&str]| lines.concat();
    assert_eq!(judge("GET", "/user", 401, &with(&[stamps, session, json]), not_logged_in), Ok(()));
    assert_eq!(judge("HEAD", "/user?x", 401, &with(&[stamps, session, json]), ""), Ok(()));
    for (method, path, status, headers, body) in [
        ("GET", "/user", 401, with(&[session, json]), not_logged_in),
        ("GET", "/user", 401, with(&[stamps, json]), not_logged_in),
        ("GET", "/user", 401, with(&[stamps, session]), not_logged_in),
        ("GET", "/user", 401, with(&[stamps, session, json, "Set-Cookie: _me_sess=; Max-Age=0;\r\n"]), not_logged_in),
        ("GET", "/user", 401, with(&[stamps, session, json]), r#"{"error":{"code":403,"message":"not logged in"}}"#),
        ("GET", "/user", 401, with(&[stamps, session, json]), "not logged in"),
        ("HEAD", "/user", 401, with(&[stamps, session, json]), not_logged_in),
        ("GET", "/user", 404, with(&[stamps, json]), r#"{"error":{"code":404,"message":"no"}}"#),
        ("POST", "/user", 401, with(&[stamps, session, json]), not_logged_in),
        ("POST", "/user", 405, with(&[stamps, json]), r#"{"error":{"code":405,"message":"no"}}"#),
        ("GET", "/api/v1/auth", 404, with(&[stamps, json]), r#"{"error":{"code":404,"message":"no"}}"#),
        ("GET", "/livez", 200, with(&[stamps, "Content-Type: text/plain\r\n"]), "alive"),
    ] {
        assert!(judge(method, path, status, &headers, body).is_err(), "{method} {path} {status} {headers} {body}");
    }
}

#[on_both_stores]
async fn refusals_of_every_owner_are_as_documented(store: StoreKind) {
    let server = Server::start(store).await;
    for path in ["/nothing", "/api/v1/nothing", "/api/v1/auth/nothing", "/api/v1/auth", "/verify/nothing", "/livez"] {
        assert_eq!(server.send(get(path)).await.status, 404, "{path}");
    }
    for (method, path) in
        [("PUT", "/user"), ("PATCH", "/api/v1/login"), ("HEAD", "/api/v1/logout"), ("GET", "/api/v1/auth/login")]
    {
        assert_eq!(server.send(ask(method, path)).await.status, 405, "{method} {path}");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.ops(path).await.status, 200, "{path}");
    }
    for path in ["/user", "/nothing"] {
        assert_eq!(server.ops(path).await.status, 404, "{path}");
    }
    server.stop().await;
}
