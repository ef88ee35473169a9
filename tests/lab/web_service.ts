/**
 * The private service behind the connector: `web_service.ts PORT`, on 127.0.0.1; says `ready`.
 *
 * `GET /` answers {@linkcode WEB_TEXT}, `GET /bytes/N` that many bytes, `POST /` how many bytes it was given.
 * @module
 */

/** Stands in every answer of `/`: what a capture outside of the tunnel must not show. */
export const WEB_TEXT = "this text is for the agent alone: open sesame";

const CHUNK = new TextEncoder().encode(`${WEB_TEXT}\n`.repeat(1400)).slice(0, 65536);

/** What `/bytes/COUNT` answers. */
export function webBytes(count: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  let left = count;
  return new ReadableStream({
    pull(controller) {
      const part = CHUNK.subarray(0, Math.min(left, CHUNK.length));
      if (part.length > 0) controller.enqueue(part);
      left -= part.length;
      if (left === 0) controller.close();
    },
  });
}

async function answer(request: Request): Promise<Response> {
  if (request.method === "POST") {
    let count = 0;
    for await (const chunk of request.body ?? []) count += chunk.length;
    return new Response(String(count));
  }
  const asked = /^\/bytes\/(\d{1,12})$/.exec(new URL(request.url).pathname);
  return asked ? new Response(webBytes(Number(asked[1]))) : new Response(WEB_TEXT);
}

if (import.meta.main) {
  Deno.serve({
    hostname: "127.0.0.1",
    port: Number(Deno.args[0]),
    onListen: () => console.log("ready"),
  }, answer);
}
