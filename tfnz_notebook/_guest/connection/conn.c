/* The one connection: who may have it, what is read from it, and in which order it is written. */
#include "guest.h"

enum {
    SEND_BUFFER = 64 << 10, /* what is in there, nothing overtakes */
    ROOMY = 512 << 10, /* the same while one stream is all there is: neither end waits for the other so often */
    SMALL = 8 << 10, /* DATA up to this is copied behind the control frames, so that many share one write */
    BATCH = 64 << 10,
    PIECE = 64 << 10, /* DATA at a time where others wait */
    KEPT = 512 << 10,
    TURN = 1 << 20, /* bytes written in one turn of the loop, for processes must be heard too */
};

struct conn conn = {.source = {.fd = -1}, .brief.last = &conn.brief.first, .bulk.last = &conn.bulk.first};
char *conn_path;
static struct source listener = {.fd = -1};
static int spare = -1; /* given up for a moment when no descriptor is left, or the agent could never come back */

/* --- saying ------------------------------------------------------------------------------------------------------ */

void say(uint8_t type, uint32_t channel)
{
    if (!conn.hello)
        return;
    frame_begin(QUEUE, type, 0, channel);
    frame_end(QUEUE);
}

void say64(uint8_t type, uint8_t stream, uint32_t channel, uint64_t value)
{
    if (!conn.hello)
        return;
    frame_begin(QUEUE, type, stream, channel);
    put64(QUEUE, value);
    frame_end(QUEUE);
}

void say_result(uint32_t channel, uint32_t request, int error, int64_t value)
{
    if (!conn.hello)
        return;
    frame_begin(QUEUE, T_RESULT, 0, channel);
    put32(QUEUE, request);
    put32(QUEUE, (uint32_t)error);
    put64(QUEUE, (uint64_t)value);
    frame_end(QUEUE);
}

void say_failed(uint32_t channel, int error, const char *stage)
{
    if (!conn.hello)
        return;
    frame_begin(QUEUE, T_FAILED, 0, channel);
    put_int(QUEUE, TAG_ERRNO, error);
    put_text(QUEUE, TAG_STAGE, stage);
    put_text(QUEUE, TAG_TEXT, strerror(error));
    frame_end(QUEUE);
}

