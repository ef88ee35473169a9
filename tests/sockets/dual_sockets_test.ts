import assert from "node:assert/strict";
import { UserError } from "../../src/core/mod.ts";
import { openDualSockets, openUdpSocket } from "../../src/sockets/mod.ts";

Deno.test("openDualSockets() gives two sockets with two ports", () => {
  const dual = openDualSockets();
  assert.notEqual(dual.relay.local.port, dual.p2p.local.port);
  dual.close();
  dual.close();
});

Deno.test("openDualSockets() binds the ports asked for, and frees both when one cannot be had", () => {
  const first = openDualSockets();
  const relayPort = first.relay.local.port;
  const p2pPort = first.p2p.local.port;
  first.close();
  const taken = openUdpSocket({ port: p2pPort });
  try {
    assert.throws(() => openDualSockets({ relayPort, p2pPort }), (error) => {
      assert.ok(error instanceof UserError);
      assert.equal(
        error.message,
        `Cannot use UDP port ${p2pPort} for --p2p-port as another program uses it`,
      );
      assert.match(error.next!, /--p2p-port/);
      return true;
    });
    assert.throws(() => openDualSockets({ relayPort: p2pPort }), /for --relay-port as another/);
  } finally {
    taken.close();
  }
  const again = openDualSockets({ relayPort, p2pPort });
  assert.equal(again.relay.local.port, relayPort);
  assert.equal(again.p2p.local.port, p2pPort);
  again.close();
});

Deno.test("openDualSockets() refuses one port for both", () => {
  assert.throws(() => openDualSockets({ relayPort: 4000, p2pPort: 4000 }), UserError);
});
