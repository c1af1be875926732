//! What a messaging link subscribes its actor to: checked when a manifest is read, and again by the
//! host that asks its broker for it.

use super::LinkDefinition;
use crate::error::{ErrorCode, Report};
use crate::subject::check_subject;

/// Keys of a link's configuration that name subjects; the first that is there counts.
const KEYS: [&str; 2] = ["subscriptions", "subscription"];

impl LinkDefinition {
    /// The subjects (`subscriptions`, or `subscription`; separated by commas), each checked against
    /// the reserved ones and the link's grants.
    ///
    /// # Errors
    /// `E_NAME` or `E_CAPABILITY_DENIED`, for the first that cannot be.
    pub fn subscriptions(&self) -> Result<Vec<String>, Report> {
        let text = KEYS.iter().find_map(|key| self.config.get(*key)).map_or("", String::as_str);
        let subjects = text.split(',').map(str::trim).filter(|subject| !subject.is_empty());
        subjects.map(|subject| self.subscription(subject)).collect()
    }

    fn subscription(&self, subject: &str) -> Result<String, Report> {
        check_subject(subject, true)?;
        let granted = &self.grants.subscribe;
        if granted.is_empty() || granted.iter().any(|pattern| covers(pattern, subject)) {
            return Ok(subject.to_owned());
        }
        let what = format!("capability denied: subscribe {subject}");
        Err(Report::new(ErrorCode::CapabilityDenied, what)
            .limit(granted.join(", "))
            .hint("widen the link's grants if this is meant to be"))
    }
}

/// Is every subject of the pattern `inner` also one of `outer`?
fn covers(outer: &str, inner: &str) -> bool {
    let mut outer = outer.split('.');
    let mut inner = inner.split('.');
    loop {
        match (outer.next(), inner.next()) {
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(want), Some(have)) if want == have && want != "*" => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::link::{CallPolicy, Grants, LinkDefinition, LinkTarget};

    fn link(subjects: &str, granted: &[&str]) -> LinkDefinition {
        LinkDefinition {
            source: "edge/processor".parse().unwrap(),
            name: "cloud-sync".parse().unwrap(),
            interface: "wasmcloud:messaging".parse().unwrap(),
            target: LinkTarget::Provider("edge/nats".parse().unwrap()),
            config: [("subscription".to_owned(), subjects.to_owned())].into(),
            policy: CallPolicy::default(),
            grants: Grants {
                subscribe: granted.iter().map(|text| (*text).to_owned()).collect(),
                ..Grants::default()
            },
        }
    }

    #[test]
    fn each_subject_is_checked_against_what_is_reserved_and_what_is_granted() {
        let two = link("edge.sensor.*, cloud.cmd.n1", &[]);
        assert_eq!(two.subscriptions().unwrap(), ["edge.sensor.*", "cloud.cmd.n1"]);
        assert!(link("", &[]).subscriptions().unwrap().is_empty());
        for good in ["edge.sensor.*", "edge.>", "a.b", "a.*"] {
            assert!(link(good, &["edge.>", "a.*"]).subscriptions().is_ok(), "{good}");
        }
        for bad in [">", "*", "*.a", "other", "a.>", "a.b.c", "$SYS.x", "trellis.l.evt.x"] {
            assert!(link(bad, &["edge.>", "a.*"]).subscriptions().is_err(), "{bad}");
        }
        for bad in [">", "*.x", "$SYS.>", "_INBOX.>"] {
            assert!(link(bad, &[]).subscriptions().is_err(), "{bad}");
        }
    }
}