static void say_hello(void)
{
    frame_begin(QUEUE, T_HELLO, 0, 0);
    put_int(QUEUE, TAG_VERSION, VERSION);
    put_int(QUEUE, TAG_VERSION_MIN, VERSION_MIN);
    put_field(QUEUE, TAG_BOOT, guest.boot, sizeof guest.boot);
    put_int(QUEUE, TAG_PID, guest.pid);
    put_int(QUEUE, TAG_UID, geteuid());
    put_int(QUEUE, TAG_SLEEPING, !main_process);
    put_int(QUEUE, TAG_ARGUMENTS, MAX_ARGUMENTS);
    put_int(QUEUE, TAG_FEATURES, guest.features);
    put_int(QUEUE, TAG_CONFIGURED, guest.configured);
    if (guest.orphan)
        put_int(QUEUE, TAG_ORPHAN, guest.orphan);
    frame_end(QUEUE);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

void conn_close(const char *why)
{
    if (conn.source.fd < 0)
        return;
    if (why)
        note("closing the agent's connection: %s", why);
    source_close(&conn.source);
    conn.hello = conn.ready = false;
    conn.frame.out = NULL;
    conn.frame.length = conn.frame.done = 0;
    conn.in.start = conn.in.end = conn.queue.start = conn.queue.end = 0;
    channels_disconnected();
    process_args(NULL);
}

void conn_input(void)
{
    struct frame f;
    conn.stalled = false;
    while (conn.source.fd >= 0) {
        if (conn.queue.end - conn.queue.start >= QUEUE_LIMIT) {
            conn.stalled = true;
            return;
        }
        long n = wire_parse(conn.in.base + conn.in.start, conn.in.end - conn.in.start, false, &f);
        if (n == 0)
            break;
        if (n < 0) {
            conn_close("malformed frame");
            return;
        }
        conn.in.start += (size_t)n;
        conn_dispatch(&f);
    }
    if (conn.in.start != conn.in.end)
        return;
    if (conn.in.end > KEPT) /* an upload filled it; a guest that rests is small */
        madvise(conn.in.base, conn.in.size, MADV_DONTNEED);
    conn.in.start = conn.in.end = 0;
}

static void conn_ready(struct source *s, uint32_t events)
{
    if (events & EPOLLIN) {
        /* Room for the largest frame and another read; only pages that are touched cost anything. */
        if (!buffer_room(&conn.in, conn.in.size ? BATCH : MAX_PAYLOAD + 2 * BATCH)) {
            conn_close("no memory");
            return;
        }
        ssize_t n = read(s->fd, conn.in.base + conn.in.end, conn.in.size - conn.in.end);
        if (n > 0) {
            orphan_heard();
            conn.in.end += (size_t)n;
            conn_input();
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            conn_close(NULL);
        }
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        conn_close(NULL);
    }
}

static void room(int size)
{
    if (size == conn.room)
        return;
    setsockopt(conn.source.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    conn.room = size;
}

static void accept_ready(struct source *s, uint32_t events)
{
    (void)events;
    int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        conn_close(NULL);
        close(spare);
        fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        spare = fcntl(s->fd, F_DUPFD_CLOEXEC, 4);
    }
    if (fd < 0)
        return;
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != geteuid()) {
        close(fd);
        return;
    }
    conn_close(NULL); /* the newest wins: an older one may be a dead agent's, kept open by an exec bridge */
    source_open(&conn.source, fd, conn_ready);
    conn.room = 0;
    room(SEND_BUFFER);
    say_hello();
    source_want(&conn.source, EPOLLIN);
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static void frame_head(struct out *o, uint32_t length)
{
    uint32_t size = length + 8;
    uint8_t *head = conn.frame.head;
    memcpy(head, &size, 4);
    head[4] = T_DATA;
    head[5] = o->stream;
    head[6] = head[7] = 0;
    memcpy(head + 8, &o->channel->id, 4);
    memcpy(head + 12, &o->sent, 8);
}

/* The rest of the DATA frame that is on its way, as pieces to write. */
static int frame_pieces(struct iovec *v)
{
    int n = 0;
    uint32_t head = sizeof conn.frame.head, done = conn.frame.done, skip = 0;
    struct out *o = conn.frame.out;
    if (done < head)
        v[n++] = (struct iovec){conn.frame.head + done, head - done};
    else
        skip = done - head;
    uint64_t tail = o->head - o->ring.used;
    return n + ring_data(&o->ring, (uint32_t)(conn.frame.offset - tail) + skip, conn.frame.length - head - skip, v + n);
}

static size_t queued(void)
{
    return conn.queue.end - conn.queue.start;
}

/* The stream goes away while its frame is, or it is a small one: put a copy of the rest where the frame would have gone. */
void conn_forget_out(struct out *o)
{
    if (conn.frame.out != o)
        return;
    struct iovec v[3];
    int n = frame_pieces(v);
    struct buffer old = conn.queue;
    bool between = conn.frame.before < queued();
    if (between) {
        conn.queue = (struct buffer){0};
        put_bytes(QUEUE, old.base + old.start, conn.frame.before);
    }
    for (int i = 0; i < n; i++)
        put_bytes(QUEUE, v[i].iov_base, v[i].iov_len);
    if (between) {
        put_bytes(QUEUE, old.base + old.start + conn.frame.before, old.end - old.start - conn.frame.before);
        munmap(old.base, old.size);
    }
    conn.frame.out = NULL;
}

/* --- whose turn it is --------------------------------------------------------------------------------------------- */

/* A keystroke's echo does not wait until a hundred others have each sent a large piece: who has little to send goes
 * first. Many of those do not keep the others from going on: one has its turn after each BATCH. */
void conn_queue(struct out *o)
{
    bool brief = o->channel->kind != K_GET && out_pending(o) <= SMALL;
    o->line = brief ? &conn.brief : &conn.bulk;
    o->next = NULL;
    o->prev = o->line->last;
    *o->line->last = o;
    o->line->last = &o->next;
}

void conn_unqueue(struct out *o)
{
    if (!o->line)
        return;
    *o->prev = o->next;
    if (o->next)
        o->next->prev = o->prev;
    else
        o->line->last = o->prev;
    o->line = NULL;
}

/* And how much it may send. */
static struct out *take_turn(uint32_t *most)
{
    bool brief = conn.brief.first && (!conn.bulk.first || conn.briefly < BATCH);
    struct out *o = brief ? conn.brief.first : conn.bulk.first;
    if (!o)
        return NULL;
    conn_unqueue(o);
    bool alone = !brief && !conn.brief.first && !conn.bulk.first;
    *most = brief ? SMALL : alone ? MAX_DATA : PIECE;
    room(alone ? ROOMY : SEND_BUFFER);
    conn.briefly = brief ? conn.briefly + SMALL : 0;
    return o;
}

/* The next stream's frame. What is queued now goes before it, what is queued later behind it: a stream's EOF, END and
 * WAITING cannot overtake its bytes, and a control frame waits for one DATA frame at most. False: nothing to send. */
static bool next_data(void)
{
    uint32_t most = 0;
    struct out *o = take_turn(&most);
    if (!o)
        return false;
    struct channel *c = o->channel;
    if (c->kind == K_GET && !out_pending(o))
        file_fill(c);
    if (c->dead)
        return true;
    uint32_t length = out_pending(o);
    if (length > most)
        length = most;
    if (length) {
        frame_head(o, length);
        conn.frame.out = o;
        conn.frame.offset = o->sent;
        conn.frame.length = length + (uint32_t)sizeof conn.frame.head;
        conn.frame.done = 0;
        conn.frame.before = queued();
        o->sent += length;
        if (length <= SMALL)
            conn_forget_out(o);
    }
    out_watch(o);
    channel_advance(c);
    return true;
}

static size_t less(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool write_some(size_t *total)
{
    struct iovec v[5];
    int n = 0;
    size_t before = conn.frame.out ? conn.frame.before : queued(), after = queued() - before;
    if (before)
        v[n++] = (struct iovec){conn.queue.base + conn.queue.start, before};
    if (conn.frame.out)
        n += frame_pieces(v + n);
    if (after)
        v[n++] = (struct iovec){conn.queue.base + conn.queue.start + before, after};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)n};
    ssize_t wrote = sendmsg(conn.source.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (wrote < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
            conn_close(NULL);
        return false;
    }
    *total += (size_t)wrote;
    size_t left = (size_t)wrote, part = less(left, before);
    conn.queue.start += part;
    left -= part;
    if (conn.frame.out) {
        conn.frame.before -= part;
        part = less(left, conn.frame.length - conn.frame.done);
        conn.frame.done += (uint32_t)part;
        left -= part;
        if (conn.frame.done == conn.frame.length)
            conn.frame.out = NULL;
    }
    conn.queue.start += left;
    if (!queued())
        conn.queue.start = conn.queue.end = 0;
    return true;
}

void conn_flush(void)
{
    size_t total = 0;
    while (conn.source.fd >= 0) {
        if (!conn.ready && conn.hello)
            conn_inventory();
        while (!conn.frame.out && queued() < BATCH && next_data())
            ;
        list_fill();
        if ((!queued() && !conn.frame.out) || !write_some(&total))
            break;
        if (total > TURN) {
            loop_again();
            break;
        }
    }
    if (conn.source.fd < 0)
        return;
    bool full = queued() >= QUEUE_LIMIT;
    source_want(&conn.source, (full ? 0u : (uint32_t)EPOLLIN) | (queued() || conn.frame.out ? (uint32_t)EPOLLOUT : 0u));
    if (conn.stalled && !full) { /* frames that were read already, and waited for the queue */
        loop_again();
        conn_input();
    }
}

void conn_flush_now(void)
{
    uint64_t until = now_ns() + 100 * NS_MS;
    conn_flush();
    while (conn.source.fd >= 0 && (queued() || conn.frame.out) && now_ns() < until) {
        struct pollfd p = {conn.source.fd, POLLOUT, 0};
        poll(&p, 1, 10);
        conn_flush();
    }
}

/* --- listening --------------------------------------------------------------------------------------------------- */

/* A path too long for sun_path is reached through its directory's descriptor. */
int unix_address(const char *path, struct sockaddr_un *a, int *dir)
{
    *dir = -1;
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) < sizeof a->sun_path) {
        strcpy(a->sun_path, path);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];
    if (!slash || strlen(slash) > 64 || (size_t)(slash - path) >= sizeof parent)
        return ENAMETOOLONG;
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = 0;
    *dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*dir < 0)
        return errno;
    snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d%s", *dir, slash);
    return 0;
}

