/**
 * The rules of the house as pure functions over `path -> source`, so that the test can show each of them catching a
 * broken example. Paths are relative to the repository's root, with `/`.
 * @module
 */
import { readSource, type Source } from "./source_reader.ts";

/** Rooms from the top of the house to its ground floor: a room imports only itself and rooms to its right. */
export const ROOMS = [
  "cli",
  "roles",
  "ingress",
  "tunnel",
  "relay",
  "control",
  "mux",
  "quic",
  "sockets",
  "path",
  "qad",
  "zero_rtt",
  "identity",
  "core",
] as const;

/** The longest file that is still one idea, in lines. */
export const MAX_LINES = 400;

/** One broken rule. */
export interface Violation {
  readonly rule: Rule;
  readonly path: string;
  /** 1-based; 0 where the whole file is meant. */
  readonly line: number;
  /** What is wrong, in words. */
  readonly message: string;
}

/** The names of the rules. */
export type Rule =
  | "downward"
  | "cycle"
  | "engine"
  | "sans-io"
  | "specifier"
  | "registry"
  | "length"
  | "default-export"
  | "blind-relay"
  | "unknown-room";

/** Only this room may import the QUIC engine. */
const ENGINE = "@matrixai/quic";

/** Folders below the sans-IO line. */
const PURE_ROOMS: ReadonlySet<string> = new Set(["qad", "path", "zero_rtt"]);

/** Where the relay's process begins, and the rooms that hold or use a tunnel's keys: the one never reaches the other. */
const RELAY_ROOTS = /^src\/(?:relay\/\w+|roles\/relay)\.ts$/;
const SECRET_ROOMS: ReadonlySet<string> = new Set(["tunnel", "mux", "ingress"]);

/** Files below the sans-IO line in rooms that also have others. */
const PURE_FILES =
  /^src\/(?:relay\/registry\w*|control\/(?!frame_channel|mod\b)\w+|tunnel\/tunnel_message|\w+\/\w+_codec)\.ts$/;

