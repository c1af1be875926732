//! `trellis get events`: the lattice's audit stream, as CloudEvents.

use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::output;
use lattice_io::{Consumer, ReadFrom};
use lattice_protocol::event::CloudEvent;
use lattice_protocol::{ErrorCode, Report};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Events asked for at once.
const BATCH: usize = 500;
/// Silence after which what was there has been read.
const IDLE: Duration = Duration::from_millis(500);
/// One wait for what comes.
const WAIT: Duration = Duration::from_secs(20);

/// Which events.
#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// Only what happened within this time: 30s, 15m, 2h, 7d.
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub since: Option<Duration>,
    /// Only the last so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// Only kinds that begin so: host, actor.failed, admin.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only about this: a host, an actor, an application, a secret.
    #[arg(long, value_name = "NAME")]
    pub about: Option<String>,
}

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "want a number and a unit: 30s, 15m, 2h, 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

impl EventsArgs {
    fn wants(&self, event: &CloudEvent) -> bool {
        let kind = self.kind.as_ref().is_none_or(|kind| event.short_kind().starts_with(kind.as_str()));
        let about = self.about.as_ref().is_none_or(|about| event.subject.as_ref() == Some(about));
        kind && about
    }
}

/// Runs it.
pub async fn run(args: &Args, client: &Client, events: &EventsArgs) -> Outcome {
    if !client.reads_stream() {
        return asked(args, client, events).await;
    }
    let from = match events.since {
        Some(age) => {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            ReadFrom::Since(crate::home::now_unix_ms().saturating_sub(age))
        }
        None => ReadFrom::All,
    };
    let stream = client.subjects.audit_stream();
    let audit = match client.lattice.streams.read(&stream, from).await {
        Ok(audit) => audit,
        Err(error) => {
            let report = Report::from(error);
            return Err(match report.code {
                ErrorCode::NotFound => Report::new(ErrorCode::NotFound, "no audit stream in this lattice yet")
                    .at(stream)
                    .hint("a controller makes it: trellis controller; is this the lattice you mean? trellis config get"),
                _ => report,
            });
        }
    };
    let past = past(client, &audit, events).await?;
    if !events.follow {
        let rows = past.iter().map(row).collect();
        output::table(args, &past, &["time", "origin", "event", "about", "details"], rows);
        return Ok(());
    }
    past.iter().for_each(|event| print(args, event));
    loop {
        let mut pull = audit.pull(BATCH, WAIT).await?;
        while let Some(delivery) = pull.next().await {
            if let Some(event) = read(client, &delivery.message).filter(|event| events.wants(event)) {
                print(args, &event);
            }
        }
    }
}

/// What a controller says: for users who may not read the stream.
async fn asked(args: &Args, client: &Client, events: &EventsArgs) -> Outcome {
    if events.follow {
        return Err(Report::new(ErrorCode::Denied, "this user may not read the stream itself")
            .at("--follow")
            .hint("follow it over HTTP: GET /v1/events/stream"));
    }
    let since = events.since.map(|age| {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        crate::home::now_unix_ms().saturating_sub(age)
    });
    let input = json!({ "since": since, "limit": events.limit, "kind": events.kind, "about": events.about });
    let past: Vec<CloudEvent> =
        serde_json::from_value(client.need("event.list", &input).await?).map_err(|error| {
            Report::new(ErrorCode::Malformed, format!("controller gave no valid answer: {error}"))
        })?;
    let rows = past.iter().map(row).collect();
    output::table(args, &past, &["time", "origin", "event", "about", "details"], rows);
    Ok(())
}

/// What is there already: the last of those that are wanted.
async fn past(
    client: &Client,
    audit: &Arc<dyn Consumer>,
    events: &EventsArgs,
) -> Result<VecDeque<CloudEvent>, Report> {
    let mut found = VecDeque::new();
    loop {
        let (mut pull, mut seen) = (audit.pull(BATCH, IDLE).await?, 0);
        while let Some(delivery) = pull.next().await {
            seen += 1;
            let Some(event) = read(client, &delivery.message).filter(|event| events.wants(event)) else {
                continue;
            };
            if found.len() >= events.limit {
                found.pop_front();
            }
            found.push_back(event);
        }
        if seen < BATCH {
            return Ok(found);
        }
    }
}

/// An event, if it is one and is from whom it says: the server holds users to their own subject.
fn read(client: &Client, message: &lattice_io::BusMessage) -> Option<CloudEvent> {
    let Ok(event) = serde_json::from_slice::<CloudEvent>(&message.payload) else {
        output::warn(format!("no CloudEvent on {}", message.subject));
        return None;
    };
    if client.subjects.event(event.origin(), event.short_kind()) == message.subject {
        return Some(event);
    }
    output::warn(format!("event on {} says it is from {}: left out", message.subject, event.source));
    None
}

fn row(event: &CloudEvent) -> Vec<String> {
    vec![
        event.time.clone(),
        event.origin().to_owned(),
        event.short_kind().to_owned(),
        event.subject.clone().unwrap_or_default(),
        details(&event.data),
    ]
}

/// One line: `key=value` for what is there.
fn details(data: &Value) -> String {
    let Some(fields) = data.as_object() else { return String::new() };
    let shown = fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn print(args: &Args, event: &CloudEvent) {
    match args.output {
        output::Format::Json => output::json_line(event),
        output::Format::Table => output::raw(&row(event).join("  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(age("2h"), Ok(Duration::from_secs(7_200)));
        for bad in ["", "5", "h", "1.5h", "-1s", "99999999999999999999d", "1é"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
