/**
 * What every implementation asks of a train.
 * @module
 */

/**
 * A caller that gets the size wrong has a bug: say so at once.
 *
 * @throws {RangeError} where `segmentSize` is no positive whole number
 */
export function checkTrain(data: Uint8Array, segmentSize: number): void {
  if (data.length > 0 && !(segmentSize > 0 && Number.isInteger(segmentSize))) {
    throw new RangeError(`Cannot send datagrams of ${segmentSize} bytes as a size is above 0`);
  }
}

/** How many datagrams a train of `length` bytes holds. */
export function datagramsIn(length: number, segmentSize: number): number {
  return Math.ceil(length / segmentSize);
}
