/**
 * The lab by hand: makes a network, runs commands in it, breaks it.
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { messageOf } from "../../src/core/mod.ts";
import { Lab } from "./lab.ts";
import { checkLab } from "./nat_check.ts";
import {
  type HostName,
  IPV6_KINDS,
  type LabOptions,
  type LinkName,
  type LinkOptions,
  NAT_KINDS,
  type NodeName,
  type Site,
} from "./options.ts";
import { nodesOf, RELAY } from "./plan.ts";
import { labUnavailable } from "./requirements.ts";

const HELP = `Networks to break: relay, agent behind NAT A, connector behind NAT B (root, Linux)

  deno task lab up [--a NAT] [--b NAT] [--v6 KIND] [--delay MS] [--loss PERCENT] [--rate MBIT] [--lan] [--plain]
  deno task lab check                    does the network do what it should?
  deno task lab exec NODE COMMAND...     NODE: agent connector relay natA natB ispA ispB inet
  deno task lab link A|B|R KEY=VALUE...  delayMs jitterMs lossPercent lossBurst duplicatePercent reorderPercent
                                         reorderByMs corruptPercent rateMbit queueKib down (out.KEY, in.KEY: one way)
  deno task lab stats                    what each link carried and lost
  deno task lab rebind A|B               the NAT forgets, and maps to other ports
  deno task lab readdress A|B            the NAT's public address changes
  deno task lab roam HOST                agent or connector moves to its other network, and back
  deno task lab block A|B [UDP-PORT]     | unblock A|B
  deno task lab v6 A|B cut|heal          | direct cut|heal | interface HOST down|up
  deno task lab list                     | down

  --name NAME   which lab (default: lab)
  NAT           ${NAT_KINDS.join(" ")}
  KIND          ${IPV6_KINDS.join(" ")}`;

function oneOf<T extends string>(
  value: string | undefined,
  allowed: readonly T[],
  what: string,
): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) {
    throw new SyntaxError(
      `Cannot use "${value ?? ""}" as ${what}: expected one of ${allowed.join(", ")}`,
    );
  }
  return found;
}

function numberOf(value: string, what: string): number {
  const number = Number(value);
  if (value === "" || !Number.isFinite(number) || number < 0) {
    throw new SyntaxError(
      `Cannot use "${value}" as ${what}: expected a number that is not negative`,
    );
  }
  return number;
}

const site = (value: string | undefined) => oneOf<Site>(value, ["A", "B"], "a site");
const host = (value: string | undefined) =>
  oneOf<Exclude<HostName, "relay">>(value, ["agent", "connector"], "a host that moves");

const SHAPE_KEYS = [
  "delayMs",
  "jitterMs",
  "lossPercent",
  "lossBurst",
  "duplicatePercent",
  "reorderPercent",
  "reorderByMs",
  "corruptPercent",
  "rateMbit",
  "queueKib",
  "down",
] as const;

/** `delayMs=10 out.lossPercent=2 down=1` */
function parseShape(words: readonly string[]): LinkOptions {
  const both: Record<string, unknown> = {};
  for (const word of words) {
    const [name = "", value = ""] = word.split("=");
    const [way, bare] = /^(out|in)\./.test(name) ? name.split(".") : [undefined, name];
    const key = oneOf(bare, SHAPE_KEYS, "a link's property");
    const parsed = key === "down" ? value !== "0" && value !== "false" : numberOf(value, key);
    const target = way ? (both[way] ??= {}) as Record<string, unknown> : both;
    target[key] = parsed;
  }
  return both as LinkOptions;
}

async function up(name: string, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      a: { type: "string", default: "port-restricted" },
      b: { type: "string", default: "port-restricted" },
      v6: { type: "string", default: "firewall" },
      delay: { type: "string", default: "10" },
      loss: { type: "string", default: "0" },
      rate: { type: "string", default: "0" },
      lan: { type: "boolean", default: false },
      plain: { type: "boolean", default: false },
    },
  });
  const options: LabOptions = {
    a: oneOf(values.a, NAT_KINDS, "a NAT"),
    b: oneOf(values.b, NAT_KINDS, "a NAT"),
    v6: oneOf(values.v6, IPV6_KINDS, "a kind of IPv6"),
    link: {
      delayMs: numberOf(values.delay, "a delay"),
      lossPercent: numberOf(values.loss, "a loss"),
      rateMbit: numberOf(values.rate, "a rate"),
    },
    lan: values.lan,
    wire: values.plain ? "plain" : "emulated",
    detached: true,
  };
  const lab = await Lab.create(options, { id: name });
  console.log(`lab "${name}" is ready: relay ${RELAY.v4[0]} and ${RELAY.v6[0]}`);
  for (const each of ["agent", "connector"] as const) {
    const { v4, v6, publicV4 } = lab.addresses(each);
    console.log(`  ${each}: ${v4}, seen as ${publicV4}${v6 ? `, and ${v6}` : ""}`);
  }
  console.log("next: deno task lab exec agent ping -c3 " + RELAY.v4[0]);
}

