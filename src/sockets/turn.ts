/**
 * Going back to the event loop, so that everything else gets its turn.
 *
 * `setImmediate` alone does not do that under load: as long as one is pending, Deno asks the kernel about sockets only
 * every 63rd time round, so that everything that waits for a socket waits for sixty turns of whoever is busy (25 ms were
 * measured). What goes through the kernel itself, and can only come back when Deno has asked, makes Deno ask each time:
 * a byte from a loopback socket to itself. 5 µs instead of 1 µs, for a turn of 64 datagrams.
 * @module
 */
import { clearTimeout, setImmediate, setTimeout } from "node:timers";

const RING = Uint8Array.of(1);

/** A loopback socket that sends to itself. */
class Doorbell {
  readonly #socket = Deno.listenDatagram({ hostname: "127.0.0.1", port: 0, transport: "udp" });
  readonly #address = this.#socket.addr as Deno.NetAddr;
  readonly #buffer = new Uint8Array(1);

  /** @throws where loopback is down, or the doorbell closed */
  async ring(): Promise<void> {
    // Listen first: a byte that is there already would be answered without asking the kernel about anything else.
    const heard = this.#socket.receive(this.#buffer);
    const sent = this.#socket.send(RING, this.#address);
    await Promise.all([heard, sent]);
  }

  close(): void {
    this.#socket.close();
  }
}

/** One doorbell for all: who rings at the same moment shares the answer. */
let doorbell: Doorbell | undefined;
let doorbellWorks = true;
let users = 0;
let ringing: Promise<void> | undefined;

async function turn(): Promise<void> {
  // Also where loopback is down, or somebody floods the doorbell: never less than a turn of the event loop.
  const immediate = new Promise<void>((resolve) => setImmediate(resolve));
  let bell: Doorbell | undefined;
  try {
    if (doorbellWorks) await (bell = doorbell ??= new Doorbell()).ring();
  } catch {
    // Closed by the last user meanwhile, which is no fault; or loopback is down: then do without from now on.
    if (bell === doorbell) {
      doorbellWorks = false;
      doorbell?.close();
      doorbell = undefined;
    }
  }
  await immediate;
}

/** Takes turns; {@linkcode LoopTurn.close} it in the end, as the last user closes the doorbell. */
export class LoopTurn {
  #closed = false;

  constructor() {
    users++;
  }

  /** Resolves after the event loop has come round and looked at every socket, timer and finalizer once. */
  next(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return ringing ??= turn().finally(() => ringing = undefined);
  }

  /** Idempotent. Whoever still waits goes on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (--users > 0) return;
    doorbell?.close();
    doorbell = undefined;
  }
}

/** A wait that can be cut short, so that a closed socket leaves no timer behind. One waiter at a time. */
export class Sleep {
  #resolve: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** On after `milliseconds`. */
  start(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#timer = setTimeout(() => this.#done(), milliseconds);
    });
  }

  /** Whoever waits goes on now. */
  cancel(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#done();
  }

  #done(): void {
    const resolve = this.#resolve;
    this.#resolve = this.#timer = undefined;
    resolve?.();
  }
}
