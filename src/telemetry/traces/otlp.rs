//! Spans as OTLP has them in protobuf: the messages of `opentelemetry/proto/trace/v1/trace.proto` and those it needs, with
//! the fields that are used here.

use prost::{Message, Oneof};

use super::record::{Attribute, REQUEST, Record};

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_SERVER`.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;
/// The flag of W3C that a trace is recorded.
const SAMPLED: u32 = 1;

/// Encodes a request that hands spans over. `instance` names this process.
pub(super) fn encode(records: &[Record], instance: &str) -> Vec<u8> {
    let text = |key: &str, value: &str| key_value(key, Value::Text(value.to_owned()));
    let resource = Resource {
        attributes: vec![
            text("service.name", env!("CARGO_PKG_NAME")),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", instance),
        ],
    };
    let scope = Scope { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: records.iter().map(span).collect() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }
        .encode_to_vec()
}

fn span(record: &Record) -> Span {
    let is_request = record.name == REQUEST;
    let failed = record.attributes.iter().any(|attribute| matches!(attribute, Attribute::Status(500..)));
    Span {
        trace_id: record.trace.0.to_vec(),
        id: record.span.0.to_vec(),
        trace_state: record.state.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: record.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        name: if is_request { name(&record.attributes) } else { record.name.to_owned() },
        kind: if is_request { SERVER } else { INTERNAL },
        start_time_unix_nano: record.begin,
        end_time_unix_nano: record.end,
        attributes: record.attributes.iter().map(attribute).collect(),
        status: failed.then_some(Status { code: ERROR }),
        flags: SAMPLED,
    }
}

/// The name of a request's span by the semantic conventions: the method and the route's template.
fn name(attributes: &[Attribute]) -> String {
    let (mut method, mut route) = ("_OTHER", None);
    for attribute in attributes {
        match attribute {
            Attribute::Method(text) => method = text,
            Attribute::Route(text) => route = Some(text),
            Attribute::Status(_) | Attribute::Dialect(_) | Attribute::Result(_) | Attribute::Source(_) => {}
        }
    }
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

fn attribute(attribute: &Attribute) -> KeyValue {
    let value = match attribute {
        Attribute::Method(text) | Attribute::Dialect(text) | Attribute::Result(text) | Attribute::Source(text) => {
            Value::Text((*text).to_owned())
        }
        Attribute::Route(text) => Value::Text(text.to_string()),
        Attribute::Status(status) => Value::Number(i64::from(*status)),
    };
    key_value(attribute.key(), value)
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