async function check(lab: Lab): Promise<number> {
  const findings = await checkLab(lab);
  for (const { what, expected, found, ok } of findings) {
    console.log(`${ok ? "ok   " : "WRONG"} ${what}: ${found}${ok ? "" : `, expected ${expected}`}`);
  }
  return findings.every(({ ok }) => ok) ? 0 : 1;
}

async function exec(lab: Lab, [node, command, ...args]: string[]): Promise<number> {
  const at = oneOf<NodeName>(node, nodesOf(lab.options), "a node");
  if (command === undefined) throw new SyntaxError("Cannot run nothing: expected a command");
  const child = lab.spawn(at, command, args, {
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  });
  return (await child.status).code;
}

/** Verbs on a lab that exists. */
const VERBS: Record<string, (lab: Lab, args: string[]) => Promise<number | void>> = {
  check,
  exec,
  link: (lab, [link, ...words]) =>
    lab.setLink(oneOf<LinkName>(link, ["A", "B", "R"], "a link"), parseShape(words)),
  stats: async (lab) => console.table(Object.fromEntries(await lab.linkCounters())),
  rebind: (lab, [at]) => lab.rebind(site(at)),
  readdress: (lab, [at]) => lab.changeAddress(site(at)),
  roam: (lab, [who]) => lab.roam(host(who)),
  block: (lab, [at, port]) =>
    lab.blockUdp(site(at), port === undefined ? {} : { port: numberOf(port, "a port") }),
  unblock: (lab, [at]) => lab.unblockUdp(site(at)),
  v6: (lab, [at, what]) =>
    oneOf(what, ["cut", "heal"], "what to do") === "cut"
      ? lab.dropV6(site(at))
      : lab.restoreV6(site(at)),
  direct: (lab, [what]) =>
    oneOf(what, ["cut", "heal"], "what to do") === "cut" ? lab.cutDirect() : lab.healDirect(),
  interface: (lab, [who, what]) =>
    oneOf(what, ["down", "up"], "what to do") === "down"
      ? lab.interfaceDown(host(who))
      : lab.interfaceUp(host(who)),
  down: (lab) => lab.destroy(),
};

async function main(argv: string[]): Promise<number> {
  const args = [...argv];
  let name = "lab";
  // Only in front of the verb or right behind it: what follows may be somebody else's command line.
  const takeName = (at: number) => {
    if (args[at] === "--name" && args[at + 1] !== undefined) name = args.splice(at, 2)[1]!;
  };
  takeName(0);
  takeName(1);
  const verb = args.shift();
  if (verb === undefined || verb === "help" || verb === "--help") {
    console.log(HELP);
    return verb === undefined ? 2 : 0;
  }
  if (!/^[a-z0-9]{1,12}$/.test(name)) {
    throw new SyntaxError(`Cannot name a lab "${name}": expected 1 to 12 of a-z and 0-9`);
  }
  const reason = labUnavailable();
  if (reason !== undefined) throw new Error(`Cannot make networks here as ${reason}`);
  if (verb === "up") {
    await up(name, args);
    return 0;
  }
  if (verb === "list") {
    for (const { id, options } of await Lab.list()) console.log(id, JSON.stringify(options));
    return 0;
  }
  const run = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
  if (!run) throw new SyntaxError(`Cannot do "${verb}": see deno task lab help`);
  return await run(await Lab.attach(name), args) ?? 0;
}

if (import.meta.main) {
  try {
    process.exitCode = await main(Deno.args);
  } catch (error) {
    console.error(messageOf(error));
    const wrongUse = error instanceof SyntaxError ||
      (error instanceof Error && "code" in error &&
        String(error.code).startsWith("ERR_PARSE_ARGS"));
    process.exitCode = wrongUse ? 2 : 1;
  }
}
