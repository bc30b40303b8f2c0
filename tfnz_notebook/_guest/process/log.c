/* The main process's output, copied to the guest's own stdout and stderr, which is what `docker logs` shows.
 *
 * The log holds the process back, as it would without a guest, but not for ever: when the reader of the log took
 * nothing for PATIENCE the log is *stuck*, its bytes are skipped, and it goes on with what is written once it moves
 * again. An agent's stream loses nothing by that.
 */
#include "guest.h"

enum { PATIENCE_MS = 1000, FINISH_MS = 1000 };
static struct log logs[2];

static void log_ready(struct source *s, uint32_t events)
{
    struct log *l = owner_of(s, struct log, source);
    (void)events;
    source_want(s, 0);
    l->stuck = false;
    log_pump(l->out);
    out_fill(l->out); /* it may have stopped at a ring that only the log held full */
    out_watch(l->out);
}

static void log_impatient(struct timer *t)
{
    struct log *l = owner_of(t, struct log, patience);
    l->stuck = true;
    struct out *o = l->out;
    log_pump(o);
    out_fill(o);
    out_watch(o);
}

/* The guest's stdout may be shared with others, whom O_NONBLOCK on it would surprise. Opening it anew makes a
 * description of our own; where that fails (a socket, another user's pipe) a poll before each write must do. */
void log_open(struct out *o, int fd)
{
    struct log *l = &logs[fd - 1];
    char path[32];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = -1;
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
        own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    l->direct = own < 0 && !S_ISREG(st.st_mode);
    if (own < 0)
        own = fcntl(fd, F_DUPFD_CLOEXEC, 4);
    if (own < 0)
        return;
    source_open(&l->source, own, log_ready);
    l->out = o;
    o->log = l;
}

/* Bytes written, 0: it would block, -1: nobody will ever read it. */
static ssize_t log_write(struct log *l, struct iovec *v, int pieces)
{
    if (l->direct) {
        struct pollfd p = {l->source.fd, POLLOUT, 0};
        if (poll(&p, 1, 0) <= 0)
            return 0;
        if (v->iov_len > PIPE_BUF)
            v->iov_len = PIPE_BUF; /* a pipe that polls writable takes this much without blocking */
        pieces = 1;
    }
    ssize_t n = writev(l->source.fd, v, pieces);
    if (n > 0)
        return n;
    return n == 0 || errno == EAGAIN || errno == EINTR ? 0 : -1;
}

void log_pump(struct out *o)
{
    struct log *l = o->log;
    if (!l)
        return;
    while (l->source.fd >= 0 && !l->stuck && o->logged < o->head) {
        struct iovec v[2];
        uint64_t tail = o->head - o->ring.used;
        int pieces = ring_data(&o->ring, (uint32_t)(o->logged - tail), (uint32_t)(o->head - o->logged), v);
        ssize_t n = log_write(l, v, pieces);
        if (n > 0) {
            o->logged += (uint64_t)n;
            timer_stop(&l->patience);
        } else if (n == 0) {
            source_want(&l->source, EPOLLOUT);
            if (!l->patience.prev)
                timer_set(&l->patience, PATIENCE_MS * NS_MS, log_impatient);
            break;
        } else {
            timer_stop(&l->patience);
            source_close(&l->source);
        }
    }
    if (l->source.fd < 0 || l->stuck)
        o->logged = o->head;
    uint64_t tail = o->head - o->ring.used, until = log_limit(o, o->base);
    if (until > tail)
        ring_drop(&o->ring, (uint32_t)(until - tail));
}

uint64_t log_limit(const struct out *o, uint64_t until)
{
    return o->log && o->logged < until ? o->logged : until;
}

/* Reads what the main process left in its pipes, too; gives up on a log that takes nothing for a while. */
void log_finish(void)
{
    for (int i = 0; i < 2; i++) {
        struct log *l = &logs[i];
        struct out *o = l->out;
        uint64_t last = 0, until = 0;
        while (o && l->source.fd >= 0 && !l->stuck) {
            out_fill(o);
            log_pump(o);
            if (o->logged == o->head && (o->eof || o->head >= o->end))
                break;
            if (o->logged != last || !until) {
                last = o->logged;
                until = now_ns() + FINISH_MS * NS_MS;
            } else if (now_ns() > until) {
                break;
            }
            struct pollfd p = {l->source.fd, POLLOUT, 0};
            poll(&p, 1, 10);
        }
    }
}
