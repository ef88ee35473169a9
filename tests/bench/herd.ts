/**
 * 500 agents lose one relay at once: how soon are all of them back, and what does it cost the relay?
 * @module
 */
import { decodeStranger } from "../../src/control/mod.ts";
import { addressOf, createLogger } from "../../src/core/mod.ts";
import {
  createKeyPair,
  decodePem,
  issueCertificate,
  parseName,
  parsePeerCertificate,
  RELAY_NAME,
  serverNameOf,
} from "../../src/identity/mod.ts";
import { QuicEndpoint } from "../../src/quic/mod.ts";
import { openRelayState } from "../../src/relay/state.ts";
import { controlConfig } from "../../src/roles/control_profile.ts";
import { RelayLink } from "../../src/roles/relay_link.ts";
import type { RelayStatus } from "../../src/roles/status.ts";
import { askStatus } from "../../src/roles/status_client.ts";
import { Demultiplexer, openUdpSocket } from "../../src/sockets/mod.ts";
import { type Relay, Scene } from "../e2e/scene.ts";
import type { Benchmark, BenchOptions, Table } from "./benchmark.ts";
import { round } from "./benchmark.ts";
import { usageOf } from "./proc.ts";

const AGENTS = { full: 500, quick: 50 } as const;
/** The relay is away for that long, in milliseconds. */
const AWAY_MS = 1_000;
const GIVE_UP_MS = 15_000;

const clock = { now: () => performance.now(), unix: () => Date.now() };
const silent = createLogger(() => {}, { level: "error" });

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Agents that have joined, as the relay's own state says; none is connected yet. */
async function enrol(
  relay: Relay,
  { count, endpoint, shared }: { count: number; endpoint: QuicEndpoint; shared: boolean },
): Promise<RelayLink[]> {
  using state = await openRelayState(relay.state, { now: Date.now() });
  const { caPem, networkId } = state.authority;
  const privateKeyPem = await Deno.readTextFile(state.folder.file("ca.key"));
  const links: RelayLink[] = [];
  for (let i = 0; i < count; i++) {
    const now = Date.now();
    const name = parseName(`agent-${i}`);
    const { publicKey, privateKeyPem: keyPem } = await createKeyPair();
    const certPem = await issueCertificate(
      { networkId, certificatePem: caPem, privateKeyPem },
      { kind: "agent", name, publicKey, now },
    );
    const { pin } = parsePeerCertificate(decodePem("CERTIFICATE", certPem)!)!;
    const { secret } = state.store.createInvite({
      kind: "agent",
      name,
      services: [parseName("web")],
      ttl: 3_600_000,
      now,
    });
    state.store.redeemInvite({ name, secret, pin, now });
    // A host of its own for each, as in life; or all behind one NAT, as in a company.
    const host = shared ? "127.1.0.1" : `127.1.${i >> 8}.${(i & 255) || 255}`;
    const socket = openUdpSocket({ host });
    const cell: { link?: RelayLink } = {};
    socket.receive(
      new Demultiplexer({
        quic: (data, size, from) => endpoint.ingest(data, size, from, socket.local),
        stranger: (data, size, from) => {
          const echo = decodeStranger(data.subarray(0, size));
          if (echo !== undefined) cell.link?.unknownThere(echo, from);
        },
        batchEnd: () => endpoint.batchEnd(),
      }),
    );
    const config = controlConfig({ caPem, certPem, keyPem });
    links.push(
      cell.link = new RelayLink({
        kind: "agent",
        relays: () => [addressOf("127.0.0.1", relay.port)],
        serverName: serverNameOf({ kind: "relay", name: RELAY_NAME, networkId }),
        config: () => config,
        endpoint,
        socket,
        clock,
        log: silent,
        observe: () => {},
        followed: () => {},
        usable: () => {},
        output: () => {},
      }),
    );
  }
  return links;
}

/** Milliseconds until the relay had the first, second, … of them; fewer than `count` where time was up. */
async function untilBack(relay: Relay, count: number): Promise<number[]> {
  const begun = performance.now();
  const times: number[] = [];
  while (times.length < count && performance.now() - begun < GIVE_UP_MS) {
    for await (const answer of askStatus(relay.state, { ask: "status" })) {
      const now = performance.now() - begun;
      while (times.length < (answer as RelayStatus).clients.length) times.push(now);
    }
    await sleep(50);
  }
  return times;
}

/** One herd: where it comes from, how soon it is there at first, and after each end of the relay. */
async function measure(shared: boolean, { quick, say }: BenchOptions): Promise<Table> {
  const count = quick ? AGENTS.quick : AGENTS.full;
  await using scene = new Scene();
  let relay = await scene.startRelay();
  const endpoint = new QuicEndpoint();
  say(`enrols ${count} agents`);
  const links = await enrol(relay, { count, endpoint, shared });
  // The relay hears of them within a second.
  await sleep(1_500);
  const rows: Table["rows"][number][] = [];
  const note = async (what: string) => {
    const { pid } = relay.process;
    const before = usageOf(pid);
    const times = await untilBack(relay, count);
    const after = usageOf(pid);
    const at = (share: number) => round((times[Math.ceil(count * share) - 1] ?? Infinity) / 1000);
    rows.push([
      what,
      times.length,
      at(0.5),
      at(0.95),
      at(1),
      round(after.cpuSeconds - before.cpuSeconds),
      round(after.residentBytes / 2 ** 20),
    ]);
  };
  say("all connect at once");
  for (const link of links) link.start();
  await note("first connection, all at once");
  // Long enough that the connections count as good.
  await sleep(quick ? 1_000 : 10_500);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    say(`the relay gets ${signal}`);
    await relay.process.stop(signal);
    await sleep(AWAY_MS);
    relay = await scene.startRelay({ state: relay.state, port: relay.port });
    // Of a killed relay idle agents know only when pings have no answer; what follows is measured here.
    for (const link of links) link.networkChanged();
    await note(`relay back after ${signal}`);
    await sleep(quick ? 1_000 : 10_500);
  }
  for (const link of links) link.stop();
  endpoint.close("done");
  const columns = [
    "what",
    "agents back",
    "half s",
    "95 % s",
    "all s",
    "relay CPU s",
    "relay MiB",
  ];
  return {
    title: `${count} agents, ${
      shared ? "all from one address" : "each from an address of its own"
    }, and one relay`,
    columns,
    rows,
    notes: [
      "Times from when the relay says that it is ready. Goal: all within 10 s.",
      "All agents are one process, whose own handshakes take as long as the relay's.",
    ],
  };
}

/** See the module's head. */
export const herdBenchmark: Benchmark = {
  name: "herd",
  about: "500 agents and one relay that restarts",
  async run(options) {
    return [await measure(false, options), await measure(true, options)];
  },
};
