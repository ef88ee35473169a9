/**
 * `postern netcheck`: asks the relay's two ports from a socket that has never sent anything (see `path/netcheck.ts`), and puts
 * it together with what the role knows already.
 * @module
 */
import { type Address, type Clock, Driver } from "../core/mod.ts";
import {
  type Candidate,
  Netcheck,
  type NetcheckInput,
  type NetcheckOutput,
  type NetcheckReport as Finding,
} from "../path/mod.ts";
import type { ObserveKey } from "../qad/mod.ts";
import { Demultiplexer, openUdpSocket } from "../sockets/mod.ts";
import type { NetcheckFamily, NetcheckReport } from "./asks.ts";
import { netcheckAdvice } from "./netcheck_advice.ts";
import { hmac, randomBytes } from "./primitives.ts";
import type { FamilyView } from "./local_paths.ts";
import type { RelayLinkStatus } from "./status.ts";

/** Kernel buffers of the socket, in bytes: it gets a few dozen answers. */
const SOCKET_BUFFER = 256 * 1024;

/**
 * Link MTUs that are met, in bytes: 1280 is IPv6's least (RFC 8200 §5), 1420 WireGuard's, 1480 a tunnel's, 1492 PPPoE's (RFC 2516),
 * 1500 Ethernet's, 9000 a jumbo frame's.
 */
const LINK_MTUS = [1_280, 1_360, 1_400, 1_420, 1_440, 1_460, 1_480, 1_492, 1_500, 4_000, 9_000];
/** What every path of QUIC's must carry, in bytes of UDP payload (RFC 9000 §14). */
const LEAST_PAYLOAD = 1_200;
/** IP and UDP headers, in bytes. */
const HEADERS = { v4: 28, v6: 48 } as const;

/** What a check needs of the role. */
export interface NetcheckContext {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly link: RelayLinkStatus;
  /** Whom to ask, and with which key; `undefined` where no relay has welcomed us yet. */
  readonly observers:
    | { readonly targets: readonly Address[]; readonly key: ObserveKey }
    | undefined;
  /** Own addresses, and the P2P socket as it is seen. */
  readonly paths: {
    readonly v4: FamilyView;
    readonly v6: FamilyView;
    candidates(): readonly Candidate[];
  };
  /** Direct paths are switched off. */
  readonly noDirect: boolean;
  /** Local port of the P2P socket, for advice on firewalls. */
  readonly p2pPort: number;
}

/** Checks both families; takes a few seconds at most, where answers are missing. */
export async function netcheckAsk(context: NetcheckContext): Promise<NetcheckReport> {
  const { link, paths, noDirect, p2pPort } = context;
  const findings = await check(context);
  const hosts = paths.candidates().filter(({ kind }) => kind === "host");
  const family = (number: 4 | 6, view: FamilyView): NetcheckFamily =>
    familyReport(findings.get(number), {
      local: hosts.filter(({ address }) => address.family === number)
        .map(({ address }) => address.host),
      observed: view.observed,
    });
  const report = {
    relay: { address: link.address, state: link.state, rttMs: link.rttMs },
    v4: family(4, paths.v4),
    v6: family(6, paths.v6),
  };
  const advice = netcheckAdvice(report, { noDirect, p2pPort, relayReason: link.reason });
  return { ...report, advice };
}

/** Runs the machine on a socket of its own. */
async function check(context: NetcheckContext): Promise<ReadonlyMap<4 | 6, Finding>> {
  const { clock, observers, signal, paths } = context;
  const found = new Map<4 | 6, Finding>();
  if (!observers || signal.aborted) return found;
  const { targets, key } = observers;
  const over = Promise.withResolvers<void>();
  const wanted = new Set(targets.map(({ family }) => family)).size;
  const socket = openUdpSocket({ bufferBytes: SOCKET_BUFFER });
  const driver = new Driver<NetcheckInput, NetcheckOutput>(
    new Netcheck({ mac: hmac, random: randomBytes }),
    {
      clock,
      tick: { type: "time" },
      output: (output) => {
        if (output.type === "send") {
          socket.send(output.to, output.datagram, output.datagram.length);
          return;
        }
        found.set(output.report.family, output.report);
        if (found.size === wanted) over.resolve();
      },
    },
  );
  const stop = () => over.resolve();
  signal.addEventListener("abort", stop);
  try {
    socket.receive(
      new Demultiplexer({
        observed: (data, segmentSize, from) => {
          for (let at = 0; at < data.length; at += segmentSize) {
            const datagram = data.slice(at, at + segmentSize);
            driver.tell({ type: "datagram", datagram, from });
          }
        },
      }),
    );
    const localHosts = paths.candidates().filter(({ kind }) => kind === "host")
      .map(({ address }) => address.host);
    driver.tell({
      type: "start",
      targets,
      key,
      localHosts,
      // Only the batched socket forbids the network to cut datagrams in pieces.
      ...(socket.kind === "batched" && { sizes: { v4: payloads("v4"), v6: payloads("v6") } }),
    });
    if (wanted > 0) await over.promise;
  } finally {
    signal.removeEventListener("abort", stop);
    driver.stop();
    socket.close();
  }
  return found;
}

function payloads(family: "v4" | "v6"): number[] {
  const sizes = LINK_MTUS.map((mtu) => mtu - HEADERS[family]);
  return [LEAST_PAYLOAD, ...sizes.filter((size) => size > LEAST_PAYLOAD)];
}

function familyReport(
  found: Finding | undefined,
  { local, observed }: { local: readonly string[]; observed: Address | undefined },
): NetcheckFamily {
  const seen = observed ?? found?.observed;
  return {
    route: local.length > 0,
    local,
    observed: seen?.key ?? null,
    udp: found && local.length > 0 ? found.udp === "open" : null,
    mapping: found?.nat === false ? "none" : found?.mapping ?? null,
    filtering: found?.filtering ?? null,
    pathMtu: found?.largest ?? null,
  };
}
