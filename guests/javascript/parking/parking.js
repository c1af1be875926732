// A car park as a persistent actor in JavaScript, on the bare world `trellis:actor/persistent-actor`: no library.
// Commands: `enter {"plate": "…"}`, `leave {"plate": "…"}`, `set-places {"places": 40}`. Queries: `free`, `state`.
// Events are kept for ever: `entered`, `left`, `places-set`, each of version 1.

const PLACES = 100;

// JSON as UTF-8, and back. The engine has no TextEncoder.
const encode = (value) => {
  const escaped = unescape(encodeURIComponent(JSON.stringify(value)));
  return Uint8Array.from(escaped, (character) => character.charCodeAt(0));
};
const decode = (bytes) => {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return JSON.parse(decodeURIComponent(escape(text)));
};

// The pure half. A component holds many states at once: nothing of one is kept outside of it.
class State {
  constructor(id) {
    this.id = id;
    this.places = PLACES;
    this.inside = new Set();
  }

  // Total for every event that was ever written. What is thrown here would end the turn.
  apply(events) {
    for (const { name, version, payload } of events) {
      if (version !== 1) throw `event ${name} version ${version}: newer than this component`;
      const event = decode(payload);
      if (name === "entered") this.inside.add(event.plate);
      else if (name === "left") this.inside.delete(event.plate);
      else if (name === "places-set") this.places = event.places;
      else throw `event ${name}: unknown`;
    }
  }

  // Canonical: whatever the order of arrival, the same cars give the same bytes.
  save() {
    return [1, encode({ inside: [...this.inside].sort(), places: this.places })];
  }

  static load(id, version, snapshot) {
    if (version !== 1) throw `snapshot version ${version}: not read by this component`;
    const state = new State(id);
    const saved = decode(snapshot);
    state.inside = new Set(saved.inside);
    state.places = saved.places;
    return state;
  }
}

const refuse = (code, message) => {
  throw { code, message };
};

const event = (name, payload) => ({ name, version: 1, payload: encode(payload) });

// A field of a command, of the type wanted, or a refusal that names it.
const field = (command, body, name, wanted) => {
  const found = body?.[name];
  if (wanted(found)) return found;
  return refuse("bad-body", `command ${command}: ${name}: ${found === undefined ? "missing" : "not what it must be"}`);
};
const isPlate = (value) => typeof value === "string" && value.length > 0 && value.length <= 20;
const isCount = (value) => Number.isInteger(value) && value >= 0 && value <= 1000000;

const read = (name, bytes) => {
  if (bytes.length === 0) return {};
  try {
    return decode(bytes);
  } catch {
    return refuse("bad-body", `command ${name}: not JSON`);
  }
};

// What each command becomes: its events. It reads the state and changes nothing.
const commands = {
  enter(state, body) {
    const plate = field("enter", body, "plate", isPlate);
    if (state.inside.has(plate)) return refuse("already-inside", `${plate} is inside`);
    if (state.inside.size >= state.places) return refuse("full", `${state.places} places, all taken; try another car park`);
    return [event("entered", { plate })];
  },
  leave(state, body) {
    const plate = field("leave", body, "plate", isPlate);
    if (!state.inside.has(plate)) return refuse("not-inside", `${plate} is not inside`);
    return [event("left", { plate })];
  },
  "set-places"(state, body) {
    return [event("places-set", { places: field("set-places", body, "places", isCount) })];
  },
};

const free = (state) => Math.max(0, state.places - state.inside.size);

const behaviour = {
  decide(state, turn, command) {
    const decide = Object.hasOwn(commands, command.name) ? commands[command.name] : undefined;
    if (!decide) {
      return refuse("unknown-command", `command ${command.name}: unknown; known are ${Object.keys(commands).join(", ")}`);
    }
    const events = decide(state, read(command.name, command.body));
    const after = events[0].name === "entered" ? free(state) - 1 : free(state);
    // The board at the gate is told when there is no place left: after the commit is stored.
    const full = events[0].name === "entered" && after === 0;
    const board = { link: "default", subject: `parking.${state.id}.board`, body: encode({ full: true }) };
    return {
      events,
      effects: full ? [{ tag: "publish", val: board }] : [],
      reply: encode({ seq: Number(turn.seq) }),
    };
  },

  query(state, name) {
    if (name === "free") return encode(free(state));
    if (name === "state") return state.save()[1];
    return refuse("unknown-query", `query ${name}: unknown; known are free, state`);
  },
};

const entity = { State };

export { behaviour, entity };
