/**
 * A program of plain UDP sockets, independent of Postern, run inside the lab to see what the lab really does.
 *
 *   nat_probe.ts reflect                 on the relay: four sockets per family; says `ready`, runs until killed
 *   nat_probe.ts classify 4|6            on a host: prints {@linkcode Behaviour} as JSON
 *   nat_probe.ts observe 4|6 PORT        on a host: prints how the relay sees that local port, `null` if not at all
 *   nat_probe.ts punch 4|6 agent|connector   on both hosts at once: prints {@linkcode Punched} as JSON
 *
 * Messages are JSON in one datagram. A request may ask that the answer leaves from another of the reflector's
 * sockets, as RFC 5780 §4.4 does to find out what a NAT filters.
 * @module
 */
import { RELAY } from "./plan.ts";

/** In RFC 4787's words; see `options.ts`. */
export interface Behaviour {
  readonly mapping: "EIM" | "ADM" | "APDM" | "blocked";
  readonly filtering: "EIF" | "ADF" | "APDF" | "blocked";
  /** The port outside is the one inside. */
  readonly keepsPort: boolean;
  /** What the first reflector saw. */
  readonly observed: string | null;
}

/** How a plain hole punch went. */
export interface Punched {
  /** A datagram arrived here, and the other side has said that one arrived there. */
  readonly direct: boolean;
  readonly ms: number;
  readonly remote: string | null;
}

interface Message {
  readonly kind: "ask" | "seen" | "punch";
  readonly id: number;
  /** In `ask`: which socket answers. */
  readonly via?: number;
  /** In `ask`: who asks; in `punch`: who sends. */
  readonly role?: string;
  /** In `seen`: the asker's address, and its partner's where that is known. */
  readonly observed?: string;
  readonly partner?: string | null;
  /** In `punch`: something has arrived at the sender. */
  readonly heard?: boolean;
}

/** First the two ports of the first address, then those of the second. */
const PORTS = [3478, 3479];
const REFLECTORS = {
  4: RELAY.v4.flatMap((host) => PORTS.map((port) => ({ host, port }))),
  6: RELAY.v6.flatMap((host) => PORTS.map((port) => ({ host, port }))),
};
type Family = 4 | 6;
type Socket = Deno.DatagramConn;

const TRIES = 5;
const TRY_MS = 250;
const PUNCH_EVERY_MS = 20;
const PUNCH_FOR_MS = 1500;
/** Goes on that long after success, for the other side's sake. */
const PUNCH_AFTER_MS = 300;

function open(hostname: string, port = 0): Socket {
  return Deno.listenDatagram({ transport: "udp", hostname, port });
}

function textOf(address: Deno.Addr): string {
  const { hostname, port } = address as Deno.NetAddr;
  return `${hostname}|${port}`;
}

async function send(socket: Socket, message: Message, to: string): Promise<void> {
  const [hostname, port] = to.split("|");
  const bytes = new TextEncoder().encode(JSON.stringify(message));
  // A refused or unreachable send is a lost one: that is what is being measured.
  await socket.send(bytes, { transport: "udp", hostname: hostname!, port: Number(port) })
    .catch(() => 0);
}

/** Hands every message to `handle` until the socket is closed. */
async function receive(
  socket: Socket,
  handle: (message: Message, from: string) => void,
): Promise<void> {
  for (;;) {
    try {
      const [bytes, from] = await socket.receive();
      handle(JSON.parse(new TextDecoder().decode(bytes)), textOf(from));
    } catch (error) {
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
        return;
      }
      // An ICMP error for an earlier datagram, or a damaged message: as good as lost.
    }
  }
}

async function reflect(): Promise<void> {
  const partners = new Map<string, string>();
  const loops: Promise<void>[] = [];
  for (const family of [4, 6] as const) {
    let sockets: Socket[];
    try {
      sockets = REFLECTORS[family].map(({ host, port }) => open(host, port));
    } catch {
      continue; // A lab without IPv6.
    }
    for (const socket of sockets) {
      loops.push(receive(socket, (message, from) => {
        if (message.kind !== "ask") return;
        if (message.role) partners.set(`${family} ${message.role}`, from);
        const other = message.role === "agent" ? "connector" : "agent";
        const partner = partners.get(`${family} ${other}`) ?? null;
        const answer = { kind: "seen", id: message.id, observed: from, partner } as const;
        send(message.via === undefined ? socket : sockets[message.via]!, answer, from);
      }));
    }
  }
  console.log("ready");
  await Promise.all(loops);
}

