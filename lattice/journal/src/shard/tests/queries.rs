//! Questions that change nothing.

use super::*;

#[test]
fn a_query_sees_only_what_is_durable_and_stores_nothing() {
    let mut bench = bench();
    bench.submit(1, "meter/m-1", add(1, 5));
    bench.step(ask(2, "total"));
    bench.submit(3, "meter/m-1", add(2, 5));
    assert_eq!(bench.lines(), ["decide 1", "append 1"], "it waits for the turn before it");
    bench.answer();
    assert_eq!(bench.lines(), ["reply 1: 5", "durable", "reply 2: 5", "decide 3", "append 1"]);
    bench.answer();
    bench.lines();
    bench.step(ask(4, "never"));
    bench.step(ask(5, "trap"));
    assert_eq!(bench.lines(), ["refuse 4: E_GUEST", "refuse 5: E_TRAP", "drop meter/m-1"]);
    bench.step(Input::Ask { token: Token(6), key: key("meter/m-1"), question: Question::Save });
    bench.step(ask(7, "total"));
    assert_eq!(bench.lines(), ["reply 6: 0", "reply 7: 10"]);
    assert_eq!(bench.log.valid().len(), 3, "the opening and two commits");
}
