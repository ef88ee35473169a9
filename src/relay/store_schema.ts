/**
 * The relay's tables, and the steps from one version of them to the next.
 * @module
 */

/** `PRAGMA application_id`: "Pstn", so that another program's database is not taken for ours. */
export const APPLICATION_ID = 0x5073746e;

/** `PRAGMA user_version`: how many of {@linkcode MIGRATIONS} have been done. */
export const SCHEMA_VERSION = 1;

/** Each takes the tables one version further. Times are Unix milliseconds; a pin or hash is base64url text. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE identities (
    kind TEXT NOT NULL CHECK (kind IN ('connector', 'agent')),
    name TEXT NOT NULL,
    pin TEXT NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER,
    certificate_expires INTEGER,
    PRIMARY KEY (kind, name)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE offers (
    connector TEXT NOT NULL,
    service TEXT NOT NULL,
    PRIMARY KEY (connector, service)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX offers_by_service ON offers (service);

  CREATE TABLE grants (
    agent TEXT NOT NULL,
    service TEXT NOT NULL,
    PRIMARY KEY (agent, service)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX grants_by_service ON grants (service);

  CREATE TABLE invites (
    secret_hash TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('connector', 'agent')),
    name TEXT NOT NULL,
    services TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_at INTEGER,
    used_by_pin TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX invites_by_name ON invites (kind, name);

  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    detail TEXT NOT NULL
  ) STRICT;

  CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
];
