/*
 * One direction of an emulated link: what happens to a packet, and when it comes out at the other end.
 * Part of link_emulator.c.
 */
#ifndef LINK_DIRECTION_H
#define LINK_DIRECTION_H
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  MAX_WAITING = 131072, /* packets on their way per direction: 1 Gbit/s for 1.5 s; more are dropped and counted */
  BURST = 64, /* packets read from, or written to, one interface before the other ones get their turn */
};

typedef uint64_t nanos;

struct shape {
  double delay;     /* ms */
  double jitter;    /* ms: uniform in [0, jitter) on top of delay; order is kept */
  double loss;      /* percent */
  double burst;     /* mean packets lost in a row; 0 or 1: each on its own */
  double duplicate; /* percent */
  double reorder;   /* percent held back by reorder_by, so that later ones overtake */
  double reorder_by; /* ms */
  double corrupt;   /* percent with one wrong bit pair that no Internet checksum sees */
  double rate;      /* Mbit/s; 0: unlimited */
  double queue;     /* KiB waiting for the rate; what finds it full is dropped */
  double cut;       /* not 0: nothing passes */
};

static const struct {
  const char *name;
  size_t offset;
  double most;
} KEYS[] = {
  { "delay", offsetof(struct shape, delay), 60000 },
  { "jitter", offsetof(struct shape, jitter), 60000 },
  { "loss", offsetof(struct shape, loss), 100 },
  { "burst", offsetof(struct shape, burst), 10000 },
  { "duplicate", offsetof(struct shape, duplicate), 100 },
  { "reorder", offsetof(struct shape, reorder), 100 },
  { "reorder_by", offsetof(struct shape, reorder_by), 60000 },
  { "corrupt", offsetof(struct shape, corrupt), 100 },
  { "rate", offsetof(struct shape, rate), 100000 },
  { "queue", offsetof(struct shape, queue), 1048576 },
  { "cut", offsetof(struct shape, cut), 1 },
};

struct packet {
  nanos due;
  uint64_t number; /* keeps packets of one due time in order */
  uint32_t length;
  uint8_t bytes[];
};

struct direction {
  struct shape shape;
  int from, to;
  struct packet **heap; /* the earliest due first */
  uint32_t waiting, room;
  uint64_t next_number;
  nanos wire_free; /* when the rate limiter has sent what it took */
  nanos last_due;
  int in_burst;
  uint64_t received, sent, lost, overflowed, duplicated, reordered, corrupted, refused;
};

static void fail(const char *what) {
  fprintf(stderr, "Cannot %s: %s\n", what, strerror(errno));
  exit(1);
}

static nanos now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (nanos)t.tv_sec * 1000000000u + (nanos)t.tv_nsec;
}

/* splitmix64: good enough for loss, and the same for one seed on every machine. */
static uint64_t random_state;
static double uniform(void) {
  uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}
static int chance(double percent) { return percent > 0 && uniform() * 100 < percent; }

/* ---- packets on their way ------------------------------------------------------------------------------------- */

static int before(const struct packet *a, const struct packet *b) {
  return a->due != b->due ? a->due < b->due : a->number < b->number;
}

static void enqueue(struct direction *d, const uint8_t *bytes, uint32_t length, nanos due) {
  if (d->waiting >= MAX_WAITING) {
    d->overflowed++;
    return;
  }
  if (d->waiting == d->room) {
    d->room = d->room ? d->room * 2 : 256;
    d->heap = realloc(d->heap, d->room * sizeof *d->heap);
    if (!d->heap) fail("grow a queue");
  }
  struct packet *p = malloc(sizeof *p + length);
  if (!p) fail("keep a packet");
  p->due = due;
  p->number = d->next_number++;
  p->length = length;
  memcpy(p->bytes, bytes, length);
  uint32_t hole = d->waiting++;
  while (hole > 0) {
    uint32_t parent = (hole - 1) / 2;
    if (!before(p, d->heap[parent])) break;
    d->heap[hole] = d->heap[parent];
    hole = parent;
  }
  d->heap[hole] = p;
}

static struct packet *dequeue(struct direction *d) {
  struct packet *first = d->heap[0], *moved = d->heap[--d->waiting];
  uint32_t hole = 0;
  for (;;) {
    uint32_t child = 2 * hole + 1;
    if (child >= d->waiting) break;
    if (child + 1 < d->waiting && before(d->heap[child + 1], d->heap[child])) child++;
    if (!before(d->heap[child], moved)) break;
    d->heap[hole] = d->heap[child];
    hole = child;
  }
  d->heap[hole] = moved;
  return first;
}

