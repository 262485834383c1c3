/*
 * bench_load: the load generator behind scripts/bench. It speaks ZooKeeper's client protocol to one server on loopback,
 * keeps a fixed number of requests in flight on each of a fixed number of connections (a closed loop), and prints one
 * line of JSON: what was done, how fast, and how long the answers took.
 *
 * Its law: it must never be what is being measured. One thread, one epoll set, requests encoded once and patched with
 * xid and node number, one send and one recv per connection and wake-up, no allocation after the start. scripts/bench
 * shows how far it is from its own limit by running it against bench_null, which answers canned bytes.
 *
 * It trusts nothing: every reply must carry the xid that is next in line, err 0 and the exact length its kind has. The
 * first reply that does not ends the run with {"error": ...} and status 1. So does silence of more than ten seconds.
 *
 *   bench_load port=N op=OP [conns=1] [inflight=1] [warmup_ms=0] [ms=1000 | count=N] [nodes=1000] [size=100] [tag=0]
 *              [keep=0]
 *
 *   prepare   make /bench with its nodes, parents and watched node, and fill the nodes; not measured
 *   get, set  getData and setData of a random one of /bench/nNNNN         mixed   nine gets to one set, at random
 *   create    a new node under one of 16 parents; deleted again after the interval, unless keep=1
 *   delete    what "create" made with the same tag, conns, count and keep=1
 *   session   connect, handshake, closeSession, close: one operation; conns of them at a time
 *   watch     a setData fires `conns` watches; each watcher asks again at once; the next setData waits for all of
 *             them. An operation is one event received, its latency counts from the sending of the setData
 *
 * Latency is from just before the send of a request to just after the recv that brought its answer. The histogram has
 * 64 steps per power of two, so a percentile is within 1.6 % of the truth. With count=N the interval is the whole run.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { MAX_INFLIGHT = 256, IN_BYTES = 64 * 1024, PARENTS = 16, SILENCE_MS = 10000, MAX_FRAME = 16 * 1024 };
enum { OP_CREATE = 1, OP_DELETE = 2, OP_GET = 4, OP_SET = 5, OP_CLOSE = -11 };
enum { HEADER = 16, STAT = 68, NODE_EXISTS = -110 }; /* bytes of a reply header (xid, zxid, err) and of a Stat */

typedef struct {
    int fd, index;
    int32_t next_xid, want_xid; /* next to send; next to receive: their difference is in flight */
    uint64_t sent_ns[MAX_INFLIGHT];
    int32_t want_len[MAX_INFLIGHT];
    uint32_t done; /* create: names used so far; delete: names removed */
    uint32_t limit; /* at most so many operations (count=, or the deletes that undo the creates) */
    int stage; /* session: which step; watch: whether the watch is set */
    uint64_t opened_ns;
    size_t in_len, out_len, out_off;
    int wants_out;
    char *in, *out;
} Conn;

static int port, conns = 1, inflight = 1, nodes = 1000, size = 100, tag, keep;
static uint64_t warmup_ms, interval_ms = 1000, count;
static const char *op = "get";

static Conn *all;
static int poll_fd;
static uint64_t buckets[64 * 64], ops, max_ns, last_reply_ns;
static uint64_t start_ns, from_ns, until_ns; /* the measured interval is [from, until) */
static uint64_t dice = 0x9e3779b97f4a7c15ull;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + 1e-6 * (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("{\"error\": \"");
    vprintf(format, args);
    printf("\"}\n");
    exit(1);
}

static uint32_t draw(uint32_t below) { /* xorshift64*: good enough to spread keys, and reproducible */
    dice ^= dice >> 12;
    dice ^= dice << 25;
    dice ^= dice >> 27;
    return (uint32_t)(((dice * 0x2545f4914f6cdd1dull) >> 32) * below >> 32);
}

static void record(uint64_t ns) {
    unsigned top, index;
    if (ns < 64) {
        index = (unsigned)ns;
    } else {
        top = 63u - (unsigned)__builtin_clzll(ns);
        index = (top - 5) * 64 + (unsigned)((ns >> (top - 6)) & 63);
    }
    buckets[index]++;
    ops++;
    if (ns > max_ns) max_ns = ns;
}

