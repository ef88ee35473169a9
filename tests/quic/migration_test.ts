import assert from "node:assert/strict";
import { type Address, addressOf } from "../../src/core/mod.ts";
import {
  announce,
  createQuicConfig,
  creditPath,
  migrate,
  type NativePathEvent,
  probePath,
  type QuicConnection,
  QuicEndpoint,
} from "../../src/quic/mod.ts";
import { createTestNetwork } from "../helpers/test_network.ts";
import { memoryEgress, testSettings } from "./pair.ts";

const CLIENT = addressOf("127.0.0.1", 1001);
const SERVER = addressOf("127.0.0.1", 2000);
/** More than a connection has connection ids at first, or may hold at a time by most defaults. */
const CHANGES = 24;

/** A client whose packets the server sees come from `seenAt`, which a test moves about; the server echoes datagrams. */
class Rig implements Disposable {
  readonly client: QuicConnection;
  server!: QuicConnection;
  /** Where a NAT lets the client appear; `undefined`: no NAT. */
  seenAt: Address | undefined;
  /** Sizes of what the server sent to where the client is seen, before it followed. */
  readonly asked: number[] = [];
  /** Something happened to a path at the server. */
  onPath: ((event: NativePathEvent) => void) | undefined;
  readonly #ends = [new QuicEndpoint(), new QuicEndpoint()] as const;
  readonly #established = Promise.withResolvers<void>();
  #echo = Promise.withResolvers<void>();
  #round = 0;
  #over = false;

  private constructor(network: { caPem: string; agent: Identity; connector: Identity }) {
    const { caPem, agent, connector } = network;
    const [client, server] = this.#ends;
    server.listen(() => ({
      config: createQuicConfig(testSettings({ caPem, ...connector })),
      egress: memoryEgress((data, size, from, to) => {
        if (this.#over || (this.seenAt && to.key !== this.seenAt.key)) return;
        if (this.seenAt && this.server.peer.key !== this.seenAt.key) this.asked.push(data.length);
        client.ingest(data, size, from, CLIENT);
        client.batchEnd();
      }),
      handler: (connection) => {
        this.server = connection;
        return {
          datagram: (data) => void connection.sendDatagram(data.slice()),
          path: (event) => this.onPath?.(event),
        };
      },
    }));
    this.client = client.connect({
      config: createQuicConfig(testSettings({ caPem, ...agent })),
      egress: memoryEgress((data, size, from, to) => {
        if (this.#over) return;
        server.ingest(data, size, this.seenAt ?? from, to);
        server.batchEnd();
      }),
      local: CLIENT,
      peer: SERVER,
      serverName: connector.serverName,
      handler: {
        established: () => this.#established.resolve(),
        datagram: ([round]) => {
          if (round === this.#round) this.#echo.resolve();
        },
      },
    });
  }

  static async create(): Promise<Rig> {
    const { caPem, agent, connector } = await createTestNetwork();
    const names = { agent: await agent("alice"), connector: await connector("home") };
    const rig = new Rig({ caPem, ...names });
    await rig.#established.promise;
    return rig;
  }

  /** Resolves when a datagram came back; rejects where none of several does. */
  async echo(): Promise<void> {
    this.#echo = Promise.withResolvers();
    this.#round++;
    let left = 50;
    const ask = () => {
      if (left-- === 0) this.#echo.reject(new Error("Cannot get an answer on this path"));
      else this.client.sendDatagram(Uint8Array.of(this.#round));
    };
    ask();
    const timer = setInterval(ask, 20);
    try {
      await this.#echo.promise;
    } finally {
      clearInterval(timer);
    }
  }

  [Symbol.dispose](): void {
    this.#over = true;
    for (const end of this.#ends) end.close("");
  }
}

interface Identity {
  readonly certPem: string;
  readonly keyPem: string;
  readonly serverName: string;
}

Deno.test("QuicConnection does follow a client whose NAT gives it one address after the other", async () => {
  using rig = await Rig.create();
  for (let change = 0; change < CHANGES; change++) {
    rig.seenAt = addressOf("198.51.100.1", 5000 + change);
    await rig.echo();
    // It answers there at once, and believes it when that address has been validated.
    for (let round = 0; round < 20 && rig.server.peer.key !== rig.seenAt.key; round++) {
      await rig.echo();
    }
    assert.equal(rig.server.peer.key, rig.seenAt.key);
  }
});

Deno.test("migrate() does move a connection to one address of the peer's after the other", async () => {
  using rig = await Rig.create();
  await rig.echo();
  for (let change = 1; change <= CHANGES; change++) {
    const to = addressOf("127.0.0.1", SERVER.port + change);
    assert.ok(probePath(rig.client, CLIENT, to), `no path to the ${change}th address`);
    assert.ok(migrate(rig.client, CLIENT, to), `no move to the ${change}th address`);
    await rig.echo();
    for (let round = 0; round < 20 && rig.server.local.key !== to.key; round++) await rig.echo();
    // The server answers from where it was asked: its end of the path has moved, too.
    assert.equal(rig.server.local.key, to.key);
  }
});

Deno.test("migrate() does come back to a path any number of times", async () => {
  using rig = await Rig.create();
  await rig.echo();
  const other = addressOf("127.0.0.1", SERVER.port + 1);
  for (let change = 0; change < 100; change++) {
    const to = change % 2 === 0 ? other : SERVER;
    if (change === 0) assert.ok(probePath(rig.client, CLIENT, to));
    assert.ok(migrate(rig.client, CLIENT, to));
    await rig.echo();
  }
  assert.equal(rig.server.native.stats().pathsCount, 2);
});

async function until(what: () => boolean, text: string): Promise<void> {
  for (const end = performance.now() + 5_000; !what();) {
    assert.ok(performance.now() < end, `not within 5 s: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

Deno.test("announce() does let a server follow after one question to where a NAT has moved its client", async () => {
  for (const announced of [false, true]) {
    using rig = await Rig.create();
    await rig.echo();
    // What is still to be acknowledged leaves before.
    await new Promise((resolve) => setTimeout(resolve, 50));
    rig.seenAt = addressOf("198.51.100.1", 5000);
    if (announced) announce(rig.client);
    else {
      rig.client.native.sendAckEliciting();
      rig.client.touched();
    }
    await until(() => rig.server.peer.key === rig.seenAt!.key, "the server has followed");
    // Where little came the first question is small, and has to be followed by one of full size.
    assert.equal(rig.asked[0]! >= 1200, announced, rig.asked.join());
  }
});

Deno.test("creditPath() does let a server ask at once, in full size, who has asked with a small packet", async () => {
  for (const credited of [false, true]) {
    using rig = await Rig.create();
    await rig.echo();
    let validated = false;
    rig.onPath = (event) => {
      if (event.type === "Validated") validated = true;
      if (event.type !== "New" || !credited) return;
      const local = addressOf(event.local.host, event.local.port);
      creditPath(rig.server, local, addressOf(event.peer.host, event.peer.port));
    };
    await new Promise((resolve) => setTimeout(resolve, 50));
    rig.seenAt = addressOf("198.51.100.1", 5000);
    // The engine fills it up to full size only while it does not know the path.
    assert.ok(probePath(rig.client, CLIENT, SERVER));
    await until(() => validated, "the path is validated");
    assert.equal(rig.asked[0]! >= 1200, credited, rig.asked.join());
    // What could not be decrypted has done no harm.
    await rig.echo();
  }
});
