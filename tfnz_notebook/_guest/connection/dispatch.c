/* Frames from the agent to the parts of the guest that meet them. */
#include "guest.h"

static void hello(struct frame *f)
{
    int64_t version = field_int(f, TAG_VERSION, 0), oldest = field_int(f, TAG_VERSION_MIN, version);
    if (conn.hello || version < VERSION_MIN || oldest > VERSION) {
        conn_close(conn.hello ? "a second HELLO" : "the agent's protocol version is another");
        return;
    }
    conn.wide = field_int(f, TAG_FLAGS, 0) & FLAG_WIDE;
    conn.hello = true; /* the inventory follows as the socket takes it, see conn_flush */
}

static struct in *in_of(struct channel *c)
{
    return c->kind == K_GET || c->kind == K_LIST ? NULL : &c->in;
}

static struct out *out_of(struct channel *c, uint8_t stream)
{
    if (stream == S_ERR)
        return c->kind == K_PROCESS ? &((struct process *)c)->err : NULL;
    return stream == S_OUT && c->kind != K_PUT && c->kind != K_LIST ? &c->out : NULL;
}

/* Of a channel that is gone: what the agent said before it knew. Not an error. */
static void data(struct frame *f)
{
    struct channel *c = channel_find(f->channel);
    if (f->stream != S_IN)
        conn_close("DATA on a stream that comes from here");
    else if (c && in_of(c) && !in_data(in_of(c), get64(f, 0), f->payload + 8, f->size - 8))
        conn_close("DATA with a gap, or over the window");
    else if (c)
        channel_advance(c);
}

static void eof(struct frame *f)
{
    struct channel *c = channel_find(f->channel);
    if (f->stream != S_IN)
        conn_close("EOF on a stream that comes from here");
    else if (c && c->kind == K_PUT && file_piped(c))
        file_piped_eof(c, get64(f, 0));
    else if (c && in_of(c) && !in_eof(in_of(c), get64(f, 0)))
        conn_close("EOF with a gap");
    else if (c)
        channel_advance(c);
}

static void ack(struct frame *f)
{
    struct channel *c = channel_find(f->channel);
    struct out *o = c ? out_of(c, f->stream) : NULL;
    if (f->stream == S_IN)
        conn_close("ACK on a stream that comes from the agent");
    else if (o && !out_ack(o, get64(f, 0)))
        conn_close("ACK out of range");
    else if (c)
        channel_advance(c);
}

static void close_channel(struct frame *f)
{
    struct channel *c = channel_find(f->channel);
    if (!c || c->kind == K_PROCESS)
        return;
    if (c->kind == K_DIAL && get32(f, 0)) {
        struct linger abort = {1, 0}; /* the far side sees a reset, as it would have */
        setsockopt(c->out.source.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    }
    channel_gone(c);
}

static void resize(struct frame *f)
{
    struct process *p = process_of(f->channel);
    struct winsize size = {.ws_row = (uint16_t)get32(f, 0), .ws_col = (uint16_t)(get32(f, 0) >> 16)};
    if (p && p->tty && p->channel.out.source.fd >= 0)
        ioctl(p->channel.out.source.fd, TIOCSWINSZ, &size);
}

static void await(struct frame *f)
{
    struct process *p = process_of(f->channel);
    if (p)
        waiting_ask(p, get32(f, 0), get64(f, 4));
    else {
        frame_begin(QUEUE, T_WAITING, 0, f->channel);
        put32(QUEUE, get32(f, 0));
        put32(QUEUE, REASON_ENDED);
        for (int i = 0; i < 3; i++)
            put64(QUEUE, 0);
        frame_end(QUEUE);
    }
}

static void start(struct frame *f)
{
    int error = process_start_main();
    if (error)
        say_result(f->channel, get32(f, 0), error, 0);
    else
        main_process->start_request = get32(f, 0), main_process->start_asked = true;
}

void conn_dispatch(struct frame *f)
{
    if (!conn.hello && f->type != T_HELLO) {
        conn_close("the first frame is not HELLO");
        return;
    }
    struct process *p;
    switch (f->type) {
    case T_HELLO: hello(f); break;
    case T_PING: say64(T_PONG, 0, 0, get64(f, 0)); break;
    case T_PONG: break;
    case T_ARGS: process_args(f); break;
    case T_SPAWN: process_spawn(f); break;
    case T_DATA: data(f); break;
    case T_EOF: eof(f); break;
    case T_ACK: ack(f); break;
    case T_FORGET:
        if ((p = process_of(f->channel))) {
            p->forgotten = true;
            process_advance(p);
        }
        break;
    case T_SIGNAL: process_signal(f); break;
    case T_RESIZE: resize(f); break;
    case T_AWAIT: await(f); break;
    case T_CANCEL:
        if ((p = process_of(f->channel)))
            waiting_cancel(p, get32(f, 0));
        break;
    case T_SETUP: process_setup(f); break;
    case T_START: start(f); break;
    case T_DIAL: dial_open(f); break;
    case T_CLOSE: close_channel(f); break;
    case T_PUT: case T_GET: case T_LIST: file_open(f); break;
    case T_MKDIR: file_mkdir(f); break;
    case T_SAMPLE: stats_sample(get32(f, 0)); break;
    default: conn_close("a frame of the wrong direction"); /* wire_parse lets none through */
    }
}
