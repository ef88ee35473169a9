/**
 * A download through the real program while the network changes under it: it goes on within three seconds, and not a byte may be
 * lost, added or altered.
 * @module
 */
import assert from "node:assert/strict";
import { Download } from "./download.ts";
import { Lab } from "./lab.ts";
import { PosternInLab } from "./postern_in_lab.ts";
import { findCommand, skipLab } from "./requirements.ts";

const ignore = skipLab("tests/lab/changes_test.ts") || findCommand("curl") === undefined;

/** Long enough on these links that the change comes while it runs. */
const BYTES = 12_000_000;
/** Bytes that have arrived when the change comes. */
const CHANGE_AT = 2_000_000;
/** Without a byte, in milliseconds. */
const MAX_STALL_MS = 3_000;
/** How long a link is dead. */
const OUTAGE_MS = 2_000;

/** What happens to the network. */
interface Change {
  readonly name: string;
  readonly happen: (lab: Lab) => Promise<void>;
  /** For so long nothing can come, in milliseconds. @default 0 */
  readonly outageMs?: number;
  /** On which paths the tunnel runs before. @default direct */
  readonly paths?: readonly ("direct" | "relayed")[];
}

const DIRECT: Change["paths"] = ["direct"];
const BOTH: Change["paths"] = ["direct", "relayed"];

const CHANGES: readonly Change[] = [
  { name: "the agent's NAT rebinds", happen: (lab) => lab.rebind("A") },
  { name: "the connector's NAT rebinds", happen: (lab) => lab.rebind("B") },
  { name: "the agent's public address changes", happen: (lab) => lab.changeAddress("A") },
  ...(["agent", "connector"] as const).flatMap((host): Change[] => [
    {
      name: `the ${host} roams to another network`,
      happen: (lab: Lab) => lab.roam(host),
      paths: BOTH,
    },
    {
      name: `the ${host} roams from IPv4 and IPv6 to IPv6 only`,
      happen: (lab: Lab) => lab.roam(host, { v4: false }),
    },
    {
      name: `the ${host} roams from IPv4 and IPv6 to IPv4 only`,
      happen: (lab: Lab) => lab.roam(host, { v6: false }),
      paths: BOTH,
    },
  ]),
  { name: "everything between the sites is cut", happen: (lab) => lab.cutDirect() },
  {
    name: "the agent's link is dead for two seconds",
    happen: async (lab) => {
      await lab.setLink("A", { down: true });
      await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
      await lab.setLink("A", { down: false });
    },
    outageMs: OUTAGE_MS,
  },
];

const stalls: { change: string; path: string; longestStallMs: number }[] = [];

for (const { name, happen, outageMs = 0, paths = DIRECT } of CHANGES) {
  for (const path of paths) {
    Deno.test({
      name: `a ${path} download goes on and loses nothing when ${name}`,
      ignore,
      async fn() {
        // The bottleneck is where direct and relayed packets pass alike.
        await using lab = await Lab.create({ link: { delayMs: 10 }, linkB: { rateMbit: 30 } });
        const words = path === "relayed" ? ["--no-direct"] : [];
        const flags = { agent: words, connector: words };
        await using postern = await PosternInLab.start(lab, { flags });
        try {
          await postern.curl("/");
          await postern.untilPath(path);
          const download = new Download(postern, BYTES);
          await download.reaches(CHANGE_AT);
          const stall = download.longestStall();
          await happen(lab);
          await download.isWhole();
          const longestStallMs = await stall;
          stalls.push({ change: name, path, longestStallMs });
          assert.ok(
            longestStallMs < outageMs + MAX_STALL_MS,
            `${longestStallMs} ms without a byte`,
          );
        } catch (error) {
          console.error(postern.logs());
          throw error;
        }
      },
    });
  }
}

Deno.test.afterAll(() => {
  if (stalls.length > 0) console.table(stalls);
});
