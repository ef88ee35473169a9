/**
 * Prints what the simulated matrix comes to: `deno run -A tests/sim/figures.ts [SEEDS]`.
 * @module
 */
import { attempt, createWorld, NAT_KINDS, type WorldOptions } from "./world.ts";

const DIRECT_RTT_MS = 40;
const seeds = Number(Deno.args[0] ?? 100);

function row(name: string, options: Omit<WorldOptions, "seed">): void {
  const proven: number[] = [];
  const direct: number[] = [];
  let packets = 0;
  let why = "";
  for (let seed = 1; seed <= seeds; seed++) {
    const world = createWorld({ ...options, seed });
    const result = attempt(world, { limit: 6000 });
    packets = Math.max(packets, result.packets);
    if (result.direct) {
      proven.push(result.provenAfter ?? 0);
      direct.push(result.directAfter ?? 0);
    } else why = [...world.agent.outcomes].map(([family, word]) => `v${family} ${word}`).join(", ");
  }
  const at = (list: number[], share: number) =>
    list.sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];
  const rounds = (ms: number | undefined) =>
    ms === undefined ? "-" : (ms / DIRECT_RTT_MS).toFixed(1);
  const cells = [
    name.padEnd(44),
    `${proven.length}/${seeds}`.padStart(9),
    rounds(at(proven, 0.5)).padStart(7),
    rounds(at(proven, 0.95)).padStart(7),
    `${Math.round(at(direct, 0.5) ?? 0)}`.padStart(7),
    `${Math.round(at(direct, 0.95) ?? 0)}`.padStart(7),
    `${packets}`.padStart(8),
    `  ${why}`,
  ];
  console.log(cells.join(""));
}

console.log(
  "pair".padEnd(44) +
    "   direct  rounds     p95  ms p50  ms p95 packets   why not",
);
for (const [i, a] of NAT_KINDS.entries()) {
  for (const b of NAT_KINDS.slice(i)) {
    row(`${a} x ${b}`, { agent: a, connector: b });
    if (a !== b) row(`${b} x ${a}`, { agent: b, connector: a });
  }
}
const strict = { agent: "port-restricted", connector: "port-restricted" } as const;
row("blocked x blocked, IPv6 firewalls", {
  agent: "blocked",
  connector: "blocked",
  v6: "firewall",
});
row("port-restricted x same, 2 % loss", { ...strict, link: { loss: 0.02 } });
row("port-restricted x same, 2 % loss, IPv6", { ...strict, v6: "firewall", link: { loss: 0.02 } });
row("port-restricted x same, 10 % loss", { ...strict, link: { loss: 0.1 } });
row("port-restricted x same, jitter 15 ms", { ...strict, link: { jitter: 15 } });
row("port-restricted x symmetric, 2 % loss", {
  agent: "port-restricted",
  connector: "symmetric",
  link: { loss: 0.02 },
});