/* Bound under another name, then renamed: whoever finds the path finds a socket that listens and is private, and a
 * stale one of an earlier guest is replaced in one step. */
void conn_listen(const char *path)
{
    char temporary[PATH_MAX], parent[PATH_MAX];
    struct sockaddr_un a;
    int dir = -1, error = 0;
    const char *slash = strrchr(path, '/');
    if (slash && slash > path && (size_t)(slash - path) < sizeof parent) {
        memcpy(parent, path, (size_t)(slash - path));
        parent[slash - path] = 0;
        mkdir(parent, 0700); /* usually a mount */
    }
    int length = snprintf(temporary, sizeof temporary, "%s.%d", path, (int)guest.pid);
    if (length < 0 || (size_t)length >= sizeof temporary)
        error = ENAMETOOLONG;
    else
        error = unix_address(temporary, &a, &dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!error) {
        unlink(temporary);
        mode_t mask = umask(0177);
        if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 16) < 0 ||
            rename(temporary, path) < 0)
            error = errno;
        umask(mask);
    }
    if (dir >= 0)
        close(dir);
    if (error) {
        note("cannot listen on %s: %s. Mount a writable directory there, or give --socket.", path, strerror(error));
        unlink(temporary);
        leave(1);
    }
    conn_path = strdup(path);
    spare = fcntl(fd, F_DUPFD_CLOEXEC, 4);
    source_open(&listener, fd, accept_ready);
    source_want(&listener, EPOLLIN);
}
