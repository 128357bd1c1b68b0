//! The trace that a request is part of, as W3C's Trace Context has it (Recommendation of 23 November
//! 2021): taken from the application, passed on to the provider's agent and to the server that its
//! source is read from, and said in the one log line of the exchange at either side.
//!
//! Invariant: what is no trace is dropped, not repaired, and none is made up. An id of a trace is random
//! and no person's; it is hexadecimal digits, or it is not there.

use std::fmt;

/// Letters of `traceparent` in version 00.
const PARENT_LEN: usize = 55;
/// Letters and members of `tracestate` at most (§3.3.1.1, §3.3.1.5).
const STATE_LEN_MAX: usize = 512;
const STATE_MEMBERS_MAX: usize = 32;

/// Where a request stands in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `00-TRACE-PARENT-FLAGS`, in lower-case hexadecimal.
    parent: String,
    /// What tracing systems say to each other; none, or 1 to 512 letters.
    state: Option<String>,
}

/// The id of a whole trace: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceId(String);

impl Trace {
    /// Reads `traceparent` and the values of all headers `tracestate`. None if the first is no such
    /// thing; without the second if that is not.
    #[must_use]
    pub fn read<'s>(parent: &str, states: impl IntoIterator<Item = &'s str>) -> Option<Self> {
        let parent = read_parent(parent)?;
        let states: Vec<&str> = states.into_iter().collect();
        Some(Self { parent, state: read_state(&states.join(",")) })
    }

    /// As it stands in a message between agents: `traceparent`, then `tracestate` if there is one.
    #[must_use]
    pub fn to_message(&self) -> Vec<String> {
        std::iter::once(&self.parent).chain(&self.state).cloned().collect()
    }

    /// Reads it from such a message. Another agent wrote it, so it is looked at as closely.
    #[must_use]
    pub fn of_message(texts: &[String]) -> Option<Self> {
        let (parent, states) = texts.split_first()?;
        Self::read(parent, states.iter().map(String::as_str))
    }

    /// The headers with which it is passed on, by their names.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let state = self.state.as_deref().map(|state| ("tracestate", state));
        std::iter::once(("traceparent", self.parent.as_str())).chain(state)
    }

    /// The first header's value.
    #[must_use]
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// The id of the whole trace.
    #[must_use]
    pub fn id(&self) -> TraceId {
        TraceId(self.parent.split('-').nth(1).unwrap_or_default().to_owned())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

tokio::task_local! {
    static CURRENT: Option<Trace>;
}

/// Does something as a part of a trace, if there is one.
pub fn within<F: Future>(trace: Option<Trace>, doing: F) -> impl Future<Output = F::Output> {
    // An async function would have room for it twice: as what it was given, and as what it awaits.
    CURRENT.scope(trace, doing)
}

/// The trace that the task does something for.
#[must_use]
pub fn current() -> Option<Trace> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// `VERSION-TRACE-PARENT-FLAGS` (§3.2.2). Of a later version what this one knows is passed on (§4.3).
fn read_parent(text: &str) -> Option<String> {
    let known = text.get(..PARENT_LEN)?;
    let fields: Vec<&str> = known.split('-').collect();
    let [version, trace, parent, flags] = fields.as_slice() else { return None };
    let sizes = [(version, 2), (trace, 32), (parent, 16), (flags, 2)];
    if !sizes.iter().all(|(field, len)| field.len() == *len && is_hex(field)) {
        return None;
    }
    let nothing = |field: &str| field.bytes().all(|it| it == b'0');
    if *version == "ff" || nothing(trace) || nothing(parent) {
        return None;
    }
    let rest = text.get(PARENT_LEN..).unwrap_or_default();
    match *version {
        "00" => rest.is_empty().then(|| text.to_owned()),
        _ if !rest.is_empty() && !rest.starts_with('-') => None,
        // Of its flags the one that is known: whether the trace is recorded.
        _ => {
            let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
            Some(format!("00-{trace}-{parent}-{:02x}", u8::from(sampled)))
        }
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// `key=value,key=value` (§3.3.1). What can't be read is dropped as a whole.
fn read_state(text: &str) -> Option<String> {
    let members: Vec<&str> = text
        .split(',')
        .map(|it| it.trim_matches([' ', '\t']))
        .filter(|it| !it.is_empty())
        .collect();
    let state = members.join(",");
    let mut keys: Vec<&str> =
        members.iter().filter_map(|member| Some(member.split_once('=')?.0)).collect();
    keys.sort_unstable();
    keys.dedup();
    let fits = (1..=STATE_MEMBERS_MAX).contains(&members.len())
        && state.len() <= STATE_LEN_MAX
        && keys.len() == members.len()
        && members.iter().all(|member| is_member(member));
    fits.then_some(state)
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let begins = |text: &str| {
        text.bytes().next().is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    };
    let letters = |text: &str| {
        let fits = |it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
        text.bytes().all(fits)
    };
    let key_fits = match key.split_once('@') {
        None => key.len() <= 256 && begins(key) && letters(key),
        Some((tenant, system)) => {
            let tenant_fits = tenant.len() <= 241 && begins(tenant) && letters(tenant);
            tenant_fits && (1..=14).contains(&system.len()) && begins(system) && letters(system)
        }
    };
    let printable = |it: u8| (0x20..=0x7e).contains(&it) && it != b',' && it != b'=';
    key_fits && (1..=256).contains(&value.len()) && value.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(parent: &str, states: &[&str]) -> Option<Vec<String>> {
        Trace::read(parent, states.iter().copied()).map(|it| it.to_message())
    }

    #[test]
    fn a_trace_is_passed_on_as_it_came() {
        let trace = Trace::read(PARENT, ["rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"]).unwrap();
        assert_eq!(trace.id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let message = trace.to_message();
        assert_eq!(message, [PARENT, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]);
        assert_eq!(Trace::of_message(&message), Some(trace.clone()));
        assert_eq!(Trace::of_message(&[]), None);
        let names: Vec<_> = trace.headers().map(|(name, _)| name).collect();
        assert_eq!(names, ["traceparent", "tracestate"]);
        assert_eq!(read(PARENT, &[]).unwrap(), [PARENT]);
    }

    #[test]
    fn what_is_no_trace_is_dropped() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-999 000 0018 999 000 0018 999 000 -00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473ü-00f067aa0ba902b-01",
        ] {
            assert_eq!(read(bad, &["a=b"]), None, "{bad}");
        }
    }

    #[test]
    fn of_a_later_version_what_is_known_is_passed_on() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-what-is-to-come";
        assert_eq!(read(later, &[]).unwrap(), [PARENT]);
    }

    #[test]
    fn a_state_that_can_not_be_read_is_dropped_and_the_trace_stays() {
        let long = format!("a={}", "b".repeat(257));
        let many = (0..33).map(|it| format!("k{it}=v")).collect::<Vec<_>>().join(",");
        let wide = (0..3).map(|it| format!("k{it}={}", "v".repeat(200))).collect::<Vec<_>>();
        let wide = wide.join(",");
        for bad in ["a", "=b", "a=", "A=b", "a=b=c", "a=b,a=c", "@x=y", "a=ü", &long, &many, &wide]
        {
            assert_eq!(read(PARENT, &[bad]).unwrap(), [PARENT], "{bad}");
        }
        for good in ["a=b", "1a_-*/=x y", "tenant@system=!"] {
            assert_eq!(read(PARENT, &[good]).unwrap(), [PARENT, good]);
        }
        assert_eq!(read(PARENT, &["a=1", " ", "b=2"]).unwrap(), [PARENT, "a=1,b=2"]);
    }

    #[tokio::test]
    async fn a_task_knows_the_trace_that_it_works_for() {
        let trace = Trace::read(PARENT, []);
        assert_eq!(current(), None);
        assert_eq!(within(trace.clone(), async { current() }).await, trace);
        assert_eq!(current(), None);
    }
}
