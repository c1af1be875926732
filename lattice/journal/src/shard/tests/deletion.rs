//! The last commit of an actor, and what comes for it afterwards.

use super::*;

impl Bench {
    fn delete(&mut self, token: u64, actor: &str, n: u64) {
        let command = Command { name: "delete".to_owned(), ..add(n, 0) };
        self.step(Input::Delete(Request { token: Token(token), key: key(actor), command: command.into() }));
    }
}

#[test]
fn a_deletion_is_a_commit_and_nothing_comes_behind_it() {
    let mut bench = bench();
    bench.delete(1, "meter/m-1", 90);
    assert_eq!(bench.lines(), ["refuse 1: E_ACTOR_NOT_FOUND"], "it has done nothing yet");
    bench.submit(2, "meter/m-1", add(1, 5));
    bench.delete(3, "meter/m-1", 91);
    // These wait behind the deletion.
    bench.submit(4, "meter/m-1", add(2, 5));
    bench.step(ask(5, "total"));
    assert_eq!(bench.lines(), ["decide 2", "append 1"]);
    bench.answer();
    assert_eq!(bench.lines(), ["reply 2: 5", "durable", "append 1"]);
    bench.answer();
    assert_eq!(
        bench.lines(),
        ["reply 3: 0", "durable", "refuse 4: E_ACTOR_NOT_FOUND", "refuse 5: E_ACTOR_NOT_FOUND"]
    );
    // What it did before is not answered again, whatever its id; nor is anything new.
    for (token, command) in [(6, add(1, 5)), (7, add(1, 6)), (8, add(50, 1))] {
        bench.submit(token, "meter/m-1", command);
        assert_eq!(bench.lines(), [format!("refuse {token}: E_ACTOR_NOT_FOUND")]);
    }
    for (token, n) in [(9, 91), (10, 99)] {
        bench.delete(token, "meter/m-1", n);
        assert_eq!(bench.lines(), [format!("reply {token}: 0, repeated")], "it is deleted");
    }
    assert_eq!(bench.log.entries.len(), 3);
    assert!(bench.log.valid().last().unwrap().record().commits()[0].is_tombstone());
    // Folded from the log it is the same.
    bench.step(Input::Passivate { key: key("meter/m-1") });
    bench.lines();
    bench.submit(11, "meter/m-1", add(60, 1));
    assert_eq!(bench.lines(), ["refuse 11: E_ACTOR_NOT_FOUND"]);
}

#[test]
fn messages_timers_and_answers_for_a_deleted_actor_are_settled_and_not_carried_out() {
    let mut bench = bench();
    let sent = |sequence| {
        let reference = crate::command::CommandRef::Sent { from: key("meter/m-9"), sequence };
        Command { reference, ..add(0, 1) }
    };
    bench.submit(1, "meter/m-1", sent(1));
    bench.answer();
    bench.delete(2, "meter/m-1", 90);
    bench.answer();
    bench.lines();
    // One that was carried out, the next one, and the ones after that: none blocks the next.
    for (token, sequence) in [(3, 1), (4, 2), (5, 3), (6, 9)] {
        bench.submit(token, "meter/m-1", sent(sequence));
        assert_eq!(bench.lines(), [format!("reply {token}: 0, repeated, refused E_ACTOR_NOT_FOUND")]);
    }
    let timer = crate::command::CommandRef::Timer { name: "t".into(), due_ms: 5 };
    bench.submit(7, "meter/m-1", Command { reference: timer, ..add(0, 1) });
    let answer = crate::command::CommandRef::Answer { seq: crate::ids::ActorSeq(1), index: 0 };
    bench.submit(8, "meter/m-1", Command { reference: answer, ..add(0, 1) });
    assert_eq!(bench.lines(), ["reply 7: 0, repeated", "reply 8: 0, repeated"]);
    assert_eq!(bench.log.entries.len(), 3);
}
