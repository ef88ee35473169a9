/**
 * An application that is there before the agent: `first_answer.ts PORT` says `waiting`, connects as soon as something listens,
 * asks for `/` in HTTP, and prints the milliseconds from its question to the first byte of the answer.
 * @module
 */
/** One question and its answer; the milliseconds between them, `null` where there was none. */
async function ask(conn: Deno.TcpConn): Promise<number | null> {
  const begun = performance.now();
  conn.setNoDelay(true);
  await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: web\r\n\r\n"));
  const length = await conn.read(new Uint8Array(4096));
  return length === null ? null : performance.now() - begun;
}

/** An application that has run for a while: what its own first question costs is not what is measured here. */
async function warmUp(): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  for (let i = 0; i < 20; i++) {
    const [conn, served] = await Promise.all([
      Deno.connect({ hostname: "127.0.0.1", port }),
      listener.accept(),
    ]);
    const answer = served.read(new Uint8Array(4096)).then(() => served.write(new Uint8Array(64)));
    await Promise.all([ask(conn), answer]);
    conn.close();
    served.close();
  }
}

const port = Number(Deno.args[0]);
await warmUp();
console.log("waiting");
for (;;) {
  try {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    const milliseconds = await ask(conn);
    console.log(JSON.stringify({ milliseconds }));
    Deno.exit(0);
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
