import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeSocks5Datagram,
  encodeSocks5Datagram,
  encodeSocks5Reply,
  SOCKS5_REPLY,
  type Socks5Event,
  Socks5Reader,
} from "../../src/ingress/socks5_codec.ts";
import { addressOf, encodeUtf8, fromHex, toHex } from "../../src/core/mod.ts";

const CREDENTIALS = { username: "user", password: "pass" };

function hex(text: string): Uint8Array {
  return fromHex(text.replaceAll(" ", ""))!;
}

/** Everything that a reader says to `bytes`, in chunks ended by the given positions; sent bytes as hex. */
function read(
  bytes: Uint8Array,
  options: { withPassword?: boolean; cuts?: number[] } = {},
): { events: unknown[]; rest: string } {
  const reader = new Socks5Reader(options.withPassword ? { credentials: CREDENTIALS } : {});
  const events: Socks5Event[] = [];
  const cuts = [...(options.cuts ?? []), bytes.length].sort((a, b) => a - b);
  let from = 0;
  for (const to of cuts) {
    reader.push(bytes.subarray(from, to));
    from = to;
    for (let event = reader.poll(); event; event = reader.poll()) events.push(event);
  }
  const shown = events.map((event) =>
    event.type === "send"
      ? toHex(event.bytes)
      : event.type === "refused"
      ? `${toHex(event.bytes)} ${event.reason}`
      : `${event.command} ${event.target.host} ${event.target.port}`
  );
  return { events: shown, rest: toHex(reader.rest) };
}

const NAME = "0b 7765622e706f737465726e 0050"; // web.postern, port 80

Deno.test("Socks5Reader.poll() answers as RFC 1928 says", () => {
  const cases: [client: string, events: string[], rest?: string][] = [
    [`050100 05010003${NAME}`, ["0500", "connect web.postern 80"]],
    [`05020001 05010003${NAME} abcd`, ["0500", "connect web.postern 80"], "abcd"],
    ["050100 05010001 7f000001 01bb", ["0500", "connect 127.0.0.1 443"]],
    [
      "050100 05010004 20010db8000000000000000000000001 0016",
      ["0500", "connect 2001:db8:0:0:0:0:0:1 22"],
    ],
    ["050100 05030001 00000000 0000", ["0500", "udp-associate 0.0.0.0 0"]],
    ["050100 0501000300 0050", ["0500", "connect  80"]],
    [
      `050100 05020003${NAME}`,
      ["0500", "05070001000000000000 Cannot serve a SOCKS5 request as its command is BIND"],
    ],
    [
      `050100 05090003${NAME}`,
      ["0500", "05070001000000000000 Cannot serve a SOCKS5 request as its command is 9"],
    ],
    [
      "050100 05010002",
      ["0500", "05080001000000000000 Cannot serve a SOCKS5 request as its address type is 2"],
      "05010002",
    ],
    ["050102", ["05ff Cannot serve a SOCKS5 client as the client insists on a password"]],
    ["0500", ["05ff Cannot serve a SOCKS5 client as the client insists on a password"]],
    [
      "0401005001020304",
      [" Cannot serve a SOCKS5 client as the client speaks SOCKS4"],
      "0401005001020304",
    ],
    ["47", [" Cannot serve a SOCKS5 client as the client seems to speak HTTP"], "47"],
    ["00", [" Cannot serve a SOCKS5 client as the version is 0, not 5"], "00"],
    ["050100 06", ["0500", " Cannot serve a SOCKS5 client as the version is 6, not 5"], "06"],
    ["", []],
    ["0502 00", [], "050200"],
    ["050100 050100", ["0500"], "050100"],
  ];
  for (const [client, events, rest = ""] of cases) {
    assert.deepEqual(read(hex(client)), { events, rest }, client);
  }
});

