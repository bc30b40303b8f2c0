/* Connections to ports inside the container. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "guest.h"

static bool parse(const char *host, uint16_t port, struct sockaddr_storage *a, socklen_t *size)
{
    struct sockaddr_in *four = (struct sockaddr_in *)a;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)a;
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        *size = sizeof *four;
        return true;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        *size = sizeof *six;
        return true;
    }
    return false;
}

/* Numbers, localhost, and what /etc/hosts says. No DNS: a resolver is not part of a container's own ports. */
static bool resolve(const char *host, uint16_t port, struct sockaddr_storage *a, socklen_t *size)
{
    char text[64 << 10], *line, *next = text;
    if (parse(host, port, a, size))
        return true;
    if (proc_read("/etc/hosts", text, sizeof text) > 0)
        while ((line = strsep(&next, "\n"))) {
            char *word, *rest = line, *address = NULL;
            line[strcspn(line, "#")] = 0;
            while ((word = strsep(&rest, " \t")))
                if (*word && !address)
                    address = word;
                else if (*word && !strcmp(word, host) && parse(address, port, a, size))
                    return true;
        }
    return !strcmp(host, "localhost") && parse("127.0.0.1", port, a, size);
}

/* --- past the agent ---------------------------------------------------------------------------------------------- */

/* What comes goes into the FIFO that was named, and how much it was is said at its end, by EOF as ever. */
static void pass(struct dial *d)
{
    struct out *o = &d->channel.out;
    bool end;
    ssize_t n = pipe_move(o->source.fd, d->pipe.fd, loop_share(), &end);
    if (n < 0) {
        dial_close(&d->channel, errno);
        return;
    }
    o->base = o->sent = o->head += (uint64_t)n;
    if (end) {
        o->eof = true;
        source_close(&o->source);
    }
    struct pollfd room = {.fd = d->pipe.fd, .events = POLLOUT};
    bool full = !end && poll(&room, 1, 0) == 0;
    source_want(&o->source, full ? 0 : EPOLLIN);
    source_want(&d->pipe, full ? EPOLLOUT : 0);
    channel_advance(&d->channel);
}

static void comes(struct source *s, uint32_t events)
{
    (void)events;
    pass(owner_of(s, struct dial, channel.out.source));
}

static void has_room(struct source *s, uint32_t events)
{
    (void)events;
    pass(owner_of(s, struct dial, pipe));
}

/* --- to a port --------------------------------------------------------------------------------------------------- */

static void connected(struct source *s, uint32_t events)
{
    struct channel *c = owner_of(s, struct channel, in.source);
    struct dial *d = (struct dial *)c;
    int error = 0, on = 1;
    socklen_t size = sizeof error;
    (void)events;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    int second = error ? -1 : fcntl(s->fd, F_DUPFD_CLOEXEC, 4); /* epoll wants one for each direction */
    if (second < 0) {
        say_failed(c->id, error ? error : errno, "connect");
        channel_drop(c);
        return;
    }
    int fd = s->fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    source_want(s, 0);
    c->connecting = false;
    struct in waiting = c->in; /* what came before the connection was there */
    in_open(&c->in, c, fd);
    c->in.ring = waiting.ring;
    c->in.received = waiting.received;
    c->in.eof_at = waiting.eof_at;
    frame_begin(QUEUE, T_STAT, 0, c->id);
    if (d->pipe.fd >= 0)
        put_int(QUEUE, TAG_KIND, S_IFIFO);
    frame_end(QUEUE);
    out_open(&c->out, c, S_OUT, second);
    if (d->pipe.fd >= 0)
        c->out.source.ready = comes;
    in_pump(&c->in);
    channel_advance(c);
}

void dial_open(struct frame *f)
{
    struct sockaddr_storage a;
    socklen_t size;
    int64_t port = field_int(f, TAG_PORT, 0);
    int error = 0;
    const char *stage = "host";
    if (channel_find(f->channel) || f->channel <= MAIN) {
        conn_close("DIAL on a channel that exists");
        return;
    }
    char *host = field_text(f, TAG_HOST);
    if (!host && errno == EINVAL)
        error = EINVAL;
    else if (port < 1 || port > 65535)
        error = EINVAL, stage = "port";
    else if (!resolve(host && *host ? host : "127.0.0.1", (uint16_t)port, &a, &size))
        error = ENOENT;
    free(host);
    int fd = -1;
    if (!error) {
        stage = "connect";
        fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || (connect(fd, (struct sockaddr *)&a, size) < 0 && errno != EINPROGRESS))
            error = errno;
    }
    struct dial *d = error ? NULL : channel_new(f->channel, K_DIAL, sizeof *d);
    if (!d) {
        say_failed(f->channel, error ? error : errno, stage);
        if (fd >= 0)
            close(fd);
        return;
    }
    struct channel *c = &d->channel;
    in_open(&c->in, c, -1);
    source_open(&c->in.source, fd, connected);
    c->connecting = true;
    char *name = field_text(f, TAG_PIPE);
    source_open(&d->pipe, name ? pipe_open(name, O_RDWR) : -1, has_room); /* where it cannot be, all is as without */
    free(name);
    source_want(&c->in.source, EPOLLOUT);
}

/* The far side broke it. */
void dial_close(struct channel *c, int error)
{
    if (c->dead)
        return;
    frame_begin(QUEUE, T_CLOSE, 0, c->id);
    put32(QUEUE, (uint32_t)error);
    frame_end(QUEUE);
    channel_gone(c);
}

void dial_advance(struct channel *c)
{
    if (c->connecting)
        return;
    out_eof(&c->out);
    if (c->in.closed && out_done(&c->out))
        channel_gone(c);
}
