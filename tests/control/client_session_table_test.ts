/** Every state of a client session × every event, for both kinds of client. */
import assert from "node:assert/strict";
import {
  type ClientInput,
  ClientSession,
  type ClientStateName,
  WELCOME_TIMEOUT_MS,
} from "../../src/control/client_session.ts";
import { PING_INTERVAL_MS } from "../../src/control/keepalive.ts";
import type { ClientKind } from "../../src/control/messages.ts";
import { drain, RELAY_SAMPLES, RELAY_TYPES, TUNNEL } from "./samples.ts";

const SEED = { nonce: "A".repeat(22), issuedAt: null };
const STATES: ClientStateName[] = ["idle", "greeting", "ready", "draining"];

/** A session in the given state since time 0. */
function inState(kind: ClientKind, state: ClientStateName): ClientSession {
  const session = new ClientSession({ kind, software: "test", instance: "0".repeat(16) });
  if (state !== "idle") session.handle({ type: "start", attempt: 1, ...SEED }, 0);
  if (state === "ready" || state === "draining") {
    session.handle({ type: "message", message: RELAY_SAMPLES.welcome }, 0);
  }
  if (state === "draining") session.handle({ type: "message", message: RELAY_SAMPLES.draining }, 0);
  drain(session);
  assert.equal(session.state, state);
  return session;
}

/** What came out, in short: `send hello`, `close client protocol`, `welcome`. */
function summary(session: ClientSession): string {
  return drain(session).map((output) => {
    if (output.type === "send") return `send ${output.message.type}`;
    if (output.type === "close") return `close ${output.by} ${output.code}`;
    return output.type;
  }).join(", ");
}

interface Event {
  readonly input: ClientInput;
  readonly at?: number;
}

const INPUTS: Record<string, Event> = {
  start: { input: { type: "start", attempt: 2, ...SEED } },
  restart: { input: { type: "restart", ...SEED } },
  lost: { input: { type: "lost" } },
  refusal: { input: { type: "refusal", refusal: { code: "protocol", message: "no" } } },
  connect: { input: { type: "connect", tunnelId: TUNNEL, service: "web" } },
  disconnect: { input: { type: "disconnect", tunnelId: TUNNEL } },
  register: { input: { type: "register", services: ["web"], agents: ["alice"] } },
  observed: { input: { type: "observed", addresses: ["198.51.100.7:51001"] } },
  renew: { input: { type: "renew", csr: "x" } },
  check: { input: { type: "check" } },
  "tick, early": { input: { type: "tick" }, at: 1 },
  "tick, welcome late": { input: { type: "tick" }, at: WELCOME_TIMEOUT_MS },
  "tick, ping due": { input: { type: "tick" }, at: PING_INTERVAL_MS },
};
for (const type of RELAY_TYPES) {
  INPUTS[`< ${type}`] = { input: { type: "message", message: RELAY_SAMPLES[type] } };
}

