/**
 * UDP ASSOCIATE (RFC 1928 §7): a UDP port of its own for one client, for as long as its TCP connection lives.
 *
 * Each service that the client sends to is one flow. Datagrams come only from the client's own address; the first one
 * settles its port. Answers carry the name that the client had asked for.
 * @module
 */
import { addressOf, type Logger, messageOf } from "../core/mod.ts";
import type { UdpFlow } from "../mux/mod.ts";
import type { UdpFlowOpener } from "./flow_opener.ts";
import { answerAndClose, readSome, writeAll } from "./proxy_client.ts";
import { serviceOfHost } from "./service_host.ts";
import {
  decodeSocks5Datagram,
  encodeSocks5Datagram,
  encodeSocks5Reply,
  SOCKS5_REPLY,
  type Socks5Target,
} from "./socks5_codec.ts";

/** Services that one association may talk to at once; datagrams for more are dropped. */
const MAX_FLOWS = 64;

/** Datagrams held per flow while it is being opened; what comes beyond is dropped, as UDP may be. */
const MAX_WAITING = 16;

interface Association {
  readonly socket: Deno.DatagramConn;
  readonly clientHost: string;
  readonly flows: Map<string, FlowSlot>;
  readonly peer: string;
  readonly open: UdpFlowOpener;
  readonly log: Logger;
  clientPort: number | undefined;
}

interface FlowSlot {
  flow: UdpFlow | undefined;
  readonly waiting: Uint8Array[];
  /** As the client wrote it last. */
  target: Socks5Target;
}

/** Answers the request and serves until the TCP connection ends. */
export async function serveAssociation(
  conn: Deno.TcpConn,
  { peer, open, log }: { peer: string; open: UdpFlowOpener; log: Logger },
): Promise<void> {
  const { hostname } = conn.localAddr;
  let socket: Deno.DatagramConn;
  try {
    socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  } catch (error) {
    log.warn("cannot open a UDP port for a SOCKS5 client", { peer, reason: messageOf(error) });
    return await answerAndClose(conn, encodeSocks5Reply(SOCKS5_REPLY.generalFailure));
  }
  const association: Association = {
    socket,
    clientHost: addressOf(conn.remoteAddr.hostname, 0).host,
    flows: new Map(),
    peer,
    open,
    log,
    clientPort: undefined,
  };
  const received = receive(association);
  try {
    const bound = addressOf(hostname, (socket.addr as Deno.NetAddr).port);
    await writeAll(conn, encodeSocks5Reply(SOCKS5_REPLY.succeeded, bound));
    while (await readSome(conn));
  } catch {
    // A reset ends the association as an end does.
  } finally {
    socket.close();
    await received;
    for (const { flow } of association.flows.values()) flow?.close();
    association.flows.clear();
  }
}

async function receive(association: Association): Promise<void> {
  const buffer = new Uint8Array(65_536);
  while (true) {
    try {
      const [datagram, from] = await association.socket.receive(buffer);
      take(association, datagram, from as Deno.NetAddr);
    } catch (error) {
      // Elsewhere than on Linux, an ICMP answer to our own datagram shows up as a reset here.
      if (!(error instanceof Deno.errors.ConnectionReset)) return;
    }
  }
}

function take(association: Association, datagram: Uint8Array, from: Deno.NetAddr): void {
  if (addressOf(from.hostname, 0).host !== association.clientHost) return;
  if ((association.clientPort ?? from.port) !== from.port) return;
  const decoded = decodeSocks5Datagram(datagram);
  if ("refused" in decoded) return;
  association.clientPort = from.port;
  const { target, payload } = decoded.ok;
  const named = serviceOfHost(target.host);
  if ("refused" in named) return;
  const slot = association.flows.get(named.service);
  if (!slot) {
    if (association.flows.size < MAX_FLOWS) {
      openSlot(association, named.service, { target, payload });
    }
    return;
  }
  slot.target = target;
  if (slot.flow) slot.flow.send(payload);
  else if (slot.waiting.length < MAX_WAITING) slot.waiting.push(payload.slice());
}

async function openSlot(
  association: Association,
  service: string,
  first: { target: Socks5Target; payload: Uint8Array },
): Promise<void> {
  const { flows, open, peer, log } = association;
  const slot: FlowSlot = {
    flow: undefined,
    waiting: [first.payload.slice()],
    target: first.target,
  };
  flows.set(service, slot);
  try {
    const flow = await open.openUdp(service, peer);
    if (flows.get(service) !== slot) return flow.close();
    slot.flow = flow;
    flow.onPacket = (packet) => answer(association, slot, packet);
    flow.onClose = () => {
      if (flows.get(service) === slot) flows.delete(service);
    };
    for (const packet of slot.waiting.splice(0)) flow.send(packet);
  } catch (error) {
    log.warn("cannot open flow", { service, peer, reason: messageOf(error) });
    if (flows.get(service) === slot) flows.delete(service);
  }
}

function answer(association: Association, { target }: FlowSlot, payload: Uint8Array): void {
  const { socket, clientHost, clientPort } = association;
  if (clientPort === undefined) return;
  const datagram = encodeSocks5Datagram({ target, payload });
  // Lost if the socket is closed by now, as any datagram may be.
  socket.send(datagram, { transport: "udp", hostname: clientHost, port: clientPort })
    .catch(() => {});
}
