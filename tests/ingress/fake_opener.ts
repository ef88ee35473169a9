/**
 * A stand-in for the tunnel: a flow is a TCP connection to a port of this machine.
 * @module
 */
import {
  type ByteConn,
  type FlowRefusal,
  FlowRefused,
  type TcpFlow,
  type UdpFlow,
} from "../../src/mux/mod.ts";

/** Where a service is: a port, or a refusal at once (by the opener) or late (by the flow). */
export type FakeService = number | { refusal: FlowRefusal; late?: boolean };

/** Opens flows to ports of this machine, and counts. */
export class FakeOpener {
  readonly opened: string[] = [];
  aborted = 0;
  readonly #services: Record<string, FakeService>;

  constructor(services: Record<string, FakeService>) {
    this.#services = services;
  }

  async openTcp(service: string, _peer: string): Promise<TcpFlow> {
    this.opened.push(service);
    const at = this.#services[service] ?? { refusal: "unknown-service" };
    if (typeof at === "number") return this.#flow(await Deno.connect({ port: at }));
    const refused = new FlowRefused(at.refusal, `Cannot open flow to "${service}" in this test`);
    if (!at.late) throw refused;
    const accepted = Promise.reject(refused);
    accepted.catch(() => {});
    return {
      accepted,
      abort: () => void this.aborted++,
      pipe: (conn) => {
        conn.close();
        return accepted;
      },
    };
  }

  #flow(target: Deno.TcpConn): TcpFlow {
    return {
      accepted: Promise.resolve(),
      abort: () => {
        this.aborted++;
        target.close();
      },
      pipe: async (conn) => {
        await Promise.all([pump(conn, target), pump(target, conn)]);
        conn.close();
        target.close();
      },
    };
  }
}

async function pump(from: ByteConn, to: ByteConn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    for (let done = 0; done < count;) done += await to.write(buffer.subarray(done, count));
  }
  await to.closeWrite();
}

/** A UDP opener whose only service, `dns`, answers each packet with itself in capitals. */
export class FakeUdpOpener extends FakeOpener {
  readonly flows: UdpFlow[] = [];
  closed = 0;

  openUdp(service: string, _peer: string): Promise<UdpFlow> {
    this.opened.push(service);
    if (service !== "dns") {
      return Promise.reject(new FlowRefused("unknown-service", `Cannot open flow to "${service}"`));
    }
    const flow: UdpFlow = {
      onPacket: undefined,
      onClose: undefined,
      send: (packet) => {
        const upper = new TextDecoder().decode(packet).toUpperCase();
        flow.onPacket?.(new TextEncoder().encode(upper));
        return true;
      },
      close: () => void this.closed++,
    };
    this.flows.push(flow);
    return Promise.resolve(flow);
  }
}

/** An echo server; `finish` ends it. */
export function startEcho(): { port: number; finish: () => Promise<void> } {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const served = (async () => {
    const echoes: Promise<void>[] = [];
    for await (const conn of listener) {
      echoes.push(pump(conn, conn).catch(() => {}).finally(() => conn.close()));
    }
    await Promise.all(echoes);
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    finish: () => {
      listener.close();
      return served;
    },
  };
}

/** All that comes until the end; a reset counts as an end. */
export async function readAll(conn: Deno.TcpConn): Promise<Uint8Array> {
  const parts: number[] = [];
  const buffer = new Uint8Array(65_536);
  try {
    for (let count = await conn.read(buffer); count !== null; count = await conn.read(buffer)) {
      parts.push(...buffer.subarray(0, count));
    }
  } catch {
    parts.push(...new TextEncoder().encode("<reset>"));
  }
  return Uint8Array.from(parts);
}

/** Sends, then reads to the end. */
export async function exchange(port: number, send: Uint8Array | string): Promise<Uint8Array> {
  const conn = await Deno.connect({ port });
  try {
    await conn.write(typeof send === "string" ? new TextEncoder().encode(send) : send);
    await conn.closeWrite();
    return await readAll(conn);
  } finally {
    conn.close();
  }
}

/** Runs curl; `undefined` where there is none. */
export async function curl(
  ...args: string[]
): Promise<{ code: number; stdout: string } | undefined> {
  try {
    const { code, stdout } = await new Deno.Command("curl", {
      args: ["--silent", "--show-error", "--max-time", "20", "--noproxy", "", ...args],
      stderr: "null",
    }).output();
    return { code, stdout: new TextDecoder().decode(stdout) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether curl can be run here; says so if not. */
export const HAS_CURL: boolean = await curl("--version") !== undefined;
if (!HAS_CURL) console.log("Tests with curl are left out as there is no curl here");
