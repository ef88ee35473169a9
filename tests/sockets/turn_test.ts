import assert from "node:assert/strict";
import { LoopTurn } from "../../src/sockets/mod.ts";

Deno.test("LoopTurn.next() lets a waiting socket go on within one turn", async () => {
  const options = { hostname: "127.0.0.1", port: 0, transport: "udp" } as const;
  const receiver = Deno.listenDatagram(options);
  const sender = Deno.listenDatagram(options);
  const turn = new LoopTurn();
  await turn.next();
  for (let round = 0; round < 20; round++) {
    let got = false;
    const received = receiver.receive().then(() => got = true);
    await sender.send(Uint8Array.of(1), receiver.addr);
    // The first one may have been under way already when the datagram was sent.
    await turn.next();
    await turn.next();
    assert.ok(got, `round ${round}`);
    await received;
  }
  turn.close();
  receiver.close();
  sender.close();
});

Deno.test("LoopTurn.next() is shared by all, and goes on when closed", async () => {
  const a = new LoopTurn();
  const b = new LoopTurn();
  const waits = [a.next(), b.next(), a.next()];
  assert.equal(waits[0], waits[1]);
  a.close();
  a.close();
  await Promise.all(waits);
  await b.next();
  const last = b.next();
  b.close();
  await last;
  await a.next();
  const again = new LoopTurn();
  await again.next();
  again.close();
});
