/**
 * Running this folder's child programs in network namespaces.
 * @module
 */
import assert from "node:assert/strict";

/** Whether this machine lets us make network namespaces: Linux, root and `ip`. */
export const HAS_NAMESPACES = Deno.build.os === "linux" && Deno.uid() === 0 && hasIp();
if (!HAS_NAMESPACES) {
  console.log("skipped: sockets in a network namespace, as that needs Linux, root and `ip`");
}

function hasIp(): boolean {
  try {
    return new Deno.Command("ip", { args: ["-V"], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}

/** Runs to the end; answers stdout. @throws where it fails */
export async function runCommand(command: string, ...args: string[]): Promise<string> {
  const output = await new Deno.Command(command, { args }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.ok(output.success, `${command} ${args.join(" ")}: ${text(output.stderr)}`);
  return text(output.stdout);
}

/** How to run `file` of this folder in `namespace`: arguments for `ip`. */
export function inNamespace(namespace: string, file: string, ...args: string[]): string[] {
  const path = (name: string) => new URL(name, import.meta.url).pathname;
  const run = ["run", "-A", "--no-check", "--config", path("../../deno.json"), path(file)];
  return ["netns", "exec", namespace, Deno.execPath(), ...run, ...args];
}

/** A child program that prints one line of JSON and then serves until it is stopped. */
export function startInNamespace(namespace: string, file: string, ...args: string[]) {
  const child = new Deno.Command("ip", {
    args: inNamespace(namespace, file, ...args),
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  return {
    async line(): Promise<unknown> {
      let text = "";
      while (!text.includes("\n")) {
        const { value, done } = await lines.read();
        assert.ok(!done, `${file} ended early`);
        text += value;
      }
      return JSON.parse(text);
    },
    /** Ends it, where it has not ended by itself. */
    async stop(): Promise<void> {
      try {
        child.kill();
      } catch {
        // It has ended.
      }
      await lines.cancel();
      await child.status;
    },
  };
}
