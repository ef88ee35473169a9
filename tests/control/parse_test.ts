import assert from "node:assert/strict";
import fc from "fast-check";
import { MAX_SERVICES } from "../../src/control/fields.ts";
import { encodeMessage } from "../../src/control/framing.ts";
import { MessageReader, parseClientMessage, parseRelayMessage } from "../../src/control/parse.ts";
import { concatBytes } from "../../src/core/mod.ts";
import { CLIENT_SAMPLES, RELAY_SAMPLES } from "./samples.ts";

/** Both directions, tested alike. */
const DIRECTIONS = [
  { parse: parseClientMessage, samples: CLIENT_SAMPLES as Record<string, object> },
  { parse: parseRelayMessage, samples: RELAY_SAMPLES as Record<string, object> },
] as const;

Deno.test("parseClientMessage() and parseRelayMessage() read every message that is written", () => {
  for (const { parse, samples } of DIRECTIONS) {
    for (const sample of Object.values(samples)) {
      assert.deepEqual(parse(JSON.parse(JSON.stringify(sample))), { ok: sample });
    }
  }
});

Deno.test("parseClientMessage() and parseRelayMessage() leave out fields that they do not know", () => {
  for (const { parse, samples } of DIRECTIONS) {
    for (const sample of Object.values(samples)) {
      assert.deepEqual(parse({ ...sample, later: { much: "more" } }), { ok: sample });
    }
  }
});

/** Values that no field takes but those that `TAKES` names. */
const WRONG = [
  -1,
  1.5,
  1e300,
  "",
  "UPPER",
  "a/../b",
  "a\0b",
  "x".repeat(70_000),
  "a".repeat(64),
  [[]],
  {},
  null,
  undefined,
];

/** What single fields take all the same. */
const TAKES: Record<string, unknown[]> = {
  software: ["", "UPPER", "a/../b", "a".repeat(64)],
  message: ["", "UPPER", "a/../b", "a".repeat(64), null, undefined],
  csr: ["UPPER", "a/../b", "a".repeat(64)],
  certificate: ["UPPER", "a/../b", "a".repeat(64), null],
  serverName: ["a".repeat(64)],
  issuedAt: [null],
  // What has a default may be missing.
  connector: [null, undefined],
  resume: [undefined],
  refused: [undefined],
  alternatives: [undefined],
  observed: [undefined],
  early: [undefined],
  agents: [undefined],
  services: [null, undefined],
};

/** In these messages the field has no default. */
const STRICT = new Set([
  "granted.connector",
  "error.message",
  "refused.message",
  "review.agents",
  "seen.observed",
  "register.services",
  "welcome.services",
  "registered.services",
  "incoming.services",
  "granted.services",
]);

Deno.test("parseClientMessage() and parseRelayMessage() refuse every field of a wrong type", () => {
  for (const { parse, samples } of DIRECTIONS) {
    for (const [type, sample] of Object.entries(samples)) {
      for (const field of Object.keys(sample)) {
        // Reasons and codes that we do not know have a meaning of last resort: tested below.
        if (["type", "reason", "code"].includes(field)) continue;
        for (const value of WRONG) {
          const strict = STRICT.has(`${type}.${field}`) && (value ?? null) === null;
          if (!strict && TAKES[field]?.includes(value)) continue;
          const parsed = parse({ ...sample, [field]: value });
          const what = `${type}.${field} = ${JSON.stringify(value)?.slice(0, 40)}`;
          assert.ok("refused" in parsed, what);
          const { code, message } = parsed.refused;
          assert.ok(message.length <= 500, message);
          if (field === "version") assert.equal(code, "version");
          else {
            assert.equal(code, "protocol");
            const start = `Cannot read control message "${type}" as "${field}`;
            assert.ok(message.startsWith(start), message);
          }
        }
      }
    }
  }
});

Deno.test("parseClientMessage() names what is wrong, and never shows the value", () => {
  const cases: [object, string][] = [
    [
      { ...CLIENT_SAMPLES.connect, tunnelId: "secret" },
      'Cannot read control message "connect" as "tunnelId" is not 16 lower-case hexadecimal digits',
    ],
    [
      { type: "disconnect" },
      'Cannot read control message "disconnect" as "tunnelId" is missing',
    ],
    [
      { type: "register", services: ["web", "../etc"] },
      'Cannot read control message "register" as "services.1" is not a name of 1 to 63 characters out of a-z, 0-9 and -',
    ],
    [
      { type: "register", services: Array(MAX_SERVICES + 1).fill("web") },
      'Cannot read control message "register" as "services" is not a list of at most 256 names',
    ],
  ];
  for (const [json, message] of cases) {
    assert.deepEqual(parseClientMessage(json), { refused: { code: "protocol", message } });
  }
});

