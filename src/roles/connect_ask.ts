/**
 * `postern connect`: one flow, joined to the asker's own connection.
 * @module
 */
import type { ByteConn, TcpFlow } from "../mux/mod.ts";
import type { ConnectAsk } from "./asks.ts";
import type { LinePipe } from "./line_pipe.ts";
import { RawAnswer } from "./status_socket.ts";

/** Who opened the flow, in status and logs. */
const PEER = "postern connect";

/**
 * Opens a flow and answers a connection that carries it. The answer waits until the service has accepted, as only now a
 * refusal can be told in words.
 *
 * @throws {FlowRefused} saying why not
 */
export async function connectAsk(
  ask: ConnectAsk,
  signal: AbortSignal,
  open: (service: string, peer: string) => Promise<TcpFlow>,
): Promise<RawAnswer> {
  const flow = await open(ask.service, PEER);
  const giveUp = () => flow.abort();
  signal.addEventListener("abort", giveUp);
  if (signal.aborted) giveUp();
  try {
    await flow.accepted;
  } catch (error) {
    flow.abort();
    throw error;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
  return new RawAnswer({ connected: ask.service }, (pipe) => flow.pipe(connOf(pipe)), giveUp);
}

/** The asker's connection as a flow wants it. */
function connOf(pipe: LinePipe): ByteConn {
  return {
    read: (into) => pipe.read(into),
    async write(data) {
      await pipe.write(data);
      return data.length;
    },
    closeWrite: () => pipe.closeWrite(),
    close: () => pipe.close(),
  };
}
