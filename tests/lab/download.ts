/**
 * A download through the tunnel that is watched: how long nothing came, and whether every byte is there in the end.
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Finished } from "../e2e/process.ts";
import type { PosternInLab } from "./postern_in_lab.ts";
import { webBytes } from "./web_service.ts";

/** Between looks at what has come, in milliseconds. */
const LOOK_MS = 10;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function hashOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
}

/** One download that runs. */
export class Download {
  /** What curl ends with. */
  readonly done: Promise<Finished>;
  readonly #file: string;
  readonly #bytes: number;
  #running = true;

  constructor(postern: PosternInLab, bytes: number, { withinS = 60 } = {}) {
    this.#bytes = bytes;
    this.#file = `${postern.folder}/download-${crypto.randomUUID()}`;
    this.done = postern.curl(`/bytes/${bytes}`, { args: ["-o", this.#file], withinS });
    this.done.finally(() => this.#running = false).catch(() => {});
  }

  /** Bytes that have come. */
  async size(): Promise<number> {
    return (await Deno.stat(this.#file).catch(() => undefined))?.size ?? 0;
  }

  /** Resolves when so many bytes have come. @throws where it ends before */
  async reaches(bytes: number): Promise<void> {
    while (await this.size() < bytes) {
      assert.ok(this.#running, "the download was over before anything happened to it");
      await sleep(LOOK_MS);
    }
  }

  /**
   * The longest time without a new byte, from now on to the end or for so long, in milliseconds. What stalls before `since()`
   * (`performance.now()`) does not count.
   */
  async longestStall(
    forMs = Infinity,
    { since = () => -Infinity }: { since?: () => number } = {},
  ): Promise<number> {
    const begun = performance.now();
    let [longest, size, grew] = [0, await this.size(), begun];
    while (this.#running && performance.now() - begun < forMs) {
      await sleep(LOOK_MS);
      const now = performance.now();
      longest = Math.max(longest, now - Math.max(grew, since()));
      const grown = await this.size();
      if (grown > size) [size, grew] = [grown, now];
    }
    return Math.round(longest);
  }

  /** Waits for the end. @throws where it failed, or a byte is lost, added or altered */
  async isWhole(): Promise<void> {
    const { code, stderr } = await this.done;
    assert.equal(code, 0, stderr);
    const got = await Deno.open(this.#file);
    assert.equal(await hashOf(got.readable), await hashOf(webBytes(this.#bytes)));
  }
}
