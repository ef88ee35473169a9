import assert from "node:assert/strict";
import fc from "fast-check";
import { gatherHostCandidates, MAX_HOST_CANDIDATES } from "../../src/path/mod.ts";

function gather(
  list: [string, string][],
  options: { allowLoopback?: boolean; ipv6?: boolean } = {},
) {
  const interfaces = list.map(([name, address]) => ({ name, address }));
  return gatherHostCandidates(interfaces, { port: 51_001, ...options })
    .map(({ address }) => address.host);
}

Deno.test("gatherHostCandidates() does leave out loopback, link-local and container bridges", () => {
  assert.deepEqual(
    gather([
      ["lo", "127.0.0.1"],
      ["lo", "::1"],
      ["eth0", "192.168.1.5"],
      ["eth0", "fe80::1"],
      ["eth0", "2001:db8::5"],
      ["eth0", "169.254.3.4"],
      ["docker0", "172.17.0.1"],
      ["br-12ab", "172.18.0.1"],
      ["vethab12", "10.1.1.1"],
      ["virbr0", "192.168.122.1"],
      ["cni0", "10.244.0.1"],
      ["podman1", "10.88.0.1"],
    ]),
    ["2001:db8::5", "192.168.1.5"],
  );
});

Deno.test("gatherHostCandidates() does take container bridges when there is nothing else", () => {
  assert.deepEqual(gather([["lo", "127.0.0.1"], ["docker0", "172.17.0.1"]]), ["172.17.0.1"]);
});

Deno.test("gatherHostCandidates() does take loopback only where that is allowed", () => {
  const list: [string, string][] = [["lo", "127.0.0.1"], ["lo", "::1"], ["eth0", "10.0.0.5"]];
  assert.deepEqual(gather(list), ["10.0.0.5"]);
  assert.deepEqual(gather(list, { allowLoopback: true }), ["::1", "10.0.0.5", "127.0.0.1"]);
});

Deno.test("gatherHostCandidates() does leave IPv6 out where the socket has none", () => {
  assert.deepEqual(gather([["eth0", "2001:db8::5"], ["eth0", "10.0.0.5"]], { ipv6: false }), [
    "10.0.0.5",
  ]);
});

Deno.test("gatherHostCandidates() does keep both families within its bound", () => {
  const many: [string, string][] = [];
  for (let i = 1; i <= 40; i++) many.push(["eth0", `10.0.0.${i}`], ["eth0", `2001:db8::${i}`]);
  const hosts = gather(many);
  assert.equal(hosts.length, MAX_HOST_CANDIDATES);
  assert.equal(hosts.filter((host) => host.includes(":")).length, MAX_HOST_CANDIDATES / 2);
  const few = gather([...many.filter(([, host]) => host.includes(":")), ["eth0", "10.0.0.1"]]);
  assert.equal(few.length, MAX_HOST_CANDIDATES);
  assert.equal(few.at(-1), "10.0.0.1");
});

Deno.test("gatherHostCandidates() does take any interface list without throwing", () => {
  const entry = fc.tuple(fc.string(), fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()));
  fc.assert(fc.property(fc.array(entry, { maxLength: 50 }), (list) => {
    const hosts = gather(list);
    assert.ok(hosts.length <= MAX_HOST_CANDIDATES);
    assert.equal(new Set(hosts).size, hosts.length);
  }));
});
