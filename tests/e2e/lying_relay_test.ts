/**
 * A relay that lies gets failed handshakes and dropped packets, never a plaintext: not for forwarding to the wrong end,
 * not for swapping ends, replaying or injecting, and not for being an end itself with a certificate of its own making.
 * @module
 */
import assert from "node:assert/strict";
import { encodeFlowHeader } from "../../src/mux/mod.ts";
import { honest, LyingRelay, type Victim } from "./lying_relay.ts";
import { eventually, freePort } from "./scene.ts";
import { exchange, Stage, type StageRole, startLineEcho } from "./stage.ts";

const SECRET = "GET /marker-of-the-secret-page\r\n";

interface Cast {
  readonly stage: Stage;
  readonly relay: LyingRelay;
  readonly connector: StageRole;
  /** The agent comes when the lie is ready, and asks for a tunnel at once. */
  startAgent(): Promise<StageRole>;
  /** The agent's local port. */
  readonly local: number;
}

/** Agent "alice" and connector "home", who know each other, come to a relay that has turned bad. */
async function inBadHands(
  play: (cast: Cast) => Promise<void>,
  options: { before?: (stage: Stage) => Promise<void>; strangers?: boolean } = {},
): Promise<void> {
  await using stage = new Stage();
  const good = await stage.relay().ready();
  const web = startLineEcho(stage, { answer: "home says " });
  const local = freePort();
  const home = await stage.connector({
    invite: await stage.invite("connector", "home"),
    services: { web },
  }).ready();
  const invite = await stage.invite("agent", "alice");
  // The agent would greet the connector at once.
  if (options.strangers) await home.stop();
  const alice = await stage.agent({
    invite,
    forwards: { web: local },
  }).ready();
  if (!options.strangers) {
    assert.equal(
      await exchange(local, SECRET, { wanted: SECRET.length + 10 }),
      `home says ${SECRET}`,
    );
  }
  await options.before?.(stage);
  await alice.stop();
  await home.stop();
  await good.stop();
  const relay = await LyingRelay.takeOver(stage);
  const connector = await stage.connector().ready();
  const startAgent = () => stage.agent().ready();
  await play({ stage, relay, startAgent, connector, local });
}

/** Honest again: everything works, so nobody was harmed for good. */
async function worksAgain({ relay, local }: Cast): Promise<void> {
  relay.lie = honest(relay);
  await eventually(
    "service through an honest relay",
    async () =>
      await exchange(local, "again\n", { wanted: 16 }) === "home says again\n" ? true : undefined,
  );
}

Deno.test("an honest relay carries the traffic: the lies below are what makes the difference", () =>
  inBadHands(async (cast) => {
    await cast.startAgent();
    await worksAgain(cast);
  }));

Deno.test("a tunnel that is forwarded to the wrong connector does not open", () => {
  let touched = 0;
  return inBadHands(async (cast) => {
    const { relay, local, stage } = cast;
    await stage.connector({ state: stage.path("other") }).ready();
    let other: Victim | undefined;
    let agentAsked: Victim | undefined;
    relay.lie = {
      connect: async (asked) => {
        agentAsked = asked.agent;
        const home = await relay.victim("connector", "home");
        other = await relay.victim("connector", "other");
        relay.announce(asked.tunnelId, { connector: other, agent: asked.agent.identity });
        relay.grant(asked, { connector: home.identity });
      },
      sealed: ({ from, whole }) => {
        const to = from.identity.kind === "agent" ? other : agentAsked;
        if (to) relay.raw(to, whole);
      },
    };
    const agent = await cast.startAgent();
    assert.equal(await exchange(local, SECRET), "");
    await agent.logs(/tunnel closed.*its certificate is (another|for connector \\"other\\")/);
    assert.doesNotMatch(agent.text, /tunnel open/);
    assert.equal(touched, 0, "nothing has come to the wrong service");
    await worksAgain(cast);
  }, {
    before: async (stage) => {
      const web = startLineEcho(stage, { answer: "WRONG ", onConnect: () => touched++ });
      const other = await stage.connector({
        state: stage.path("other"),
        invite: await stage.invite("connector", "other"),
        services: { web },
      }).ready();
      await other.stop();
    },
  });
});

