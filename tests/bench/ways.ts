/**
 * Ways for a TCP connection from the agent's host to a server on the connector's: plain, through `ssh`, through Postern.
 * @module
 */
import { findProgram } from "../e2e/paths.ts";
import { run, type TestProcess } from "../e2e/process.ts";
import { freePort, program } from "../e2e/scene.ts";
import type { HostName, Hosts } from "./place.ts";

/** One way through. */
export interface Way {
  readonly title: string;
  /** What to connect to, on the agent's host. */
  readonly at: string;
  /** Processes that carry the bytes, by what to call them. */
  readonly carriers: Readonly<Record<string, number>>;
}

/** What a way leads to, and where it may keep files. */
export interface WayOptions {
  readonly place: Hosts;
  /** `HOST:PORT` of the server as the connector's host sees it. */
  readonly target: string;
  /** Removed by the caller in the end. */
  readonly folder: string;
}

/** No way at all: straight to the server. */
export function plainWay({ target }: WayOptions): Way {
  return { title: "plain TCP", at: target, carriers: {} };
}

/** Relay, connector and agent; relayed path only, unless `direct`. */
export async function posternWay(
  { place, target, folder }: WayOptions,
  { direct = false } = {},
): Promise<Way> {
  const path = direct ? [] : ["--no-direct"];
  const { command, args } = program();
  const postern = [command, ...args];
  const state = (role: HostName) => `${folder}/${role}`;
  const listen = `${place.addresses.relay}:${freePort()}`;
  const start = (role: HostName, words: string[], env: Record<string, string> = {}) => {
    const options = { env: { POSTERN_LOG_LEVEL: "warn", ...env } };
    return place.start(
      role,
      `postern ${role}`,
      [...postern, role, "--state", state(role), ...words],
      options,
    );
  };
  const invite = async (kind: "connector" | "agent", name: string, flag: string) => {
    const words = [...postern, "invite", "--state", state("relay"), kind, name, flag, "bench"];
    const [first, ...rest] = place.wrap("relay", words);
    const { code, stdout, stderr } = await run(first!, rest);
    if (code !== 0) throw new Error(`Cannot invite the ${kind}: ${stderr}`);
    return { POSTERN_INVITE: stdout.trim() };
  };
  const relay = start("relay", ["--listen", listen]);
  await relay.ready();
  const connector = start(
    "connector",
    [...path, `bench=${target}`],
    await invite("connector", "home", "--service"),
  );
  await connector.ready();
  const at = `127.0.0.1:${freePort()}`;
  const agent = start(
    "agent",
    [...path, `bench=${at}`],
    await invite("agent", "alice", "--allow"),
  );
  await agent.ready();
  const carriers = { agent: agent.pid, relay: relay.pid, connector: connector.pid };
  return { title: direct ? "postern, direct" : "postern, relayed", at, carriers };
}

/** Why `ssh` cannot be measured here; `undefined` where it can. */
export function sshUnavailable(): string | undefined {
  const missing = ["ssh", "sshd", "ssh-keygen"].find((name) => findProgram(name) === undefined);
  return missing === undefined ? undefined : `"${missing}" is not installed`;
}

interface Sshd {
  readonly process: TestProcess;
  /** The words of an `ssh` to it, without what it is to do. */
  readonly client: readonly string[];
}

/** An SSH server on a host, with keys of its own. */
async function startSshd(place: Hosts, host: HostName, folder: string): Promise<Sshd> {
  const home = `${folder}/sshd-${host}`;
  await Deno.mkdir(home, { recursive: true, mode: 0o700 });
  for (const name of ["host", "client"]) {
    const key = `${home}/${name}`;
    const made = await run(findProgram("ssh-keygen")!, ["-qt", "ed25519", "-N", "", "-f", key]);
    if (made.code !== 0) throw new Error(`Cannot make an SSH key: ${made.stderr}`);
  }
  // As root sshd wants its empty folder to exist; Debian makes it only when the service starts.
  if (Deno.uid() === 0) await Deno.mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  const port = freePort();
  const address = place.addresses[host];
  const settings = [
    `ListenAddress ${address}:${port}`,
    `HostKey ${home}/host`,
    `AuthorizedKeysFile ${home}/client.pub`,
    `PidFile none`,
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
  ];
  await Deno.writeTextFile(`${home}/config`, settings.join("\n") + "\n");
  const command = [findProgram("sshd")!, "-D", "-e", "-f", `${home}/config`];
  const process = place.start(host, `sshd at the ${host}`, command);
  await process.line(/listening/i);
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "ExitOnForwardFailure=yes",
  ].flatMap((option) => ["-o", option]);
  const ssh = [findProgram("ssh")!, "-vNF", "none", "-i", `${home}/client`, "-p", String(port)];
  return { process, client: [...ssh, ...options, address] };
}

/** `ssh -L` straight to the connector's host. */
export async function sshWay({ place, target, folder }: WayOptions): Promise<Way> {
  const sshd = await startSshd(place, "connector", folder);
  const at = `127.0.0.1:${freePort()}`;
  const ssh = place.start("agent", "ssh -L", [...sshd.client, "-L", `${at}:${target}`]);
  await ssh.line(/Entering interactive session/);
  return { title: "ssh -L", at, carriers: { agent: ssh.pid, connector: sshd.process.pid } };
}

/** `ssh -R` from the connector's host and `ssh -L` from the agent's, both to the relay's. */
export async function sshRelayedWay({ place, target, folder }: WayOptions): Promise<Way> {
  const sshd = await startSshd(place, "relay", folder);
  const middle = `127.0.0.1:${freePort()}`;
  const at = `127.0.0.1:${freePort()}`;
  const far = place.start("connector", "ssh -R", [...sshd.client, "-R", `${middle}:${target}`]);
  await far.line(/remote forward success|Entering interactive session/);
  const near = place.start("agent", "ssh -L", [...sshd.client, "-L", `${at}:${middle}`]);
  await near.line(/Entering interactive session/);
  const carriers = { agent: near.pid, relay: sshd.process.pid, connector: far.pid };
  return { title: "ssh -L + ssh -R", at, carriers };
}
