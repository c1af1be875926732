//! What each operation does. Input and answer are JSON; what the input must be is said by types, and
//! what they do not know is refused.

mod apps;
mod look;
mod users;

use super::Api;
use super::caller::Caller;
use super::operation::Operation;
use crate::records::Author;
use lattice_protocol::{ErrorCode, Report};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

impl Api {
    /// Carries out an operation for somebody who is known.
    ///
    /// # Errors
    /// `E_DENIED` for a role that may not; `E_USAGE` for input that is not what it takes; what the
    /// operation says.
    pub async fn perform(
        &self,
        operation: &Operation,
        caller: &Caller,
        input: Value,
    ) -> Result<Value, Report> {
        let about = about(&input);
        let result = match may(operation, caller).and_then(|()| self.takes(operation)) {
            Ok(()) => self.dispatch(operation, caller, input).await,
            Err(report) => Err(report),
        };
        if let Err(report) = &result
            && operation.changes()
        {
            tracing::info!(operation = operation.name, user = caller.user, error = %report, "refused");
            let data = json!({
                "operation": operation.name, "user": caller.user, "role": caller.role,
                "via": caller.via.as_str(), "by": caller.by(), "error": report,
            });
            self.events.emit("admin.refused", about, data);
        }
        result
    }

    /// Upon a store that has gone back no application is changed.
    fn takes(&self, operation: &Operation) -> Result<(), Report> {
        let changes = operation.change.is_some() || matches!(operation.name, "app.put" | "app.delete");
        match self.held.borrow().as_ref() {
            Some(report) if changes => Err(report.clone()),
            _ => Ok(()),
        }
    }

    async fn dispatch(&self, operation: &Operation, caller: &Caller, input: Value) -> Result<Value, Report> {
        match operation.name {
            "app.put" => self.put_app(operation, caller, input).await,
            "app.delete" => self.delete_app(caller, parsed(input)?).await,
            "app.plan" => self.plan(parsed(input)?).await,
            "host.stop" => self.stop_host(caller, parsed(input)?).await,
            "user.list" => self.list_users(parsed(input)?).await,
            "user.put" => self.put_user(caller, parsed(input)?).await,
            "user.delete" => self.delete_user(caller, parsed(input)?).await,
            "lattice.get" => self.lattice(caller, parsed(input)?).await,
            _ if operation.change.is_some() => self.change(operation, caller, input).await,
            _ => self.look(operation, input).await,
        }
    }

    /// Who makes a change, for its history and its event.
    fn author(&self, caller: &Caller) -> Author {
        Author {
            by: caller.by().to_owned(),
            origin: self.origin.clone(),
            event_id: self.event_id(),
            now_unix_ms: self.clock.unix_ms(),
            details: json!({ "user": caller.user, "role": caller.role, "via": caller.via.as_str() }),
        }
    }
}

fn may(operation: &Operation, caller: &Caller) -> Result<(), Report> {
    if caller.role >= operation.role {
        return Ok(());
    }
    Err(Report::new(ErrorCode::Denied, format!("{} may not be asked by a {}", operation.name, caller.role))
        .at(&caller.user)
        .got(caller.role)
        .limit(operation.role))
}

/// What an input is about, for the audit stream.
fn about(input: &Value) -> Option<String> {
    let text = |name: &str| input.get(name)?.as_str().map(|text| text.chars().take(200).collect::<String>());
    text("app").or_else(|| text("host")).or_else(|| text("key"))
}

/// Input as an operation takes it.
fn parsed<T: DeserializeOwned>(input: Value) -> Result<T, Report> {
    serde_json::from_value(input).map_err(|error| {
        Report::new(ErrorCode::Usage, format!("input: {error}"))
            .hint("see the API's document: GET /v1/openapi.json")
    })
}

/// An answer as JSON.
fn json_of(value: &impl serde::Serialize) -> Result<Value, Report> {
    serde_json::to_value(value).map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))
}
