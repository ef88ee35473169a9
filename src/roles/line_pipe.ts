/**
 * Lines of JSON over a local connection, bounded; what follows the lines can be taken over as plain bytes.
 * @module
 */
import { type Bytes, concatBytes, decodeUtf8Strict, encodeUtf8 } from "../core/bytes.ts";

/** One local connection, read and written line by line. */
export class LinePipe {
  readonly #conn: Deno.Conn;
  #rest: Bytes = new Uint8Array(0);
  #closed = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /**
   * The next line as JSON; `undefined` at the end.
   *
   * @throws {RangeError} where a line is longer than `limit` bytes
   * @throws {SyntaxError} where a line is not JSON in UTF-8
   */
  async readJson(limit: number): Promise<unknown> {
    const chunks: Uint8Array[] = [this.#rest];
    let size = this.#rest.length;
    let end = this.#rest.indexOf(10);
    let last: Uint8Array = this.#rest;
    while (end < 0) {
      if (size > limit) throw new RangeError(`Cannot read a line of more than ${limit} bytes`);
      const buffer = new Uint8Array(16 * 1024);
      const count = await this.#conn.read(buffer);
      if (count === null) {
        if (size > 0) throw new SyntaxError("Cannot read a line that ends in the middle");
        return undefined;
      }
      last = buffer.subarray(0, count);
      end = last.indexOf(10);
      chunks.push(last);
      size += count;
    }
    const lineEnd = size - last.length + end;
    if (lineEnd > limit) throw new RangeError(`Cannot read a line of more than ${limit} bytes`);
    const whole = chunks.length === 1 ? this.#rest : concatBytes(...chunks);
    this.#rest = whole.slice(lineEnd + 1);
    const text = decodeUtf8Strict(whole.subarray(0, lineEnd));
    if (text === undefined) throw new SyntaxError("Cannot read a line that is not UTF-8");
    return JSON.parse(text);
  }

  /** Writes one value as one line. */
  async writeJson(value: unknown): Promise<void> {
    await this.write(encodeUtf8(`${JSON.stringify(value)}\n`));
  }

  /** Plain bytes out. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) sent += await this.#conn.write(bytes.subarray(sent));
  }

  /** Plain bytes in, beginning with what followed the last line; `null` at the end. */
  async read(buffer: Uint8Array): Promise<number | null> {
    if (this.#rest.length === 0) return await this.#conn.read(buffer);
    const count = Math.min(buffer.length, this.#rest.length);
    buffer.set(this.#rest.subarray(0, count));
    this.#rest = this.#rest.slice(count);
    return count;
  }

  /** No more bytes out; those in still come (half-close). */
  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite();
  }

  /** Ends both ways; idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#conn.close();
  }
}
