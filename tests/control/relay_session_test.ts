import assert from "node:assert/strict";
import type { ClientKind } from "../../src/control/messages.ts";
import {
  HELLO_TIMEOUT_MS,
  MAX_WAITING,
  MESSAGE_BUDGET,
  RelaySession,
  type RelaySessionInput,
  type RelaySessionStateName,
  SILENCE_MS,
} from "../../src/control/relay_session.ts";
import { parseRelayMessage } from "../../src/control/parse.ts";
import { CLIENT_SAMPLES, CLIENT_TYPES, drain, RELAY_SAMPLES } from "./samples.ts";

const { type: _, ...WELCOME } = RELAY_SAMPLES.welcome;
const STATES: RelaySessionStateName[] = ["awaiting-hello", "greeting", "ready", "closed"];

function inState(kind: ClientKind, state: RelaySessionStateName): RelaySession {
  const session = new RelaySession(kind, 0);
  if (state === "closed") session.handle({ type: "lost" }, 0);
  else if (state !== "awaiting-hello") {
    session.handle({ type: "message", message: CLIENT_SAMPLES.hello }, 0);
  }
  if (state === "ready") session.handle({ type: "welcome", welcome: WELCOME }, 0);
  drain(session);
  assert.equal(session.state, state);
  return session;
}

function summary(session: RelaySession): string {
  return drain(session).map((output) => {
    switch (output.type) {
      case "send":
        assert.deepEqual(parseRelayMessage(output.message), { ok: output.message });
        return output.message.type === "error"
          ? `error ${output.message.code}`
          : `send ${output.message.type}`;
      case "request":
        return `request ${output.request.type}`;
      case "close":
        return "close";
      default:
        return output.type;
    }
  }).join(", ");
}

const EVENTS: Record<string, { input: RelaySessionInput; at?: number }> = {
  refusal: { input: { type: "refusal", refusal: { code: "version", message: "no" } } },
  welcome: { input: { type: "welcome", welcome: WELCOME } },
  send: { input: { type: "send", message: RELAY_SAMPLES.policy } },
  close: { input: { type: "close", code: "revoked", message: "no" } },
  lost: { input: { type: "lost" } },
  "tick, early": { input: { type: "tick" }, at: 1 },
  "tick, hello late": { input: { type: "tick" }, at: HELLO_TIMEOUT_MS },
  "tick, silent": { input: { type: "tick" }, at: SILENCE_MS },
};
for (const type of CLIENT_TYPES) {
  EVENTS[`< ${type}`] = { input: { type: "message", message: CLIENT_SAMPLES[type] } };
}

/** event: [awaiting-hello, greeting, ready, closed]; = is the same state, nothing said. */
type Row = [string, string, string, string];
const OUT_OF_ORDER = "closed: error protocol, close";
const TOO_SILENT = "closed: error silent, close";
const BOTH: Record<string, Row> = {
  refusal: [
    "closed: error version, close",
    "closed: error version, close",
    "closed: error version, close",
    "=",
  ],
  welcome: ["=", "ready: send welcome", "=", "="],
  send: ["=", "=", "ready: send policy", "="],
  close: [
    "closed: error revoked, close",
    "closed: error revoked, close",
    "closed: error revoked, close",
    "=",
  ],
  lost: ["closed:", "closed:", "closed:", "="],
  "tick, early": ["=", "=", "=", "="],
  "tick, hello late": [TOO_SILENT, "=", "=", "="],
  "tick, silent": [TOO_SILENT, TOO_SILENT, TOO_SILENT, "="],
  "< hello": ["greeting: hello", OUT_OF_ORDER, OUT_OF_ORDER, "="],
  "< observed": [OUT_OF_ORDER, "=", "ready: request observed", "="],
  "< disconnect": [OUT_OF_ORDER, "=", "ready: request disconnect", "="],
  "< renew": [OUT_OF_ORDER, "=", "ready: request renew", "="],
  "< ping": [OUT_OF_ORDER, "=", "ready: send pong", "="],
  "< pong": [OUT_OF_ORDER, "=", "=", "="],
};
const NEVER: Row = [OUT_OF_ORDER, OUT_OF_ORDER, OUT_OF_ORDER, "="];
const TABLES: Record<ClientKind, Record<string, Row>> = {
  agent: {
    ...BOTH,
    "< register": NEVER,
    "< review": NEVER,
    "< connect": [OUT_OF_ORDER, "=", "ready: request connect", "="],
  },
  connector: {
    ...BOTH,
    "< register": [OUT_OF_ORDER, "=", "ready: request register", "="],
    "< review": [OUT_OF_ORDER, "=", "ready: request review", "="],
    "< connect": NEVER,
  },
};

