//! Commands to persistent actors through links: what a guest is told when some attempt may have been carried out.

use crate::support::{ask, guest, link, start};
use futures::FutureExt;
use futures::future::BoxFuture;
use host_runtime::wiring::{BoundTarget, EntityReply, EntityTarget};
use lattice_protocol::ErrorCode::{self, Connection, Guest, OutcomeUnknown};
use lattice_protocol::{EntityId, Report};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What becomes of one attempt.
#[derive(Clone, Copy)]
enum Becomes {
    Done,
    Told(ErrorCode),
    /// It is never answered.
    Silent,
}

/// Owners of actors, whoever they are.
struct Owners {
    /// What becomes of the next attempts, the first of them last; then they are done.
    next: Mutex<Vec<Becomes>>,
    /// The ids of the commands that came.
    came: Mutex<Vec<Option<String>>>,
}

impl Owners {
    /// A guest that asks them, and is answered so: the status and the body; and what came.
    async fn ask(method: &str, next: &[Becomes]) -> (u16, String, Vec<Option<String>>) {
        let next = Mutex::new(next.iter().rev().copied().collect());
        let owners = Arc::new(Self { next, came: Mutex::default() });
        let target = BoundTarget::Entities(Arc::clone(&owners) as Arc<dyn EntityTarget>);
        let link = link("teller", "trellis:actor/client", target).timeout_ms(150);
        let teller = start("teller", guest("fixture-teller").await, [link]).await;
        let (status, body) = ask(&teller, method, "/a-1/add", "5").await.unwrap();
        let came = std::mem::take(&mut *owners.came.lock().unwrap());
        (status, body, came)
    }
}

impl EntityTarget for Owners {
    fn ask<'a>(
        &'a self,
        _: EntityId,
        (_, _, command_id): (&'a str, bytes::Bytes, Option<String>),
        _: Instant,
    ) -> BoxFuture<'a, Result<EntityReply, Report>> {
        async move {
            self.came.lock().unwrap().push(command_id);
            let becomes = self.next.lock().unwrap().pop().unwrap_or(Becomes::Done);
            match becomes {
                Becomes::Done => Ok(EntityReply { reply: "5".into(), seq: 1, repeated: false }),
                Becomes::Told(code) => Err(Report::new(code, "as told")),
                Becomes::Silent => std::future::pending().await,
            }
        }
        .boxed()
    }
}

use Becomes::{Silent, Told};

#[tokio::test]
async fn a_command_is_sent_again_under_its_id_until_it_is_known_what_became_of_it() {
    for first in [Told(OutcomeUnknown), Told(Connection), Silent] {
        let (status, body, came) = Owners::ask("POST", &[first]).await;
        assert_eq!((status, body.as_str()), (200, "5 at 1\n"));
        assert!(came.len() == 2 && came[0].is_some() && came[0] == came[1], "{came:?}");
    }
}

#[tokio::test]
async fn what_may_have_been_carried_out_stays_so_whatever_the_last_attempt_was_told() {
    for next in [
        vec![Silent; 10],
        [vec![Silent], vec![Told(Connection); 10]].concat(),
        [vec![Told(OutcomeUnknown)], vec![Told(Connection); 10]].concat(),
    ] {
        let (status, body, came) = Owners::ask("POST", &next).await;
        assert!(status >= 500 && body.contains("E_OUTCOME_UNKNOWN"), "{status} {body}");
        assert!(came.len() > 1, "{came:?}");
    }
    let (status, body, _) = Owners::ask("POST", &[Told(Connection); 10]).await;
    assert!(status >= 500 && body.contains("E_CONNECTION"), "certainly not carried out: {status} {body}");
    let (status, body, _) = Owners::ask("POST", &[Silent, Told(Guest)]).await;
    assert!(!body.contains("E_OUTCOME_UNKNOWN"), "the actor's own word is certain: {status} {body}");
}

#[tokio::test]
async fn a_query_changes_nothing_and_is_told_what_the_last_attempt_was_told() {
    let (status, body, came) = Owners::ask("GET", &[Silent; 10]).await;
    assert!(status >= 500 && body.contains("E_TIMEOUT"), "{status} {body}");
    assert!(came.len() > 1 && came.iter().all(Option::is_none), "{came:?}");
}
