/**
 * Records every packet at an interface of the lab, to search it for what must not be there.
 * @module
 */
import { Buffer } from "node:buffer";
import { encodeUtf8 } from "../../src/core/mod.ts";
import type { Lab } from "./lab.ts";
import type { NodeName } from "./options.ts";
import { findCommand } from "./requirements.ts";

/** A recording in memory; 512 MiB at most, what comes after is only counted. */
const MAX_BYTES = 512 * 1024 * 1024;

/** For where there is no tcpdump: prints `listening`, then every frame with its length in front. */
const PYTHON_CAPTURE = `
import socket, struct, sys, signal
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
s.bind((sys.argv[1], 0)); s.settimeout(0.1)
going = True
def stop(*_):
    global going
    going = False
signal.signal(signal.SIGINT, stop)
print("listening", file=sys.stderr, flush=True)
out = sys.stdout.buffer
while True:
    try:
        frame = s.recv(70000)
    except socket.timeout:
        if not going: break
        continue
    out.write(struct.pack("<I", len(frame)) + frame)
out.flush()
`;

/** What was recorded. */
export interface Captured {
  /** Frames with their file format around them. */
  readonly bytes: number;
  /** More came than is kept: a search may miss it. */
  readonly truncated: boolean;
  /** Does this text or byte sequence occur in the recording, within one packet? */
  has(needle: string | Uint8Array): boolean;
}

/** A running recording. */
export interface Capture {
  /** Ends it, and answers what it holds. */
  stop(): Promise<Captured>;
}

function search(recording: Buffer, needle: string | Uint8Array): boolean {
  const wanted = Buffer.from(typeof needle === "string" ? encodeUtf8(needle) : needle);
  if (wanted.length === 0) throw new RangeError("Cannot search a capture for nothing");
  return recording.includes(wanted);
}

/**
 * Starts recording at an interface of a node; records when this resolves. Uses tcpdump, else python3.
 *
 * @throws {Error} where the machine has neither, or what was started said no
 */
export async function startCapture(
  lab: Lab,
  node: NodeName = "relay",
  { interface: device = "eth0" } = {},
): Promise<Capture> {
  const tcpdump = findCommand("tcpdump");
  const python = findCommand("python3");
  if (!tcpdump && !python) {
    throw new Error("Cannot capture packets as there is neither tcpdump nor python3");
  }
  const child = tcpdump
    // Each packet handed over at once; slots as large as a jumbo frame in a buffer (KiB) that holds a burst of them.
    ? lab.spawn(node, tcpdump, [
      "-i",
      device,
      "-nn",
      "-s9216",
      "--immediate-mode",
      "-U",
      "-B",
      "65536",
      "-w",
      "-",
    ], {
      stdout: "piped",
      stderr: "piped",
    })
    : lab.spawn(node, python!, ["-u", "-c", PYTHON_CAPTURE, device], {
      stdout: "piped",
      stderr: "piped",
    });
  const said = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("listening")) {
    const { value, done } = await said.read();
    if (done) throw new Error(`Cannot capture packets at ${node}: ${text.trim()}`);
    text += value;
  }
  const drained = (async () => {
    while (!(await said.read()).done);
  })();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const collected = (async () => {
    for await (const chunk of child.stdout) {
      if (bytes + chunk.length <= MAX_BYTES) chunks.push(chunk);
      bytes += chunk.length;
    }
  })();
  return {
    async stop() {
      // What is in the kernel's buffer is still to be handed over.
      await new Promise((resolve) => setTimeout(resolve, 200));
      try {
        child.kill("SIGINT");
      } catch {
        // Ended already.
      }
      await Promise.all([collected, drained, child.status]);
      const recording = Buffer.concat(chunks);
      return {
        bytes,
        truncated: bytes > MAX_BYTES,
        has: (needle) => search(recording, needle),
      };
    },
  };
}
