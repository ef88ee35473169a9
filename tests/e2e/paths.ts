/**
 * Where things are on this machine.
 * @module
 */
import { fileURLToPath } from "node:url";

/** `file:///a/b` -> `/a/b`. */
export function fromFileUrl(url: URL): string {
  return fileURLToPath(url);
}

/** Servers live where a person's PATH does not always look. */
const ALSO = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"];

/** The full path of an installed program; `undefined` where there is none. */
export function findProgram(name: string): string | undefined {
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), ...ALSO];
  for (const folder of folders.filter((folder) => folder.startsWith("/"))) {
    try {
      const info = Deno.statSync(`${folder}/${name}`);
      if (info.isFile && ((info.mode ?? 0) & 0o111) !== 0) return `${folder}/${name}`;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** Is this Linux with root's rights, as network namespaces need? */
export function isLinuxRoot(): boolean {
  return Deno.build.os === "linux" && Deno.uid() === 0;
}

/**
 * For a test's `ignore`: true, with a line that says why, where a program is missing.
 */
export function lacks(test: string, ...programs: readonly string[]): boolean {
  const missing = programs.filter((name) => findProgram(name) === undefined);
  if (missing.length > 0) console.log(`skipped: ${test}: needs ${missing.join(", ")}`);
  return missing.length > 0;
}
