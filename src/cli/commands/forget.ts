/**
 * `postern forget`
 * @module
 */
import { UserError } from "../../core/errors.ts";
import { type Name, parseName } from "../../identity/name.ts";
import type { ForgetAnswer, ForgetAsk } from "../../roles/asks.ts";
import { defineCommand } from "../command.ts";
import { argument } from "../flags.ts";
import { readChoice } from "../readers.ts";
import { stateFolderOf } from "../state_choice.ts";

/** Whose state folder knows keys of that kind. */
const KEEPER = { connector: "agent", agent: "connector" } as const;

/** Forgets a peer's key. */
export const forget = defineCommand({
  name: "forget",
  summary: "Forget the key of a connector or agent that was set up anew",
  about:
    "An agent remembers each connector's key, and a connector each agent's, and refuses another one under the " +
    "same name: someone may be between. Where the other end was set up anew on purpose, run this where the refusal " +
    "was seen: the next key that comes under that name is remembered instead. A role that runs takes it at once.",
  args: {
    kind: argument({
      label: "connector|agent",
      read: readChoice<keyof typeof KEEPER>(["connector", "agent"]),
      help: "what it is",
    }),
    name: argument({
      label: "NAME",
      read: (text) => parseName(text, { what: "name" }),
      help: "its name",
    }),
  },
  flags: {},
  examples: [[
    "forget connector home",
    "on an agent's machine, when connector home was set up anew",
  ]],
  async run({ kind, name, state: given }, { io }) {
    const state = stateFolderOf(KEEPER[kind], given);
    if (!await forgetIn(state, kind, name)) {
      throw new UserError(`Cannot forget ${kind} "${name}" as its key is not known here`, {
        next: `Say where it is known with --state DIR; here it is ${state}`,
      });
    }
    io.out(`${kind} ${name}: its key is forgotten\n`);
    return 0;
  },
});

/** Asks the role that runs there, as it would write its own table over ours; without one, does it itself. */
async function forgetIn(state: string, kind: keyof typeof KEEPER, name: Name): Promise<boolean> {
  const { askStatus, NotRunning } = await import("../../roles/status_client.ts");
  const ask: ForgetAsk = { ask: "forget", kind, name };
  try {
    for await (const answer of askStatus(state, ask)) return (answer as ForgetAnswer).forgotten;
    return false;
  } catch (error) {
    if (!(error instanceof NotRunning)) throw error;
  }
  const { KnownKeys, openStateFolder } = await import("../../identity/mod.ts");
  const folder = await openStateFolder(state, { role: KEEPER[kind] });
  using _lock = await folder.lock();
  let failure: unknown;
  const knownKeys = await KnownKeys.load(folder, { onError: (error) => failure = error });
  const forgotten = knownKeys.forget({ kind, name });
  await knownKeys.flush();
  if (failure !== undefined) throw failure;
  return forgotten;
}