Deno.test("Socks5Reader.poll() asks for a password as RFC 1929 says", () => {
  const right = "01 04 75736572 04 70617373";
  const wrong = "Cannot serve a SOCKS5 client as its name or password is wrong";
  const cases: [client: string, events: string[]][] = [
    [`05020002 ${right} 05010003${NAME}`, ["0502", "0100", "connect web.postern 80"]],
    ["050100", ["05ff Cannot serve a SOCKS5 client as the client offers no password"]],
    ["050102 01 04 75736572 04 70617374", ["0502", `0101 ${wrong}`]],
    ["050102 01 04 75736573 04 70617373", ["0502", `0101 ${wrong}`]],
    ["050102 01 00 00", ["0502", `0101 ${wrong}`]],
    ["050102 05", ["0502", "0101 Cannot read a SOCKS5 password as its version is 5, not 1"]],
  ];
  for (const [client, events] of cases) {
    assert.deepEqual(read(hex(client), { withPassword: true }).events, events, client);
  }
});

Deno.test("Socks5Reader.push() says the same however the bytes are cut", () => {
  const talks = [
    `050100 05010003${NAME} 0102`,
    "05020002 01 04 75736572 04 70617373 05030004 20010db8000000000000000000000001 0016",
    "050100 05020001 01020304 0001 ff",
  ].map(hex);
  const bytes = fc.oneof(fc.constantFrom(...talks), fc.uint8Array({ maxLength: 700 }));
  fc.assert(
    fc.property(
      bytes,
      fc.array(fc.nat(60)),
      fc.boolean(),
      fc.boolean(),
      (talk, cuts, withPassword, five) => {
        const input = Uint8Array.from(talk);
        if (five && input.length > 0) input[0] = 5;
        const inside = cuts.filter((cut) => cut < input.length);
        assert.deepEqual(
          read(input, { withPassword, cuts: inside }),
          read(input, { withPassword }),
        );
      },
    ),
    { numRuns: 1_000 },
  );
});

Deno.test("encodeSocks5Reply() names the bound address", () => {
  assert.equal(toHex(encodeSocks5Reply(SOCKS5_REPLY.succeeded)), "05000001000000000000");
  assert.equal(
    toHex(encodeSocks5Reply(SOCKS5_REPLY.succeeded, addressOf("127.0.0.1", 4433))),
    "050000017f0000011151",
  );
  assert.equal(
    toHex(encodeSocks5Reply(SOCKS5_REPLY.succeeded, addressOf("2001:db8::1", 80))),
    "0500000420010db80000000000000000000000010050",
  );
  for (const [host, bytes] of [["::", "00".repeat(16)], ["::1", `${"00".repeat(15)}01`]] as const) {
    assert.equal(toHex(encodeSocks5Reply(0, addressOf(host, 0))), `05000004${bytes}0000`);
  }
});

Deno.test("decodeSocks5Datagram() reads what encodeSocks5Datagram() wrote", () => {
  const host = fc.oneof(
    fc.ipV4(),
    fc.ipV6().map((text) => addressOf(text, 0).host),
    fc.constantFrom("web.postern", "x".repeat(255), "dns.postern."),
  );
  const datagram = fc.record({
    target: fc.record({ host, port: fc.nat(65_535) }),
    payload: fc.uint8Array({ maxLength: 1_200 }),
  });
  fc.assert(fc.property(datagram, ({ target, payload }) => {
    const decoded = decodeSocks5Datagram(encodeSocks5Datagram({ target, payload }));
    assert.ok("ok" in decoded);
    const { target: got, payload: data } = decoded.ok;
    const same = got.host.includes(":") ? addressOf(got.host, 0).host : got.host;
    assert.deepEqual([same, got.port], [target.host, target.port]);
    assert.deepEqual(Uint8Array.from(data), Uint8Array.from(payload));
  }));
  assert.throws(
    () =>
      encodeSocks5Datagram({ target: { host: "x".repeat(256), port: 1 }, payload: encodeUtf8("") }),
    RangeError,
  );
});

Deno.test("decodeSocks5Datagram() drops fragments and takes any bytes", () => {
  assert.deepEqual(decodeSocks5Datagram(hex("000001 01 7f000001 0035 00")), {
    refused: "Cannot read a SOCKS5 datagram as it is a fragment",
  });
  for (const short of ["", "0000", "000000", "00000001", "00000003", "0000000309"]) {
    assert.deepEqual(decodeSocks5Datagram(hex(short)), {
      refused: "Cannot read a SOCKS5 datagram as it is too short",
    }, short);
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    decodeSocks5Datagram(bytes);
    decodeSocks5Datagram(Uint8Array.from([0, 0, 0, ...bytes]));
  }));
});
