/* Streams with offsets and windows: `out` to the agent, `in` from it. */
#include "guest.h"

enum {
    MANY = 48 << 10, /* a read of this much means that the writer outruns the default pipe of 64 KiB */
    WIDE = 1 << 20,
    /* The kernel counts a user's pipe pages; past 64 MiB every new pipe of that user shrinks to two pages. */
    WIDE_MOST = 16,
    WIDENED_MOST = 4, /* streams at a time: it is the container's memory */
    ELIDE = 64 << 10, /* how much the main process's unread ring drops at a time */
};
static int wide, widened;
static void at_eof(struct out *);
static bool fill(struct out *, size_t most);

/* --- out --------------------------------------------------------------------------------------------------------- */

static void out_ready(struct source *s, uint32_t events)
{
    struct out *o = owner_of(s, struct out, source);
    bool pipe = o->channel->kind == K_PROCESS && !((struct process *)o->channel)->tty;
    if (pipe && !(events & EPOLLIN)) /* EPOLLHUP alone: no writer, no byte */
        at_eof(o);
    else
        fill(o, loop_share());
    out_watch(o);
    channel_advance(o->channel);
}

void out_open(struct out *o, struct channel *c, uint8_t stream, int fd)
{
    *o = (struct out){.channel = c, .stream = stream, .window = WINDOW_OUT, .flowing = true, .end = UINT64_MAX};
    source_open(&o->source, fd, out_ready);
    out_watch(o);
}

static void at_eof(struct out *o)
{
    o->eof = true;
    source_close(&o->source);
    if (o->grown)
        wide--;
    o->grown = false;
    if (o->end > o->head)
        o->end = o->head;
    log_pump(o);
}

/* Full, and each acknowledgement takes its time to come. */
static bool widen(struct out *o)
{
    if (!conn.wide || o->eof || o->log || o->window != WINDOW_OUT || o->channel->kind != K_PROCESS || widened >= WIDENED_MOST ||
        !ring_widen(&o->ring, WINDOW_WIDE))
        return false;
    o->window = WINDOW_WIDE;
    o->widened = true;
    widened++;
    return true;
}

static void let_go(struct out *o)
{
    ring_free(&o->ring);
    if (o->widened) {
        o->window = WINDOW_OUT;
        o->widened = false;
        widened--;
    }
}

void out_close(struct out *o)
{
    if (!o->eof)
        at_eof(o);
    conn_forget_out(o);
    conn_unqueue(o);
    let_go(o);
}

uint32_t out_pending(const struct out *o)
{
    return conn.ready && o->flowing ? (uint32_t)(o->head - o->sent) : 0;
}

/* Bytes are free once acknowledged and, the main process's, logged. */
static void release(struct out *o)
{
    uint64_t tail = o->head - o->ring.used, until = log_limit(o, o->base);
    if (until > tail)
        ring_drop(&o->ring, (uint32_t)(until - tail));
    if (!o->ring.used && o->eof)
        let_go(o);
}

/* The main process's ring, while nobody listens: it may not be left full, or nobody would look at its pipe again. */
static void elide(struct out *o)
{
    if (!o->log || conn.hello || o->eof || o->ring.size - o->ring.used >= ELIDE)
        return;
    uint64_t until = o->base + ELIDE;
    if (until > o->head)
        until = o->head;
    until = log_limit(o, until);
    if (until <= o->base)
        return;
    o->elided += until - o->base;
    o->base = o->sent = until;
    release(o);
}

void out_watch(struct out *o)
{
    bool room = o->ring.used < o->window || widen(o);
    source_want(&o->source, room && !o->eof ? EPOLLIN : 0);
    bool pull = o->channel->kind == K_GET && !o->eof && room;
    if ((pull || out_pending(o)) && !o->line && conn.ready)
        conn_queue(o);
}

/* At most about so much: whoever writes on and on is read on and on, and all others wait. */
static bool fill(struct out *o, size_t most)
{
    bool some = false;
    while (!o->eof && o->source.fd >= 0 && most) {
        if (!ring_reserve(&o->ring, o->window))
            break;
        elide(o);
        struct iovec v[2];
        int pieces = ring_room(&o->ring, v);
        if (!pieces)
            break;
        ssize_t n = readv(o->source.fd, v, pieces);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            if (o->channel->kind == K_PROCESS)
                process_drained(o);
            break;
        }
        if (n < 0 && o->channel->kind == K_DIAL) {
            dial_close(o->channel, errno);
            return some;
        }
        if (n <= 0) { /* a pty whose last slave closed gives EIO */
            at_eof(o);
            break;
        }
        some = true;
        most -= (size_t)n < most ? (size_t)n : most;
        o->ring.used += (uint32_t)n;
        o->head += (uint64_t)n;
        log_pump(o);
        if (n >= MANY && !o->grown && wide < WIDE_MOST && fcntl(o->source.fd, F_SETPIPE_SZ, WIDE) > 0) {
            o->grown = true;
            wide++;
        }
    }
    elide(o);
    if (!o->ring.used && o->ring.base && !some)
        let_go(o);
    return some;
}

bool out_fill(struct out *o)
{
    return fill(o, SIZE_MAX);
}

bool out_ack(struct out *o, uint64_t offset)
{
    if (offset < o->base || offset > (o->flowing ? o->sent : o->head))
        return false;
    if (!o->flowing) {
        o->flowing = true;
        o->sent = offset;
    }
    o->base = offset;
    release(o);
    /* The writer may have stopped at a full window: take what waits now rather than a turn later. */
    if (o->source.fd >= 0 && !o->source.events)
        fill(o, loop_share());
    out_watch(o);
    return true;
}

