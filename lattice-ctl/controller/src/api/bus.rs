//! The API over NATS: one request, one answer, any controller. The subject says who asks for what
//! ([`lattice_protocol::subject::Subjects::api`]); the body is the operation's input.

use super::Api;
use super::operation;
use bytes::Bytes;
use lattice_io::{Bus, BusMessage, Subscription, TaskScope};
use lattice_protocol::invocation::encode_reply;
use lattice_protocol::subject::API_GROUP;
use lattice_protocol::{ErrorCode, Report};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The header in which an administrator's terminal names the person at it.
pub const PERSON: &str = "Trellis-Person";
/// Requests at once.
const HANDS: usize = 64;

/// Begins to answer.
///
/// # Errors
/// What the bus says to the subscription.
pub async fn serve(api: Arc<Api>, scope: &TaskScope) -> Result<(), Report> {
    let bus = Arc::clone(&api.records.lattice.bus);
    let requests = bus.subscribe(&api.records.subjects.api_all(), Some(API_GROUP)).await?;
    let hands = scope.child("api");
    scope.spawn_until_cancelled("api", answer_each(api, bus, requests, hands));
    Ok(())
}

async fn answer_each(api: Arc<Api>, bus: Arc<dyn Bus>, mut requests: Subscription, scope: TaskScope) {
    let free = Arc::new(Semaphore::new(HANDS));
    while let Some(request) = requests.next().await {
        let Ok(hand) = Arc::clone(&free).try_acquire_owned() else {
            let busy = Report::new(ErrorCode::Overloaded, "too many requests at once").limit(HANDS);
            reply(&*bus, &request, &Err(busy)).await;
            continue;
        };
        let (api, bus) = (Arc::clone(&api), Arc::clone(&bus));
        scope.spawn_best_effort("request", async move {
            let result = api.request(&request).await;
            let answer = result.and_then(|value| {
                let bytes = serde_json::to_vec(&value).map(Bytes::from);
                bytes.map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))
            });
            reply(&*bus, &request, &answer).await;
            drop(hand);
        });
    }
}

impl Api {
    async fn request(&self, request: &BusMessage) -> Result<Value, Report> {
        let named = self.records.subjects.parse_api(&request.subject);
        let (role, user, name) =
            named.ok_or_else(|| Report::new(ErrorCode::Usage, "not an operation").got(&request.subject))?;
        let caller = self.caller_of_subject((&role, &user), request.header(PERSON)).await?;
        let operation = operation::find(&name).ok_or_else(|| {
            Report::new(
                ErrorCode::Usage,
                format!("Unknown command: {}", name.chars().take(64).collect::<String>()),
            )
            .hint("see the API's document: docs/openapi.json")
        })?;
        let input = if request.payload.is_empty() {
            Ok(serde_json::Map::new())
        } else {
            keys::read_object(&request.payload)
        };
        let input =
            input.map_err(|error| Report::new(ErrorCode::Usage, format!("input is no JSON: {error}")))?;
        self.perform(operation, &caller, Value::Object(input)).await
    }
}

async fn reply(bus: &dyn Bus, request: &BusMessage, result: &Result<Bytes, Report>) {
    let mut frame = encode_reply(result);
    if frame.len() > bus.max_payload() {
        let report = Report::new(ErrorCode::TooLarge, "answer over what NATS takes")
            .got(format!("{} bytes", frame.len()))
            .limit(format!("{} bytes", bus.max_payload()))
            .hint("ask over HTTP, or raise the server's max_payload");
        frame = encode_reply(&Err(report));
    }
    if let Some(answer) = request.answer(frame)
        && let Err(error) = bus.publish(answer).await
    {
        tracing::debug!(%error, "answer not sent");
    }
}
