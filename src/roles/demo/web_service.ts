/**
 * The private web service that stands behind the demo's connector: a page, a large file, a place to upload to, and a
 * stream that never ends.
 * @module
 */
import { createHash } from "node:crypto";
import { encodeUtf8 } from "../../core/mod.ts";

/** Piece of a large body, in bytes. */
const PIECE = 256 * 1024;
/** Pieces hashed between two looks at the event loop: some ten milliseconds. */
const PIECES_A_TURN = 32;
/** Between two pieces of the endless stream, in milliseconds. */
const LIVE_INTERVAL = 25;

/** A body of pseudo-random bytes that is the same each time, made piece by piece. */
export class LargeBody {
  /** Bytes. */
  readonly length: number;
  readonly #piece: Uint8Array<ArrayBuffer>;
  #sha256: Promise<string> | undefined;

  constructor(length: number) {
    this.length = length;
    this.#piece = new Uint8Array(PIECE);
    // The system gives 64 KiB of randomness at a time.
    for (let at = 0; at < PIECE; at += 65_536) {
      crypto.getRandomValues(this.#piece.subarray(at, at + 65_536));
    }
  }

  /** Each piece begins with its place, so that pieces lost, doubled or out of order change the hash. */
  *chunks(): Generator<Uint8Array<ArrayBuffer>> {
    for (let at = 0; at < this.length; at += PIECE) {
      const chunk = this.#piece.slice(0, Math.min(PIECE, this.length - at));
      if (chunk.length >= 8) new DataView(chunk.buffer).setFloat64(0, at);
      yield chunk;
    }
  }

  /** SHA-256 in hexadecimal; made once, in turns, so that a signal is heard meanwhile. */
  sha256(): Promise<string> {
    return this.#sha256 ??= this.#hash();
  }

  async #hash(): Promise<string> {
    const hash = createHash("sha256");
    let left = PIECES_A_TURN;
    for (const chunk of this.chunks()) {
      hash.update(chunk);
      if (--left > 0) continue;
      left = PIECES_A_TURN;
      await new Promise((go) => setTimeout(go));
    }
    return hash.digest("hex");
  }
}

/** See the module's head. */
export class WebService implements AsyncDisposable {
  /** First line of the page. */
  readonly title = "Hello from behind the postern";
  /** A secret on the page and in the endless stream: made here, told to no process of the demo. */
  readonly marker = `secret-${crypto.randomUUID()}`;
  readonly #large: LargeBody;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #over = new AbortController();
  #requests = 0;

  constructor(large: LargeBody) {
    this.#large = large;
    this.#server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      signal: this.#over.signal,
      onListen: () => {},
      onError: (error) => new Response(`${error}`, { status: 500 }),
    }, (request) => this.#answer(request));
  }

  get port(): number {
    return this.#server.addr.port;
  }

  /** How many requests came. */
  get requests(): number {
    return this.#requests;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#server.finished;
  }

  #answer(request: Request): Response | Promise<Response> {
    this.#requests++;
    const { pathname } = new URL(request.url);
    if (request.method === "PUT") return this.#upload(request);
    switch (pathname) {
      case "/":
        return new Response(
          `${this.title}\n\nOnly you and this service can read this: ${this.marker}\n`,
          { headers: { "content-type": "text/plain; charset=utf-8" } },
        );
      case "/large": {
        const chunks = this.#large.chunks();
        const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
          pull(controller) {
            const { done, value } = chunks.next();
            if (done) controller.close();
            else controller.enqueue(value);
          },
        });
        return new Response(body, {
          headers: {
            "content-type": "application/octet-stream",
            "content-length": `${this.#large.length}`,
          },
        });
      }
      case "/live":
        return new Response(this.#live(), {
          headers: { "content-type": "text/plain; charset=utf-8" },
        });
      default:
        return new Response("There is nothing here\n", { status: 404 });
    }
  }

  /** Answers with the hash of what came. */
  async #upload(request: Request): Promise<Response> {
    const hash = createHash("sha256");
    for await (const chunk of request.body ?? []) hash.update(chunk);
    return new Response(hash.digest("hex"));
  }

  /** A line every few milliseconds until the reader leaves. */
  #live(): ReadableStream<Uint8Array> {
    const line = encodeUtf8(`${this.marker}\n`.repeat(32));
    let timer: ReturnType<typeof setInterval> | undefined;
    return new ReadableStream({
      start(controller) {
        timer = setInterval(() => {
          // A reader that does not read gets no more than this: nothing piles up.
          if ((controller.desiredSize ?? 0) > -16) controller.enqueue(line);
        }, LIVE_INTERVAL);
      },
      cancel: () => clearInterval(timer),
    });
  }
}
