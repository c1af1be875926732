//! Applications' own checks: what the spec says that an actor on trial is to be asked, asked here,
//! where it runs. Each question is a call like any other: it counts, and the actor's limits hold.
//!
//! Task: *checks*, one for all actors. It looks whenever what runs has changed, and when the next
//! question is due; the questions themselves run side by side in it, so that one without an answer
//! holds up nobody else's.

use super::Measured;
use crate::control::Snapshot;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use host_runtime::{Actor, CallInfo};
use lattice_protocol::heartbeat::Checked;
use lattice_protocol::rollout::{Ask, Check};
use lattice_protocol::value::{decode_json_answer, encode_json_call};
use lattice_protocol::{ActorId, ArtifactDigest, ErrorCode, Report};
use providers_sdk::BoxFuture;
use providers_sdk::http::full;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// An actor that runs and is to be asked.
pub struct Asked {
    /// Who.
    pub id: ActorId,
    /// Its component: what another has answered says nothing of it.
    pub digest: ArtifactDigest,
    /// What.
    pub check: Check,
    /// Where.
    pub actor: Arc<Actor>,
}

/// What one component answered last.
pub(super) type Answers = BTreeMap<ActorId, (ArtifactDigest, Checked)>;

/// When each component is asked next; `None` while it is being asked.
type Due = BTreeMap<(ActorId, ArtifactDigest), Option<Instant>>;

impl Measured {
    /// Asks for as long as the host runs.
    pub async fn watch_checks(self: Arc<Self>, mut snapshot: watch::Receiver<Arc<Snapshot>>) {
        let mut due = Due::new();
        let mut asking: FuturesUnordered<BoxFuture<'static, (Asked, Checked)>> = FuturesUnordered::new();
        loop {
            let wanted: Vec<Asked> = snapshot.borrow_and_update().asked().collect();
            self.keep(&mut due, &wanted);
            let next = begin(&mut due, wanted, &asking);
            tokio::select! {
                changed = snapshot.changed() => if changed.is_err() { return },
                Some((asked, answer)) = asking.next(), if !asking.is_empty() => {
                    let again = Instant::now() + Duration::from_millis(asked.check.every_ms);
                    // Nothing is kept of one that is gone, or is another now.
                    if let Some(at) = due.get_mut(&(asked.id.clone(), asked.digest.clone())) {
                        *at = Some(again);
                        self.answered(asked, answer);
                    }
                }
                () = sleep_until(next) => {}
            }
        }
    }

    /// Forgets whoever is not to be asked any more.
    fn keep(&self, due: &mut Due, wanted: &[Asked]) {
        let is_wanted =
            |id: &ActorId, digest: &str| wanted.iter().any(|asked| asked.id == *id && asked.digest == digest);
        due.retain(|(id, digest), _| is_wanted(id, digest));
        let answers = self.checks.load();
        if answers.iter().any(|(id, (digest, _))| !is_wanted(id, digest)) {
            let mut left = Answers::clone(&answers);
            left.retain(|id, (digest, _)| is_wanted(id, digest));
            self.checks.store(Arc::new(left));
        }
    }

    fn answered(&self, asked: Asked, answer: Checked) {
        let mut answers = Answers::clone(&self.checks.load());
        let before = answers.insert(asked.id.clone(), (asked.digest, answer.clone()));
        if before.is_none_or(|(_, before)| before.well != answer.well) {
            let (actor, ask) = (&asked.id, &asked.check.ask);
            match &answer.reason {
                None => tracing::info!(%actor, %ask, "its check is passed"),
                Some(reason) => tracing::warn!(%actor, %ask, reason, "its check has failed"),
            }
        }
        self.checks.store(Arc::new(answers));
    }
}

/// Begins every question that is due. When the next one is.
fn begin(
    due: &mut Due,
    wanted: Vec<Asked>,
    asking: &FuturesUnordered<BoxFuture<'static, (Asked, Checked)>>,
) -> Option<Instant> {
    let now = Instant::now();
    for asked in wanted {
        let at = due.entry((asked.id.clone(), asked.digest.clone())).or_insert(Some(now));
        if at.is_some_and(|at| at <= now) {
            *at = None;
            asking.push(Box::pin(async move {
                let answer = ask(&asked).await;
                (asked, answer)
            }));
        }
    }
    due.values().flatten().min().copied()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One question, with its answer or why there is none.
async fn ask(asked: &Asked) -> Checked {
    let patience = Duration::from_millis(asked.check.timeout_ms);
    let info = CallInfo::within(patience);
    let answer = async {
        match &asked.check.ask {
            Ask::Http { path } => http(&asked.actor, path, info).await,
            Ask::Call { interface, function } => {
                let arguments = Bytes::from(encode_json_call(b""));
                let answer = asked.actor.call(&interface.to_string(), function, arguments, info).await?;
                judge(&decode_json_answer(answer)?)
            }
        }
    };
    let late = || Report::new(ErrorCode::Timeout, "no answer in time").limit(format!("{patience:?}"));
    let answer = tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| Err(late()));
    let reason = answer.err().map(|report| report.during(&format!("check {}", asked.check.ask)).to_string());
    Checked { well: reason.is_none(), reason }
}

async fn http(actor: &Arc<Actor>, path: &str, info: CallInfo) -> Result<(), Report> {
    let request = http::Request::builder().uri(format!("http://localhost{path}")).header("host", "localhost");
    let request = request
        .body(full(Bytes::new()))
        .map_err(|error| Report::new(ErrorCode::Config, error.to_string()))?;
    let status = actor.handle_http(request, info).await?.status();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(Report::new(ErrorCode::Guest, "not a good answer").got(status.as_u16()).limit("200..399"))
}

/// Whatever is neither `err` nor `false`.
fn judge(answer: &[u8]) -> Result<(), Report> {
    let said: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let is_err = said.as_object().is_some_and(|object| object.len() == 1 && object.contains_key("err"));
    if is_err || said == serde_json::Value::Bool(false) {
        let got: String = said.to_string().chars().take(200).collect();
        return Err(Report::new(ErrorCode::Guest, "not a good answer").got(got));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_unless_it_is_an_error_or_a_no() {
        for good in ["null", "true", "0", "\"ready\"", "{\"ok\":null}", "{\"err\":1,\"more\":2}", "[]"] {
            assert!(judge(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["false", "{\"err\":\"no store\"}", "{\"err\":null}"] {
            let said = judge(bad.as_bytes()).unwrap_err().to_string();
            assert!(said.contains("not a good answer (got "), "{said}");
        }
    }
}
