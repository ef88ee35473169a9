/*
 * Emulates bad links between network namespaces, for kernels without netem.
 *
 *   link_emulator SOCKET LINK...
 *   LINK = NAME:tun|tap:MTU:SITE_NAMESPACE/INTERFACE:NET_NAMESPACE/INTERFACE
 *
 * Makes both interfaces of every link, says "ready" on stdout, then carries packets between them. One process carries
 * all links of a lab, so that a packet which crosses two of them waits for one scheduler, not for two.
 * "tun" links carry bare IP packets: no neighbour discovery, whose loss would cost seconds that no test asked for.
 *
 * SOCKET (unix, stream) takes lines and answers "ok" or "error REASON" to each:
 *   set NAME out|in|both KEY=VALUE...   out: from the site to the network. Keys are listed at KEYS below.
 *   stats                               a line for each direction, then "ok"
 *
 * Ends on SIGTERM, SIGINT, and when stdin ends: the process which started it has died. (With stdin at /dev/null from
 * the start, it stays until a signal.)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "link_direction.h"

enum {
  MAX_LINKS = 8,
  MAX_CLIENTS = 8, /* control connections at once; the next ones wait in the listen queue */
  MAX_LINE = 1024, /* of a control connection; a longer line ends the connection */
  MAX_PACKET = 65600,
};

struct link {
  char name[32];
  int tap;
  struct direction way[2]; /* 0: out, 1: in */
};

struct client {
  int fd;
  size_t used;
  char line[MAX_LINE];
};

static struct link links[MAX_LINKS];
static int link_count;
static struct client clients[MAX_CLIENTS];
static volatile sig_atomic_t stopping;

/* ---- control -------------------------------------------------------------------------------------------------- */

static struct link *find_link(const char *name) {
  for (int i = 0; i < link_count; i++)
    if (strcmp(links[i].name, name) == 0) return &links[i];
  return NULL;
}

static const char *set_key(struct shape *s, const char *word) {
  const char *equals = strchr(word, '=');
  if (!equals) return "expected KEY=VALUE";
  for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
    if (strlen(KEYS[i].name) != (size_t)(equals - word) || strncmp(KEYS[i].name, word, (size_t)(equals - word)))
      continue;
    char *end;
    double value = strtod(equals + 1, &end);
    if (end == equals + 1 || *end || !(value >= 0 && value <= KEYS[i].most)) return "value out of range";
    memcpy((char *)s + KEYS[i].offset, &value, sizeof value);
    return NULL;
  }
  return "unknown key";
}

static const char *set(char **rest) {
  const char *name = strtok_r(NULL, " ", rest), *way = strtok_r(NULL, " ", rest);
  struct link *link = name ? find_link(name) : NULL;
  if (!link) return "no such link";
  int out = way && (!strcmp(way, "out") || !strcmp(way, "both"));
  int in = way && (!strcmp(way, "in") || !strcmp(way, "both"));
  if (!out && !in) return "expected out, in or both";
  struct shape next[2] = { link->way[0].shape, link->way[1].shape };
  for (char *word; (word = strtok_r(NULL, " ", rest));) {
    for (int i = 0; i < 2; i++) {
      const char *error = (i == 0 ? out : in) ? set_key(&next[i], word) : NULL;
      if (error) return error;
    }
  }
  for (int i = 0; i < 2; i++) link->way[i].shape = next[i]; /* all keys or none */
  return NULL;
}

static void say_stats(int fd) {
  for (int i = 0; i < link_count * 2; i++) {
    const struct direction *d = &links[i / 2].way[i % 2];
    dprintf(fd,
      "%s %s received=%lu sent=%lu lost=%lu overflowed=%lu duplicated=%lu reordered=%lu corrupted=%lu refused=%lu\n",
      links[i / 2].name, i % 2 ? "in" : "out", d->received, d->sent, d->lost, d->overflowed, d->duplicated,
      d->reordered, d->corrupted, d->refused);
  }
}

static void answer(int fd, char *line) {
  char *rest;
  const char *verb = strtok_r(line, " ", &rest), *error = NULL;
  if (!verb) error = "empty line";
  else if (!strcmp(verb, "set")) error = set(&rest);
  else if (!strcmp(verb, "stats")) say_stats(fd);
  else error = "unknown verb";
  if (error) dprintf(fd, "error %s\n", error);
  else dprintf(fd, "ok\n");
}

static void hang_up(struct client *c) {
  close(c->fd);
  c->fd = -1;
}

static struct client *free_client(void) {
  for (int i = 0; i < MAX_CLIENTS; i++)
    if (clients[i].fd < 0) return &clients[i];
  return NULL;
}

static void serve(struct client *c) {
  ssize_t got = read(c->fd, c->line + c->used, MAX_LINE - 1 - c->used);
  if (got <= 0) {
    if (got == 0 || errno != EAGAIN) hang_up(c);
    return;
  }
  c->used += (size_t)got;
  c->line[c->used] = 0;
  char *start = c->line;
  for (char *end; (end = strchr(start, '\n')); start = end + 1) {
    *end = 0;
    answer(c->fd, start);
  }
  c->used -= (size_t)(start - c->line);
  memmove(c->line, start, c->used + 1);
  if (c->used == MAX_LINE - 1) hang_up(c);
}

static int listen_at(const char *path) {
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    fail("use the control socket's path");
  }
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  umask(077);
  unlink(path);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8)) fail("open the control socket");
  return fd;
}

/* ---- start ---------------------------------------------------------------------------------------------------- */

