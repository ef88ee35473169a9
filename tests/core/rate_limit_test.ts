import { equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { RateLimit } from "../../src/core/rate_limit.ts";

const OPTIONS = { burst: 3, perSecond: 1, maxEntries: 2 };

Deno.test("RateLimit.take() allows the burst, then the rate", () => {
  const limit = new RateLimit(OPTIONS);
  for (let i = 0; i < 3; i++) ok(limit.take("192.0.2.1", 0));
  ok(!limit.take("192.0.2.1", 0));
  ok(!limit.take("192.0.2.1", 900));
  ok(limit.take("192.0.2.1", 1100));
  ok(!limit.take("192.0.2.1", 1100));
  ok(limit.take("192.0.2.2", 1100));
});

Deno.test("RateLimit.take() counts 56 bits of IPv6 as one, and mapped IPv4 as IPv4", () => {
  const limit = new RateLimit(OPTIONS);
  for (let i = 0; i < 3; i++) ok(limit.take(`2001:db8::${i}`, 0));
  ok(!limit.take("2001:db8::ffff:1", 0));
  ok(!limit.take("2001:db8:0:ff::1", 0));
  ok(limit.take("2001:db8:0:100::1", 0));
  for (let i = 0; i < 3; i++) limit.take("::ffff:192.0.2.1", 0);
  ok(!limit.take("192.0.2.1", 0));
});

Deno.test("RateLimit.take() remembers no more than its bound, whatever comes", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), fc.nat())),
      (asks) => {
        const limit = new RateLimit(OPTIONS);
        for (const [host, now] of asks) limit.take(host, now);
        ok(limit.size <= 2);
      },
    ),
  );
  const limit = new RateLimit(OPTIONS);
  for (let i = 0; i < 4; i++) limit.take("192.0.2.1", 0);
  limit.take("192.0.2.2", 0);
  limit.take("192.0.2.1", 0);
  limit.take("192.0.2.3", 0);
  equal(limit.take("192.0.2.1", 0), false, "who asked last stays remembered");
});

Deno.test("RateLimit.giveBack() makes up for what was taken, and for no more", () => {
  const limit = new RateLimit(OPTIONS);
  limit.giveBack("192.0.2.1");
  equal(limit.size, 0);
  const taken = () => {
    let count = 0;
    while (limit.take("192.0.2.1", 0)) count++;
    return count;
  };
  const burst = taken();
  for (let i = 0; i < 2; i++) limit.giveBack("192.0.2.1");
  equal(taken(), Math.min(2, burst));
  for (let i = 0; i < burst + 5; i++) limit.giveBack("192.0.2.1");
  equal(taken(), burst);
});
