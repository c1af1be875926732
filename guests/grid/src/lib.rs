//! The grid as a whole (`grid/north`): what its substations last reported, for as long as that is news. Written with
//! the key facade, which models nothing: the function reads and puts, and what it did is one commit.
//!
//! Commands: `report {averageKw, shedding}`, from a substation; `overview {}`. Queries: `get {key}`, `keys`, `state`.

use std::time::Duration;

use trellis_guest::actor::keys::Keys;
use trellis_guest::actor::{Refusal, Turn, Value, json};

/// After this, a substation that says nothing counts as not reporting.
const NEWS: Duration = Duration::from_secs(60);

#[trellis_guest::commands]
#[serde(rename_all_fields = "camelCase")]
enum Command {
    Report { average_kw: f64, shedding: bool },
    Overview,
}

#[trellis_guest::kv_actor]
fn grid(keys: &mut Keys, turn: &Turn, command: Command) -> Result<Value, Refusal> {
    match command {
        Command::Report { average_kw, shedding } => {
            let sender = turn.sender.as_deref().and_then(|sender| sender.strip_prefix("substation/"));
            let sender = sender.ok_or_else(|| Refusal::new("not-a-substation", "only substations report"))?;
            keys.put_for(&format!("load/{sender}"), &average_kw, NEWS)?;
            if shedding {
                keys.put_for(&format!("shedding/{sender}"), &true, NEWS)?;
            } else {
                keys.delete(&format!("shedding/{sender}"));
            }
            keys.add("reports", 1).map(Value::from)
        }
        Command::Overview => {
            let loads: Vec<f64> = keys.keys("load/").iter().filter_map(|key| keys.get(key).ok()?).collect();
            let shedding = keys.keys("shedding/").len();
            Ok(
                json!({ "substations": loads.len(), "loadKw": loads.iter().sum::<f64>(), "shedding": shedding }),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trellis_guest::actor::keys::{KeyCommand, KeysOf};
    use trellis_guest::actor::kit::Given;

    type Grid = KeysOf<GridActor>;

    fn report(average_kw: f64, shedding: bool) -> KeyCommand<Command> {
        KeyCommand::Authors(Command::Report { average_kw, shedding })
    }

    fn overview(given: Given<Grid>, substations: usize, load_kw: f64, shedding: usize) -> Given<Grid> {
        let expected = json!({ "substations": substations, "loadKw": load_kw, "shedding": shedding });
        given.when(KeyCommand::Authors(Command::Overview)).then_reply(&expected)
    }

    #[test]
    fn the_grid_knows_what_its_substations_say_while_they_say_it() {
        let given = Given::<Grid>::nothing()
            .when_from(Some("substation/s-1"), report(900.0, false))
            .then_reply(&json!(1))
            .advance(Duration::from_secs(30))
            .when_from(Some("substation/s-2"), report(1_200.0, true))
            .then_reply(&json!(2));
        let given = overview(given, 2, 2_100.0, 1).killed().advance(Duration::from_secs(31));
        let given = overview(given, 1, 1_200.0, 1).when_from(Some("substation/s-2"), report(800.0, false));
        overview(given, 1, 800.0, 0);
    }

    #[test]
    fn nobody_else_reports() {
        Given::<Grid>::nothing()
            .when(report(1.0, false))
            .then_refused("not-a-substation")
            .when_from(Some("drone/d-1"), report(1.0, false))
            .then_refused("not-a-substation");
    }

    #[test]
    fn nothing_that_is_sent_makes_it_trap() {
        Given::<Grid>::nothing()
            .when_from(Some("substation/s-1"), report(900.0, true))
            .never_traps_on("report", &[r#"{"averageKw":9e2,"shedding":true}"#])
            .never_traps_on("keys-expire", &["{}"]);
    }
}
