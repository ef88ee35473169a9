/**
 * The relay reads nothing: what passes it is recorded, and none of what the application says is in it. (Why it could not
 * open a tunnel even if it wanted to is the house rule "blind-relay".)
 * @module
 */
import assert from "node:assert/strict";
import { fromHex } from "../../src/core/mod.ts";
import { holds, WireTap } from "./wire_tap.ts";
import { freePort } from "./scene.ts";
import { exchange, Stage, startLineEcho } from "./stage.ts";

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("nothing that the application says passes the relay in the clear", async () => {
  await using stage = new Stage();
  const tap = new WireTap(stage, freePort());
  const at = { host: "127.0.0.1", port: tap.port };
  const relay = await stage.relay({ public: [at] }).ready();
  const web = startLineEcho(stage, {
    answer: "HTTP/1.1 200 OK\r\nset-cookie: session=2f9c\r\n\r\n",
  });
  const local = freePort();
  const homeToken = await stage.invite("connector", "home");
  await stage.connector({ invite: homeToken, services: { web } }).ready();
  const aliceToken = await stage.invite("agent", "alice");
  await stage.agent({ invite: aliceToken, forwards: { web: local } }).ready();

  const body = "the-secret-marker-in-the-body ".repeat(20_000);
  const request = `POST /the-secret-path HTTP/1.1\r\nhost: private.example\r\n\r\n${body}`;
  const heard = await exchange(local, request, { end: true });
  assert.match(heard, /session=2f9c/);
  assert.equal(
    heard.replaceAll(/HTTP\/1.1 200 OK\r\nset-cookie: session=2f9c\r\n\r\n/g, ""),
    request,
  );

  // It has all gone by here, and what is not secret is found, so that the search can be believed.
  assert.ok(tap.bytes > 2 * body.length, `${tap.bytes} bytes went by, both ways`);
  const status = await relay.status();
  assert.ok(status.role === "relay" && status.tunnels.length > 0);
  assert.ok(status.forwarded.bytes > 2 * body.length, "the relay has forwarded them");
  assert.ok(tap.count(fromHex(status.tunnels[0]!.id)!) > 400, "the tunnel's id stands in the open");
  for (
    const secret of [
      "secret",
      "HTTP/1.1",
      "POST /",
      "private.example",
      "session=2f9c",
      "marker-in",
      // Nor who talks to whom about what, nor what would let somebody in.
      "alice",
      "PRIVATE KEY",
      homeToken.slice(20, 60),
      aliceToken.slice(20, 60),
    ]
  ) {
    assert.equal(tap.count(encode(secret)), 0, `"${secret}" went by in the clear`);
  }
});

Deno.test("holds() finds what is there", () => {
  assert.ok(holds(encode("xxabcabd"), encode("abd")));
  assert.ok(!holds(encode("xxabcab"), encode("abd")));
});

Deno.test("the relay keeps no key of its clients, and nobody else may read what it keeps", async () => {
  await using stage = new Stage();
  const relay = await stage.relay().ready();
  const { home, alice, local } = await stage.join();
  assert.equal(await exchange(local, "hello\n"), "hello\n");
  const keys: string[] = [];
  for (const { state } of [home, alice]) {
    const identity = JSON.parse(await Deno.readTextFile(`${state}/identity.json`));
    const pem = identity.privateKey as string;
    // The second line, as every key of this kind begins alike.
    keys.push(pem.split("\n")[2]!.slice(0, 40));
  }
  for await (const { name, isFile } of Deno.readDir(relay.state)) {
    if (!isFile) continue;
    const data = await Deno.readFile(`${relay.state}/${name}`);
    for (const key of keys) assert.ok(!holds(data, encode(key)), `${name} holds a client's key`);
    if (Deno.build.os !== "windows") {
      const { mode } = await Deno.stat(`${relay.state}/${name}`);
      assert.equal(mode! & 0o077, 0, `${name} can be read by others`);
    }
  }
});
