import { deepEqual, equal } from "node:assert/strict";
import { type Address, addressOf, type HostPort } from "../../src/core/mod.ts";
import { RelayReach } from "../../src/roles/relay_reach.ts";

const HERE = addressOf("127.0.0.1", 4433);
const THERE = addressOf("127.0.0.2", 4433);
const RELAYS: HostPort[] = [{ host: "relay.example", port: 4433 }];

/** A reach whose name server says what `said` holds when `answer` is called. */
function scene() {
  const asked: PromiseWithResolvers<Address[]>[] = [];
  const reach = new RelayReach(() => RELAYS, () => {
    const question = Promise.withResolvers<Address[]>();
    asked.push(question);
    return question.promise;
  });
  const told: string[] = [];
  const find = () =>
    reach.find({
      found: (addresses) => told.push(addresses.map(({ host }) => host).join()),
      elsewhere: () => told.push("elsewhere"),
    });
  const answer = async (...addresses: Address[]) => {
    asked.shift()!.resolve(addresses);
    await new Promise((resolve) => setTimeout(resolve));
    return told.splice(0);
  };
  return { reach, find, answer, told };
}

Deno.test("RelayReach.find() asks the name server first, until the relay was found once", async () => {
  const { reach, find, answer, told } = scene();
  find();
  deepEqual(told, []);
  deepEqual(await answer(HERE), ["127.0.0.1"]);
  find();
  deepEqual(told, []);
  deepEqual(await answer(), [""]);
  deepEqual(reach.addresses.map(({ key }) => key), [HERE.key]);
  equal(reach.served, false);
});

Deno.test("RelayReach.find() waits for no name server after a good connection, once, and hears where it is elsewhere", async () => {
  const { reach, find, answer, told } = scene();
  find();
  await answer(HERE);
  reach.welcomed();
  find();
  deepEqual(told.splice(0), ["127.0.0.1"]);
  deepEqual(await answer(HERE), []);
  // That came to nothing: now it waits.
  find();
  deepEqual(told, []);
  await answer(HERE);
  reach.welcomed();
  find();
  deepEqual(told.splice(0), ["127.0.0.1"]);
  deepEqual(await answer(HERE, THERE), ["elsewhere"]);
  find();
  deepEqual(await answer(HERE, THERE), ["127.0.0.1,127.0.0.2"]);
  reach.welcomed();
  find();
  told.length = 0;
  deepEqual(await answer(), []);
  deepEqual(reach.addresses.map(({ key }) => key), [HERE.key, THERE.key]);
});