for (const kind of ["agent", "connector"] as const) {
  Deno.test(`RelaySession.handle() answers every event in every state, the client being ${kind}`, () => {
    const table = TABLES[kind];
    assert.deepEqual(Object.keys(table).sort(), Object.keys(EVENTS).sort());
    for (const [event, row] of Object.entries(table)) {
      for (const [i, state] of STATES.entries()) {
        const session = inState(kind, state);
        const { input, at = 0 } = EVENTS[event]!;
        session.handle(input, at);
        const got = `${session.state}: ${summary(session)}`.trimEnd();
        assert.equal(got, row[i] === "=" ? `${state}:` : row[i], `${kind}, ${state}, ${event}`);
      }
    }
  });
}

Deno.test("RelaySession.handle() keeps what comes before welcome, in order", () => {
  const session = inState("agent", "greeting");
  const { connect, ping } = CLIENT_SAMPLES;
  for (const request of [1, 2]) {
    session.handle({ type: "message", message: { ...connect, request } }, 0);
  }
  session.handle({ type: "message", message: ping }, 0);
  session.handle({ type: "send", message: RELAY_SAMPLES.policy }, 0);
  assert.deepEqual(drain(session), []);
  session.handle({ type: "welcome", welcome: WELCOME }, 0);
  assert.deepEqual(drain(session), [
    { type: "send", message: RELAY_SAMPLES.welcome },
    { type: "send", message: { type: "pong", id: 1 } },
    { type: "send", message: RELAY_SAMPLES.policy },
    { type: "request", request: { ...connect, request: 1 } },
    { type: "request", request: { ...connect, request: 2 } },
  ]);
});

Deno.test("RelaySession.handle() keeps so much before welcome and no more", () => {
  for (const type of ["connect", "ping"] as const) {
    const session = inState("agent", "greeting");
    for (let i = 0; i <= MAX_WAITING; i++) {
      assert.equal(session.state, "greeting");
      session.handle({ type: "message", message: CLIENT_SAMPLES[type] }, 0);
    }
    assert.equal(summary(session), "error too-many, close");
  }
});

Deno.test("RelaySession.handle() closes a client that talks too fast, not one that talks long", () => {
  const message = CLIENT_SAMPLES.pong;
  const fast = inState("agent", "ready");
  let taken = 0;
  while (fast.state === "ready") {
    fast.handle({ type: "message", message }, 0);
    taken++;
  }
  // The hello was one of them.
  assert.equal(taken, MESSAGE_BUDGET.burst);
  assert.equal(summary(fast), "error too-many, close");
  const steady = inState("agent", "ready");
  for (let i = 0; i < 10_000; i++) {
    steady.handle({ type: "message", message }, i * 1000 / MESSAGE_BUDGET.perSecond);
  }
  assert.equal(steady.state, "ready");
});

Deno.test("RelaySession.deadline() moves with every word of the client", () => {
  const session = new RelaySession("agent", 100);
  assert.equal(session.deadline(), 100 + HELLO_TIMEOUT_MS);
  session.handle({ type: "message", message: CLIENT_SAMPLES.hello }, 200);
  assert.equal(session.deadline(), 200 + SILENCE_MS);
  session.handle({ type: "welcome", welcome: WELCOME }, 300);
  session.handle({ type: "message", message: CLIENT_SAMPLES.ping }, 400);
  assert.equal(session.deadline(), 400 + SILENCE_MS);
  session.handle({ type: "lost" }, 500);
  assert.equal(session.deadline(), undefined);
});

Deno.test("RelaySession.handle() cuts and cleans a reason so that it fits a message", () => {
  const session = inState("agent", "ready");
  session.handle({ type: "close", code: "internal", message: "\x1b[2J" + "x".repeat(1_000) }, 0);
  assert.equal(summary(session), "error internal, close");
});
