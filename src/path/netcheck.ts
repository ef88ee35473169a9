/**
 * What stands between a socket and the internet, in the words of RFC 4787: asked of the relay's two ports from a socket that
 * has never sent anything (RFC 5780 §4.4: a filter can only be tested before the other port was written to).
 *
 * ```text
 * reaching   ask the main port                               no answer: UDP is blocked
 * filtering  ask the main port to answer from the second     no answer: filtering depends on the port
 * mapping    ask the second port                             seen elsewhere: mapping depends on the port
 * size       ask the main port with questions of many sizes  the largest answered is what the path carries
 * ```
 *
 * Each family goes through this by itself, at once. One relay address cannot tell "endpoint-independent" from
 * "address-dependent"; the words say so.
 * @module
 */
import type { Address } from "../core/address.ts";
import { toHex } from "../core/bytes.ts";
import type { Millis } from "../core/clock.ts";
import type { Machine } from "../core/machine.ts";
import {
  classifyMapping,
  decodeObserved,
  encodeObserve,
  type Mac,
  type MappingBehaviour,
  type ObserveKey,
  type RandomBytes,
  TXID_BYTES,
} from "../qad/mod.ts";

/** How a NAT or firewall filters, as far as two ports of one address tell. */
export type FilteringFinding =
  | "endpoint-independent or address-dependent"
  | "address-and-port-dependent";

/** What was found in one family. */
export interface NetcheckReport {
  readonly family: 4 | 6;
  /** Did any answer come? Nothing else is known where not. */
  readonly udp: "open" | "blocked";
  /** Where the relay sees the socket. */
  readonly observed?: Address;
  /** The fastest answer. */
  readonly rtt?: Millis;
  /** Is there a NAT: is the socket seen at an address that is none of this machine's? */
  readonly nat?: boolean;
  readonly mapping?: MappingBehaviour;
  readonly filtering?: FilteringFinding;
  /** The largest question that was answered, in bytes of UDP payload: the path towards the relay carries that. */
  readonly largest?: number;
}

/** What a check is told. */
export type NetcheckInput =
  | {
    readonly type: "start";
    /** The relay's two ports, main one first. One alone tells no behaviour. */
    readonly targets: readonly Address[];
    readonly key: ObserveKey;
    /** This machine's own addresses, without ports. */
    readonly localHosts: readonly string[];
    /** UDP payload sizes to try in each family, in bytes. None where the socket lets datagrams be fragmented. @default none */
    readonly sizes?: { readonly v4: readonly number[]; readonly v6: readonly number[] };
  }
  | { readonly type: "datagram"; readonly datagram: Uint8Array; readonly from: Address }
  | { readonly type: "time" };

/** What a check wants done. */
export type NetcheckOutput =
  | { readonly type: "send"; readonly to: Address; readonly datagram: Uint8Array }
  /** Once for each family that has targets, then nothing more. */
  | { readonly type: "report"; readonly report: NetcheckReport };

const STEPS = ["reaching", "filtering", "mapping", "size"] as const;
type Step = typeof STEPS[number];

/** Waits after each question of a step; then the step has no answer. 1.5 s in all: more than any usual round trip. */
const WAITS_MS: readonly Millis[] = [100, 200, 400, 800];

/** Questions of one size are asked so often at most: what is lost twice by chance costs a smaller answer, no wrong one. */
const SIZE_TRIES = 3;

interface Question {
  readonly step: Step;
  readonly sentAt: Millis;
  readonly size: number;
}

interface Check {
  readonly family: 4 | 6;
  readonly main: Address;
  readonly second: Address | undefined;
  step: Step;
  tries: number;
  at: Millis;
  readonly questions: Map<string, Question>;
  /** To try, the largest first. */
  readonly sizes: readonly number[];
  largest: number | undefined;
  seen: { main?: Address; second?: Address };
  rtt: Millis | undefined;
  otherPortAnswered: boolean;
}

/** Checks one fresh socket. */
export class Netcheck implements Machine<NetcheckInput, NetcheckOutput> {
  #mac: Mac;
  #random: RandomBytes;
  #key: ObserveKey | undefined;
  #localHosts: readonly string[] = [];
  #checks: Check[] = [];
  #out: NetcheckOutput[] = [];

  constructor(options: { mac: Mac; random: RandomBytes }) {
    this.#mac = options.mac;
    this.#random = options.random;
  }

