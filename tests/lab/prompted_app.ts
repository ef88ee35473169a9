/**
 * An application that has run for a while: `prompted_app.ts PORT` says `waiting`, and on SIGUSR1 connects, asks for `/` in HTTP
 * and prints when the first byte of the answer was there, and how often it was reset before, as it asks again then.
 * @module
 */

/** What it prints, as JSON. */
export interface PromptedAnswer {
  /** On the clock of `performance.timeOrigin + performance.now()`, in milliseconds. */
  readonly answeredAt: number;
  readonly resets: number;
}

/** After this long, in milliseconds, it gives up and prints nothing. */
const PATIENCE = 15_000;

async function ask(port: number): Promise<void> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  conn.setNoDelay(true);
  await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: web\r\n\r\n"));
  if (await conn.read(new Uint8Array(4096)) === null) throw new Error("it was closed");
}

/** What its own first question costs is not what is measured. */
async function warmUp(): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (let i = 0; i < 20; i++) {
    const answered = listener.accept().then(async (conn) => {
      await conn.read(new Uint8Array(4096));
      await conn.write(new Uint8Array(64));
      conn.close();
    });
    await Promise.all([ask((listener.addr as Deno.NetAddr).port), answered]);
  }
}

async function prompted(port: number): Promise<void> {
  const until = performance.now() + PATIENCE;
  for (let resets = 0; performance.now() < until; resets++) {
    try {
      await ask(port);
      const answeredAt = performance.timeOrigin + performance.now();
      console.log(JSON.stringify({ answeredAt, resets } satisfies PromptedAnswer));
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

if (import.meta.main) {
  await warmUp();
  Deno.addSignalListener("SIGUSR1", () => void prompted(Number(Deno.args[0])));
  // A signal alone keeps no process alive.
  setInterval(() => {}, 60_000);
  console.log("waiting");
}