static double percentile_us(double share) {
    uint64_t seen = 0, goal = (uint64_t)((double)ops * share);
    for (unsigned i = 0; i < 64 * 64; i++) {
        seen += buckets[i];
        if (seen <= goal) continue;
        if (i < 64) return i / 1e3;
        return ((double)(64 + i % 64) + 0.5) * (double)(1ull << (i / 64 - 1)) / 1e3; /* the bucket's middle */
    }
    return (double)max_ns / 1e3;
}

/* --- encoding: plain big-endian fields appended at p ------------------------------------------------------------ */

static char *put_int(char *p, int32_t v) {
    uint32_t n = htonl((uint32_t)v);
    memcpy(p, &n, 4);
    return p + 4;
}

static char *put_bytes(char *p, const char *bytes, int n) {
    p = put_int(p, n);
    memcpy(p, bytes, (size_t)n);
    return p + n;
}

static int32_t get_int(const char *p) {
    uint32_t n;
    memcpy(&n, p, 4);
    return (int32_t)ntohl(n);
}

static char data[MAX_FRAME];

typedef struct {
    char frame[MAX_FRAME];
    int len, path_at; /* whole length with its prefix; offset of the path's first character */
} Template;
static Template get_node, get_watched, set_node, set_watched, create_node, delete_node;

/* A request frame without its xid; the path is patched later, so only its length matters for the patched kinds. */
static void encode(Template *t, int type, const char *path, int flag) {
    char *p = put_int(put_int(put_int(t->frame, 0), 0), type);
    p = put_int(p, (int)strlen(path));
    t->path_at = (int)(p - t->frame);
    memcpy(p, path, strlen(path));
    p += strlen(path);
    if (type == OP_GET) {
        *p++ = (char)flag; /* watch */
    } else if (type == OP_SET) {
        p = put_int(put_bytes(p, data, size), -1); /* any version */
    } else if (type == OP_DELETE) {
        p = put_int(p, -1);
    } else { /* create: data, one ACL (all, world:anyone), persistent */
        p = put_int(put_int(put_bytes(p, data, size), 1), 31);
        p = put_int(put_bytes(put_bytes(p, "world", 5), "anyone", 6), 0);
    }
    t->len = (int)(p - t->frame);
    put_int(t->frame, t->len - 4);
}

static void digits(char *at, uint32_t value, int width) {
    while (width--) {
        at[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

#define CHILD "/bench/c00/t0000-000-00000000" /* parent, tag, connection, running number */

static void name_child(char *path, const Conn *c, uint32_t number) {
    digits(path + 8, (number + (uint32_t)c->index) % PARENTS, 2);
    digits(path + 12, (uint32_t)tag, 4);
    digits(path + 17, (uint32_t)c->index, 3);
    digits(path + 21, number, 8);
}

/* --- a connection's bytes --------------------------------------------------------------------------------------- */

static void watch_output(Conn *c, int wanted) {
    struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    if (c->wants_out == wanted) return;
    c->wants_out = wanted;
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e)) fail("epoll_ctl: %s", strerror(errno));
}

static void flush(Conn *c) {
    while (c->out_off < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch_output(c, 1);
            return;
        }
        if (n < 0) fail("send on connection %d: %s", c->index, strerror(errno));
        c->out_off += (size_t)n;
    }
    c->out_off = c->out_len = 0;
    watch_output(c, 0);
}

/* Append a request; returns where its path starts, for the caller to patch. want_len is the payload of a good reply. */
static char *request(Conn *c, const Template *t, int want_len, uint64_t now) {
    char *frame = c->out + c->out_len;
    int slot = c->next_xid % MAX_INFLIGHT;
    memcpy(frame, t->frame, (size_t)t->len);
    put_int(frame + 4, c->next_xid++);
    c->sent_ns[slot] = now;
    c->want_len[slot] = want_len;
    c->out_len += (size_t)t->len;
    return frame + t->path_at;
}

/* The reply must be the next in line and a good one; returns when its request was sent. */
static uint64_t check_reply(Conn *c, const char *payload, int len, int forgiven) {
    int slot = c->want_xid % MAX_INFLIGHT;
    if (len < HEADER) fail("connection %d: a reply of %d bytes", c->index, len);
    int32_t xid = get_int(payload), err = get_int(payload + 12);
    if (xid != c->want_xid) fail("connection %d: reply xid %d, expected %d", c->index, xid, c->want_xid);
    if (c->want_xid == c->next_xid) fail("connection %d: reply %d to no request", c->index, xid);
    if (err != 0 && err != forgiven) fail("connection %d: reply %d has err %d", c->index, xid, err);
    if (err == 0 && len != c->want_len[slot])
        fail("connection %d: reply %d has %d bytes, expected %d", c->index, xid, len, c->want_len[slot]);
    c->want_xid++;
    return c->sent_ns[slot];
}

