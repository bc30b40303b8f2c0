/* Processes: from SPAWN to GONE. */
#include "guest.h"

enum { BUCKETS = 1024, DRAIN_MOST = 256 << 10 };
struct process *main_process;
static struct process *by_keeper[BUCKETS];

struct process *process_of(uint32_t channel)
{
    struct channel *c = channel_find(channel);
    return c && c->kind == K_PROCESS ? (struct process *)c : NULL;
}

void process_pid(struct process *p, pid_t keeper)
{
    struct process **at = &by_keeper[(unsigned)p->keeper % BUCKETS];
    while (p->keeper && *at && *at != p)
        at = &(*at)->pid_next;
    if (p->keeper && *at)
        *at = p->pid_next;
    p->keeper = keeper;
    if (!keeper)
        return;
    p->pid_next = by_keeper[(unsigned)keeper % BUCKETS];
    by_keeper[(unsigned)keeper % BUCKETS] = p;
}

struct process *process_of_pid(pid_t pid)
{
    struct process *p = by_keeper[(unsigned)pid % BUCKETS];
    while (p && p->keeper != pid)
        p = p->pid_next;
    return p;
}

/* --- starting ---------------------------------------------------------------------------------------------------- */

struct ends { /* ours: stdin, stdout, stderr; theirs */
    int ours[3], theirs[3];
};

static void close_all(int *fds, int n)
{
    for (int i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static int open_pipes(struct ends *e)
{
    for (int i = 0; i < 3; i++) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
            return errno;
        e->ours[i] = fds[i == 0];
        e->theirs[i] = fds[i != 0];
        fcntl(e->ours[i], F_SETFL, O_NONBLOCK); /* each end has flags of its own: theirs still blocks */
    }
    return 0;
}

static int open_pty(struct ends *e, const struct winsize *size)
{
    int zero = 0, number;
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0)
        return errno;
    e->ours[1] = master;
    ioctl(master, TIOCSPTLCK, &zero);
    e->theirs[0] = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (e->theirs[0] < 0 && ioctl(master, TIOCGPTN, &number) == 0) { /* before Linux 4.13 */
        char path[32];
        snprintf(path, sizeof path, "/dev/pts/%d", number);
        e->theirs[0] = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    }
    /* epoll wants a descriptor for each direction. */
    e->ours[0] = fcntl(master, F_DUPFD_CLOEXEC, 4);
    if (e->theirs[0] < 0 || e->ours[0] < 0)
        return errno;
    e->theirs[1] = e->theirs[2] = e->theirs[0];
    ioctl(master, TIOCSWINSZ, size);
    tty_prepare(master);
    return 0;
}

static int start(struct process *p, struct spec *spec, const struct winsize *size, const char **stage)
{
    struct ends e = {{-1, -1, -1}, {-1, -1, -1}};
    *stage = p->tty ? "pty" : "pipe";
    int error = p->tty ? open_pty(&e, size) : open_pipes(&e);
    if (!error) {
        memcpy(spec->fds, e.theirs, sizeof spec->fds);
        spec->tty = p->tty;
        spec->channel = p->channel.id;
        *stage = "fork";
        p->started = epoch_ns();
        p->began = now_ns();
        pid_t keeper = keeper_fork(spec);
        if (keeper < 0)
            error = errno;
        else
            process_pid(p, keeper);
    }
    close_all(e.theirs, p->tty ? 1 : 3);
    if (error) {
        close_all(e.ours, 3);
        return error;
    }
    in_open(&p->channel.in, &p->channel, e.ours[0]);
    out_open(&p->channel.out, &p->channel, S_OUT, e.ours[1]);
    out_open(&p->err, &p->channel, S_ERR, e.ours[2]);
    if (p->tty) {
        if (p->channel.id != MAIN) /* which is to hold what it says before an agent comes */
            p->channel.out.window = WINDOW_TTY;
        p->err.eof = true, p->err.end = 0;
    }
    return 0;
}

/* What came ahead of a SPAWN, of one at a time: fields as in its frame. */
static struct {
    uint32_t channel, size;
    uint8_t *fields;
    int error;
} ahead;

void process_args(struct frame *f)
{
    if (!f || f->channel != ahead.channel) {
        free(ahead.fields);
        memset(&ahead, 0, sizeof ahead);
    }
    if (!f || ahead.error || !f->size)
        return;
    ahead.channel = f->channel;
    uint8_t *fields = NULL;
    if (f->size > MAX_ARGUMENTS - ahead.size)
        ahead.error = E2BIG;
    else if (!(fields = realloc(ahead.fields, ahead.size + f->size)))
        ahead.error = ENOMEM;
    if (!fields)
        return;
    memcpy(fields + ahead.size, f->payload, f->size);
    ahead.fields = fields;
    ahead.size += f->size;
}