Deno.test("parseClientMessage() refuses unknown types by name", () => {
  assert.deepEqual(parseClientMessage({ type: "welcome" }), {
    refused: {
      code: "protocol",
      message: 'Cannot read a control message of type "welcome": known are hello, register, ' +
        "review, connect, observed, disconnect, renew, ping, pong",
    },
  });
  for (
    const type of [
      "constructor",
      "__proto__",
      "toString",
      "x".repeat(60_000),
      "\u009b2J",
      7,
      null,
      {},
    ]
  ) {
    const parsed = parseClientMessage({ type });
    assert.ok("refused" in parsed);
    assert.ok(parsed.refused.message.length < 200);
    assert.doesNotMatch(parsed.refused.message, /\p{Cc}/u);
  }
  for (const json of [null, 1, "hello", [], {}, true]) {
    const message = "Cannot read a control message as it has no type";
    assert.deepEqual(parseClientMessage(json), { refused: { code: "protocol", message } });
  }
});

Deno.test("parseClientMessage() says both versions, whatever another version's hello looks like", () => {
  for (const [version, shown] of [[2, "2"], ["1", "unknown"], [undefined, "unknown"]] as const) {
    assert.deepEqual(parseClientMessage({ type: "hello", version, other: "shape" }), {
      refused: {
        code: "version",
        message: `Cannot speak control protocol version ${shown} as this end speaks version 1`,
      },
    });
  }
});

Deno.test("parseClientMessage() takes a nonce in one spelling only", () => {
  // The last character of 16 bytes carries two bits; another spelling would pass a replay guard as another nonce.
  const nonces = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    .map((last) => "A".repeat(21) + last)
    .filter((nonce) => "ok" in parseClientMessage({ ...CLIENT_SAMPLES.hello, nonce }));
  assert.deepEqual(nonces.map((nonce) => nonce.at(-1)), ["A", "Q", "g", "w"]);
});

Deno.test("parseRelayMessage() gives reasons of a newer relay a meaning", () => {
  const { refused, disconnected, error } = RELAY_SAMPLES;
  assert.deepEqual(parseRelayMessage({ ...refused, reason: "full-moon" }), {
    ok: { ...refused, reason: "unavailable" },
  });
  assert.deepEqual(parseRelayMessage({ ...disconnected, reason: "full-moon" }), {
    ok: { ...disconnected, reason: "closed" },
  });
  assert.deepEqual(parseRelayMessage({ ...error, code: "full-moon" }), {
    ok: { ...error, code: "internal" },
  });
});

Deno.test("parseClientMessage() and parseRelayMessage() never throw, whatever the JSON", () => {
  for (const { parse, samples } of DIRECTIONS) {
    const type = fc.constantFrom(...Object.keys(samples));
    const spoilt = fc.tuple(type, fc.object()).map(([type, more]) => ({
      ...samples[type],
      ...more,
      type,
    }));
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), spoilt), (json) => {
        const parsed = parse(JSON.parse(JSON.stringify(json)));
        assert.ok("ok" in parsed !== "refused" in parsed);
      }),
    );
  }
});

Deno.test("MessageReader.read() gives messages up to the first fault and nothing after it", () => {
  const { hello, ping } = CLIENT_SAMPLES;
  const reader = new MessageReader(parseClientMessage);
  assert.deepEqual(reader.read(encodeMessage(hello)), { messages: [hello], refused: undefined });
  const { messages, refused } = reader.read(
    // The second fault, of framing, comes after the first, of schema.
    concatBytes(encodeMessage(ping), encodeMessage({ type: "nonsense" }), new Uint8Array(8)),
  );
  assert.deepEqual(messages, [ping]);
  assert.match(refused!.message, /type "nonsense"/);
  assert.deepEqual(reader.read(encodeMessage(ping)), { messages: [], refused });
});

Deno.test("MessageReader.read() turns a framing fault into a protocol refusal", () => {
  const reader = new MessageReader(parseRelayMessage);
  const { messages, refused } = reader.read(
    concatBytes(encodeMessage(RELAY_SAMPLES.ping), Uint8Array.of(0xff, 0xff, 0xff, 0xff)),
  );
  assert.deepEqual(messages, [RELAY_SAMPLES.ping]);
  assert.equal(refused?.code, "protocol");
  assert.match(refused!.message, /4294967295 bytes/);
});
