/**
 * Runs inside a network namespace: prints its port, and answers each datagram with itself when a batch has ended.
 * @module
 */
import { openUdpSocket } from "../../src/sockets/mod.ts";

const socket = openUdpSocket();
const answers: (() => void)[] = [];
socket.receive({
  datagrams(data, segmentSize, from) {
    const copy = data.slice();
    answers.push(() => void socket.send(from, copy, segmentSize));
  },
  batchEnd() {
    for (const answer of answers.splice(0)) answer();
  },
});
console.log(JSON.stringify({ port: socket.local.port }));
