/**
 * Real private services to stand behind a connector: each is started inside a scene and ends with it.
 * @module
 */
import { findProgram } from "./paths.ts";
import { run } from "./process.ts";
import { eventually, freePort, type Scene } from "./scene.ts";

/** Waits until something accepts TCP connections there. */
export async function accepting(port: number): Promise<void> {
  await eventually(`a server on port ${port}`, async () => {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  }, { everyMs: 20 });
}

/** nginx that serves `folder` and stores what is PUT to it. */
export async function startNginx(scene: Scene, folder: string): Promise<number> {
  const port = freePort();
  const home = scene.path(`nginx-${port}`);
  for (const name of ["body", "proxy", "fastcgi", "uwsgi", "scgi"]) {
    await Deno.mkdir(`${home}/${name}`, { recursive: true });
  }
  // As root, nginx would hand its work to a user who may not look into the scene's folder.
  const user = Deno.uid() === 0 ? "user root;" : "";
  await Deno.writeTextFile(
    `${home}/nginx.conf`,
    `${user} daemon off; worker_processes 1; pid ${home}/pid; error_log stderr;
    events { worker_connections 1024; }
    http {
      access_log off; sendfile on; client_max_body_size 0; client_body_temp_path ${home}/body;
      proxy_temp_path ${home}/proxy; fastcgi_temp_path ${home}/fastcgi;
      uwsgi_temp_path ${home}/uwsgi; scgi_temp_path ${home}/scgi;
      server { listen 127.0.0.1:${port}; root ${folder}; location / { dav_methods PUT DELETE; } }
    }`,
  );
  scene.start("nginx", findProgram("nginx")!, ["-c", `${home}/nginx.conf`, "-e", "stderr"]);
  await accepting(port);
  return port;
}

/** `python3 -m http.server` over `folder`. */
export async function startPython(scene: Scene, folder: string): Promise<number> {
  const port = freePort();
  const args = ["-m", "http.server", `${port}`, "--bind", "127.0.0.1", "--directory", folder];
  scene.start("python3 -m http.server", findProgram("python3")!, args);
  await accepting(port);
  return port;
}

/** A Redis that keeps nothing. */
export async function startRedis(scene: Scene): Promise<number> {
  const port = freePort();
  const args = ["--bind", "127.0.0.1", "--port", `${port}`, "--save", "", "--appendonly", "no"];
  scene.start("redis-server", findProgram("redis-server")!, [...args, "--dir", scene.folder]);
  await accepting(port);
  return port;
}

/** An SSH server with keys of its own; `clientArgs` are what `ssh` needs besides `-p PORT HOST`. */
export async function startSshd(scene: Scene): Promise<{ port: number; clientArgs: string[] }> {
  const port = freePort();
  const home = scene.path("sshd");
  await Deno.mkdir(home, { mode: 0o700 });
  for (const name of ["host", "client"]) {
    const args = ["-q", "-t", "ed25519", "-N", "", "-f", `${home}/${name}`];
    const made = await run(findProgram("ssh-keygen")!, args);
    if (made.code !== 0) throw new Error(`Cannot make an SSH key: ${made.stderr}`);
  }
  await Deno.copyFile(`${home}/client.pub`, `${home}/authorized`);
  // sshd as root wants its empty folder to exist; Debian makes it only when the service starts.
  if (Deno.uid() === 0) await Deno.mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  await Deno.writeTextFile(
    `${home}/config`,
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${home}/host`,
      `AuthorizedKeysFile ${home}/authorized`,
      `PidFile ${home}/pid`,
      "StrictModes no",
      "UsePAM no",
      "PasswordAuthentication no",
      "PermitRootLogin prohibit-password",
      "",
    ].join("\n"),
  );
  scene.start("sshd", findProgram("sshd")!, ["-D", "-e", "-f", `${home}/config`]);
  await accepting(port);
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    "IdentitiesOnly=yes",
  ];
  const clientArgs = ["-F", "none", "-i", `${home}/client`];
  return { port, clientArgs: [...clientArgs, ...options.flatMap((option) => ["-o", option])] };
}

/** A WebSocket server that sends every message back. */
export function startWebSocketEcho(scene: Scene): number {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => socket.send(data);
    return response;
  });
  scene.atEnd(() => server.shutdown());
  return server.addr.port;
}

/** A TCP service in this process; its port. */
export function serveTcp(
  scene: Scene,
  serve: (connection: Deno.TcpConn) => Promise<unknown>,
): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let open = true;
  scene.atEnd(() => {
    open = false;
    listener.close();
  });
  (async () => {
    while (open) {
      // A connection that was reset before it was accepted is an error here, and no reason to stop.
      const connection = await listener.accept().catch(() => undefined);
      if (connection) serve(connection).catch(() => {});
    }
  })();
  return (listener.addr as Deno.NetAddr).port;
}

/** A file of random bytes; its SHA-256 in hexadecimal. */
export async function randomFile(path: string, mebibytes: number): Promise<string> {
  const script = 'head -c "$2" /dev/urandom | tee "$1" | sha256sum';
  const made = await run("sh", ["-c", script, "sh", path, `${mebibytes * 2 ** 20}`]);
  if (made.code !== 0) throw new Error(`Cannot make ${path}: ${made.stderr}`);
  return made.stdout.slice(0, 64);
}

/** SHA-256 of a file, in hexadecimal. */
export async function hashOfFile(path: string): Promise<string> {
  const { stdout } = await run("sha256sum", [path]);
  return stdout.slice(0, 64);
}