Deno.test("a tunnel whose ends are swapped does not open: an agent's packets come back to it", () =>
  inBadHands(async (cast) => {
    const { relay, local } = cast;
    const fair = honest(relay);
    let came = 0;
    relay.lie = {
      connect: fair.connect,
      sealed: ({ from, whole }) => {
        came++;
        relay.raw(from, whole);
      },
    };
    const agent = await cast.startAgent();
    assert.equal(await exchange(local, SECRET, { withinMs: 3_000 }), "");
    assert.ok(came > 0, "the agent tried");
    assert.doesNotMatch(agent.text, /tunnel open/);
    await agent.stop();
    await cast.startAgent();
    await worksAgain(cast);
  }));

Deno.test("an agent that is announced by another's name is refused by the connector", () =>
  inBadHands(async (cast) => {
    const { relay, local, connector } = cast;
    const fair = honest(relay);
    const bob = (await relay.mint("agent", "bob")).identity;
    relay.lie = fair;
    relay.lie.connect = async (asked) => {
      const home = await relay.victim("connector", "home");
      relay.announce(asked.tunnelId, { connector: home, agent: bob });
      relay.grant(asked, { connector: home.identity });
      relay.lie.sealed = ({ from, whole }) =>
        relay.raw(from.identity.kind === "agent" ? home : asked.agent, whole);
    };
    await cast.startAgent();
    assert.equal(await exchange(local, SECRET), "");
    await connector.logs(
      /Cannot trust agent \\"bob\\" as its certificate is for agent \\"alice\\"/,
    );
    await worksAgain(cast);
  }));

Deno.test("replayed sealed datagrams change nothing", () =>
  inBadHands(async (cast) => {
    const { relay, local } = cast;
    const fair = honest(relay);
    const captured: { from: Victim; whole: Uint8Array; id: string; packet: Uint8Array }[] = [];
    relay.lie = {
      connect: fair.connect,
      sealed: (came) => {
        captured.push(came);
        fair.sealed(came);
        // At once, once more; and something older.
        fair.sealed(came);
        fair.sealed(captured[captured.length * 7 % 13 % captured.length]!);
      },
    };
    const text = `${"x".repeat(200_000)}\n`;
    await cast.startAgent();
    assert.equal(await exchange(local, "one\n", { wanted: 14 }), "home says one\n");
    const heard = await exchange(local, text, { wanted: Infinity, withinMs: 2_000 });
    assert.equal(heard.replaceAll("home says ", ""), text, "every byte came, and came once");
    for (const came of captured) fair.sealed(came);
    assert.equal(await exchange(local, "two\n", { wanted: 14 }), "home says two\n");
  }));

Deno.test("injected rubbish changes nothing: random bytes, cut packets, flipped bits", () =>
  inBadHands(async (cast) => {
    const { relay, local } = cast;
    const fair = honest(relay);
    let injected = 0;
    let random = 12345;
    const next = () => random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    const sealed = fair.sealed;
    relay.lie = {
      connect: fair.connect,
      sealed: (came) => {
        const { id, packet } = came;
        const noise = Uint8Array.from({ length: 1 + next() % 1400 }, () => next() >>> 8);
        // Long header and short header, so that it gets as far as it can.
        if (injected % 3 > 0) noise[0] = injected % 3 === 1 ? 0xc0 : 0x40;
        const cut = packet.slice(0, 1 + next() % packet.length);
        const flipped = packet.slice();
        flipped[next() % flipped.length]! ^= 1 << next() % 8;
        for (const end of ["agent", "connector"] as const) {
          const to = relay.known(end, end === "agent" ? "alice" : "home");
          // The first real packet comes first: before it there is no connection that could be disturbed.
          if (!to || injected < 4) continue;
          for (const rubbish of [noise, cut, flipped, new Uint8Array(0)]) {
            relay.seal(to, id, rubbish);
          }
          relay.raw(to, new Uint8Array([0x02, 1, 2, 3]));
        }
        injected++;
        sealed(came);
      },
    };
    await cast.startAgent();
    assert.equal(await exchange(local, "one\n", { wanted: 14 }), "home says one\n");
    const text = `${"y".repeat(500_000)}\n`;
    const heard = await exchange(local, text, { wanted: Infinity, withinMs: 3_000 });
    assert.equal(heard.replaceAll("home says ", ""), text);
    assert.ok(injected > 100, `${injected} packets were accompanied by rubbish`);
  }));

