/**
 * A relay that lies gets failed handshakes and dropped packets, never a plaintext: not for forwarding to the wrong end,
 * not for swapping ends, replaying or injecting, and not for being an end itself with a certificate of its own making.
 * @module
 */
import assert from "node:assert/strict";
import { concatBytes, decodeUtf8, encodeUtf8 } from "../../src/core/mod.ts";
import { decodeFlowAnswer, encodeFlowHeader } from "../../src/mux/mod.ts";
import { honest, LyingRelay, type Victim } from "./lying_relay.ts";
import { eventually, freePort } from "./scene.ts";
import { exchange, Stage, type StageRole, startLineEcho } from "./stage.ts";

const SECRET = "GET /marker-of-the-secret-page\r\n";

/** Open, and not only in the hope that the other end is the one that gave the ticket: nobody else can read what goes early. */
const OPEN = /tunnel open .*"early":false/;

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
  try {
    await play({ stage, relay, startAgent, connector, local });
  } catch (error) {
    console.error(stage.logs());
    throw error;
  }
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
    assert.doesNotMatch(agent.text, OPEN);
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
    assert.equal(await exchange(local, SECRET, { withinMs: 1_000 }), "");
    assert.ok(came > 0, "the agent tried");
    assert.doesNotMatch(agent.text, OPEN);
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
    const heard = await exchange(local, text, { end: true });
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
          // The first real packets come first: before them there is no connection that could be disturbed.
          if (!to || injected < 4) continue;
          for (const rubbish of [noise, cut, flipped, new Uint8Array(0)]) {
            relay.seal(to, id, rubbish);
          }
          relay.raw(to, new Uint8Array([0x02, 1, 2, 3]));
        }
        if (relay.ends.has(id)) injected++;
        sealed(came);
      },
    };
    await cast.startAgent();
    assert.equal(await exchange(local, "one\n", { wanted: 14 }), "home says one\n");
    const text = `${"y".repeat(500_000)}\n`;
    const heard = await exchange(local, text, { end: true });
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
    assert.doesNotMatch(agent.text, OPEN);
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
      requests: [new Uint8Array([...request, ...new TextEncoder().encode(SECRET)])],
      heard: (bytes) => heard.push(decodeUtf8(bytes)),
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

Deno.test("the connector denies by itself what its agent was not granted, what it does not offer, and what is no name", () =>
  inBadHands(async (cast) => {
    const { relay, connector } = cast;
    const minted = await relay.mint("agent", "bob");
    const home = await relay.victim("connector", "home");
    const id = "0123456789abcdef";
    relay.announce(id, { connector: home, agent: minted.identity, services: ["web", "nowhere"] });
    const header = (service: string) => encodeFlowHeader({ kind: "tcp", service });
    const raw = (length: number, name: string) =>
      concatBytes(new Uint8Array([1, 1, 0, length]), encodeUtf8(name));
    // In each, what follows the header must reach nobody.
    const asked: readonly (readonly [Uint8Array, string, RegExp?])[] = [
      [header("ssh"), "not-granted", /agent "bob" is not granted it/],
      [header("nowhere"), "unknown-service", /connector "home" does not offer it/],
      [encodeFlowHeader({ kind: "udp", service: "web" }), "wrong-kind|unknown-service"],
      [raw(13, "../etc/passwd"), "malformed", /not of a-z, 0-9 and -/],
      [raw(4, "web\0"), "malformed"],
      [raw(3, "WEB"), "malformed"],
      [raw(64, "w".repeat(64)), "malformed", /64 bytes is not 1 to 63/],
      [raw(255, "w".repeat(255)), "malformed"],
      [raw(0, ""), "malformed"],
      [new Uint8Array([9, 1, 0, 3]), "malformed", /flow version 9/],
      [new Uint8Array([1, 7, 0, 3]), "malformed", /flow kind 7/],
      [header("web"), "open"],
    ];
    const heard = asked.map((): Uint8Array => new Uint8Array(0));
    const { connection } = relay.impersonateAgent(home, {
      id,
      minted,
      requests: asked.map(([request]) => concatBytes(request, encodeUtf8("x"))),
      heard: (bytes, flow) => heard[flow] = concatBytes(heard[flow]!, bytes),
    });
    relay.lie = {
      connect: () => {},
      sealed: (came) => came.id === id && relay.deliver(connection, came.packet, "connector"),
    };
    await eventually(
      "an answer to each",
      () => heard.every((bytes) => decodeFlowAnswer(bytes).state === "done") ? true : undefined,
      {
        withinMs: 10_000,
      },
    );
    for (const [index, [, wanted, words]] of asked.entries()) {
      const answer = decodeFlowAnswer(heard[index]!);
      assert.ok(answer.state === "done");
      const got = answer.value.open ? "open" : answer.value.refusal;
      assert.ok(wanted.split("|").includes(got), `flow ${index}: ${got}, not ${wanted}`);
      if (words && !answer.value.open) assert.match(answer.value.message, words);
    }
    connection.close(0, "that was all");
    await connector.logs(/that was all/);
    assert.match(connector.text, /flow refused.*"service":"ssh","agent":"bob"/);
    assert.equal(connector.ended, false);
  }));