/* `place` is NAMESPACE/INTERFACE. An interface lives in the namespace where /dev/net/tun was opened. */
static int open_interface(char *place, int tap, int mtu) {
  char *interface = strchr(place, '/'), path[256];
  if (!interface) {
    errno = EINVAL;
    fail("read NAMESPACE/INTERFACE");
  }
  *interface++ = 0;
  snprintf(path, sizeof path, "/run/netns/%s", place);
  int space = open(path, O_RDONLY | O_CLOEXEC);
  if (space < 0 || setns(space, CLONE_NEWNET)) fail("enter a network namespace");
  close(space);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  struct ifreq request;
  memset(&request, 0, sizeof request);
  request.ifr_flags = (short)((tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI);
  strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request)) fail("make a TUN interface");
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  request.ifr_mtu = mtu;
  if (control < 0 || ioctl(control, SIOCSIFMTU, &request)) fail("set the MTU");
  request.ifr_qlen = 10000; /* a whole window of segments may arrive between two of our turns */
  if (ioctl(control, SIOCSIFTXQLEN, &request)) fail("set the queue length");
  close(control);
  return fd;
}

static void open_link(char *text) {
  char *rest, *name = strtok_r(text, ":", &rest), *kind = strtok_r(NULL, ":", &rest);
  char *mtu = strtok_r(NULL, ":", &rest), *site = strtok_r(NULL, ":", &rest), *net = strtok_r(NULL, ":", &rest);
  if (!net || link_count == MAX_LINKS) {
    errno = EINVAL;
    fail("read a link");
  }
  struct link *link = &links[link_count++];
  snprintf(link->name, sizeof link->name, "%s", name);
  link->tap = !strcmp(kind, "tap");
  int a = open_interface(site, link->tap, atoi(mtu)), b = open_interface(net, link->tap, atoi(mtu));
  const struct shape shape = { .reorder_by = 5, .queue = 256 };
  link->way[0] = (struct direction){ .shape = shape, .from = a, .to = b };
  link->way[1] = (struct direction){ .shape = shape, .from = b, .to = a };
}

static void on_signal(int number) {
  (void)number;
  stopping = 1;
}

/* Delays are exact only if we run when a packet is due, whatever else is busy. Refused where not allowed: then less exact. */
static void run_promptly(void) {
  struct sched_param priority = { .sched_priority = 1 };
  sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority);
  prctl(PR_SET_TIMERSLACK, 1);
}

static void carry(int listener) {
  static uint8_t buffer[MAX_PACKET];
  struct stat input;
  /* A pipe whose writing end has closed says that our parent is gone. */
  int watch_parent = fstat(0, &input) == 0 && (S_ISFIFO(input.st_mode) || S_ISSOCK(input.st_mode));
  while (!stopping) {
    nanos next = 0;
    for (int i = 0; i < link_count * 2; i++) {
      nanos due = deliver(&links[i / 2].way[i % 2]);
      if (due && (!next || due < next)) next = due;
    }
    struct pollfd waits[MAX_LINKS * 2 + MAX_CLIENTS + 2];
    nfds_t count = 0;
    for (int i = 0; i < link_count * 2; i++)
      waits[count++] = (struct pollfd){ .fd = links[i / 2].way[i % 2].from, .events = POLLIN };
    for (int i = 0; i < MAX_CLIENTS; i++) waits[count++] = (struct pollfd){ .fd = clients[i].fd, .events = POLLIN };
    waits[count++] = (struct pollfd){ .fd = free_client() ? listener : -1, .events = POLLIN };
    waits[count++] = (struct pollfd){ .fd = watch_parent ? 0 : -1, .events = POLLIN };
    nanos time = now(), pause = next > time ? next - time : 0;
    struct timespec limit = { .tv_sec = (time_t)(pause / 1000000000u), .tv_nsec = (long)(pause % 1000000000u) };
    if (ppoll(waits, count, next ? &limit : NULL, NULL) < 0 && errno != EINTR) fail("wait for packets");
    struct pollfd *w = waits;
    for (int i = 0; i < link_count * 2; i++, w++) {
      if (!(w->revents & POLLIN)) continue;
      struct link *link = &links[i / 2];
      for (int burst = 0; burst < BURST; burst++) {
        ssize_t length = read(w->fd, buffer, sizeof buffer);
        if (length <= 0) break;
        accept_packet(&link->way[i % 2], buffer, (uint32_t)length, link->tap, now());
      }
    }
    for (int i = 0; i < MAX_CLIENTS; i++, w++)
      if (clients[i].fd >= 0 && w->revents) serve(&clients[i]);
    struct client *caller = w++->revents & POLLIN ? free_client() : NULL;
    if (caller) {
      caller->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
      caller->used = 0;
    }
    if (w->revents && read(0, buffer, sizeof buffer) <= 0) break;
  }
}

int main(int count, char **words) {
  if (count < 3) {
    fprintf(stderr, "usage: link_emulator SOCKET NAME:tun|tap:MTU:NAMESPACE/INTERFACE:NAMESPACE/INTERFACE...\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);
  const char *seed = getenv("LINK_EMULATOR_SEED");
  random_state = seed ? strtoull(seed, NULL, 10) : now();
  for (int i = 0; i < MAX_CLIENTS; i++) clients[i].fd = -1;
  int listener = listen_at(words[1]);
  for (int i = 2; i < count; i++) open_link(words[i]);
  run_promptly();
  puts("ready");
  fflush(stdout);
  carry(listener);
  unlink(words[1]);
  return 0;
}
