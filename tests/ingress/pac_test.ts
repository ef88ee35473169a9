import assert from "node:assert/strict";
import { pacFile } from "../../src/ingress/pac.ts";

/** Runs the file as a browser does: with its one helper function. */
function findProxy(text: string, host: string): string {
  const shExpMatch = (name: string, pattern: string) =>
    new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`).test(name);
  const run = new Function("shExpMatch", "host", `${text}\nreturn FindProxyForURL("", host);`);
  return run(shExpMatch, host);
}

Deno.test("pacFile() sends services to the proxy and nothing else", () => {
  const text = pacFile({ http: { host: "127.0.0.1", port: 8118 } });
  assert.equal(findProxy(text, "web.postern"), "PROXY 127.0.0.1:8118");
  assert.equal(findProxy(text, "web.postern."), "PROXY 127.0.0.1:8118");
  for (const host of ["postern", "example.com", "web.postern.example.com", "127.0.0.1"]) {
    assert.equal(findProxy(text, host), "DIRECT");
  }
});

Deno.test("pacFile() names the SOCKS5 proxy as the second way", () => {
  const text = pacFile({
    http: { host: "::1", port: 8118 },
    socks: { host: "::1", port: 1080 },
  });
  assert.equal(findProxy(text, "web.postern"), "PROXY [::1]:8118; SOCKS5 [::1]:1080");
});

Deno.test("pacFile() takes no script for a host", () => {
  assert.throws(() => pacFile({ http: { host: '"+alert()+"', port: 1 } }), SyntaxError);
});
