import { equal, ok } from "node:assert/strict";
import { SILENT_LOGGER } from "../../src/core/mod.ts";
import { type ClientIdentity, enrol, keepRenewed } from "../../src/identity/mod.ts";
import { EnrolmentLab } from "../helpers/enrolment_lab.ts";

const DAY = 86_400_000;

async function joined(lab: EnrolmentLab) {
  const folder = await lab.folder("a");
  const { identity } = await enrol(folder, lab.invite("agent", "alice", "web"), {
    now: Date.now(),
  });
  return { folder, identity };
}

/** A clock that is five days ahead: every certificate looks due. */
const AHEAD = { now: () => performance.now(), unix: () => Date.now() + 5 * DAY };

Deno.test("keepRenewed() renews what is due, once, and ends with its signal", async () => {
  await using lab = await EnrolmentLab.start();
  const { folder, identity } = await joined(lab);
  const stop = new AbortController();
  const renewed: ClientIdentity[] = [];
  const first = Promise.withResolvers<void>();
  const done = keepRenewed(folder, identity, {
    clock: AHEAD,
    log: SILENT_LOGGER,
    signal: stop.signal,
    onRenewed: (enrolled) => {
      renewed.push(enrolled.identity);
      first.resolve();
    },
  });
  await first.promise;
  // Though the clocks disagree, the relay is not asked again and again.
  await new Promise((resolve) => setTimeout(resolve, 50));
  stop.abort();
  await done;
  equal(renewed.length, 1);
  equal(renewed[0]!.pin, identity.pin);
});

Deno.test("keepRenewed() ends when the relay refuses for good", async () => {
  await using lab = await EnrolmentLab.start();
  const { folder, identity } = await joined(lab);
  lab.state.store.revoke("agent", identity.name, { now: Date.now() });
  const codes: string[] = [];
  await keepRenewed(folder, identity, {
    clock: AHEAD,
    log: SILENT_LOGGER,
    signal: new AbortController().signal,
    onRenewed: () => ok(false, "must not renew"),
    onRefused: (error) => codes.push(error.code),
  });
  equal(codes.join(), "revoked");
});

Deno.test("keepRenewed() waits while nothing is due, and while the relay is away", async () => {
  await using lab = await EnrolmentLab.start();
  const { folder, identity } = await joined(lab);
  await lab.server.close();
  for (const clock of [AHEAD, lab.clock]) {
    const stop = new AbortController();
    const done = keepRenewed(folder, identity, {
      clock,
      log: SILENT_LOGGER,
      signal: stop.signal,
      onRenewed: () => ok(false, "must not renew"),
      onRefused: () => ok(false, "must go on trying"),
    });
    setTimeout(() => stop.abort(), 100);
    await done;
  }
});
