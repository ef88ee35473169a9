/**
 * `postern netcheck` behind real NATs: what it says is what the lab has built.
 * @module
 */
import assert from "node:assert/strict";
import type { NetcheckReport } from "../../src/roles/asks.ts";
import { Lab } from "./lab.ts";
import type { HostName } from "./options.ts";
import { PosternInLab } from "./postern_in_lab.ts";
import { skipLab } from "./requirements.ts";

const ignore = skipLab("tests/lab/netcheck_test.ts");

async function netcheck(postern: PosternInLab, role: HostName): Promise<NetcheckReport> {
  const { code, stdout, stderr } = await postern.postern(role, ["netcheck", "--json"]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

Deno.test({
  name: "postern netcheck tells what each NAT does, and how large datagrams may be",
  ignore,
  async fn() {
    await using lab = await Lab.create({
      a: "port-restricted",
      b: "symmetric",
      v6: "absent-b",
      mtu: 1_400,
    });
    await using postern = await PosternInLab.start(lab);
    try {
      const [agent, connector] = await Promise.all([
        netcheck(postern, "agent"),
        netcheck(postern, "connector"),
      ]);
      const told = JSON.stringify({ agent, connector }, null, 1);
      assert.equal(agent.v4.mapping, "endpoint-independent", told);
      assert.equal(agent.v4.filtering, "address-and-port-dependent", told);
      assert.equal(agent.v4.pathMtu, 1_400 - 28, told);
      // No NAT in IPv6, but a firewall.
      assert.equal(agent.v6.udp, true, told);
      assert.equal(agent.v6.mapping, "none", told);
      assert.equal(agent.v6.filtering, "address-and-port-dependent", told);
      assert.equal(agent.v6.pathMtu, 1_400 - 48, told);
      assert.ok(agent.advice.some((line) => /nearly every other end/.test(line)), told);

      assert.equal(connector.v4.mapping, "address-and-port-dependent", told);
      assert.equal(connector.v6.route, false, told);
      assert.equal(connector.v6.udp, null, told);
      assert.ok(connector.advice.some((line) => /NAT maps per destination/.test(line)), told);
      assert.ok(connector.advice.some((line) => /No IPv6 here/.test(line)), told);
    } catch (error) {
      console.error(postern.logs());
      throw error;
    }
  },
});
