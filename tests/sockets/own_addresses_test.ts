import assert from "node:assert/strict";
import { hostsToAnswerFrom, MAX_OWN } from "../../src/sockets/own_addresses.ts";

const own = (...addresses: string[]) => addresses.map((address) => ({ address }));

Deno.test("hostsToAnswerFrom() names all addresses of a family that has several", () => {
  const machine = own("127.0.0.1", "192.0.2.1", "::1", "fe80::1", "2001:db8::1", "2001:DB8:0::2");
  assert.deepEqual(hostsToAnswerFrom(machine, { family: 6 }), ["2001:db8::1", "2001:db8::2"]);
  assert.deepEqual(hostsToAnswerFrom(machine, { family: 4 }), []);
  const both = [...machine, ...own("198.51.100.1")];
  assert.deepEqual(hostsToAnswerFrom(both, { family: 4 }), ["192.0.2.1", "198.51.100.1"]);
  assert.equal(hostsToAnswerFrom(both, { family: 6 }).length, 4);
});

Deno.test("hostsToAnswerFrom() leaves aside loopback, link-local, doubles and what is no address", () => {
  const machine = own("127.0.0.1", "127.9.9.9", "::1", "fe80::1", "febf::2%eth0", "", "eth0");
  assert.deepEqual(hostsToAnswerFrom(machine, { family: 6 }), []);
  const doubled = own("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "fec0::1", "fe80::2");
  assert.deepEqual(hostsToAnswerFrom(doubled, { family: 6 }), []);
});

Deno.test("hostsToAnswerFrom() names a bounded number", () => {
  const many = Array.from({ length: 200 }, (_, i) => `10.0.0.${i}`);
  assert.equal(hostsToAnswerFrom(own(...many), { family: 4 }).length, MAX_OWN);
});
