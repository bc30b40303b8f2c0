/* `guest connect`: joins its stdin and stdout to the guest's socket. An engine that is not on this machine starts it
 * through its exec, whose one byte stream then is the connection. */
#include "guest.h"

enum {
    CHUNK = 256 << 10,
    PATIENCE_MS = 5000,
    LINGER_MS = 10000,
    /* Of stdout while much is said: whoever reads it takes full pieces then, each of which is a frame that passes five
     * programs on a cluster. No longer, for the kernel counts a user's (see stream.c). */
    WIDE = 1 << 20,
    USUAL = 64 << 10,
    QUIET_MS = 1000,
};

struct pump {
    int from, to;
    size_t start, end;
    bool eof;
    char bytes[CHUNK];
};

static int reach(const char *path)
{
    struct sockaddr_un a;
    int dir, error = 0;
    uint64_t until = now_ns() + PATIENCE_MS * NS_MS;
    for (;;) { /* the exec may be faster than the guest's start */
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        error = unix_address(path, &a, &dir);
        if (!error && connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
            error = errno;
        if (dir >= 0)
            close(dir);
        if (!error)
            return fd;
        close(fd);
        if ((error != ENOENT && error != ECONNREFUSED) || now_ns() > until) {
            errno = error;
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 5 * NS_MS}, NULL);
    }
}

static short wanted(const struct pump *p, bool reading)
{
    if (reading)
        return !p->eof && p->start == p->end ? POLLIN : 0;
    return p->start < p->end ? POLLOUT : 0;
}

/* False: broken. */
static bool move(struct pump *p, short readable, short writable)
{
    if (readable && wanted(p, true)) {
        ssize_t n = read(p->from, p->bytes, CHUNK);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        p->eof = n == 0;
        p->start = 0;
        p->end = n > 0 ? (size_t)n : 0;
        writable = 1; /* most often it is; a wrong guess costs one EAGAIN */
    }
    if (writable && p->start < p->end) {
        ssize_t n = write(p->to, p->bytes + p->start, p->end - p->start);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        p->start += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Until all that the guest said is on stdout, or nobody will read it. What cannot move is not asked for, for a poll tells
 * POLLHUP again and again. Engines leave bridges behind whose stdin never ends and whose stdout stays open (an exec's
 * client that died): once its guest is gone too, one that nobody reads has LINGER_MS. */
static void both_ways(int fd)
{
    static struct pump up, down; /* static: half a megabyte that a guest never touches */
    up.to = down.from = fd;
    down.to = 1;
    bool half_closed = false, gone = false, wide = false, asked = false;
    while (!(down.eof && down.start == down.end)) {
        struct pollfd p[3] = {
            {0, wanted(&up, true), 0},
            {fd, (short)(wanted(&down, true) | wanted(&up, false)), 0},
            {1, wanted(&down, false), 0}, /* asked for nothing: does anybody still read it? */
        };
        if (!p[0].events)
            p[0].fd = -1;
        if (gone && !p[1].events)
            p[1].fd = -1;
        int n = poll(p, 3, gone ? LINGER_MS : wide && !asked ? QUIET_MS : -1);
        if (n < 0 && errno == EINTR)
            continue;
        if (!n && !gone) {
            wide = fcntl(1, F_SETPIPE_SZ, USUAL) < 0; /* more than that is still unread */
            asked = true;
            continue;
        }
        asked = false;
        if (n <= 0 || p[2].revents & (POLLERR | POLLHUP | POLLNVAL))
            return;
        gone = gone || p[1].revents & (POLLHUP | POLLERR);
        if (gone || !move(&up, p[0].revents, p[1].revents & POLLOUT)) { /* nobody takes it: what was said counts */
            up.eof = true;
            up.start = up.end;
        }
        if (!move(&down, p[1].revents & (POLLIN | POLLHUP | POLLERR), p[2].revents))
            return;
        if (!wide && down.start < down.end)
            wide = fcntl(1, F_SETPIPE_SZ, WIDE) > 0;
        if (up.eof && up.start == up.end && !half_closed) {
            half_closed = true;
            shutdown(fd, SHUT_WR);
        }
    }
}

int connect_main(const char *path)
{
    signal(SIGPIPE, SIG_IGN);
    rank_init(); /* all that the guest says passes through here */
    int fd = reach(path);
    if (fd < 0) {
        note("cannot connect to %s: %s. Is the guest running?", path, strerror(errno));
        return 1;
    }
    /* Only the socket is made non-blocking: the others' descriptions may be shared. Writing to a stdout that blocks
     * holds up the other direction, which is why POLLOUT is awaited and pieces are what a pipe takes. */
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
    both_ways(fd);
    return 0;
}
