//! What a process says on standard error: lines for people, or one JSON object in each line.
//!
//! Invariant: what is said is made of closed fields; nothing here knows of a person.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tally_core::time::Timestamp;
use tally_net::config_file::{LogFormat, LogLevel, LogSettings};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, registry, reload};

use crate::system::now_ms;

/// Whether lines are JSON.
static IN_JSON: AtomicBool = AtomicBool::new(false);

/// From which level on is written; may change while the process runs.
pub(crate) struct Levels(reload::Handle<Targets, Registry>);

impl Levels {
    /// From here on.
    pub(crate) fn set(&self, level: LogLevel) {
        // It is gone only with the process.
        drop(self.0.reload(targets(level)));
    }
}

/// Says something of this process on standard error.
pub(crate) fn log(part: &str, text: &str) {
    let mut out = io::stderr().lock();
    // If standard error is closed, nobody reads it.
    if IN_JSON.load(Ordering::Relaxed) {
        let fields = [("part", part), ("message", text)];
        let fields = fields.map(|(name, value)| (name.to_owned(), Value::from(value)));
        drop(writeln!(out, "{}", line(Level::INFO, fields.into_iter().collect())));
    } else {
        drop(writeln!(out, "tally {part}: {text}"));
    }
}

/// Lets what happens in this process be written to standard error, a line for each event. What a ledger
/// node says of its cluster is always written: it is seldom, and is asked for when it is too late.
pub(crate) fn write_events(settings: LogSettings) -> Levels {
    let json = settings.format == LogFormat::Json;
    IN_JSON.store(json, Ordering::Relaxed);
    let (filter, levels) = reload::Layer::new(targets(settings.level));
    let words = layer().with_ansi(false).with_target(false).with_writer(io::stderr);
    let objects = layer().event_format(JsonLines).with_writer(io::stderr);
    let lines = registry().with(filter);
    let lines = lines.with((!json).then_some(words)).with(json.then_some(objects));
    // Only a test could have said it before.
    drop(lines.try_init());
    Levels(levels)
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    Targets::new().with_target("tally_ledger", Level::INFO.max(level)).with_default(level)
}

/// One JSON object in each line: time, level, what is said, and the event's own fields.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        writeln!(writer, "{}", line(*event.metadata().level(), fields.0))
    }
}

fn line(level: Level, mut fields: Map<String, Value>) -> Value {
    fields.insert("time".to_owned(), Timestamp(now_ms()).rfc3339().into());
    fields.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
    Value::Object(fields)
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_json_object_with_its_fields() {
        let kept = Kept::default();
        let writer = kept.clone();
        let objects = layer().event_format(JsonLines).with_writer(move || writer.clone());
        tracing::subscriber::with_default(registry().with(objects), || {
            tracing::warn!(code = "too-busy", wait_ms = 7_u64, peer = %"RZ9", "turned \"away\"\n");
            tracing::info!(ok = true, "next");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        let mut first = lines[0].as_object().unwrap().clone();
        assert!(first.remove("time").unwrap().as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({
            "level": "warn",
            "message": "turned \"away\"\n",
            "code": "too-busy",
            "wait_ms": 7,
            "peer": "RZ9",
        });
        assert_eq!(Value::Object(first), expected);
        assert_eq!(lines[1]["ok"], true);
    }
}