static int open_socket(int blocking, uint32_t source) {
    int one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source)};
    int fd = socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0) fail("socket: %s", strerror(errno));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (source) { /* spread closed sessions over source addresses, or TIME_WAIT eats the ports of one of them */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&from, sizeof from)) fail("bind to source %u: %s", source, strerror(errno));
    }
    if (connect(fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) fail("connect: %s", strerror(errno));
    return fd;
}

static size_t handshake(char *frame) {
    memset(frame, 0, 49); /* length, version, lastZxidSeen, timeout, session, password, readOnly */
    put_int(frame, 45);
    put_int(frame + 16, 30000);
    put_int(frame + 28, 16);
    return 49;
}

static void check_handshake(const Conn *c, const char *payload, int len) {
    if (len != 37 || get_int(payload + 4) <= 0) fail("connection %d: the handshake was refused", c->index);
}

static void read_fully(int fd, char *at, size_t n) {
    while (n) {
        ssize_t got = recv(fd, at, n, 0);
        if (got == 0) fail("a connection was closed by the server while opening or closing sessions");
        if (got < 0) fail("a connection was lost while opening or closing sessions: %s", strerror(errno));
        at += got;
        n -= (size_t)got;
    }
}

/* Blocking, and a few at a time: a listen backlog is 50 by default, and a dropped SYN would cost a second. */
static void open_all(int total) {
    enum { AT_A_TIME = 20 };
    struct timeval patience = {.tv_sec = SILENCE_MS / 1000};
    char frame[64];
    for (int i = 0; i < total; i += AT_A_TIME) {
        for (int k = i; k < i + AT_A_TIME && k < total; k++) {
            all[k].fd = open_socket(1, 0);
            setsockopt(all[k].fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            if (send(all[k].fd, frame, handshake(frame), MSG_NOSIGNAL) != 49) fail("send of a handshake");
        }
        for (int k = i; k < i + AT_A_TIME && k < total; k++) {
            read_fully(all[k].fd, frame, 4);
            if (get_int(frame) != 37) fail("connection %d: a handshake reply of %d bytes", k, get_int(frame));
            read_fully(all[k].fd, frame, 37);
            check_handshake(&all[k], frame, 37);
            struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[k]};
            fcntl(all[k].fd, F_SETFL, O_NONBLOCK);
            if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, all[k].fd, &e)) fail("epoll_ctl: %s", strerror(errno));
        }
    }
}