/* With what came ahead. A copy: keepers inherit it, and the connection's buffer is kept from children. */
static bool join(const struct frame *f, struct frame *whole)
{
    *whole = *f;
    whole->size += ahead.size;
    if (!(whole->payload = malloc(whole->size + 1u)))
        return false;
    if (ahead.size)
        memcpy(whole->payload, ahead.fields, ahead.size);
    memcpy(whole->payload + ahead.size, f->payload, f->size);
    return true;
}

static int too_much(const struct frame *f)
{
    struct field meta;
    if (field_find(f, TAG_META, &meta) && meta.size > MAX_META)
        return E2BIG;
    return ahead.error;
}

void process_introduced(struct process *p)
{
    if (!conn.hello || !p->introduced || !p->leader)
        return;
    frame_begin(QUEUE, T_SPAWNED, 0, p->channel.id);
    put32(QUEUE, (uint32_t)p->leader);
    frame_end(QUEUE);
}

static int spawn(struct process *p, struct frame *f, const char **stage)
{
    struct winsize size = {.ws_row = (uint16_t)field_int(f, TAG_ROWS, 24),
                           .ws_col = (uint16_t)field_int(f, TAG_COLUMNS, 80)};
    struct field meta;
    p->tty = field_int(f, TAG_FLAGS, 0) & FLAG_TTY;
    p->introduced = true;
    *stage = "memory";
    if (field_find(f, TAG_META, &meta) && meta.size) {
        if (!(p->meta = malloc(meta.size)))
            return ENOMEM;
        memcpy(p->meta, meta.data, meta.size);
        p->meta_size = meta.size;
    }
    struct frame copy;
    if (!join(f, &copy))
        return ENOMEM;
    struct spec spec = {.frame = &copy};
    int error = start(p, &spec, &size, stage);
    free(copy.payload);
    return error;
}

void process_spawn(struct frame *f)
{
    struct channel *c = channel_find(f->channel);
    if (f->channel <= MAIN || (c && c->kind != K_PROCESS)) {
        conn_close("SPAWN on a channel of another kind");
        return;
    }
    if (c) { /* said again after a broken connection */
        process_args(NULL);
        ((struct process *)c)->introduced = true;
        process_introduced((struct process *)c);
        return;
    }
    const char *stage = "arguments";
    if (f->channel != ahead.channel)
        process_args(NULL);
    int error = too_much(f);
    if (!error) {
        struct process *p = channel_new(f->channel, K_PROCESS, sizeof *p);
        stage = "channel";
        error = p ? 0 : errno;
        if (p) {
            p->err.source.fd = -1;
            p->err.channel = &p->channel;
            error = spawn(p, f, &stage);
            if (error)
                channel_drop(&p->channel);
        }
    }
    process_args(NULL);
    if (error)
        say_failed(f->channel, error, stage);
}

void process_setup(struct frame *f)
{
    uint32_t request = (uint32_t)field_int(f, TAG_REQUEST, 0);
    if (f->channel != ahead.channel)
        process_args(NULL);
    struct frame whole;
    int error = f->channel != MAIN ? EINVAL : main_process ? EALREADY : ahead.error;
    if (!error)
        error = join(f, &whole) ? setup_take(&whole) : ENOMEM;
    process_args(NULL);
    say_result(f->channel, request, error, 0);
}

int process_start_main(void)
{
    const char *stage;
    if (main_process)
        return EALREADY;
    if (!guest.argv)
        return EINVAL;
    struct process *p = channel_new(MAIN, K_PROCESS, sizeof *p);
    if (!p)
        return errno;
    p->err.source.fd = -1;
    p->err.channel = &p->channel;
    p->introduced = conn.ready; /* at boot nobody listens yet: the inventory tells of it */
    p->tty = guest.tty;
    struct spec spec = {.argv = guest.argv, .cwd = guest.cwd, .user = guest.user};
    int error = start(p, &spec, &(struct winsize){.ws_row = 24, .ws_col = 80}, &stage);
    if (error) {
        channel_drop(&p->channel);
        return error;
    }
    log_open(&p->channel.out, 1);
    if (!p->tty)
        log_open(&p->err, 2);
    main_process = p;
    return 0;
}

/* --- the inventory ----------------------------------------------------------------------------------------------- */

static void say_stream(struct out *o, int base, int head, int eof)
{
    put_int(QUEUE, (uint16_t)base, (int64_t)o->base);
    put_int(QUEUE, (uint16_t)head, (int64_t)o->head);
    if (o->eof)
        put_int(QUEUE, (uint16_t)eof, 1);
}