  handle(input: NetcheckInput, now: Millis): void {
    if (input.type === "start") this.#start(input, now);
    else if (input.type === "datagram") this.#answer(input, now);
    for (const check of [...this.#checks]) {
      while (check.at <= now && this.#checks.includes(check)) this.#next(check, now);
    }
  }

  poll(): NetcheckOutput | undefined {
    return this.#out.shift();
  }

  deadline(): Millis | undefined {
    return this.#checks.length === 0 ? undefined : Math.min(...this.#checks.map(({ at }) => at));
  }

  #start(input: Extract<NetcheckInput, { type: "start" }>, now: Millis): void {
    this.#key = input.key;
    this.#localHosts = input.localHosts;
    this.#checks = ([6, 4] as const).flatMap((family) => {
      const [main, second] = input.targets.filter((target) => target.family === family);
      return main
        ? [{
          family,
          main,
          second,
          step: "reaching" as const,
          tries: 0,
          at: now,
          questions: new Map(),
          sizes: [...input.sizes?.[family === 4 ? "v4" : "v6"] ?? []].sort((a, b) => b - a),
          largest: undefined,
          seen: {},
          rtt: undefined,
          otherPortAnswered: false,
        }]
        : [];
    });
  }

  /** Asks once more, or gives the step up. */
  #next(check: Check, now: Millis): void {
    const isSize = check.step === "size";
    const wait = isSize && check.tries >= SIZE_TRIES ? undefined : WAITS_MS[check.tries];
    if (wait === undefined) return this.#stepDone(check, now);
    check.tries++;
    check.at = now + wait;
    if (!isSize) return this.#ask(check, 0, now);
    for (const size of check.sizes) if (size > (check.largest ?? 0)) this.#ask(check, size, now);
  }

  /** One question of so many bytes; 0: as small as can be. */
  #ask(check: Check, size: number, now: Millis): void {
    const txid = this.#random(TXID_BYTES);
    check.questions.set(toHex(txid), { step: check.step, sentAt: now, size });
    const to = check.step === "mapping" ? check.second! : check.main;
    const otherPort = check.step === "filtering";
    const datagram = encodeObserve({ txid, otherPort }, this.#key!, { mac: this.#mac, size });
    this.#out.push({ type: "send", to, datagram });
  }

  #answer(input: Extract<NetcheckInput, { type: "datagram" }>, now: Millis): void {
    if (!this.#key) return;
    const decoded = decodeObserved(input.datagram, { key: this.#key.key, mac: this.#mac });
    if (!decoded.ok) return;
    const txid = toHex(decoded.value.txid);
    for (const check of [...this.#checks]) {
      const question = check.questions.get(txid);
      if (!question) continue;
      check.questions.delete(txid);
      const rtt = now - question.sentAt;
      check.rtt = Math.min(check.rtt ?? rtt, rtt);
      if (question.step === "size") {
        check.largest = Math.max(check.largest ?? 0, question.size);
        if (check.largest < check.sizes[0]!) continue;
      } else if (question.step === "filtering") {
        // An old relay answers from the port that was asked; that proves nothing.
        if (input.from.port === check.main.port) continue;
        check.otherPortAnswered = true;
      } else check.seen[question.step === "reaching" ? "main" : "second"] = decoded.value.address;
      if (question.step === check.step) this.#stepDone(check, now);
    }
  }

  #stepDone(check: Check, now: Millis): void {
    const blocked = check.step === "reaching" && !check.seen.main;
    const rest = blocked ? [] : STEPS.slice(STEPS.indexOf(check.step) + 1);
    const next = rest.find((step) => step === "size" ? check.sizes.length > 0 : check.second);
    if (!next) return this.#report(check);
    check.step = next;
    check.tries = 0;
    check.at = now;
  }

  #report(check: Check): void {
    this.#checks = this.#checks.filter((other) => other !== check);
    const { family, main, second, seen, rtt, largest } = check;
    if (!seen.main) {
      this.#out.push({ type: "report", report: { family, udp: "blocked" } });
      return;
    }
    const observations = [{ target: main, seen: seen.main }];
    if (second && seen.second) observations.push({ target: second, seen: seen.second });
    const mapping = classifyMapping(observations);
    const filtering: FilteringFinding = check.otherPortAnswered
      ? "endpoint-independent or address-dependent"
      : "address-and-port-dependent";
    const report: NetcheckReport = {
      family,
      udp: "open",
      observed: seen.main,
      nat: !this.#localHosts.includes(seen.main.host),
      ...(rtt !== undefined && { rtt }),
      ...(mapping && { mapping }),
      ...(second && { filtering }),
      ...(largest !== undefined && { largest }),
    };
    this.#out.push({ type: "report", report });
  }
}