/* Orderly, so that no session is left behind to expire in the middle of a later measurement. */
static void close_all(int total) {
    char frame[12], reply[20];
    put_int(put_int(put_int(frame, 8), 1 << 30), OP_CLOSE);
    for (int k = 0; k < total; k++) {
        fcntl(all[k].fd, F_SETFL, 0);
        if (send(all[k].fd, frame, 12, MSG_NOSIGNAL) != 12) fail("send of closeSession: %s", strerror(errno));
    }
    for (int k = 0; k < total; k++) {
        read_fully(all[k].fd, reply, 20);
        if (get_int(reply + 4) != 1 << 30) fail("closeSession: reply xid %d", get_int(reply + 4));
        if (get_int(reply + 16)) fail("closeSession: err %d", get_int(reply + 16));
        close(all[k].fd);
    }
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

typedef void Handler(Conn *c, const char *payload, int len, uint64_t now);

/* Hand every whole frame that has arrived to the handler, then send all it queued in one go; 0 at end of stream. */
static int drain(Conn *c, Handler *on_frame) {
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, 0);
    uint64_t now = now_ns();
    size_t at = 0;
    if (n < 0 && errno == EAGAIN) return 1;
    if (n <= 0) return 0;
    c->in_len += (size_t)n;
    last_reply_ns = now;
    while (c->in_len - at >= 4) {
        int32_t len = get_int(c->in + at);
        if (len < 0 || len > IN_BYTES - 4) fail("connection %d: a frame of %d bytes", c->index, len);
        if (c->in_len - at - 4 < (size_t)len) break;
        on_frame(c, c->in + at + 4, len, now);
        at += 4 + (size_t)len;
        if (c->fd < 0) return 1; /* the handler closed it */
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    return 1;
}

static void lost(const Conn *c) {
    fail("connection %d: lost (closed by the server) with %d in flight", c->index, c->next_xid - c->want_xid);
}

static int wait_events(struct epoll_event *events, int room) {
    int n = epoll_wait(poll_fd, events, room, 100);
    if (n == 0 && now_ns() - last_reply_ns > SILENCE_MS * 1000000ull) fail("no reply for %d s", SILENCE_MS / 1000);
    return n;
}

static int busy; /* connections with anything in flight */
static int deleting;

/* Top up one connection to its full number of requests in flight. */
static void fill(Conn *c, uint64_t now) {
    int kind = deleting ? 'd' : op[0], draw_kind;
    if (!deleting && !count && now >= until_ns) return;
    while (c->next_xid - c->want_xid < inflight && c->done < c->limit) {
        draw_kind = kind == 'm' ? (draw(10) ? 'g' : 's') : kind;
        if (draw_kind == 'g')
            digits(request(c, &get_node, HEADER + 4 + size + STAT, now) + 8, draw((uint32_t)nodes), 4);
        else if (draw_kind == 's')
            digits(request(c, &set_node, HEADER + STAT, now) + 8, draw((uint32_t)nodes), 4);
        else if (draw_kind == 'c')
            name_child(request(c, &create_node, HEADER + 4 + (int)strlen(CHILD), now), c, c->done);
        else
            name_child(request(c, &delete_node, HEADER, now), c, c->done);
        c->done++;
    }
    if (c->out_len) flush(c);
}

static void on_plain(Conn *c, const char *payload, int len, uint64_t now) {
    uint64_t sent = check_reply(c, payload, len, 0);
    if (!deleting && now >= from_ns && (count || now < until_ns)) record(now - sent);
}

static double cpu_from, cpu_until;

static void note_cpu(uint64_t now) { /* the interval's share of our own processor time */
    if (cpu_from == 0 && now >= from_ns) cpu_from = cpu_seconds();
    if (cpu_until == 0 && now >= until_ns) cpu_until = cpu_seconds();
}

static void run_plain(void) {
    struct epoll_event events[512];
    busy = 0;
    last_reply_ns = now_ns();
    for (int k = 0; k < conns; k++) {
        fill(&all[k], now_ns());
        busy += all[k].next_xid != all[k].want_xid;
    }
    while (busy) {
        int n = wait_events(events, 512);
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush(c);
            if (!(events[i].events & ~(unsigned)EPOLLOUT)) continue;
            if (!drain(c, on_plain)) lost(c);
            if (c->out_len == 0) fill(c, now_ns()); /* else: still sending, the socket is full */
            if (c->next_xid == c->want_xid) busy--;
        }
        note_cpu(now_ns());
    }
}

static void plain(void) {
    open_all(conns);
    for (int k = 0; k < conns; k++)
        all[k].limit = count ? (uint32_t)((count + (uint64_t)(conns - 1 - k)) / (uint64_t)conns) : UINT32_MAX;
    start_ns = now_ns();
    from_ns = start_ns + warmup_ms * 1000000ull;
    until_ns = from_ns + interval_ms * 1000000ull;
    if (count) until_ns = UINT64_MAX;
    run_plain();
    if (count) until_ns = now_ns();
    if (op[0] == 'c' && !keep) {
        deleting = 1;
        for (int k = 0; k < conns; k++) {
            all[k].limit = all[k].done;
            all[k].done = 0;
        }
        run_plain();
    }
    close_all(conns);
}

/* --- sessions --------------------------------------------------------------------------------------------------- */

static void session_open(Conn *c, uint64_t now) {
    static uint32_t opened;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    c->fd = open_socket(0, 1 + opened++ % 100);
    c->opened_ns = now;
    c->next_xid = c->want_xid = 1;
    c->in_len = c->out_off = 0;
    c->stage = 0;
    c->wants_out = 1;
    c->out_len = handshake(c->out);
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e)) fail("epoll_ctl: %s", strerror(errno));
}

