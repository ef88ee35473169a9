import assert from "node:assert/strict";
import { listenUdpForward, type UdpForwardOptions } from "../../src/ingress/mod.ts";
import { SILENT_LOGGER, UserError } from "../../src/core/mod.ts";
import { FakeUdpOpener } from "./fake_opener.ts";

function start(options: Partial<UdpForwardOptions> = {}) {
  const opener = new FakeUdpOpener({});
  const stop = new AbortController();
  const warnings: string[] = [];
  const forward = listenUdpForward({
    service: "dns",
    at: { host: "127.0.0.1", port: 0 },
    open: opener,
    log: { ...SILENT_LOGGER, warn: (message) => warnings.push(message) },
    signal: stop.signal,
    ...options,
  });
  return { opener, forward, stop, warnings };
}

/** A local application: asks, and gets the next answer. */
function client(port: number) {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const to = { transport: "udp", hostname: "127.0.0.1", port } as const;
  return {
    send: (text: string) => socket.send(new TextEncoder().encode(text), to),
    answer: async () => new TextDecoder().decode((await socket.receive())[0]),
    close: () => socket.close(),
  };
}

async function settled(condition: () => boolean) {
  for (let i = 0; i < 400 && !condition(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(condition());
}

Deno.test("listenUdpForward() gives each peer a flow of its own, and its answers to it alone", async () => {
  const { opener, forward, stop } = start();
  const [one, two] = [client(forward.address.port), client(forward.address.port)];
  await one.send("from one");
  await two.send("from two");
  assert.equal(await one.answer(), "FROM ONE");
  assert.equal(await two.answer(), "FROM TWO");
  await one.send("again");
  assert.equal(await one.answer(), "AGAIN");
  assert.equal(opener.flows.length, 2);
  assert.equal(forward.connections, 2);
  stop.abort();
  await forward.finished;
  assert.equal(opener.closed, 2);
  one.close();
  two.close();
});

Deno.test("listenUdpForward() opens a new flow for a peer whose flow has ended", async () => {
  const { opener, forward, stop } = start();
  const one = client(forward.address.port);
  await one.send("a");
  assert.equal(await one.answer(), "A");
  opener.flows[0]!.onClose?.("nothing was sent for too long");
  assert.equal(forward.connections, 0);
  await one.send("b");
  assert.equal(await one.answer(), "B");
  assert.equal(opener.flows.length, 2);
  stop.abort();
  one.close();
});

Deno.test("listenUdpForward() asks once a second for a service that is refused", async () => {
  const { opener, forward, stop, warnings } = start({ service: "other" });
  const one = client(forward.address.port);
  for (let i = 0; i < 20; i++) await one.send("a");
  await settled(() => warnings.length > 0);
  assert.deepEqual(opener.opened, ["other"]);
  await settled(() => forward.connections === 0);
  await one.send("b");
  await settled(() => opener.opened.length === 2);
  stop.abort();
  one.close();
});

Deno.test("listenUdpForward() makes room for a new peer by the one that was quiet longest", async () => {
  const { opener, forward, stop } = start({ maxPeers: 2 });
  const [one, two, three] = [1, 2, 3].map(() => client(forward.address.port));
  await one!.send("a");
  await one!.answer();
  await two!.send("b");
  await two!.answer();
  await three!.send("too early");
  await new Promise((resolve) => setTimeout(resolve, 2_100));
  await two!.send("b");
  await two!.answer();
  await three!.send("c");
  assert.equal(await three!.answer(), "C");
  assert.equal(opener.flows.length, 3);
  assert.equal(opener.closed, 1);
  assert.equal(forward.connections, 2);
  stop.abort();
  for (const each of [one, two, three]) each!.close();
});

Deno.test("listenUdpForward() says which port is in use", () => {
  const taken = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  assert.throws(() => start({ at: { host: "127.0.0.1", port } }), (error: Error) => {
    assert.ok(error instanceof UserError);
    assert.match(error.message, new RegExp(`^Cannot listen on UDP 127.0.0.1:${port} for "dns"`));
    assert.match(error.next ?? "", /dns=udp:/);
    return true;
  });
  taken.close();
});
