/**
 * The SQLite file: opened or made, checked to be ours and of a version that we know, never overwritten.
 * @module
 */
import {
  DatabaseSync,
  type SQLInputValue,
  type SQLOutputValue,
  type StatementSync,
} from "node:sqlite";
import { messageOf } from "../core/mod.ts";
import { quotePath, StateError, stateErrorOf } from "../identity/mod.ts";
import { APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION } from "./store_schema.ts";

/** Two seconds: another process holds the write lock for milliseconds; a relay must not stand still for longer. */
const BUSY_TIMEOUT_MS = 2000;

/** A row as SQLite gives it. */
export type Row = Record<string, SQLOutputValue>;

/** A thin layer over `node:sqlite`: statements prepared once, transactions that nest nowhere. */
export class Database {
  readonly path: string;
  #sqlite: DatabaseSync;
  #statements = new Map<string, StatementSync>();

  private constructor(path: string, sqlite: DatabaseSync) {
    this.path = path;
    this.#sqlite = sqlite;
  }

  /**
   * Opens the file, or makes it (mode 0600).
   *
   * @param options.create make it where it is missing, @default false
   * @param options.check read the whole file for damage, @default false
   * @throws {StateError} `missing`, `corrupt`, `newer`, `read-only`
   */
  static open(path: string, options: { create?: boolean; check?: boolean } = {}): Database {
    touch(path, options.create ?? false);
    let sqlite: DatabaseSync | undefined;
    try {
      sqlite = new DatabaseSync(path, { enableForeignKeyConstraints: true });
      const database = new Database(path, sqlite);
      database.#prepareFile(options);
      return database;
    } catch (error) {
      sqlite?.close();
      throw databaseError(error, path);
    }
  }

  #prepareFile({ create = false, check = false }: { create?: boolean; check?: boolean }): void {
    const sqlite = this.#sqlite;
    sqlite.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    if (this.#checkVersion() === 0 && !create) {
      // "missing", as a relay at its first start may be about to fill it: who can wait does.
      throw new StateError("missing", `Cannot use ${quotePath(this.path)} as it is empty`, {
        next: "Restore it from a backup; or start a new network in another folder with --state",
      });
    }
    // Write-ahead log: who reads (a running relay) and who writes (a command beside it) do not wait for each other.
    // FULL: what was answered as done (a revocation!) survives a power cut.
    sqlite.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    this.transaction(() => {
      const version = this.#checkVersion();
      if (version === SCHEMA_VERSION) return;
      for (const step of MIGRATIONS.slice(version)) sqlite.exec(step);
      sqlite.exec(
        `PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`,
      );
    });
    if (check) {
      const verdict = Object.values(this.get("PRAGMA quick_check(1)") ?? {})[0];
      if (verdict !== "ok") throw corruptDatabase(this.path, String(verdict));
    }
  }

  #checkVersion(): number {
    const version = this.#pragma("user_version");
    const application = this.#pragma("application_id");
    const tables = this.get("SELECT count(*) AS n FROM sqlite_schema")?.n;
    if (application !== APPLICATION_ID && (application !== 0 || version !== 0 || tables !== 0)) {
      throw corruptDatabase(this.path, "it is not a relay's database");
    }
    if (version > SCHEMA_VERSION) {
      throw new StateError(
        "newer",
        `Cannot use ${quotePath(this.path)} as a newer version of Postern wrote it ` +
          `(version ${version}, and this one knows ${SCHEMA_VERSION})`,
        { next: "Run the newer version, or give another folder with --state" },
      );
    }
    return version;
  }

  #pragma(name: "user_version" | "application_id" | "data_version"): number {
    return Number(this.get(`PRAGMA ${name}`)?.[name]);
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    // All texts are constants of this room, so the table is bounded by them.
    if (!statement) this.#statements.set(sql, statement = this.#sqlite.prepare(sql));
    return statement;
  }

  /** The first row, if any. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  /** All rows. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values);
  }

  /** Changes rows; how many. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  /**
   * All of `work`, or none of it. IMMEDIATE: of two processes one comes first, and the other sees what it did.
   *
   * @throws {StateError} `unusable`, `read-only` or `in-use`, where it is the system that refuses
   */
  transaction<Result>(work: () => Result): Result {
    let result: Result;
    try {
      this.#sqlite.exec("BEGIN IMMEDIATE");
      result = work();
      this.#sqlite.exec("COMMIT");
    } catch (error) {
      if (this.#sqlite.isTransaction) this.#sqlite.exec("ROLLBACK");
      throw systemError(error, this.path) ?? error;
    }
    return result;
  }

  /** Changes whenever another connection (another process, too) has committed something. Cheap: microseconds. */
  dataVersion(): number {
    return this.#pragma("data_version");
  }

  /** Closes the file; idempotent. */
  close(): void {
    if (this.#sqlite.isOpen) this.#sqlite.close();
  }
}

/** Makes the file with its mode before SQLite does: the log files beside it take the same mode. */
function touch(path: string, create: boolean): void {
  try {
    Deno.statSync(path);
    return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw stateErrorOf(error, "open", path);
  }
  if (!create) {
    throw new StateError("missing", `Cannot open ${quotePath(path)} as it does not exist`, {
      next: "Start the relay once, or restore the file from a backup",
    });
  }
  try {
    Deno.openSync(path, { write: true, createNew: true, mode: 0o600 }).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw stateErrorOf(error, "make", path);
  }
}

function corruptDatabase(path: string, why: string, cause?: unknown): StateError {
  return new StateError("corrupt", `Cannot use ${quotePath(path)} as it is damaged: ${why}`, {
    next: "Restore it from a backup; it is left as it is",
    cause,
  });
}

function databaseError(error: unknown, path: string): unknown {
  if (error instanceof StateError) return error;
  return systemError(error, path) ?? corruptDatabase(path, messageOf(error), error);
}

/** What the system has against it, in our words; `undefined` where it is something else. */
function systemError(error: unknown, path: string): StateError | undefined {
  if (!(error instanceof Error && "code" in error && error.code === "ERR_SQLITE_ERROR")) {
    return undefined;
  }
  const { message } = error;
  if (/readonly|read-only/i.test(message)) {
    return stateErrorOf(new Error("read-only", { cause: error }), "write", path);
  }
  if (/is full/i.test(message)) {
    return stateErrorOf(Object.assign(new Error(message), { code: "ENOSPC" }), "write", path);
  }
  if (/unable to open/i.test(message)) return stateErrorOf(whyClosed(path) ?? error, "open", path);
  if (/locked|busy/i.test(message)) {
    return new StateError("in-use", `Cannot use ${quotePath(path)} as another process holds it`, {
      next: "Try again when it is done",
      cause: error,
    });
  }
  return undefined;
}

/** SQLite does not say why it cannot open a file, or make another beside it; the system does. */
function whyClosed(path: string): unknown {
  try {
    Deno.openSync(path, { write: true }).close();
    return undefined;
  } catch (error) {
    return error;
  }
}