static void on_session(Conn *c, const char *payload, int len, uint64_t now) {
    if (c->stage++ == 0) {
        check_handshake(c, payload, len);
        put_int(put_int(put_int(c->out, 8), c->next_xid), OP_CLOSE);
        c->out_len = 12;
        c->want_len[c->next_xid++ % MAX_INFLIGHT] = HEADER;
        flush(c);
        return;
    }
    check_reply(c, payload, len, 0);
    if (now >= from_ns && now < until_ns) record(now - c->opened_ns);
    close(c->fd);
    c->fd = -1;
}

static void sessions(void) {
    struct epoll_event events[512];
    start_ns = last_reply_ns = now_ns();
    from_ns = start_ns + warmup_ms * 1000000ull;
    until_ns = from_ns + interval_ms * 1000000ull;
    for (int k = 0; k < conns; k++) session_open(&all[k], now_ns());
    for (busy = conns; busy;) {
        int n = wait_events(events, 512);
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush(c);
            if (!(events[i].events & ~(unsigned)EPOLLOUT)) continue;
            if (!drain(c, on_session)) lost(c);
            if (c->fd >= 0) continue;
            c->in_len = 0;
            uint64_t now = now_ns();
            if (now < until_ns)
                session_open(c, now);
            else
                busy--;
        }
        note_cpu(now_ns());
    }
}

/* --- watches: the writer is connection 0, the watchers are the others ------------------------------------------ */

static int armed, set_answered;
static uint64_t set_sent_ns;

static void ask_again(Conn *c, uint64_t now) {
    request(c, &get_watched, HEADER + 4 + size + STAT, now);
    flush(c);
}

static void on_watch(Conn *c, const char *payload, int len, uint64_t now) {
    if (c->index == 0) {
        check_reply(c, payload, len, 0);
        set_answered = 1;
        return;
    }
    if (get_int(payload) != -1) {
        check_reply(c, payload, len, 0);
        c->stage = 1;
        armed++;
        return;
    }
    if (!c->stage) fail("connection %d: an event without a watch", c->index);
    if (len != HEADER + 8 + 4 + 8) fail("connection %d: an event of %d bytes", c->index, len);
    if (get_int(payload + HEADER) != 3 || memcmp(payload + HEADER + 12, "/bench/w", 8))
        fail("connection %d: an event of type %d for the wrong node or change", c->index, get_int(payload + HEADER));
    if (now >= from_ns && now < until_ns) record(now - set_sent_ns);
    c->stage = 0;
    ask_again(c, now);
}

static void watches(void) {
    struct epoll_event events[512];
    int total = conns + 1;
    open_all(total);
    start_ns = last_reply_ns = now_ns();
    from_ns = start_ns + warmup_ms * 1000000ull;
    until_ns = from_ns + interval_ms * 1000000ull;
    set_answered = 1;
    for (int k = 1; k < total; k++) ask_again(&all[k], start_ns);
    for (;;) {
        uint64_t now = now_ns();
        note_cpu(now);
        if (armed == conns && set_answered) {
            if (now >= until_ns) break;
            armed = set_answered = 0;
            request(&all[0], &set_watched, HEADER + STAT, now);
            set_sent_ns = now;
            flush(&all[0]);
        }
        int n = wait_events(events, 512);
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush(c);
            if ((events[i].events & ~(unsigned)EPOLLOUT) && !drain(c, on_watch)) lost(c);
        }
    }
    close_all(total);
}

/* --- the tree that all this works on ---------------------------------------------------------------------------- */

static void on_prepared(Conn *c, const char *payload, int len, uint64_t now) {
    (void)now;
    check_reply(c, payload, len, NODE_EXISTS);
}

static void prepare(void) {
    static Template t;
    struct epoll_event event;
    char path[32];
    Conn *c = &all[0];
    open_all(1);
    last_reply_ns = now_ns();
    for (int i = 0; i < 1 + PARENTS + 1 + nodes * 2;) {
        for (; i < 1 + PARENTS + 1 + nodes * 2 && c->next_xid - c->want_xid < 100; i++) {
            int is_set = i >= 1 + PARENTS + 1 + nodes;
            if (i == 0)
                snprintf(path, sizeof path, "/bench");
            else if (i <= PARENTS)
                snprintf(path, sizeof path, "/bench/c%02d", i - 1);
            else if (i == PARENTS + 1)
                snprintf(path, sizeof path, "/bench/w");
            else
                snprintf(path, sizeof path, "/bench/n%04d", (i - PARENTS - 2) % nodes);
            encode(&t, is_set ? OP_SET : OP_CREATE, path, 0);
            request(c, &t, is_set ? HEADER + STAT : HEADER + 4 + (int)strlen(path), now_ns());
        }
        flush(c);
        while (c->next_xid != c->want_xid) {
            if (wait_events(&event, 1) < 1) continue;
            if (event.events & EPOLLOUT) flush(c);
            if ((event.events & ~(unsigned)EPOLLOUT) && !drain(c, on_prepared)) lost(c);
        }
    }
    close_all(1);
}

