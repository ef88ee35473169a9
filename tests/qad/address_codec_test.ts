import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import { fromHex, toHex } from "../../src/core/bytes.ts";
import { decodeQadAddress, encodeQadAddress } from "../../src/qad/address_codec.ts";

const anyAddress = fc.oneof(
  fc.tuple(fc.ipV4(), fc.nat(65_535)),
  fc.tuple(fc.ipV6(), fc.nat(65_535)),
).map(([host, port]) => addressOf(host, port));

Deno.test("encodeQadAddress() does write the documented bytes", () => {
  assert.equal(toHex(encodeQadAddress(addressOf("198.51.100.21", 51_001))), "01c6336415c739");
  assert.equal(
    toHex(encodeQadAddress(addressOf("2001:db8:21::2", 1))),
    "0120010db8002100000000000000000002" + "0001",
  );
});

Deno.test("encodeQadAddress() does write IPv4-mapped addresses as IPv4", () => {
  assert.equal(encodeQadAddress(addressOf("::ffff:192.0.2.1", 5)).length, 7);
});

Deno.test("decodeQadAddress() does read IPv4-mapped addresses as IPv4", () => {
  const long = fromHex("01" + "00000000000000000000ffffc0000201" + "0005")!;
  assert.equal(decodeQadAddress(long)?.key, "192.0.2.1:5");
});

Deno.test("decodeQadAddress() does undo encodeQadAddress() for any address", () => {
  fc.assert(fc.property(anyAddress, (address) => {
    assert.equal(decodeQadAddress(encodeQadAddress(address))?.key, address.key);
  }));
});

Deno.test("decodeQadAddress() does take any bytes without throwing, and only its own", () => {
  const likely = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.uint8Array({ minLength: 7, maxLength: 7 }),
    fc.uint8Array({ minLength: 19, maxLength: 19 }).map((bytes) => {
      bytes[0] = 1;
      return bytes;
    }),
  );
  fc.assert(fc.property(likely, (bytes) => {
    const address = decodeQadAddress(bytes);
    const right = bytes[0] === 1 && (bytes.length === 7 || bytes.length === 19);
    assert.equal(address !== undefined, right);
    if (!address) return;
    const again = encodeQadAddress(address);
    if (again.length === bytes.length) assert.deepEqual(again, Uint8Array.from(bytes));
    else assert.match(toHex(bytes), /^0100000000000000000000ffff/);
  }));
});
