/**
 * `postern`, but an agent's tunnel, once it is direct, changes between the direct and the relayed path all the time: the path machine
 * says so every `FLIP_MS` milliseconds (environment), whatever it thinks. Everything else is the program's own.
 * @module
 */
import { systemIo } from "../../src/cli/io.ts";
import { run } from "../../src/cli/run.ts";
import {
  type DirectPath,
  TunnelPaths,
  type TunnelPathsInput,
  type TunnelPathsOutput,
} from "../../src/path/mod.ts";

const FLIP_MS = Number(Deno.env.get("FLIP_MS") ?? 200);

interface Flips {
  now: number;
  at: number;
  path: DirectPath | undefined;
  direct: boolean;
}

const flips = new WeakMap<TunnelPaths, Flips>();
const { handle, poll, deadline } = TunnelPaths.prototype;

TunnelPaths.prototype.handle = function (input: TunnelPathsInput, now: number): void {
  const own = flips.get(this) ?? { now, at: Infinity, path: undefined, direct: false };
  flips.set(this, own);
  own.now = now;
  if (input.type === "migrated") {
    own.direct = input.path !== undefined;
    own.path ??= input.path;
    if (own.path && own.at === Infinity) own.at = now + FLIP_MS;
  }
  handle.call(this, input, now);
};

TunnelPaths.prototype.poll = function (): TunnelPathsOutput | undefined {
  const out = poll.call(this);
  const own = flips.get(this);
  if (out || !own || own.at > own.now) return out;
  own.at = Math.max(own.now + 1, own.at + FLIP_MS);
  const path = own.direct ? undefined : own.path;
  return { type: "use", path, reason: "the test says so" };
};

TunnelPaths.prototype.deadline = function (): number | undefined {
  const due = Math.min(deadline.call(this) ?? Infinity, flips.get(this)?.at ?? Infinity);
  return due === Infinity ? undefined : due;
};

if (import.meta.main) Deno.exit(await run(Deno.args, systemIo()));
