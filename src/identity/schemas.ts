/**
 * Schemas of what occurs in several files and messages.
 * @module
 */
import * as v from "valibot";
import { formatHostPort, type HostPort, parseHostPort } from "../core/mod.ts";
import { isPin } from "./key_pair.ts";
import { isName, type Name } from "./name.ts";

/** A name: `[a-z0-9-]{1,63}`. */
export const NameSchema = v.custom<Name>(isName, "expected a name of a-z, 0-9 and -");

/** A pin: 43 characters of base64url. */
export const PinSchema = v.custom<string>(isPin, "expected a SHA-256 in base64url");

/** `HOST:PORT` as text, parsed. 300 characters hold the longest DNS name (253) with a port. */
export const HostPortSchema = v.pipe(
  v.string(),
  v.maxLength(300),
  v.rawTransform<string, HostPort>(({ dataset, addIssue, NEVER }) => {
    try {
      return parseHostPort(dataset.value);
    } catch {
      addIssue({ message: "expected HOST:PORT" });
      return NEVER;
    }
  }),
);

/** A relay has several addresses (families, names, a backup port); 16 are more than anyone has. */
export const MAX_RELAY_ADDRESSES = 16;
/** Services of one invite, connector or agent. */
export const MAX_SERVICES = 256;

/** Where a relay is: one to {@linkcode MAX_RELAY_ADDRESSES} addresses. */
export const RelaysSchema = v.pipe(
  v.array(HostPortSchema),
  v.minLength(1),
  v.maxLength(MAX_RELAY_ADDRESSES),
);

/** Names of services, at most {@linkcode MAX_SERVICES}. */
export const ServicesSchema = v.pipe(v.array(NameSchema), v.maxLength(MAX_SERVICES));

/** The two kinds that join by invite. */
export const ClientKindSchema = v.picklist(["connector", "agent"]);
/** The two kinds that join by invite. */
export type ClientKind = v.InferOutput<typeof ClientKindSchema>;

/** {@linkcode RelaysSchema} back to text. */
export function formatRelays(relays: readonly HostPort[]): string[] {
  return relays.map(formatHostPort);
}

/** What is wrong, in one line: `services.3: expected a name of a-z, 0-9 and -`. */
export function describeIssues(issues: readonly v.BaseIssue<unknown>[]): string {
  const issue = issues[0];
  if (!issue) return "it has the wrong shape";
  const path = issue.path?.map((item) => String(item.key)).join(".");
  return path ? `${path}: ${issue.message}` : issue.message;
}
