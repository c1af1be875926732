//! `trellis actor delete`: everything that an actor is, for good. And whether that is meant.

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, entity};
use crate::output;
use lattice_protocol::entity::EntityAsk;
use lattice_protocol::{Address, Durability, ErrorCode, KindName, Report};
use std::io::{BufRead, IsTerminal};

/// Whether it is meant: asked of a person, never of a script.
///
/// # Errors
/// `E_USAGE`: it is not.
pub fn confirm(actor: &Address, question: &str) -> Result<(), Report> {
    let mut input = std::io::stdin().lock();
    let is_there = input.is_terminal();
    ask_whether((actor, question), &mut input, is_there)
}

fn ask_whether(
    (actor, question): (&Address, &str),
    input: &mut impl BufRead,
    is_there: bool,
) -> Result<(), Report> {
    let not = |what: &str| {
        Report::new(ErrorCode::Usage, what.to_owned())
            .at(&actor.key)
            .hint("nothing was done; say --yes if it is meant")
    };
    if !is_there {
        return Err(not("it cannot be undone, and nobody is there to be asked"));
    }
    let key = &actor.key;
    output::ask(&format!("{key}: {question} Type its id ({}) to go on: ", key.id));
    let mut answer = String::new();
    input.read_line(&mut answer).map_err(|error| Report::new(ErrorCode::Io, format!("input: {error}")))?;
    if answer.trim() == key.id.as_str() { Ok(()) } else { Err(not("not confirmed")) }
}

/// Runs it.
pub async fn run(args: &Args, client: &Client, actor: &Address) -> Outcome {
    let (key, id) = (&actor.key, entity::new_id()?);
    let ask = EntityAsk::Delete { key: key.clone(), id: id.to_string() };
    let (answer, _) = entity::ask_until(client, actor, (ask, &[]), super::PATIENCE_MS).await?;
    client.audit("admin.actor-delete", &key.to_string(), serde_json::json!({ "seq": answer.seq })).await;
    // What other hosts have copies of; one that is away keeps its copies until it is asked again.
    if let Err(report) = super::everywhere(client, &key.kind, &EntityAsk::Forget { key: key.clone() }).await {
        output::warn(format!("copies on other hosts may be left, delete it again: {report}"));
    }
    let shown = serde_json::json!({ "key": key, "seq": answer.seq, "repeated": answer.repeated });
    if args.output == output::Format::Json {
        output::json(&shown);
    }
    let when = if answer.repeated { "was deleted before" } else { "is deleted" };
    output::say(args, format!("{key} {when} (commit {})", answer.seq));
    if is_device(client, &key.kind).await.unwrap_or_default() {
        output::say(
            args,
            format!("what was forwarded of it stays in the lattice: trellis actor erase {key}"),
        );
    }
    Ok(())
}

/// Is the journal of a kind's actors forwarded?
async fn is_device(client: &Client, kind: &KindName) -> Result<bool, Report> {
    let apps = client.apps().await?;
    let mut actors = apps.values().flat_map(|record| &record.application.actors);
    Ok(actors.any(|actor| {
        let mut persistent = actor.persistent.iter();
        persistent.any(|one| one.kind_of(&actor.name) == *kind && one.durability == Durability::Device)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_confirmed_by_the_actors_id_and_by_nothing_else() {
        let actor: Address = "bank/account/a-1".parse().unwrap();
        let confirmed = |mut typed: &[u8], there| {
            ask_whether((&actor, "really?"), &mut typed, there).map_err(|report| report.code)
        };
        assert_eq!(confirmed(b"a-1\n", true), Ok(()));
        for no in [&b"a-1\n"[..], b""] {
            assert_eq!(confirmed(no, false), Err(ErrorCode::Usage), "nobody is asked");
        }
        for no in [&b"yes\n"[..], b"y\n", b"account/a-1\n", b"\n", b"", b"a-10\n"] {
            assert_eq!(confirmed(no, true), Err(ErrorCode::Usage));
        }
    }
}