Deno.test("a relay that makes itself a connector's certificate is refused by an agent that knows the connector", () =>
  inBadHands(async (cast) => {
    const { relay, local } = cast;
    const minted = await relay.mint("connector", "home");
    const heard: string[] = [];
    const inside = new Map<string, ReturnType<LyingRelay["impersonateConnector"]>>();
    relay.lie = {
      connect: (asked) => relay.grant(asked, { connector: minted.identity }),
      sealed: ({ from, id, packet }) => {
        const connection = inside.get(id);
        if (connection) return relay.deliver(connection, packet, "agent");
        const first = packet;
        const take = (text: string) => heard.push(text);
        inside.set(id, relay.impersonateConnector(from, { id, minted, first, heard: take }));
      },
    };
    const agent = await cast.startAgent();
    assert.equal(await exchange(local, SECRET), "");
    await agent.logs(
      /Cannot trust connector \\"home\\" as its key has changed since it was first seen/,
    );
    assert.match(agent.text, /postern forget .* connector home/, "it says what to do");
    assert.deepEqual(heard, [], "the relay has read nothing");
    assert.doesNotMatch(agent.text, /tunnel open/);
    await worksAgain(cast);
  }));

Deno.test("an agent that has never met the connector knows its key from the invite", () => {
  return inBadHands(async ({ relay, local, startAgent }) => {
    const minted = await relay.mint("connector", "home");
    const heard: string[] = [];
    relay.lie = {
      connect: (asked) => relay.grant(asked, { connector: minted.identity }),
      sealed: ({ from, id, packet }) => {
        const known = taken.get(id);
        if (known) return relay.deliver(known, packet, "agent");
        const take = (text: string) => heard.push(text);
        const made = relay.impersonateConnector(from, { id, minted, first: packet, heard: take });
        if (made) taken.set(id, made);
      },
    };
    const taken = new Map<string, NonNullable<ReturnType<LyingRelay["impersonateConnector"]>>>();
    const agent = await startAgent();
    assert.equal(await exchange(local, SECRET), "");
    await agent.logs(/Cannot trust connector \\"home\\" as its key has changed/);
    assert.deepEqual(heard, []);
  }, { strangers: true });
});

Deno.test("a relay that makes itself an agent's certificate is refused by a connector that knows the agent", () =>
  inBadHands(async (cast) => {
    const { relay, connector } = cast;
    const minted = await relay.mint("agent", "alice");
    const home = await relay.victim("connector", "home");
    const id = "0123456789abcdef";
    const heard: string[] = [];
    relay.announce(id, { connector: home, agent: minted.identity });
    const request = encodeFlowHeader({ kind: "tcp", service: "web" });
    const { connection, ended } = relay.impersonateAgent(home, {
      id,
      minted,
      request: new Uint8Array([...request, ...new TextEncoder().encode(SECRET)]),
      heard: (text) => heard.push(text),
    });
    const fair = honest(relay);
    relay.lie = {
      connect: fair.connect,
      sealed: (came) =>
        came.id === id ? relay.deliver(connection, came.packet, "connector") : fair.sealed(came),
    };
    assert.match(await ended, /Cannot trust agent "alice" as its key has changed/);
    await cast.startAgent();
    await connector.logs(/error Cannot trust agent \\?"alice\\?" as its key has changed/);
    assert.deepEqual(heard, [], "the service has answered nothing");
    await worksAgain(cast);
  }));
