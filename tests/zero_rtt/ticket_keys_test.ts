import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeTicketKey,
  encodeTicketKey,
  TICKET_KEY_LIFETIME_MS,
  ticketKeyDue,
} from "../../src/zero_rtt/mod.ts";

const key = Uint8Array.from({ length: 48 }, (_, i) => i);

Deno.test("ticketKeyDue() answers now for none, too old, and made in the future", () => {
  const now = 1_700_000_000_000;
  assert.equal(ticketKeyDue(undefined, now), now);
  assert.equal(ticketKeyDue({ key, madeAt: now }, now), now + TICKET_KEY_LIFETIME_MS);
  assert.equal(ticketKeyDue({ key, madeAt: now - 5 }, now), now - 5 + TICKET_KEY_LIFETIME_MS);
  assert.ok(ticketKeyDue({ key, madeAt: now - TICKET_KEY_LIFETIME_MS }, now) <= now);
  assert.equal(ticketKeyDue({ key, madeAt: now + 1 }, now), now);
});

Deno.test("decodeTicketKey() reads what encodeTicketKey() wrote, and any bytes without a throw", () => {
  assert.throws(() => encodeTicketKey({ key: key.slice(1), madeAt: 0 }), RangeError);
  const bytes = encodeTicketKey({ key, madeAt: 1_700_000_000_000 });
  assert.equal(bytes.length, 57);
  assert.deepEqual(decodeTicketKey(bytes), { ok: { key, madeAt: 1_700_000_000_000 } });
  assert.ok("refused" in decodeTicketKey(bytes.subarray(1)));
  assert.ok("refused" in decodeTicketKey(bytes.with(0, 2)));
  assert.ok("refused" in decodeTicketKey(key), "a bare key has no age");
  fc.assert(fc.property(fc.uint8Array({ minLength: 56, maxLength: 58 }), (any) => {
    decodeTicketKey(any);
  }));
});
