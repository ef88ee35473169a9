/**
 * An application that is there before the agent: `first_answer.ts PORT` says `waiting`, connects as soon as something listens,
 * asks for `/` in HTTP, and prints the milliseconds from its question to the first byte of the answer.
 * @module
 */
const port = Number(Deno.args[0]);
console.log("waiting");
for (;;) {
  try {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    const begun = performance.now();
    conn.setNoDelay(true);
    await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: web\r\n\r\n"));
    const buffer = new Uint8Array(4096);
    const length = await conn.read(buffer);
    const milliseconds = length === null ? null : performance.now() - begun;
    console.log(JSON.stringify({ milliseconds }));
    Deno.exit(0);
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