/** event: [idle, greeting, ready, draining], each `next state: outputs`; = is the same state, nothing said. */
type Row = [string, string, string, string];
const BOTH: Record<string, Row> = {
  start: [
    "greeting: send hello",
    "greeting: send hello",
    "greeting: send hello",
    "greeting: send hello",
  ],
  restart: ["=", "greeting: send hello", "=", "="],
  lost: ["=", "idle:", "idle:", "idle:"],
  refusal: [
    "=",
    "idle: close client protocol",
    "idle: close client protocol",
    "idle: close client protocol",
  ],
  observed: ["=", "greeting: send observed", "ready: send observed", "draining: send observed"],
  renew: ["=", "=", "ready: send renew", "draining: send renew"],
  check: ["=", "=", "ready: send ping", "draining: send ping"],
  "tick, early": ["=", "=", "=", "="],
  "tick, welcome late": ["=", "idle: close client silent", "=", "="],
  "tick, ping due": ["=", "idle: close client silent", "ready: send ping", "draining: send ping"],
  "< welcome": [
    "=",
    "ready: welcome",
    "idle: close client protocol",
    "idle: close client protocol",
  ],
  "< seen": ["=", "idle: close client protocol", "ready: seen", "draining: seen"],
  "< policy": ["=", "idle: close client protocol", "ready: policy", "draining: policy"],
  "< revoked": ["=", "idle: close client protocol", "ready: revoked", "draining: revoked"],
  "< certificate": [
    "=",
    "idle: close client protocol",
    "ready: certificate",
    "draining: certificate",
  ],
  "< draining": ["=", "idle: close client protocol", "draining: draining", "draining: draining"],
  "< ping": ["=", "greeting: send pong", "ready: send pong", "draining: send pong"],
  "< pong": ["=", "=", "=", "="],
  "< error": [
    "=",
    "idle: close relay replaced",
    "idle: close relay replaced",
    "idle: close relay replaced",
  ],
};
const WRONG: Row = [
  "=",
  "idle: close client protocol",
  "idle: close client protocol",
  "idle: close client protocol",
];
const TABLES: Record<ClientKind, Record<string, Row>> = {
  agent: {
    ...BOTH,
    connect: ["=", "greeting: send connect", "ready: send connect", "="],
    // A tunnel that the session does not know.
    disconnect: ["=", "=", "=", "="],
    register: ["=", "=", "=", "="],
    "< registered": WRONG,
    "< incoming": WRONG,
    // A tunnel that was never asked for, or not any more: the relay need not keep it.
    "< granted": [
      "=",
      "idle: close client protocol",
      "ready: send disconnect",
      "draining: send disconnect",
    ],
    "< refused": ["=", "idle: close client protocol", "=", "="],
    "< disconnected": ["=", "idle: close client protocol", "=", "="],
  },
  connector: {
    ...BOTH,
    connect: ["=", "=", "=", "="],
    disconnect: ["=", "=", "ready: send disconnect", "draining: send disconnect"],
    register: [
      "=",
      "greeting: send register, send review",
      "ready: send register, send review",
      "draining: send register, send review",
    ],
    "< registered": [
      "=",
      "idle: close client protocol",
      "ready: registered",
      "draining: registered",
    ],
    "< incoming": ["=", "idle: close client protocol", "ready: incoming", "draining: incoming"],
    "< granted": WRONG,
    "< refused": WRONG,
    "< disconnected": [
      "=",
      "idle: close client protocol",
      "ready: disconnected",
      "draining: disconnected",
    ],
  },
};

for (const kind of ["agent", "connector"] as const) {
  Deno.test(`ClientSession.handle() answers every event in every state as ${kind}`, () => {
    const table = TABLES[kind];
    assert.deepEqual(Object.keys(table).sort(), Object.keys(INPUTS).sort());
    for (const [event, row] of Object.entries(table)) {
      for (const [i, state] of STATES.entries()) {
        const session = inState(kind, state);
        const { input, at = 0 } = INPUTS[event]!;
        session.handle(input, at);
        const got = `${session.state}: ${summary(session)}`.trimEnd();
        const wanted = row[i] === "=" ? `${state}:` : row[i];
        assert.equal(got, wanted, `${kind}, ${state}, ${event}`);
      }
    }
  });
}

Deno.test("ClientSession.deadline() is never in the past once the tick was handled", () => {
  for (const kind of ["agent", "connector"] as const) {
    for (const state of STATES) {
      const session = inState(kind, state);
      if (kind === "agent") session.handle(INPUTS.connect!.input, 0);
      for (let steps = 0; steps < 20; steps++) {
        const due = session.deadline();
        if (due === undefined) break;
        session.handle({ type: "tick" }, due);
        const next = session.deadline();
        assert.ok(next === undefined || next > due, `${kind} ${state}: ${next} after ${due}`);
      }
    }
  }
});
