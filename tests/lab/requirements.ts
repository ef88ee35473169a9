/**
 * Can this machine hold the lab? Linux, root, network namespaces, nftables with NAT, TUN, a C compiler.
 * @module
 */
import { existsSync } from "node:fs";
import process from "node:process";

const SEARCHED = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** Where a command lives, or `undefined`. Looks into the system's own folders too, which a lean PATH may lack. */
export function findCommand(...names: string[]): string | undefined {
  const folders = [...(Deno.env.get("PATH") ?? "").split(":").filter(Boolean), ...SEARCHED];
  for (const name of names) {
    for (const folder of folders) {
      if (existsSync(`${folder}/${name}`)) return `${folder}/${name}`;
    }
  }
  return undefined;
}

/** The C compiler that makes the link emulator. */
export function findCompiler(): string | undefined {
  return findCommand("cc", "gcc", "clang");
}

/** NAT must really load: some kernels have namespaces and no nf_nat. */
const PROBE_RULES = `table ip probe {
  chain out { type nat hook postrouting priority srcnat; oifname "x" masquerade; }
  chain shift { type filter hook postrouting priority 300; udp sport set udp sport ^ 1; }
}`;

function tryNamespace(): string | undefined {
  const name = `pl-check-${process.pid}`;
  const run = (command: string, args: string[]) =>
    new Deno.Command(command, { args, stdin: "null", stdout: "null", stderr: "piped" })
      .outputSync();
  const made = run("ip", ["netns", "add", name]);
  if (!made.success) return `network namespaces are not allowed here`;
  try {
    const command = `nft -f - <<'END'\n${PROBE_RULES}\nEND`;
    const ruled = run("ip", ["netns", "exec", name, "sh", "-c", command]);
    if (!ruled.success) return "this kernel's nftables cannot do NAT";
  } finally {
    run("ip", ["netns", "del", name]);
  }
  return undefined;
}

let known: { reason: string | undefined } | undefined;

/** Why the lab cannot be had here, in words for a person; `undefined` where it can. Asked once, then remembered. */
export function labUnavailable(): string | undefined {
  known ??= { reason: findReason() };
  return known.reason;
}

function findReason(): string | undefined {
  if (Deno.build.os !== "linux") return "it needs Linux (network namespaces)";
  if (Deno.uid() !== 0) return "it needs root (network namespaces)";
  if (!findCommand("ip")) return 'it needs the command "ip" (Debian package iproute2)';
  if (!findCommand("nft")) return 'it needs the command "nft" (Debian package nftables)';
  if (!findCompiler()) return "it needs a C compiler (Debian package gcc)";
  if (!existsSync("/dev/net/tun")) return "it needs /dev/net/tun";
  return tryNamespace();
}

/** For `Deno.test({ ignore })`: says aloud why the tests of `what` are skipped. */
export function skipLab(what: string): boolean {
  const reason = labUnavailable();
  if (reason !== undefined) console.log(`${what}: skipped, as ${reason}`);
  return reason !== undefined;
}
