/**
 * `postern identities`
 * @module
 */
import type { StoredIdentity } from "../../relay/store.ts";
import { defineCommand } from "../command.ts";
import { switchFlag, valueFlag } from "../flags.ts";
import { formatSeconds, formatTable } from "../format.ts";
import { withRelayState } from "../network_store.ts";
import { readInteger } from "../readers.ts";
import { systemClock } from "../system_clock.ts";
import { escapeControl } from "../terminal.ts";

/** ISO 8601, to the second. */
function formatDate(unix: number): string {
  return new Date(unix).toISOString().replace(/\.\d+Z$/, "Z");
}

function standing({ revoked, certificateExpires }: StoredIdentity, now: number): string {
  if (revoked !== null) return `revoked ${formatDate(revoked)}`;
  if (certificateExpires === null) return "joined";
  return certificateExpires > now
    ? `certificate until ${formatDate(certificateExpires)}`
    : `certificate ended ${formatDate(certificateExpires)}`;
}

/** Lists identities, waiting invites and, when asked, the audit log. */
export const identities = defineCommand({
  name: "identities",
  summary: "List who belongs to this network and what each may do",
  about: "Run it on the relay's machine, as the relay's user.",
  args: {},
  flags: {
    json: switchFlag("Print JSON"),
    audit: valueFlag({
      value: "N",
      read: readInteger({ min: 1, max: 100_000 }),
      help: "Print the latest N events of the audit log instead: who did what, and when",
    }),
  },
  examples: [["identities", "who is there"], ["identities --audit 20", "what happened lately"]],
  async run(values, { io }) {
    return await withRelayState(values.state, ({ store }) => {
      const now = systemClock.unix();
      const { audit } = values;
      if (audit !== undefined) {
        const events = store.auditLog({ limit: audit }).toReversed();
        for (const event of events) {
          io.out(
            values.json
              ? `${JSON.stringify({ ...event, at: new Date(event.at).toISOString() })}\n`
              : `${formatDate(event.at)}  ${escapeControl(event.actor)}  ${event.event}  ${
                escapeControl(event.detail)
              }\n`,
          );
        }
        return 0;
      }
      const joined = store.listIdentities().map((identity) => ({
        ...identity,
        services: store.servicesOf(identity.kind, identity.name),
      }));
      const invites = store.openInvites(now);
      if (values.json) {
        const iso = (unix: number | null) => unix === null ? null : new Date(unix).toISOString();
        io.out(`${
          JSON.stringify({
            identities: joined.map((one) => ({
              ...one,
              created: iso(one.created),
              revoked: iso(one.revoked),
              certificateExpires: iso(one.certificateExpires),
            })),
            invites: invites.map(({ kind, name, services, created, expires }) => ({
              kind,
              name,
              services,
              created: iso(created),
              expires: iso(expires),
            })),
          })
        }\n`);
        return 0;
      }
      const rows = [
        ...joined.map((one) => [
          one.kind,
          one.name,
          one.services.join(" ") || "-",
          standing(one, now),
        ]),
        ...invites.map((one) => [
          one.kind,
          one.name,
          one.services.join(" ") || "-",
          `invited, for another ${formatSeconds((one.expires - now) / 1000)}`,
        ]),
      ];
      if (rows.length === 0) io.err("Nobody has joined or been invited yet.\n");
      else {
        const head = ["KIND", "NAME", "SERVICES", "STANDING"];
        io.out(`${formatTable([head, ...rows]).join("\n")}\n`);
      }
      return 0;
    });
  },
});