/** What pure code must not say: each pattern is applied to code without comments and strings. */
const IMPURE: readonly (readonly [RegExp, string])[] = [
  [/(?<![.\w$])Deno\b/g, "Deno"],
  [/(?<![.\w$])process\s*\./g, "process"],
  [/(?<![.\w$])(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b/g, "a timer"],
  [/(?<![.\w$])Date\b/g, "Date"],
  [/(?<![.\w$])performance\b/g, "performance"],
  [/\bMath\s*\.\s*random\b/g, "Math.random"],
  [/(?<![.\w$])crypto\s*\./g, "crypto"],
  [/(?<![.\w$])(?:fetch|WebSocket|Worker|globalThis|console)\b/g, "an I/O global"],
  [/(?<![.\w$])(?:await|async)\b/g, "async code"],
];

/** Is this file below the sans-IO line? */
export function isPure(path: string): boolean {
  return PURE_ROOMS.has(roomOf(path) ?? "") || PURE_FILES.test(path);
}

/** `src/qad/codec.ts` -> `qad`; `undefined` for what is in no room. */
export function roomOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

/**
 * Every broken rule in `files`.
 *
 * @param files the program: `main.ts` and everything under `src/`
 * @param bareNames the import map's keys (a key with a final `/` stands for everything under it)
 */
export function checkHouse(
  files: ReadonlyMap<string, string>,
  bareNames: Iterable<string> = [],
): Violation[] {
  const names = [...bareNames];
  const sources = new Map([...files].map(([path, text]) => [path, readSource(text)]));
  const violations: Violation[] = [];
  for (const [path, source] of sources) {
    violations.push(...checkImports(path, source, names), ...checkText(path, source));
  }
  violations.push(...checkCycles(sources), ...checkReach(sources), ...checkBlindRelay(sources));
  return violations;
}

function checkImports(path: string, source: Source, bareNames: readonly string[]): Violation[] {
  const violations: Violation[] = [];
  const add = (rule: Rule, line: number, message: string) =>
    violations.push({ rule, path, line, message });
  const room = roomOf(path);
  const floor = ROOMS.indexOf(room as typeof ROOMS[number]);
  if (room !== undefined && floor === -1) add("unknown-room", 0, `"${room}" is not in the list`);
  for (const { specifier, line } of source.imports) {
    if (specifier.startsWith(ENGINE) && room !== "quic") {
      add("engine", line, `only src/quic/ imports ${ENGINE}`);
    }
    if (specifier.startsWith("node:")) continue;
    const target = resolve(path, specifier);
    if (target === undefined) {
      const known = bareNames.some((name) =>
        name.endsWith("/") ? specifier.startsWith(name) : specifier === name
      );
      if (!known) add("specifier", line, `"${specifier}" is not in the import map`);
      continue;
    }
    if (target === "deno.json" || room === undefined) continue;
    const targetRoom = roomOf(target);
    const targetFloor = ROOMS.indexOf(targetRoom as typeof ROOMS[number]);
    if (targetFloor === -1) {
      add("downward", line, `imports ${target}, which is in no room`);
    } else if (targetFloor < floor) {
      add("downward", line, `${room}/ imports ${targetRoom}/, which is above it`);
    }
  }
  return violations;
}

function checkText(path: string, source: Source): Violation[] {
  const violations: Violation[] = [];
  const lineAt = (index: number) => source.code.slice(0, index).split("\n").length;
  const lines = source.text.split("\n").length - (source.text.endsWith("\n") ? 1 : 0);
  if (lines > MAX_LINES) {
    violations.push({
      rule: "length",
      path,
      line: 0,
      message: `has ${lines} lines; at ${MAX_LINES} something wants to leave`,
    });
  }
  for (const match of source.code.matchAll(/\bexport\s+default\b|\bas\s+default\b/g)) {
    const line = lineAt(match.index);
    violations.push({ rule: "default-export", path, line, message: "exports by name only" });
  }
  violations.push(...checkRegistry(path, source.text));
  if (isPure(path)) {
    for (const { line, message } of impurities(source)) {
      violations.push({ rule: "sans-io", path, line, message });
    }
  }
  return violations;
}

/** Everything in a file that pure code must not say. */
function impurities(source: Source): { line: number; message: string }[] {
  const found = source.imports.filter(({ specifier }) => specifier.startsWith("node:"))
    .map(({ specifier, line }) => ({ line, message: `imports ${specifier}` }));
  for (const [pattern, what] of IMPURE) {
    for (const match of source.code.matchAll(pattern)) {
      const line = source.code.slice(0, match.index).split("\n").length;
      found.push({ line, message: `uses ${what}` });
    }
  }
  return found;
}

/**
 * Pure files that reach impure ones through what they import. Types are free, and a room's face (`mod.ts`) is not looked
 * through, as it offers more than its visitor takes.
 */
function checkReach(sources: ReadonlyMap<string, Source>): Violation[] {
  const violations: Violation[] = [];
  for (const [path, source] of sources) {
    if (!isPure(path)) continue;
    const seen = new Set([path]);
    const visit = (from: string, imports: Source["imports"], first?: number) => {
      for (const { specifier, line, typeOnly } of imports) {
        const target = resolve(from, specifier);
        const next = target === undefined ? undefined : sources.get(target);
        if (typeOnly || next === undefined || seen.has(target!)) continue;
        seen.add(target!);
        if (isPure(target!) || target!.endsWith("/mod.ts")) continue;
        const [fault] = impurities(next);
        if (fault !== undefined) {
          const message = `reaches ${target}, which ${fault.message} in line ${fault.line}`;
          violations.push({ rule: "sans-io", path, line: first ?? line, message });
        }
        visit(target!, next.imports, first ?? line);
      }
    };
    visit(path, source.imports);
  }
  return violations;
}

/**
 * The relay reads nothing, and here is why it cannot: nothing that its process loads can take part in a tunnel. Types
 * are free, as they are gone when the program runs.
 */
function checkBlindRelay(sources: ReadonlyMap<string, Source>): Violation[] {
  const violations: Violation[] = [];
  const seen = new Set<string>();
  const visit = (path: string) => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const { specifier, line, typeOnly } of sources.get(path)?.imports ?? []) {
      const target = resolve(path, specifier);
      if (typeOnly || target === undefined) continue;
      if (SECRET_ROOMS.has(roomOf(target) ?? "")) {
        const message = `brings ${target} into the relay's process`;
        violations.push({ rule: "blind-relay", path, line, message });
      } else visit(target);
    }
  };
  for (const path of sources.keys()) if (RELAY_ROOTS.test(path)) visit(path);
  return violations;
}

/** The registry that cannot be reached everywhere must not be named in any file of the tree, whatever its kind. */
export function checkRegistry(path: string, text: string): Violation[] {
  // Spelt so that this file does not break the rule that it states.
  const index = text.search(new RegExp(`\\b${"js"}r:`));
  if (index === -1) return [];
  const line = text.slice(0, index).split("\n").length;
  return [{ rule: "registry", path, line, message: "names the JSR registry" }];
}

/** Circles of imports, each reported once, at its alphabetically first file. */
function checkCycles(sources: ReadonlyMap<string, Source>): Violation[] {
  const violations: Violation[] = [];
  const state = new Map<string, "open" | "done">();
  const trail: string[] = [];
  const visit = (path: string) => {
    state.set(path, "open");
    trail.push(path);
    for (const { specifier } of sources.get(path)!.imports) {
      const target = resolve(path, specifier);
      if (target === undefined || !sources.has(target)) continue;
      if (state.get(target) === "open") {
        const circle = trail.slice(trail.indexOf(target));
        violations.push({
          rule: "cycle",
          path: circle.toSorted()[0]!,
          line: 0,
          message: `imports itself: ${[...circle, target].join(" -> ")}`,
        });
      } else if (!state.has(target)) visit(target);
    }
    trail.pop();
    state.set(path, "done");
  };
  for (const path of [...sources.keys()].toSorted()) if (!state.has(path)) visit(path);
  return violations;
}

/** A relative specifier as a path from the root; `undefined` for a bare one. */
function resolve(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith("./") && !specifier.startsWith("../")) return undefined;
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}
