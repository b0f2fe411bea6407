//! Who else a request is traced by: `traceparent` and `tracestate` (W3C Trace Context, level 1), read strictly.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest `tracestate` that is passed on, in bytes (section 3.3.1.5 asks for 512 at least).
const LONGEST_STATE: usize = 512;
/// The most members that it may have (section 3.3.1.1).
const MOST_MEMBERS: usize = 32;

/// The number of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub(super) [u8; 16]);

/// The number of a span in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub(super) [u8; 8]);

/// What a trusted proxy says of the trace that its request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// Whether it records the trace. Then so does this service, and not otherwise.
    pub(super) sampled: bool,
    /// What other systems pass along, as it came.
    pub(super) state: Option<Box<str>>,
}

impl Parent {
    /// Reads both headers. A `traceparent` that is not exactly as it should be counts as none, and so does a `tracestate`
    /// beside it.
    pub fn read(parent: &[u8], states: &[&[u8]]) -> Option<Self> {
        // Later versions may append to it (section 3.2.4); 255 is none.
        let (version, rest) = (hex::<1>(parent.get(..2)?)?, parent.get(2..)?);
        let [b'-', fields @ ..] = rest else { return None };
        let (fields, more) = fields.split_at_checked(52)?;
        if version == [0xff] || (version == [0] && !more.is_empty()) || !(more.is_empty() || more.starts_with(b"-")) {
            return None;
        }
        if fields.get(32) != Some(&b'-') || fields.get(49) != Some(&b'-') {
            return None;
        }
        let (trace, span) = (hex(fields.get(..32)?)?, hex(fields.get(33..49)?)?);
        let [flags] = hex::<1>(fields.get(50..)?)?;
        if trace == [0; 16] || span == [0; 8] {
            return None;
        }
        let sampled = flags & 1 == 1;
        Some(Self { trace: TraceId(trace), span: SpanId(span), sampled, state: state(states) })
    }

    /// The trace.
    pub(super) const fn trace(&self) -> TraceId {
        self.trace
    }

    /// What other systems pass along.
    pub(super) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The header as it came, in the version that is known here.
    pub(super) fn traceparent(&self) -> String {
        traceparent(self.trace, self.span, self.sampled)
    }
}

/// Several lines are one list (section 3.3.1.1). One that is not as it should be is dropped whole.
fn state(lines: &[&[u8]]) -> Option<Box<str>> {
    let list = lines.join(&b","[..]);
    let members = || list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let fits = list.len() <= LONGEST_STATE && (1..=MOST_MEMBERS).contains(&members().count());
    let text = String::from_utf8(list.clone()).ok().filter(|_| fits && members().all(is_member))?;
    Some(text.into())
}

/// A key of lower-case letters, digits and a few signs, and a value of visible ASCII and blanks (section 3.3.1.3).
fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (member.get(..at).unwrap_or_default(), member.get(at + 1..).unwrap_or_default());
    let in_key = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let in_value = |byte: &u8| matches!(byte, b' '..=b'~') && !b",=".contains(byte);
    (1..=256).contains(&key.len())
        && key.iter().all(in_key)
        && key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && (1..=256).contains(&value.len())
        && value.iter().all(in_value)
}

/// Reads bytes in lower-case hexadecimal digits, and in no others (section 3.2).
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    data_encoding::HEXLOWER.decode(text).ok()?.try_into().ok()
}

/// Writes `traceparent`.
pub(super) fn traceparent(trace: TraceId, span: SpanId, sampled: bool) -> String {
    format!("00-{trace}-{span}-{:02x}", u8::from(sampled))
}

impl TraceId {
    /// A new one.
    pub(super) fn random() -> Self {
        let bytes = [random().to_be_bytes(), random().to_be_bytes()].concat();
        Self(bytes.try_into().unwrap_or([1; 16]))
    }

    /// A number from 0 to 1, as random as the trace, for a share of all traces.
    pub(super) fn fraction(self) -> f64 {
        let Self([.., a, b, c, d]) = self;
        f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
    }
}

impl SpanId {
    /// A new one.
    pub(super) fn random() -> Self {
        Self(random().to_be_bytes())
    }
}

/// A number that is different each time, and nobody can guess: a keyed hash of a counter. It is never zero.
fn random() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(NEXT.fetch_add(1, Ordering::Relaxed)).max(1)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(parent: &str, states: &[&str]) -> Option<Parent> {
        let states: Vec<_> = states.iter().map(|line| line.as_bytes()).collect();
        Parent::read(parent.as_bytes(), &states)
    }

    #[test]
    fn a_parent_is_read_and_written_as_it_was() {
        let parent = read(PARENT, &[]).expect("fine");
        assert_eq!(traceparent(parent.trace, parent.span, parent.sampled), PARENT);
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for (flags, sampled) in [("00", false), ("01", true), ("03", true), ("fe", false)] {
            let parent = read(&format!("{}{flags}", &PARENT[..53]), &[]).expect(flags);
            assert_eq!(parent.sampled, sampled, "{flags}");
        }
        // A later version, perhaps with more behind it.
        assert!(read(&PARENT.replacen("00", "01", 1), &[]).is_some());
        assert!(read(&format!("{}-what-comes-later", PARENT.replacen("00", "cc", 1)), &[]).is_some());
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-"),
            &format!("{PARENT} "),
            &format!(" {PARENT}"),
            &format!("{}x", PARENT.replacen("00", "01", 1)),
            &PARENT.to_uppercase(),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replacen("00", "0", 1),
            &PARENT.replace('-', "_"),
            &PARENT.replace("4bf9", "4bfg"),
            &PARENT.replace("4bf9", "4BF9"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        ] {
            assert_eq!(read(text, &[]), None, "{text}");
        }
    }

    #[test]
    fn a_state_is_passed_on_whole_or_not_at_all() {
        let of = |states: &[&str]| read(PARENT, states).expect("fine").state;
        assert_eq!(of(&["congo=t61rcWkgMzE,rojo=00f0"]).as_deref(), Some("congo=t61rcWkgMzE,rojo=00f0"));
        assert_eq!(of(&["a=1", "b@c=2 3"]).as_deref(), Some("a=1,b@c=2 3"));
        let many: Vec<_> = (0..33).map(|number| format!("k{number}=v")).collect();
        for odd in
            ["", " , ", "a", "A=1", "a=1=2", "=1", "a=", "a=\u{e4}", &many.join(","), &format!("a={}", "x".repeat(600))]
        {
            assert_eq!(of(&[odd]), None, "{odd}");
        }
    }

    #[test]
    fn new_numbers_do_not_repeat() {
        let all: std::collections::HashSet<_> = (0..10_000).map(|_| TraceId::random().0).collect();
        assert_eq!(all.len(), 10_000);
        let share = (0..10_000).filter(|_| TraceId::random().fraction() < 0.25).count();
        assert!((2_000..3_000).contains(&share), "{share}");
    }
}
