/**
 * The relay: the only part with a public address. Introduces agents to connectors, and forwards what it cannot read.
 * @module
 */
import { formatHostPort, messageOf, UserError } from "../core/mod.ts";
import { VERSION } from "../core/version.ts";
import { openStateFolder } from "../identity/mod.ts";
import { type NativeConfig, QuicEndpoint } from "../quic/mod.ts";
import { Enrolment } from "../relay/enrolment.ts";
import { EnrolmentServer } from "../relay/enrolment_server.ts";
import { Forwarder } from "../relay/forwarder.ts";
import { openRelayState } from "../relay/state.ts";
import { loadTicketKey } from "../relay/ticket_key_file.ts";
import { Demultiplexer, openUdpSocket } from "../sockets/mod.ts";
import { EarlyGate } from "./early_gate.ts";
import type { RelayOptions } from "./options.ts";
import { type AdminServer, openAdmin } from "./admin.ts";
import { controlConfig } from "./control_profile.ts";
import { choosePublic } from "./public_addresses.ts";
import { RelayClients } from "./relay_clients.ts";
import { relayMetrics } from "./relay_metrics.ts";
import { openObservers } from "./relay_observers.ts";
import { readPolicy, watchPolicy } from "./relay_policy.ts";
import { socketEgress } from "./socket_egress.ts";
import type { RelayStatus } from "./status.ts";
import { strangerAnswers } from "./relay_strangers.ts";
import { serveStatus } from "./status_socket.ts";
import { sleep, untilAborted } from "./waiting.ts";

/** How long clients get to hear that the relay stops, in milliseconds. Their tunnels live on without it. */
const DRAIN_MS = 200;

/** Between looks at the relay's own certificate, in milliseconds. */
const CERTIFICATE_INTERVAL = 3_600_000;

/**
 * Runs a relay until its signal is aborted.
 *
 * @throws {UserError} where it cannot start
 */
export async function runRelay(options: RelayOptions): Promise<void> {
  const admin = openAdmin(options);
  try {
    await run(options, admin);
  } finally {
    await admin?.close();
  }
}