static void say_process(struct process *p)
{
    frame_begin(QUEUE, T_PROC, 0, p->channel.id);
    put_int(QUEUE, TAG_PID, p->leader);
    put_int(QUEUE, TAG_FLAGS, p->tty ? FLAG_TTY : 0);
    if (p->meta_size)
        put_field(QUEUE, TAG_META, p->meta, p->meta_size);
    put_int(QUEUE, TAG_STARTED, (int64_t)p->started);
    put_int(QUEUE, TAG_AGE, (int64_t)(now_ns() - p->began));
    if (p->exited)
        put_int(QUEUE, TAG_STATUS, p->status);
    put_int(QUEUE, TAG_IN_OFFSET, (int64_t)p->channel.in.received);
    if (p->channel.in.closed || p->channel.in.eof_at != UINT64_MAX)
        put_int(QUEUE, TAG_IN_EOF, 1);
    struct winsize size;
    if (p->tty && p->channel.out.source.fd >= 0 && ioctl(p->channel.out.source.fd, TIOCGWINSZ, &size) == 0) {
        put_int(QUEUE, TAG_ROWS, size.ws_row);
        put_int(QUEUE, TAG_COLUMNS, size.ws_col);
    }
    say_stream(&p->channel.out, TAG_OUT_BASE, TAG_OUT_HEAD, TAG_OUT_EOF);
    if (p->channel.out.elided)
        put_int(QUEUE, TAG_OUT_ELIDED, (int64_t)p->channel.out.elided);
    say_stream(&p->err, TAG_ERR_BASE, TAG_ERR_HEAD, TAG_ERR_EOF);
    frame_end(QUEUE);
}

/* As the socket takes it: thousands of processes with metadata must not pile up in the queue. Exec takes a moment, and
 * is waited for: an agent that finds a process in no list would take it for one that was never started. */
void conn_inventory(void)
{
    for (struct channel *c = channels; c; c = c->next) {
        struct process *p = (struct process *)c;
        if (c->kind != K_PROCESS || p->introduced)
            continue;
        if (conn.queue.end - conn.queue.start > QUEUE_LOW)
            return;
        if (!p->leader && !p->exited)
            return;
        say_process(p);
        p->introduced = true;
        p->channel.out.flowing = p->err.flowing = false;
        p->channel.in.window_from = p->channel.in.received;
        p->channel.in.told = false;
    }
    say(T_READY, 0);
    conn.ready = true;
    for (struct channel *c = channels, *next; c; c = next) {
        next = c->next;
        if (c->kind == K_PROCESS && ((struct process *)c)->introduced) {
            if (c->in.taken < c->in.received)
                say64(T_ACK, S_IN, c->id, c->in.said = c->in.taken); /* how much of IN_OFFSET still waits here */
            channel_advance(c);
        }
    }
}

void process_disconnected(struct process *p)
{
    p->introduced = p->said_exit = p->said_end = p->start_asked = false;
    out_reset(&p->channel.out, true); /* until an inventory tells of it, see conn_inventory */
    out_reset(&p->err, true);
    waiting_drop(p);
    p->killing.request_asked = false;
    process_advance(p);
}

/* --- going on ---------------------------------------------------------------------------------------------------- */

/* Of a process whose leader is gone: what it wrote ends here. */
void process_drained(struct out *o)
{
    struct process *p = (struct process *)o->channel;
    if (p->exited && o->end > o->head)
        o->end = o->head;
}

static void drain_bound(struct process *p)
{
    struct out *o = &p->channel.out; /* a pty cannot say how much waits in it, and others may write on and on */
    if (p->exited && o->end == UINT64_MAX && o->head - p->exit_head > DRAIN_MOST)
        o->end = o->head;
}

static void say_exit(struct process *p)
{
    frame_begin(QUEUE, T_EXIT, 0, p->channel.id);
    put32(QUEUE, (uint32_t)p->status);
    put32(QUEUE, p->flags);
    put64(QUEUE, p->user_us);
    put64(QUEUE, p->system_us);
    frame_end(QUEUE);
    p->said_exit = true;
}

void process_advance(struct process *p)
{
    struct out *out = &p->channel.out, *err = &p->err;
    if (p->channel.dead)
        return;
    drain_bound(p);
    if (conn.ready && p->introduced) {
        if (p->exited && !p->said_exit && !p->forgotten)
            say_exit(p);
        if (p->exited && !p->said_end && !p->forgotten && out->flowing && err->flowing && out->sent >= out->end &&
            err->sent >= err->end) {
            frame_begin(QUEUE, T_END, 0, p->channel.id);
            put64(QUEUE, out->end);
            put64(QUEUE, err->end);
            frame_end(QUEUE);
            p->said_end = true;
        }
        if (p->leader || p->exited) {
            out_eof(out);
            out_eof(err);
        }
        waiting_advance(p);
    }
    if (p == main_process)
        main_advance();
    else if (p->forgotten && p->empty && out_done(out) && out_done(err))
        channel_gone(&p->channel);
}

void process_free(struct process *p)
{
    out_close(&p->err);
    killing_over(p, 0);
    waiting_drop(p);
    process_pid(p, 0);
    free(p->meta);
    p->meta = NULL;
}
