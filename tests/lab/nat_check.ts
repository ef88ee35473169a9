/**
 * Does the lab do what it says? Finds out with plain UDP sockets, and says what each kind of NAT has to do.
 * @module
 */
import type { Lab } from "./lab.ts";
import type { Behaviour, Punched } from "./nat_probe.ts";
import type { HostName, Ipv6Kind, NatKind, Site } from "./options.ts";
import { splitNat } from "./plan.ts";

const PROBE = new URL("nat_probe.ts", import.meta.url).pathname;
const RUN = ["run", "-A", "--no-check", "--no-config", "--unstable-net"];

/** What a kind of NAT has to do over IPv4. */
export function expectedBehaviour(kind: NatKind): Pick<Behaviour, "mapping" | "filtering"> {
  const { inner, cgnat } = splitNat(kind);
  if (inner === "udp-blocked") return { mapping: "blocked", filtering: "blocked" };
  const mapping = inner === "symmetric" ? "APDM" : "EIM";
  // The provider's NAT is port-restricted, and what it drops nobody behind it sees.
  if (cgnat) return { mapping, filtering: "APDF" };
  const filtering = inner === "none" || inner === "full-cone"
    ? "EIF"
    : inner === "restricted"
    ? "ADF"
    : "APDF";
  return { mapping, filtering };
}

/** What IPv6 has to do at a site. */
export function expectedV6(
  kind: NatKind,
  v6: Ipv6Kind,
  site: Site,
): Pick<Behaviour, "mapping" | "filtering"> {
  const letter = site.toLowerCase();
  if (v6 === "off" || v6 === `broken-${letter}` || v6 === `absent-${letter}`) {
    return { mapping: "blocked", filtering: "blocked" };
  }
  if (kind === "udp-blocked") return { mapping: "blocked", filtering: "blocked" };
  return { mapping: "EIM", filtering: v6 === "open" ? "EIF" : "APDF" };
}

/**
 * Can two plain sockets meet that know each other's observed address and do nothing clever? Each side's first
 * datagrams open its own filter; what arrives shows where to answer.
 */
export function canPunch(a: NatKind, b: NatKind): boolean {
  const [x, y] = [expectedBehaviour(a), expectedBehaviour(b)];
  if (x.mapping === "blocked" || y.mapping === "blocked") return false;
  // The one whose port cannot be foretold must be let in by address alone.
  if (x.mapping === "APDM" && y.filtering === "APDF") return false;
  if (y.mapping === "APDM" && x.filtering === "APDF") return false;
  return true;
}

async function answerOf<T>(lab: Lab, host: HostName, args: string[]): Promise<T> {
  const { code, stdout, stderr } = await lab.exec(host, Deno.execPath(), [...RUN, PROBE, ...args]);
  if (code !== 0) throw new Error(`Cannot probe from ${host}: ${stderr.trim()}`);
  return JSON.parse(stdout);
}

/** Runs `work` while the reflector answers on the lab's relay. */
export async function withReflector<T>(lab: Lab, work: () => Promise<T>): Promise<T> {
  const reflector = lab.spawn("relay", Deno.execPath(), [...RUN, PROBE, "reflect"], {
    stdout: "piped",
    stderr: "inherit",
  });
  const reader = reflector.stdout.getReader();
  try {
    const { value } = await reader.read();
    if (!value) throw new Error("Cannot start the reflector on the relay");
    return await work();
  } finally {
    await reader.cancel();
    try {
      reflector.kill("SIGKILL");
    } catch {
      // Ended already.
    }
    await reflector.status;
  }
}

/** What a host's NAT (IPv4) or firewall (IPv6) does. Needs {@linkcode withReflector}. */
export function classify(lab: Lab, host: HostName, family: 4 | 6): Promise<Behaviour> {
  return answerOf(lab, host, ["classify", String(family)]);
}

/**
 * How the relay sees a local UDP port of a host, as `host|port`; `null` where nothing gets through or comes back.
 * Needs {@linkcode withReflector}.
 */
export function observe(
  lab: Lab,
  host: "agent" | "connector",
  { port, family = 4 }: { port: number; family?: 4 | 6 },
): Promise<string | null> {
  return answerOf(lab, host, ["observe", String(family), String(port)]);
}

/** Lets agent and connector meet by plain hole punching. Needs {@linkcode withReflector}. */
export async function punch(
  lab: Lab,
  family: 4 | 6,
): Promise<{ agent: Punched; connector: Punched }> {
  const [agent, connector] = await Promise.all([
    answerOf<Punched>(lab, "agent", ["punch", String(family), "agent"]),
    answerOf<Punched>(lab, "connector", ["punch", String(family), "connector"]),
  ]);
  return { agent, connector };
}

/** One line of what the lab was asked for and what it does. */
export interface LabFinding {
  readonly what: string;
  readonly expected: string;
  readonly found: string;
  readonly ok: boolean;
}

/** Compares everything that the lab promises about its NATs with what plain sockets find. */
export async function checkLab(lab: Lab): Promise<LabFinding[]> {
  const { a = "port-restricted", b = "port-restricted", v6 = "firewall", lan } = lab.options;
  const findings: LabFinding[] = [];
  const compare = (what: string, expected: string, found: string) => {
    findings.push({ what, expected, found, ok: expected === found });
  };
  const words = ({ mapping, filtering }: Pick<Behaviour, "mapping" | "filtering">) =>
    `${mapping}/${filtering}`;
  await withReflector(lab, async () => {
    const sites = [["agent", a, "A"], ["connector", lan ? a : b, lan ? "A" : "B"]] as const;
    const found = await Promise.all(sites.flatMap(([host]) => [
      classify(lab, host, 4),
      classify(lab, host, 6),
    ]));
    sites.forEach(([host, kind, site], index) => {
      const [four, six] = [found[2 * index]!, found[2 * index + 1]!];
      compare(`${host} IPv4`, words(expectedBehaviour(kind)), words(four));
      compare(`${host} IPv6`, words(expectedV6(kind, v6, site)), words(six));
      if (four.observed !== null) {
        compare(`${host} public`, lab.addresses(host).publicV4, four.observed.split("|")[0]!);
      }
      if (four.mapping === "EIM") {
        compare(`${host} keeps its port`, String(kind === "none"), String(four.keepsPort));
      }
    });
    if (lan) return;
    const [four, six] = await Promise.all([punch(lab, 4), punch(lab, 6)]);
    const meets = (p: { agent: Punched; connector: Punched }) =>
      String(p.agent.direct && p.connector.direct);
    compare("plain punching over IPv4", String(canPunch(a, b)), meets(four));
    const both = [expectedV6(a, v6, "A"), expectedV6(b, v6, "B")];
    compare(
      "plain punching over IPv6",
      String(both.every(({ mapping }) => mapping !== "blocked")),
      meets(six),
    );
  });
  return findings;
}