bool out_done(const struct out *o)
{
    return o->eof && o->base == o->head && (o->eof_said || !conn.hello);
}

void out_eof(struct out *o)
{
    if (!o->eof || o->eof_said || !conn.ready || !o->flowing || o->sent != o->head)
        return;
    say64(T_EOF, o->stream, o->channel->id, o->head);
    o->eof_said = true;
}

void out_reset(struct out *o, bool flowing)
{
    conn_unqueue(o);
    o->flowing = flowing;
    o->eof_said = false;
    o->sent = o->base;
    if (o->source.fd >= 0) /* a full ring of the main process may now drop its oldest bytes */
        source_want(&o->source, o->log || o->ring.used < o->window ? EPOLLIN : 0);
}

/* --- in ---------------------------------------------------------------------------------------------------------- */

static void in_ready(struct source *s, uint32_t events)
{
    struct in *i = owner_of(s, struct in, source);
    (void)events;
    in_pump(i);
    channel_advance(i->channel);
}

void in_open(struct in *i, struct channel *c, int fd)
{
    *i = (struct in){.channel = c, .window = WINDOW_IN, .step = WINDOW_IN / 8, .eof_at = UINT64_MAX};
    source_open(&i->source, fd, in_ready);
}

void in_close(struct in *i)
{
    source_close(&i->source);
    ring_free(&i->ring);
    i->closed = true;
}

void in_break(struct in *i)
{
    in_close(i);
    if (conn.ready && !i->told) {
        say64(T_EOF, S_IN, i->channel->id, i->taken);
        i->told = true;
    }
}

void in_ack(struct in *i)
{
    if (i->said != i->taken && conn.hello) {
        i->said = i->taken;
        say64(T_ACK, S_IN, i->channel->id, i->taken);
    }
}

/* What could be written, 0 for "not now"; breaks the stream when nothing will ever be taken again. */
static size_t give(struct in *i, struct iovec *v, int pieces)
{
    for (;;) {
        ssize_t n = writev(i->source.fd, v, pieces);
        if (n >= 0) {
            i->taken += (uint64_t)n;
            if (n && i->channel->kind == K_PROCESS)
                process_typed(i, v, (size_t)n);
            return (size_t)n;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN)
            return 0;
        if (i->channel->kind == K_PUT)
            file_failed(i->channel, errno, "write");
        else
            in_break(i);
        return 0;
    }
}

static void finish(struct in *i)
{
    in_ack(i);
    switch (i->channel->kind) {
    case K_PROCESS:
        if (!process_stdin_end((struct process *)i->channel)) {
            source_want(&i->source, EPOLLOUT);
            return;
        }
        break;
    case K_DIAL:
        shutdown(i->source.fd, SHUT_WR);
        break;
    default:
        file_written(i->channel);
    }
    i->closed = true;
    source_close(&i->source);
    ring_free(&i->ring);
}

void in_pump(struct in *i)
{
    if (i->closed || i->source.fd < 0 || i->channel->connecting)
        return;
    while (i->ring.used) {
        struct iovec v[2];
        size_t n = give(i, v, ring_data(&i->ring, 0, i->ring.used, v));
        if (i->closed)
            return;
        if (!n)
            break;
        ring_drop(&i->ring, (uint32_t)n);
    }
    source_want(&i->source, i->ring.used ? EPOLLOUT : 0);
    if (!i->ring.used) {
        ring_free(&i->ring);
        if (i->taken == i->eof_at) {
            finish(i);
            return;
        }
    }
    /* Nobody waits for a file's, and each travels as far as the bytes: few. One from before counts on WINDOW_IN. */
    if ((i->channel->kind != K_PUT && !i->ring.used) || i->taken - i->said >= i->step)
        in_ack(i);
}

bool in_data(struct in *i, uint64_t offset, const uint8_t *bytes, size_t length)
{
    if (offset > i->received)
        return false;
    uint64_t repeat = i->received - offset;
    if (repeat >= length)
        return true;
    bytes += repeat;
    length -= repeat;
    uint64_t from = i->taken > i->window_from ? i->taken : i->window_from;
    if (i->received + length > i->eof_at)
        return false;
    if (i->closed) { /* dropped, and counted: what follows is no gap */
        i->received += length;
        in_break(i);
        return true;
    }
    if (i->received + length > from + i->window)
        return false;
    i->received += length;
    if (!i->ring.used && i->source.fd >= 0 && !i->channel->connecting) {
        struct iovec v = {(void *)bytes, length};
        size_t n = give(i, &v, 1);
        bytes += n;
        length -= n;
        if (i->closed)
            return true;
    }
    if (length && !ring_reserve(&i->ring, 2 * i->window)) {
        in_break(i);
        return true;
    }
    while (length) {
        struct iovec v[2];
        ring_room(&i->ring, v);
        size_t n = v[0].iov_len < length ? v[0].iov_len : length;
        memcpy(v[0].iov_base, bytes, n);
        i->ring.used += (uint32_t)n;
        bytes += n;
        length -= n;
    }
    in_pump(i);
    return true;
}

bool in_eof(struct in *i, uint64_t offset)
{
    if (i->closed || i->eof_at != UINT64_MAX)
        return true; /* said before, or of a stream that was dropped */
    if (offset != i->received)
        return false;
    i->eof_at = offset;
    in_pump(i);
    return true;
}