static void parse(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char *eq = strchr(argv[i], '=');
        if (!eq) fail("argument %s is not key=value", argv[i]);
        *eq++ = 0;
        if (!strcmp(argv[i], "op")) op = eq;
        else if (!strcmp(argv[i], "port")) port = atoi(eq);
        else if (!strcmp(argv[i], "conns")) conns = atoi(eq);
        else if (!strcmp(argv[i], "inflight")) inflight = atoi(eq);
        else if (!strcmp(argv[i], "nodes")) nodes = atoi(eq);
        else if (!strcmp(argv[i], "size")) size = atoi(eq);
        else if (!strcmp(argv[i], "tag")) tag = atoi(eq);
        else if (!strcmp(argv[i], "keep")) keep = atoi(eq);
        else if (!strcmp(argv[i], "warmup_ms")) warmup_ms = strtoull(eq, 0, 10);
        else if (!strcmp(argv[i], "ms")) interval_ms = strtoull(eq, 0, 10);
        else if (!strcmp(argv[i], "count")) count = strtoull(eq, 0, 10);
        else fail("unknown argument %s", argv[i]);
    }
    if (port < 1 || port > 65535) fail("port=%d", port);
    if (conns < 1 || conns > 999) fail("conns=%d, must be 1 to 999", conns);
    if (inflight < 1 || inflight >= MAX_INFLIGHT) fail("inflight=%d, must be 1 to %d", inflight, MAX_INFLIGHT - 1);
    if (nodes < 1 || nodes > 9999) fail("nodes=%d, must be 1 to 9999", nodes);
    if (size < 0 || size > MAX_FRAME - 256) fail("size=%d, must be 0 to %d", size, MAX_FRAME - 256);
    if (count) warmup_ms = 0;
}

int main(int argc, char **argv) {
    parse(argc, argv);
    memset(data, 'x', sizeof data);
    dice ^= (uint64_t)getpid() << 20;
    encode(&get_node, OP_GET, "/bench/n0000", 0);
    encode(&get_watched, OP_GET, "/bench/w", 1);
    encode(&set_node, OP_SET, "/bench/n0000", 0);
    encode(&set_watched, OP_SET, "/bench/w", 0);
    encode(&create_node, OP_CREATE, CHILD, 0);
    encode(&delete_node, OP_DELETE, CHILD, 0);
    poll_fd = epoll_create1(0);
    all = calloc((size_t)conns + 1, sizeof *all);
    for (int k = 0; k <= conns; k++) {
        all[k].index = k;
        all[k].fd = -1;
        all[k].next_xid = all[k].want_xid = 1;
        all[k].in = malloc(IN_BYTES);
        all[k].out = malloc((size_t)(size + 256) * (size_t)(inflight > 100 ? inflight : 100));
    }
    if (!strcmp(op, "prepare")) prepare();
    else if (!strcmp(op, "session")) sessions();
    else if (!strcmp(op, "watch")) watches();
    else if (!strcmp(op, "get") || !strcmp(op, "set") || !strcmp(op, "mixed")) plain();
    else if (!strcmp(op, "create") || !strcmp(op, "delete")) plain();
    else fail("unknown op %s", op);
    double seconds = from_ns ? (double)(until_ns - from_ns) / 1e9 : 0;
    if (cpu_until == 0) cpu_until = cpu_seconds();
    printf("{\"ops\": %llu, \"seconds\": %.6f, \"rate\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f, \"load_cpu\": %.3f}\n",
           (unsigned long long)ops, seconds, seconds > 0 ? (double)ops / seconds : 0.0, percentile_us(0.5),
           percentile_us(0.9), percentile_us(0.99), (double)max_ns / 1e3,
           seconds > 0 ? (cpu_until - cpu_from) / seconds : 0.0);
    return 0;
}
