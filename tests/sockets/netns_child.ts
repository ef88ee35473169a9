/**
 * Runs inside a network namespace whose device `v0` has MTU 1500 and a neighbour 10.91.0.2 that never answers: sends, and
 * prints what the socket counted.
 * @module
 */
import { addressOf } from "../../src/core/mod.ts";
import { openUdpSocket } from "../../src/sockets/mod.ts";

const silent = addressOf("10.91.0.2", 9);

/** Trains of datagrams, the full ones too large for the interface, the last one not. */
function tooLarge() {
  const socket = openUdpSocket();
  const taken = socket.send(silent, new Uint8Array(10 * 1600 + 100), 1600);
  const { sendErrors, datagramsOut } = socket.counters;
  const fits = socket.send(silent, new Uint8Array(5 * 1472), 1472);
  const result = { taken, sendErrors, datagramsOut, fits, out: socket.counters.datagramsOut };
  socket.close();
  return result;
}

/** More than the send buffer holds, while the neighbour does not answer and nothing can leave. */
async function full() {
  const socket = openUdpSocket({ bufferBytes: 4096 });
  const taken: number[] = [];
  for (let i = 0; i < 50; i++) taken.push(socket.send(silent, new Uint8Array(1000), 1000));
  await socket.writable();
  const elsewhere = socket.send(addressOf("127.0.0.1", 9), new Uint8Array(10), 10);
  const { sendBlocked, sendErrors, datagramsOut } = socket.counters;
  socket.close();
  return { taken: taken.reduce((a, b) => a + b), elsewhere, sendBlocked, sendErrors, datagramsOut };
}

/** Nowhere to go: no route at all. */
function unreachable() {
  const socket = openUdpSocket();
  const taken = socket.send(addressOf("203.0.113.1", 9), new Uint8Array(10 * 100), 100);
  const { sendErrors, datagramsOut } = socket.counters;
  socket.close();
  return { taken, sendErrors, datagramsOut };
}

console.log(JSON.stringify({
  tooLarge: tooLarge(),
  full: await full(),
  unreachable: unreachable(),
}));
