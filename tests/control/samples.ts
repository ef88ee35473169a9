/**
 * One good message of every type, for tests.
 * @module
 */
import type {
  ClientMessage,
  ClientMessageOf,
  RelayMessage,
  RelayMessageOf,
} from "../../src/control/messages.ts";

const PIN = "A".repeat(43);
/** A tunnel id. */
export const TUNNEL = "0123456789abcdef";
const PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/** What clients send, by type. */
export const CLIENT_SAMPLES: { [Type in ClientMessage["type"]]: ClientMessageOf<Type> } = {
  hello: {
    type: "hello",
    version: 1,
    software: "postern 0.1.0",
    nonce: "A".repeat(22),
    issuedAt: 1_700_000_000_000,
    instance: "00000000000000aa",
    attempt: 1,
  },
  register: {
    type: "register",
    services: ["web", "ssh"],
    observed: ["198.51.100.7:51001", "[2001:db8::7]:51001"],
  },
  review: { type: "review", agents: ["alice"] },
  connect: {
    type: "connect",
    request: 1,
    service: "web",
    tunnelId: TUNNEL,
    connector: null,
    resume: false,
    observed: ["198.51.100.7:51001"],
  },
  observed: { type: "observed", addresses: ["198.51.100.7:51001"] },
  disconnect: { type: "disconnect", tunnelId: TUNNEL },
  renew: { type: "renew", csr: PEM },
  ping: { type: "ping", id: 1 },
  pong: { type: "pong", id: 1 },
};

/** What relays send, by type. */
export const RELAY_SAMPLES: { [Type in RelayMessage["type"]]: RelayMessageOf<Type> } = {
  welcome: {
    type: "welcome",
    version: 1,
    relay: "relay",
    networkId: "00112233445566ff",
    now: 1_700_000_000_000,
    observeKey: { id: "0000000000000001", key: "AAAAAAAAAAAAAAAAAAAAAA" },
    observePorts: [4433, 4434],
    services: ["web"],
    maxEarlyAgeMs: 10_000,
    early: "none",
  },
  registered: { type: "registered", services: ["web"], refused: ["ssh"] },
  incoming: {
    type: "incoming",
    tunnelId: TUNNEL,
    agent: "alice",
    pin: PIN,
    services: ["web"],
    resume: false,
    observed: ["198.51.100.7:51001"],
  },
  granted: {
    type: "granted",
    request: 1,
    tunnelId: TUNNEL,
    connector: "home",
    serverName: "home.connector.00112233445566ff.postern.invalid",
    pin: PIN,
    services: ["web"],
    alternatives: [],
    observed: ["198.51.100.7:51001"],
  },
  seen: { type: "seen", tunnelId: TUNNEL, observed: ["198.51.100.7:51001"] },
  refused: {
    type: "refused",
    request: 1,
    reason: "offline",
    message: `Cannot open flow to "web" as connector "home" is offline`,
  },
  policy: {
    type: "policy",
    services: ["web"],
    agents: [{ agent: "alice", services: ["web"] }],
  },
  revoked: { type: "revoked", kind: "agent", name: "alice" },
  certificate: { type: "certificate", certificate: PEM, message: null },
  disconnected: { type: "disconnected", tunnelId: TUNNEL, reason: "closed" },
  draining: { type: "draining", graceMs: 5_000 },
  ping: { type: "ping", id: 1 },
  pong: { type: "pong", id: 1 },
  error: { type: "error", code: "replaced", message: "Cannot serve it here" },
};

/** Types in the order of the samples. */
export const CLIENT_TYPES = Object.keys(CLIENT_SAMPLES) as ClientMessage["type"][];
/** Types in the order of the samples. */
export const RELAY_TYPES = Object.keys(RELAY_SAMPLES) as RelayMessage["type"][];

/** Everything that a machine has to say now. */
export function drain<Out>(machine: { poll(): Out | undefined }): Out[] {
  const outputs: Out[] = [];
  for (let output = machine.poll(); output !== undefined; output = machine.poll()) {
    outputs.push(output);
  }
  return outputs;
}
