/**
 * Sends numbered datagrams of known content, and says what became of them: shows what a link does to packets.
 *
 *   stream_probe.ts sink PORT QUIET_MS                on one host: says `ready`, then {@linkcode StreamReport} as JSON
 *                                                     once nothing has come for that long
 *   stream_probe.ts source HOST PORT COUNT SIZE GAP_MS   on another; waits after each tenth
 * @module
 */
import type { Lab } from "./lab.ts";
import type { HostName } from "./options.ts";

/** What arrived. */
export interface StreamReport {
  /** Different datagrams, whole ones only. */
  readonly received: number;
  /** Copies beyond the first. */
  readonly duplicated: number;
  /** Arrived after one that was sent later. */
  readonly reordered: number;
  /** Arrived with another content than was sent, past every checksum on the way. */
  readonly damaged: number;
}

/** Byte `index` of datagram `number`: its number four times, then a pattern that depends on both. */
function fill(buffer: Uint8Array, number: number): void {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  for (let at = 0; at < 16; at += 4) view.setUint32(at, number);
  for (let at = 16; at < buffer.length; at++) buffer[at] = (number * 31 + at * 7) ^ (at >> 3);
}

/** The number in a datagram whose content is whole; `undefined` where it is not. */
function numberOf(datagram: Uint8Array): number | undefined {
  if (datagram.length < 16) return undefined;
  const number = new DataView(datagram.buffer, datagram.byteOffset).getUint32(0);
  const wanted = new Uint8Array(datagram.length);
  fill(wanted, number);
  return wanted.every((byte, at) => byte === datagram[at]) ? number : undefined;
}

async function sink(port: number, quietMs: number): Promise<StreamReport> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "::", port });
  const seen = new Set<number>();
  let [duplicated, reordered, damaged, latest] = [0, 0, 0, -1];
  console.log("ready");
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    for await (const [datagram] of socket) {
      clearTimeout(timer);
      timer = setTimeout(() => socket.close(), quietMs);
      const number = numberOf(datagram);
      if (number === undefined) damaged++;
      else if (seen.has(number)) duplicated++;
      else {
        seen.add(number);
        if (number < latest) reordered++;
        latest = Math.max(latest, number);
      }
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
  return { received: seen.size, duplicated, reordered, damaged };
}

async function source(hostname: string, port: number, count: number, size: number, gapMs: number) {
  const socket = Deno.listenDatagram({
    transport: "udp",
    hostname: hostname.includes(":") ? "::" : "0.0.0.0",
    port: 0,
  });
  const buffer = new Uint8Array(size);
  for (let number = 0; number < count; number++) {
    fill(buffer, number);
    await socket.send(buffer, { transport: "udp", hostname, port });
    if (gapMs > 0 && number % 10 === 9) await new Promise((resolve) => setTimeout(resolve, gapMs));
  }
  socket.close();
}

/** Sends a stream from one host to another and answers what arrived. */
export async function sendStream(
  lab: Lab,
  from: HostName,
  to: HostName,
  { count = 500, size = 1000, gapMs = 0, port = 9999 } = {},
): Promise<StreamReport> {
  const run = ["run", "-A", "--no-check", "--no-config", "--unstable-net"];
  const program = [...run, new URL(import.meta.url).pathname];
  const receiver = lab.spawn(to, Deno.execPath(), [...program, "sink", String(port), "1000"], {
    stdout: "piped",
    stderr: "inherit",
  });
  const lines = receiver.stdout.pipeThrough(new TextDecoderStream()).getReader();
  await lines.read();
  const numbers = [port, count, size, gapMs].map(String);
  const args = [...program, "source", lab.addresses(to).publicV4, ...numbers];
  const sent = await lab.exec(from, Deno.execPath(), args);
  if (sent.code !== 0) throw new Error(`Cannot send a stream from ${from}: ${sent.stderr}`);
  let text = "";
  for (let got = await lines.read(); !got.done; got = await lines.read()) text += got.value;
  await receiver.status;
  return JSON.parse(text);
}

if (import.meta.main) {
  const [mode, ...args] = Deno.args;
  if (mode === "sink") {
    console.log(JSON.stringify(await sink(Number(args[0]), Number(args[1]))));
  } else {
    const [port, count, size, gapMs] = args.slice(1).map(Number);
    await source(args[0]!, port!, count!, size!, gapMs!);
  }
}
