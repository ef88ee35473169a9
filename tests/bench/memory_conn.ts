/**
 * A TCP connection that exists in memory only, so that a benchmark of flows measures flows.
 * @module
 */
import type { ByteConn } from "../../src/mux/mod.ts";

/** One end of a pair: what it writes, the other reads. At most 256 KiB wait in between, as in a kernel. */
export class MemoryConn implements ByteConn {
  #other!: MemoryConn;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #closed = false;
  #readable: PromiseWithResolvers<void> | undefined;
  #writable: PromiseWithResolvers<void> | undefined;

  /** Both ends. */
  static pair(): [MemoryConn, MemoryConn] {
    const [one, two] = [new MemoryConn(), new MemoryConn()];
    one.#other = two;
    two.#other = one;
    return [one, two];
  }

  async read(into: Uint8Array): Promise<number | null> {
    while (this.#chunks.length === 0) {
      if (this.#closed) throw new Deno.errors.ConnectionReset("closed");
      if (this.#ended) return null;
      this.#readable ??= Promise.withResolvers();
      await this.#readable.promise;
    }
    let length = 0;
    while (length < into.length) {
      const chunk = this.#chunks[0];
      if (!chunk) break;
      const part = chunk.subarray(0, into.length - length);
      into.set(part, length);
      length += part.length;
      if (part.length === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(part.length);
    }
    this.#bytes -= length;
    this.#writable?.resolve();
    this.#writable = undefined;
    return length;
  }

  async write(data: Uint8Array): Promise<number> {
    const other = this.#other;
    while (other.#bytes > 256 * 1024) {
      if (other.#closed) throw new Deno.errors.BrokenPipe("closed");
      other.#writable ??= Promise.withResolvers();
      await other.#writable.promise;
    }
    if (other.#closed) throw new Deno.errors.BrokenPipe("closed");
    other.#chunks.push(data.slice());
    other.#bytes += data.length;
    other.#wake();
    return data.length;
  }

  closeWrite(): Promise<void> {
    this.#other.#ended = true;
    this.#other.#wake();
    return Promise.resolve();
  }

  close(): void {
    this.#closed = true;
    this.#other.#ended = true;
    this.#other.#wake();
    this.#wake();
    this.#writable?.resolve();
  }

  #wake(): void {
    this.#readable?.resolve();
    this.#readable = undefined;
  }
}