/* ---- what a bad link does ------------------------------------------------------------------------------------- */

/* Where the UDP or TCP payload starts; `length` where there is none. */
static uint32_t payload_offset(const uint8_t *b, uint32_t length, int tap) {
  uint32_t at = tap ? 14 : 0;
  if (length < at + 48) return length;
  uint8_t protocol;
  if (b[at] >> 4 == 4) {
    protocol = b[at + 9];
    at += (b[at] & 15) * 4u;
  } else if (b[at] >> 4 == 6) {
    protocol = b[at + 6];
    at += 40;
  } else {
    return length;
  }
  if (protocol == 17) return at + 8;
  if (protocol == 6 && at + 12 < length) return at + (b[at + 12] >> 4) * 4u;
  return length;
}

/*
 * Exchanges one bit between two 16-bit words of the payload. The one's complement sum (RFC 1071) stays as it was, so
 * the damage passes every checksum on the way and reaches the application: the case worth testing.
 */
static int corrupt(uint8_t *b, uint32_t length, int tap) {
  uint32_t start = payload_offset(b, length, tap);
  if (start + 4 > length) return 0;
  uint32_t words = (length - start) / 2;
  for (int attempt = 0; attempt < 32; attempt++) {
    uint32_t i = start + 2 * (uint32_t)(uniform() * words), j = start + 2 * (uint32_t)(uniform() * words);
    uint32_t half = uniform() < 0.5 ? 0 : 1;
    uint8_t bit = (uint8_t)(1u << (unsigned)(uniform() * 8));
    if (((b[i + half] ^ b[j + half]) & bit) == 0) continue;
    b[i + half] ^= bit;
    b[j + half] ^= bit;
    return 1;
  }
  return 0; /* a payload of equal words cannot be damaged in this way */
}

/* Gilbert's model where bursts are asked for: two states whose odds give the same share of lost packets. */
static int is_lost(struct direction *d) {
  const struct shape *s = &d->shape;
  if (s->burst <= 1 || s->loss <= 0 || s->loss >= 100) return chance(s->loss);
  double leave = 100 / s->burst, enter = leave * s->loss / (100 - s->loss);
  d->in_burst = d->in_burst ? !chance(leave) : chance(enter);
  return d->in_burst;
}

static void accept_packet(struct direction *d, uint8_t *bytes, uint32_t length, int tap, nanos arrived) {
  const struct shape *s = &d->shape;
  d->received++;
  if (s->cut || is_lost(d)) {
    d->lost++;
    return;
  }
  nanos leaves = arrived;
  if (s->rate > 0) {
    nanos start = d->wire_free > arrived ? d->wire_free : arrived;
    if ((double)(start - arrived) * s->rate / 8000 > s->queue * 1024) {
      d->overflowed++;
      return;
    }
    leaves = d->wire_free = start + (nanos)(length * 8000.0 / s->rate);
  }
  nanos due = leaves + (nanos)(s->delay * 1e6) + (nanos)(s->jitter * 1e6 * uniform());
  if (chance(s->reorder)) {
    due += (nanos)(s->reorder_by * 1e6);
    d->reordered++;
  } else {
    if (due < d->last_due) due = d->last_due;
    d->last_due = due;
  }
  if (chance(s->corrupt) && corrupt(bytes, length, tap)) d->corrupted++;
  enqueue(d, bytes, length, due);
  if (chance(s->duplicate)) {
    enqueue(d, bytes, length, due);
    d->duplicated++;
  }
}

/* Sends what is due; answers when the next one is, 0 if none waits. */
static nanos deliver(struct direction *d) {
  nanos time = now();
  for (int burst = 0; d->waiting > 0; burst++) {
    if (d->heap[0]->due > time) return d->heap[0]->due;
    if (burst == BURST) return time; /* let others read and send in between */
    struct packet *p = dequeue(d);
    if (d->shape.cut) d->lost++;
    else if (write(d->to, p->bytes, p->length) == (ssize_t)p->length) d->sent++;
    else d->refused++; /* the interface is down or full */
    free(p);
  }
  return 0;
}

#endif
