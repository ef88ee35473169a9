/**
 * Where a role's status socket is: a Unix socket in the state folder, or (where its path would be too long, or the
 * system has none) somewhere else that a file in the state folder names.
 * @module
 */
import { join } from "node:path";

/** A Unix socket, or TCP on loopback guarded by a secret. */
export type StatusEndpoint =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly port: number; readonly secret: string };

/**
 * The kernel takes 108 bytes on Linux and 104 on macOS, the final NUL included; 100 leaves room for both.
 */
export const MAX_UNIX_PATH_BYTES = 100;

const SOCKET_NAME = "status.sock";
const POINTER_NAME = "status.address";

/** The socket's path inside the state folder. */
export function socketPathIn(state: string): string {
  return join(state, SOCKET_NAME);
}

/** The file that names an endpoint elsewhere. */
export function pointerPathIn(state: string): string {
  return join(state, POINTER_NAME);
}

/** Whether a Unix socket can have this path. */
export function fitsUnixPath(path: string): boolean {
  return new TextEncoder().encode(path).length <= MAX_UNIX_PATH_BYTES;
}

function parsePointer(text: string): StatusEndpoint | undefined {
  try {
    const { unix, tcp, secret } = JSON.parse(text) as Record<string, unknown>;
    if (typeof unix === "string") return { kind: "unix", path: unix };
    if (Number.isInteger(tcp) && typeof secret === "string") {
      return { kind: "tcp", port: tcp as number, secret };
    }
  } catch { /* a damaged pointer is no pointer */ }
  return undefined;
}

/** Where the status socket of this state folder would be; there need not be anybody behind it. */
export function findStatusEndpoint(state: string): StatusEndpoint | undefined {
  let pointer: StatusEndpoint | undefined;
  try {
    pointer = parsePointer(Deno.readTextFileSync(pointerPathIn(state)));
  } catch { /* the usual case: the socket is in the folder itself */ }
  if (pointer) return pointer;
  const path = socketPathIn(state);
  if (Deno.build.os === "windows" || !fitsUnixPath(path)) return undefined;
  return { kind: "unix", path };
}

/** Writes the pointer file, readable for its owner alone. */
export function writePointer(state: string, endpoint: StatusEndpoint): void {
  const content = endpoint.kind === "unix"
    ? { unix: endpoint.path }
    : { tcp: endpoint.port, secret: endpoint.secret };
  const temporary = `${pointerPathIn(state)}.${crypto.randomUUID()}`;
  Deno.writeTextFileSync(temporary, `${JSON.stringify(content)}\n`, { mode: 0o600 });
  Deno.renameSync(temporary, pointerPathIn(state));
}

/** Removes a file that may not be there. */
export function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch { /* nothing to remove */ }
}

/** Opens a connection to an endpoint; for TCP the secret still has to be sent. */
export function dialStatus(endpoint: StatusEndpoint): Promise<Deno.Conn> {
  return endpoint.kind === "unix"
    ? Deno.connect({ transport: "unix", path: endpoint.path })
    : Deno.connect({ hostname: "127.0.0.1", port: endpoint.port });
}
