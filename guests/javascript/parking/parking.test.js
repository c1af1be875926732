// The actor's source under Node: given a history, when a command comes, then this. The same code runs in the component.

import assert from "node:assert/strict";
import { test } from "node:test";
import { behaviour, entity } from "./parking.js";

const bytes = (text) => new TextEncoder().encode(text);
const text = (bytes) => new TextDecoder().decode(bytes);
const event = (name, payload) => ({ name, version: 1, payload: bytes(JSON.stringify(payload)) });
const turn = { nowMs: 0n, seq: 9n, seed: 0n, commandId: "", sender: undefined };

const given = (...events) => {
  const state = new entity.State("p-1");
  state.apply(events);
  return state;
};

// The decision, with texts for bytes; every law that the host would hold it to.
const when = (state, name, body) => {
  const before = text(state.save()[1]);
  const decide = () => behaviour.decide(state, turn, { name, body: bytes(body) });
  const decision = decide();
  assert.deepEqual(decide(), decision, "decided twice, the same");
  assert.equal(text(state.save()[1]), before, "a decision changes nothing by itself");
  const events = decision.events.map(({ name, version, payload }) => [name, version, JSON.parse(text(payload))]);
  const effects = decision.effects.map(({ tag, val }) => [tag, val.subject, text(val.body)]);
  return { events, effects, reply: text(decision.reply) };
};

const refused = (state, name, body, code, message) =>
  assert.throws(() => behaviour.decide(state, turn, { name, body: bytes(body) }), { code, message });

test("cars enter and leave", () => {
  const state = given(event("entered", { plate: "A" }));
  assert.deepEqual(when(state, "enter", '{"plate":"ZÜ 1"}'), {
    events: [["entered", 1, { plate: "ZÜ 1" }]],
    effects: [],
    reply: '{"seq":9}',
  });
  assert.deepEqual(when(state, "leave", '{"plate":"A"}').events, [["left", 1, { plate: "A" }]]);
  refused(state, "enter", '{"plate":"A"}', "already-inside", "A is inside");
  refused(state, "leave", '{"plate":"B"}', "not-inside", "B is not inside");
});

test("the last place is told to the board, and there is no place behind it", () => {
  const state = given(event("places-set", { places: 2 }), event("entered", { plate: "A" }));
  assert.deepEqual(when(state, "enter", '{"plate":"B"}').effects, [["publish", "parking.p-1.board", '{"full":true}']]);
  state.apply([event("entered", { plate: "B" })]);
  refused(state, "enter", '{"plate":"C"}', "full", "2 places, all taken; try another car park");
  assert.equal(text(behaviour.query(state, "free", bytes(""))), "0");
});

test("what cannot be read is a refusal that names the field", () => {
  const state = given();
  refused(state, "enter", "", "bad-body", "command enter: plate: missing");
  refused(state, "enter", '{"plate":5}', "bad-body", "command enter: plate: not what it must be");
  refused(state, "enter", "{", "bad-body", "command enter: not JSON");
  refused(state, "set-places", '{"places":-1}', "bad-body", "command set-places: places: not what it must be");
  refused(state, "fly", "", "unknown-command", "command fly: unknown; known are enter, leave, set-places");
  refused(state, "toString", "", "unknown-command", "command toString: unknown; known are enter, leave, set-places");
  assert.throws(() => behaviour.query(state, "x", bytes("")), { code: "unknown-query" });
});

test("the state is the same folded twice, in any order of arrival, and from a snapshot", () => {
  const a = event("entered", { plate: "A" });
  const b = event("entered", { plate: "B" });
  const places = event("places-set", { places: 7 });
  const saved = text(given(a, b, places).save()[1]);
  assert.equal(text(given(places, b, a).save()[1]), saved);
  const [version, snapshot] = given(a).save();
  const loaded = entity.State.load("p-1", version, snapshot);
  loaded.apply([b, places]);
  assert.equal(text(loaded.save()[1]), saved);
  assert.throws(() => entity.State.load("p-1", 2, snapshot), /snapshot version 2: not read by this component/);
});

test("what is newer or unknown stops with its name", () => {
  assert.throws(() => given({ ...event("entered", {}), version: 2 }), /event entered version 2: newer/);
  assert.throws(() => given(event("flown", {})), /event flown: unknown/);
});
