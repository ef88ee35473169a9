import assert from "node:assert/strict";
import { PathMover } from "../../src/tunnel/path_mover.ts";
import { createPathsPair, TestPath } from "../quic/paths_pair.ts";

/** A client with a mover, two other paths, and how many packets it sent on each. */
async function createRig() {
  const paths = [new TestPath(1), new TestPath(2), new TestPath(3)] as const;
  const sent = paths.map((path) => {
    const counter = { toServer: 0 };
    const carry = path.carry.bind(path);
    path.carry = (toServer, bytes, arrive) => {
      if (toServer) counter.toServer++;
      carry(toServer, bytes, arrive);
    };
    return counter;
  });
  const given = Promise.withResolvers<void>();
  const cell: { mover?: PathMover } = {};
  const pair = await createPathsPair(paths, {
    client: {
      idsGiven: () => given.resolve(),
      heard: () => cell.mover?.heard(),
      path: (event) => cell.mover?.pathEvent(event),
    },
  });
  await given.promise;
  let moved = Promise.withResolvers<string>();
  const mover = cell.mover = new PathMover({
    connection: pair.client,
    moved: ({ peer }) => moved.resolve(peer.key),
    failed: ({ peer }) => moved.reject(new Error(`failed to move to ${peer.key}`)),
  });
  const ends = paths.map(({ client, server }) => ({ local: client, peer: server }));
  return {
    paths,
    sent,
    mover,
    ends,
    get moved() {
      return moved.promise;
    },
    again() {
      moved = Promise.withResolvers<string>();
    },
    close() {
      mover.stop();
      pair.close();
    },
  };
}

Deno.test("PathMover.expect() does ask beforehand, and the move waits for that answer", async () => {
  const { sent, mover, ends, moved, close } = await createRig();
  try {
    const startedAt = performance.now();
    mover.expect(ends[1]!);
    mover.expect(ends[2]!);
    await new Promise((resolve) => setTimeout(resolve, 8));
    mover.moveTo(ends[1]!);
    assert.equal(sent[1]!.toServer, 1);
    assert.equal(await moved, ends[1]!.peer.key);
    // A round trip of 20 ms from the first question, not from the wish.
    assert.ok(performance.now() - startedAt < 60, `${performance.now() - startedAt} ms`);
    assert.equal(sent[2]!.toServer, 0);
  } finally {
    close();
  }
});

Deno.test("PathMover.expect() does not keep the tunnel from moving elsewhere, nor a lost question from being asked again", async () => {
  const { paths, mover, ends, moved, close } = await createRig();
  try {
    paths[1].cut.toServer = true;
    mover.expect(ends[1]!);
    mover.moveTo(ends[2]!);
    assert.equal(await moved, ends[2]!.peer.key);
  } finally {
    close();
  }
  const again = await createRig();
  try {
    again.paths[1].cut.toServer = true;
    again.mover.expect(again.ends[1]!);
    again.paths[1].cut.toServer = false;
    again.mover.moveTo(again.ends[1]!);
    assert.equal(await again.moved, again.ends[1]!.peer.key);
  } finally {
    again.close();
  }
});

Deno.test("PathMover.moveTo() does wait on a path that died until something has come on it", async () => {
  const rig = await createRig();
  const { mover, ends, sent, close } = rig;
  try {
    mover.moveTo(ends[1]!);
    assert.equal(await rig.moved, ends[1]!.peer.key);
    for (const died of [false, true]) {
      rig.again();
      if (died) mover.died(ends[1]!);
      mover.moveTo(ends[2]!);
      await rig.moved;
      rig.again();
      await new Promise((resolve) => setTimeout(resolve, 60));
      const before = sent[1]!.toServer;
      const startedAt = performance.now();
      mover.moveTo(ends[1]!);
      // The question leaves at once.
      if (died) assert.ok(sent[1]!.toServer > before);
      await rig.moved;
      const took = performance.now() - startedAt;
      assert.ok(died ? took >= 18 && took < 58 : took < 5, `${took} ms`);
    }
  } finally {
    close();
  }
});