async function run(options: RelayOptions, admin: AdminServer | undefined): Promise<void> {
  const { log, clock, signal, say } = options;
  const folder = await openStateFolder(options.state, { role: "relay", create: true });
  const lock = await folder.lock();
  const cleanUps: (() => unknown)[] = [() => lock.release()];
  try {
    // Opened behind the lock: two first starts at once would make two networks.
    const state = await openRelayState(options.state, {
      create: true,
      now: clock.unix(),
      caKey: options.caKey,
      log,
    });
    const { authority, store } = state;
    cleanUps.push(() => state[Symbol.dispose]());
    const socket = openUdpSocket({ host: options.listen.host, port: options.listen.port });
    cleanUps.push(() => socket.close());
    const listen = { host: options.listen.host, port: socket.local.port };
    const publicAddresses = choosePublic(options.public, listen);
    store.setPublicAddresses(publicAddresses);
    let certificate = await authority.relayCertificate(clock.unix());
    const { caPem } = authority;
    const earlyData = options.noEarlyData !== true;
    let ticketKey = await loadTicketKey(folder, { now: clock.unix(), log });
    const makeConfig = () =>
      controlConfig({ caPem, ...certificate }, { earlyData, ticketKey: ticketKey.key });
    let config: NativeConfig = makeConfig();
    const gate = await EarlyGate.open({ enabled: earlyData, clock, log, folder });
    cleanUps.push(() => gate.close());
    const enrolment = new Enrolment({
      store,
      authority,
      clock,
      log,
      relays: () => publicAddresses,
    });
    const enrolmentServer = startEnrolment({ enrolment, certificate, listen, clock, log });
    cleanUps.push(() => enrolmentServer.close());
    const endpoint = new QuicEndpoint();
    const forwarder = new Forwarder(socket);
    const observers = openObservers({
      socket,
      host: options.listen.host,
      log,
      direct: (keyId, from) => clients.asked(keyId, from),
    });
    cleanUps.push(() => observers.close());
    const watch = watchPolicy(store, {
      changed: (policy) => {
        log.info("policy changed");
        clients.setPolicy(policy);
      },
      failed: (error) => log.error("cannot read the policy", { reason: messageOf(error) }),
    });
    cleanUps.push(() => watch.stop());
    const clients: RelayClients = new RelayClients({
      store,
      gate,
      refreshPolicy: () => watch.look(),
      enrolment,
      forwarder,
      policy: readPolicy(store),
      clock,
      log,
      networkId: authority.networkId,
      observePorts: observers.otherPorts,
      observeKey: observers.issueKey,
    });
    cleanUps.push(() => clients.stop());
    const egress = socketEgress(socket);
    /** Whoever comes then would be forgotten at once, and not know it: silence makes it ask again. */
    let closing = false;
    endpoint.listen(() =>
      closing ? undefined : ({
        config,
        egress,
        handler: (connection) => clients.handlerOf(connection),
      }), { unknown: strangerAnswers(socket, clock) });
    const demultiplexer = new Demultiplexer({
      quic: (data, segmentSize, from) => endpoint.ingest(data, segmentSize, from, socket.local),
      sealed: (data, segmentSize, from) => forwarder.sealed(data, segmentSize, from),
      observe: observers.onMain,
      batchEnd: () => {
        forwarder.flush();
        endpoint.batchEnd();
      },
    });
    socket.receive(demultiplexer);
    const renewal = setInterval(async () => {
      try {
        const current = await authority.relayCertificate(clock.unix());
        const key = await loadTicketKey(folder, { now: clock.unix(), log });
        if (current.notBefore === certificate.notBefore && key.madeAt === ticketKey.madeAt) return;
        certificate = current;
        ticketKey = key;
        config = makeConfig();
        await enrolmentServer.setCertificate(current);
      } catch (error) {
        log.error("cannot renew the relay's certificate", { reason: messageOf(error) });
      }
    }, CERTIFICATE_INTERVAL);
    cleanUps.push(() => clearInterval(renewal));
    const startedAt = performance.now();
    const status = (): RelayStatus => {
      const { datagrams, bytes, ...dropped } = forwarder.counters;
      return {
        role: "relay",
        name: "relay",
        version: VERSION,
        uptimeSeconds: Math.floor((performance.now() - startedAt) / 1000),
        pid: Deno.pid,
        public: publicAddresses.map(formatHostPort),
        listen: formatHostPort(listen),
        clients: clients.status(),
        tunnels: [...clients.tunnels].map(({ id, agent, connector }) => ({
          id,
          agent,
          connector,
          bytesForwarded: forwarder.bytesOf(id),
        })),
        forwarded: { datagrams, bytes },
        early: gate.counts,
        dropped: {
          ...dropped,
          unknownKind: demultiplexer.dropped.unknown,
          unknownConnection: endpoint.counters.unknownConnection,
          malformedQuic: endpoint.counters.malformed,
          tooManyHandshakes: endpoint.counters.full,
          observe: observers.dropped,
        },
      };
    };
    const server = await serveStatus({
      state: options.state,
      signal,
      answer: (ask) => {
        if (ask.ask === "status") return status();
        throw new UserError(`Cannot answer "${ask.ask}" at a relay`, {
          next: "Ask a connector or an agent",
        });
      },
    });
    admin?.serve({
      whyNotReady: () => signal.aborted ? "draining" : undefined,
      metrics: () => relayMetrics(status(), { socket, notAfter: certificate.notAfter }),
    });
    const at = publicAddresses.map(formatHostPort).join(", ");
    say(`relay ready at ${at} (UDP and TCP ${listen.port})`);
    say(
      `next: ${
        options.self ?? "postern"
      } invite --state ${options.state} connector NAME --service SERVICE`,
    );
    await untilAborted(signal);
    log.info("draining", { clients: [...clients.sessions].length });
    clients.drain(DRAIN_MS);
    await sleep(DRAIN_MS, new AbortController().signal);
    closing = true;
    await endpoint.closeInOrder("the relay is stopping", { withinMs: DRAIN_MS });
    endpoint.close("the relay is stopping");
    await server.finished;
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

function startEnrolment(
  options: ConstructorParameters<typeof EnrolmentServer>[0],
): EnrolmentServer {
  try {
    return new EnrolmentServer(options);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AddrInUse)) throw cause;
    const at = formatHostPort(options.listen);
    throw new UserError(`Cannot listen on TCP ${at} as another program uses it`, {
      next: "Choose another port with --listen, or stop the other program",
      cause,
    });
  }
}
