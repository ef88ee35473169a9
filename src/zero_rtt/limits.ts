/**
 * The bounds of early data, each with its reason.
 * @module
 */

/**
 * How late an early message may arrive, in milliseconds after its issue time. It covers two one-way delays (the
 * estimate of the clock is behind by up to a round trip), drift between visits (`clock_offset.ts`), and a first packet
 * that had to be sent again after 1 s and 3 s. RFC 8446 §8.2 speaks of about 10 s for clients on the Internet.
 */
export const DEFAULT_MAX_PAST_MS = 10_000;

/**
 * How far ahead of the receiver's clock an issue time may lie, in milliseconds. Clients estimate the earliest time
 * possible, so only drift puts them ahead. It is also how long a receiver that was killed takes nothing early after
 * its next start, hence small.
 */
export const DEFAULT_MAX_FUTURE_MS = 1_000;

/**
 * Nonces remembered per identity. An honest client sends one early message per connection, a few in ten seconds when
 * its network flaps; more than this in one window is served after the handshake.
 */
export const DEFAULT_MAX_PER_IDENTITY = 64;

/**
 * Nonces remembered in all, beyond the first of each identity: some 10 MB. When that many are fresh at once, every
 * identity still gets its first; the rest are served after the handshake.
 */
export const DEFAULT_MAX_ENTRIES = 65_536;

/**
 * Identities with a fresh nonce at once; above the 10,000 sessions that a relay holds. A further identity is served
 * after the handshake.
 */
export const DEFAULT_MAX_IDENTITIES = 16_384;
