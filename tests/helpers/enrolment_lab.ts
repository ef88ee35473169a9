/**
 * A relay's enrolment on loopback, for tests of joining and renewing.
 * @module
 */
import { type Clock, createLogger } from "../../src/core/mod.ts";
import { type Name, openStateFolder, parseInvite } from "../../src/identity/mod.ts";
import {
  createInviteToken,
  Enrolment,
  EnrolmentServer,
  openRelayState,
  type RelayState,
} from "../../src/relay/mod.ts";

const HOUR = 3_600_000;

/** A relay's enrolment on loopback, with a clock that the test sets. */
export class EnrolmentLab implements AsyncDisposable {
  readonly path: string;
  readonly logLines: string[] = [];
  offset = 0;
  state!: RelayState;
  server!: EnrolmentServer;
  port = 0;
  readonly clock: Clock = {
    now: () => performance.now(),
    unix: () => Date.now() + this.offset,
  };

  private constructor(path: string) {
    this.path = path;
  }

  static async start(): Promise<EnrolmentLab> {
    const lab = new EnrolmentLab(await Deno.makeTempDir());
    await lab.startRelay();
    return lab;
  }

  async startRelay(): Promise<void> {
    const { clock } = this;
    const log = createLogger((level, message, fields) => {
      this.logLines.push(`${level} ${message} ${JSON.stringify(fields)}`);
    }, { level: "debug" });
    this.state = await openRelayState(`${this.path}/r`, { now: clock.unix(), create: true, log });
    const { store, authority } = this.state;
    const relays = () => [{ host: "127.0.0.1", port: this.port }];
    this.server = new EnrolmentServer({
      enrolment: new Enrolment({ store, authority, clock, log, relays }),
      certificate: await authority.relayCertificate(clock.unix()),
      listen: { host: "127.0.0.1", port: this.port },
      clock,
      log,
    });
    this.port = this.server.address.port;
    store.setPublicAddresses(relays());
  }

  async stopRelay(): Promise<void> {
    await this.server.close();
    this.state[Symbol.dispose]();
  }

  folder(name: string, role: "connector" | "agent" = "agent") {
    return openStateFolder(`${this.path}/${name}`, { role, create: true });
  }

  token(kind: "connector" | "agent", name: string, ...services: string[]): string {
    return createInviteToken({
      kind,
      name: name as Name,
      services: services as Name[],
      now: this.clock.unix(),
      ttl: HOUR,
    }, this.state).token;
  }

  invite(kind: "connector" | "agent", name: string, ...services: string[]) {
    return parseInvite(this.token(kind, name, ...services));
  }

  /** One raw HTTPS exchange: the status line and the JSON. */
  async raw(
    request: string | Uint8Array,
  ): Promise<{ status: string; json: Record<string, unknown> }> {
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
    const { authority } = this.state;
    using connection = await Deno.startTls(tcp, {
      hostname: `relay.relay.${authority.networkId}.postern.invalid`,
      caCerts: [authority.caPem],
    });
    const bytes = typeof request === "string" ? new TextEncoder().encode(request) : request;
    (async () => {
      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    })().catch(() => {});
    const text = await new Response(connection.readable).text();
    return {
      status: text.slice(0, text.indexOf("\r\n")),
      json: JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4)),
    };
  }

  post(path: string, body: unknown) {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const length = new TextEncoder().encode(text).length;
    return this.raw(`POST ${path} HTTP/1.1\r\nContent-Length: ${length}\r\n\r\n${text}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopRelay();
    await Deno.remove(this.path, { recursive: true });
  }
}
