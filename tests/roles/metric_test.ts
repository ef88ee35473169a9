import assert from "node:assert/strict";
import { SILENT_LOGGER } from "../../src/core/mod.ts";
import { openAdmin } from "../../src/roles/admin.ts";
import { byLabel, counter, gauge, renderMetrics } from "../../src/roles/metric.ts";

Deno.test("renderMetrics() does write the text format, with labels escaped", async () => {
  const { text, contentType } = await renderMetrics([
    counter("a_total", "Things", 3),
    gauge("b", "Others", byLabel("whyNot", { tooShort: 1, other: 2 })),
    gauge("c", "Strange", [{ labels: { name: 'a"b\\c\nd' }, value: 1.5 }]),
    gauge("d", "None", []),
  ]);
  assert.match(contentType, /version=0\.0\.4/);
  assert.deepEqual(text.split("\n").filter((line) => line !== ""), [
    "# HELP a_total Things",
    "# TYPE a_total counter",
    "a_total 3",
    "# HELP b Others",
    "# TYPE b gauge",
    'b{whyNot="too_short"} 1',
    'b{whyNot="other"} 2',
    "# HELP c Strange",
    "# TYPE c gauge",
    'c{name="a\\"b\\\\c\\nd"} 1.5',
  ]);
});

Deno.test("openAdmin() does answer before the role can serve, and nothing but GET", async () => {
  assert.equal(openAdmin({ log: SILENT_LOGGER }), undefined);
  const admin = openAdmin({ log: SILENT_LOGGER, admin: { host: "127.0.0.1", port: 0 } })!;
  try {
    const ask = async (path: string, method = "GET") => {
      const at = `http://127.0.0.1:${admin.address.port}${path}`;
      const response = await fetch(at, { method });
      return [response.status, (await response.text()).trim()];
    };
    assert.deepEqual(await ask("/readyz"), [503, "starting"]);
    assert.deepEqual(await ask("/healthz"), [200, "alive"]);
    assert.equal((await ask("/metrics"))[0], 200);
    assert.equal((await ask("/metrics", "POST"))[0], 405);
    assert.equal((await ask("/nothing"))[0], 404);
    let why: string | undefined = "no relay";
    const metrics = () => {
      if (why) throw new Error("no figures");
      return [gauge("a", "A", 1)];
    };
    admin.serve({ whyNotReady: () => why, metrics });
    assert.deepEqual(await ask("/readyz"), [503, "no relay"]);
    assert.deepEqual(await ask("/metrics"), [500, "no figures"]);
    why = undefined;
    assert.deepEqual(await ask("/readyz"), [200, "ready"]);
    assert.match(String((await ask("/metrics"))[1]), /^a 1$/m);
  } finally {
    await admin.close();
    await admin.close();
  }
});