/** Asks one reflector until it answers, or five times in vain. */
function ask(
  socket: Socket,
  family: Family,
  index: number,
  via?: number,
): Promise<string | undefined> {
  const { host, port } = REFLECTORS[family][index]!;
  const id = Math.floor(Math.random() * 2 ** 32);
  return new Promise((resolve) => {
    let tries = 0;
    const attempt = () => {
      if (tries++ === TRIES) return finish(undefined);
      send(socket, { kind: "ask", id, ...(via === undefined ? {} : { via }) }, `${host}|${port}`);
      timer = setTimeout(attempt, TRY_MS);
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const finish = (observed: string | undefined) => {
      clearTimeout(timer);
      waiting.delete(id);
      resolve(observed);
    };
    waiting.set(id, finish);
    attempt();
  });
}
const waiting = new Map<number, (observed: string | undefined) => void>();

function openAsker(family: Family, port = 0): Socket {
  const socket = open(family === 4 ? "0.0.0.0" : "::", port);
  receive(socket, (message) => {
    if (message.kind === "seen") waiting.get(message.id)?.(message.observed);
  });
  return socket;
}

async function classify(family: Family): Promise<Behaviour> {
  // A socket of its own per question: what one has opened must not help the next.
  const [mapper, address, port] = [openAsker(family), openAsker(family), openAsker(family)];
  const first = await ask(mapper, family, 0);
  if (first === undefined) {
    return { mapping: "blocked", filtering: "blocked", keepsPort: false, observed: null };
  }
  const [otherPort, otherAddress, stranger, samePlace] = await Promise.all([
    ask(mapper, family, 1),
    ask(mapper, family, 2),
    ask(address, family, 0, 3),
    ask(port, family, 0, 1),
  ]);
  const local = (mapper.addr as Deno.NetAddr).port;
  return {
    mapping: first === otherPort && first === otherAddress
      ? "EIM"
      : first === otherPort
      ? "ADM"
      : "APDM",
    filtering: stranger !== undefined ? "EIF" : samePlace !== undefined ? "ADF" : "APDF",
    keepsPort: first.endsWith(`|${local}`),
    observed: first,
  };
}

function punch(family: Family, role: string): Promise<Punched> {
  const socket = open(family === 4 ? "0.0.0.0" : "::");
  const { host, port } = REFLECTORS[family][0]!;
  let partner: string | undefined;
  let remote: string | null = null;
  let started = performance.now();
  return new Promise((resolve) => {
    let doneAt: number | undefined;
    receive(socket, (message, from) => {
      if (message.kind === "seen" && message.partner && partner === undefined) {
        partner = message.partner;
        started = performance.now();
      } else if (message.kind === "punch" && message.role !== role) {
        remote = from; // What arrived shows where to send, whatever the reflector said.
        if (message.heard) doneAt ??= performance.now();
      }
    });
    const asked = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      const over = doneAt !== undefined && now > doneAt + PUNCH_AFTER_MS;
      if (over || now > (partner === undefined ? asked : started) + PUNCH_FOR_MS) {
        clearInterval(timer);
        return resolve({
          direct: doneAt !== undefined,
          ms: (doneAt ?? now) - started,
          remote: doneAt === undefined ? null : remote,
        });
      }
      if (partner === undefined) {
        return send(socket, { kind: "ask", id: 0, role }, `${host}|${port}`);
      }
      const message = { kind: "punch", id: 0, role, heard: remote !== null } as const;
      for (const to of new Set([partner, remote])) if (to !== null) send(socket, message, to);
    }, PUNCH_EVERY_MS);
  });
}

async function main([mode, family, last]: string[]): Promise<unknown> {
  const of = family === "6" ? 6 : 4;
  if (mode === "observe") return await ask(openAsker(of, Number(last)), of, 0) ?? null;
  return mode === "punch" ? await punch(of, last!) : await classify(of);
}

if (import.meta.main) {
  if (Deno.args[0] === "reflect") await reflect();
  else {
    console.log(JSON.stringify(await main(Deno.args)));
    Deno.exit(0);
  }
}
