/*
 * bench_null: the server that does nothing, for scripts/bench. It accepts ZooKeeper handshakes and answers each request
 * with canned bytes of the size a real server's answer has: no tree, no log, no sync. What bench_load reaches against
 * it is the limit of the machine, its loopback and bench_load itself; a real server's figure that comes near it would
 * be the load generator's and not the server's.
 *
 *   bench_null [size=100]      listens on a free port of 127.0.0.1, prints it on a line of its own, runs until killed
 *
 * It keeps one thing: which connections asked for a watch. Any setData fires all of them, which is all that the watch
 * shape of bench_load needs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_BYTES = 256 * 1024, OUT_BYTES = 1024 * 1024, MAX_FDS = 65536, STAT = 68 };

typedef struct {
    int fd, shaken, watching, closing, wants_out;
    size_t in_len, out_len, out_off;
    char *in, *out;
} Conn;

static Conn *by_fd[MAX_FDS];
static int poll_fd, highest, watchers;
static uint64_t zxid;
static char path[4096];

static char *put_int(char *p, int32_t v) {
    uint32_t n = htonl((uint32_t)v);
    memcpy(p, &n, 4);
    return p + 4;
}

static int32_t get_int(const char *p) {
    uint32_t n;
    memcpy(&n, p, 4);
    return (int32_t)ntohl(n);
}

static char *put_header(char *p, int payload, int32_t xid) {
    p = put_int(put_int(p, payload), xid);
    return put_int(put_int(put_int(p, (int32_t)(zxid >> 32)), (int32_t)zxid), 0);
}

static void drop(Conn *c) {
    by_fd[c->fd] = NULL;
    watchers -= c->watching;
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static void flush(Conn *c) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = c->fd};
    int blocked = 0;
    while (c->out_off < c->out_len && !blocked) {
        ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            c->closing = 1;
            break;
        }
        blocked = n < 0;
        c->out_off += n < 0 ? 0 : (size_t)n;
    }
    if (!blocked) c->out_off = c->out_len = 0;
    if (blocked != c->wants_out) {
        e.events |= blocked ? EPOLLOUT : 0;
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e);
        c->wants_out = blocked;
    }
}

/* Every watcher learns of the change, as from a real server: once, and then it has to ask again. */
static void fire(int path_len) {
    for (int fd = 0; fd <= highest && watchers; fd++) {
        Conn *c = by_fd[fd];
        if (!c || !c->watching) continue;
        char *p = put_header(c->out + c->out_len, 16 + 12 + path_len, -1);
        p = put_int(put_int(put_int(p, 3), 3), path_len); /* NodeDataChanged, SyncConnected */
        memcpy(p, path, (size_t)path_len);
        c->out_len = (size_t)(p + path_len - c->out);
        c->watching = 0;
        watchers--;
        flush(c);
    }
}

static int size = 100;

static void answer(Conn *c, const char *payload, int len) {
    char *p = c->out + c->out_len;
    if (!c->shaken) {
        memset(p, 0, 41);
        put_int(p, 37);
        put_int(p + 8, 30000);
        put_int(p + 16, c->fd + 1);
        put_int(p + 20, 16);
        c->shaken = 1;
        c->out_len += 41;
        return;
    }
    int32_t xid = get_int(payload), type = get_int(payload + 4), path_len = len > 12 ? get_int(payload + 8) : 0;
    if (type == 4) { /* getData: data and Stat */
        p = put_int(put_header(p, 16 + 4 + size + STAT, xid), size);
        memset(p, 'x', (size_t)size + STAT);
        p += size + STAT;
        if (payload[len - 1] && !c->watching) c->watching = 1, watchers++;
    } else if (type == 5) { /* setData: Stat */
        zxid++;
        memset(put_header(p, 16 + STAT, xid), 0, STAT);
        p += 20 + STAT;
        if (watchers) {
            memcpy(path, payload + 12, (size_t)path_len);
            fire(path_len);
        }
    } else if (type == 1) { /* create: the path */
        zxid++;
        p = put_int(put_header(p, 16 + 4 + path_len, xid), path_len);
        memcpy(p, payload + 12, (size_t)path_len);
        p += path_len;
    } else { /* delete, ping, closeSession: a header */
        p = put_header(p, 16, xid);
        c->closing = type == -11;
    }
    c->out_len = (size_t)(p - c->out);
}

static void drain(Conn *c) {
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, 0);
    size_t at = 0;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        drop(c);
        return;
    }
    c->in_len += (size_t)n;
    while (c->in_len - at >= 4 && !c->closing) {
        int32_t len = get_int(c->in + at);
        if (len < 8 || len > IN_BYTES - 4 || OUT_BYTES - c->out_len < (size_t)(size + 4096)) {
            drop(c);
            return;
        }
        if (c->in_len - at - 4 < (size_t)len) break;
        answer(c, c->in + at + 4, len);
        at += 4 + (size_t)len;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    if (!c->wants_out) flush(c);
    if (c->closing) drop(c);
}

static void admit(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        Conn *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->in = malloc(IN_BYTES);
        c->out = malloc(OUT_BYTES);
        by_fd[fd] = c;
        if (fd > highest) highest = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t a_len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event events[512], e = {.events = EPOLLIN, .data.fd = listener};
    if (argc > 1 && !strncmp(argv[1], "size=", 5)) size = atoi(argv[1] + 5);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 1024)) return perror("bench_null"), 1;
    getsockname(listener, (struct sockaddr *)&a, &a_len);
    poll_fd = epoll_create1(0);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poll_fd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            Conn *c = by_fd[events[i].data.fd];
            if (events[i].data.fd == listener) admit(listener);
            else if (c && (events[i].events & EPOLLOUT)) flush(c);
            else if (c) drain(c);
        }
    }
}
