/* AWAIT: does the process wait for input, and has all it said before been read?
 *
 * The answer is a fact about one instant, not a guess from silence. In this order:
 *  1. its stdin took everything, and holds nothing that is unread;
 *  2. some thread of the tree is blocked reading (or polling) that very stdin, none is running;
 *  3. the same again, and no thread ran in between (the kernel counts how often each was put on a CPU): so at the
 *     moment between the two looks all of them slept at once, wherever in the first look each was seen;
 *  4. the outputs are read until nothing is left: what was written before that moment is counted.
 *
 * Where /proc does not let us look inside a member (no CAP_SYS_PTRACE and not its user, or Yama's strictest modes), a
 * tree that sleeps with its stdin drained counts as waiting when no thread of it ran during BLIND_CHECKS looks.
 * Waiting by io_uring is not seen.
 */
#include <ctype.h>
#include <sys/sysmacros.h>

#include "guest.h"

enum { FIRST_US = 200, MOST_US = 10000, BLIND_CHECKS = 8, ASKED_MOST = 64 };

static void check(struct timer *);

void waiting_kick(struct process *p)
{
    if (!p->awaits)
        return;
    p->backoff = FIRST_US * 1000ull;
    if (!p->check.prev || p->check.due > now_ns() + p->backoff)
        timer_set(&p->check, p->backoff, check);
}

static void say_waiting(struct process *p, uint32_t request, uint32_t reason, const struct await *a)
{
    frame_begin(QUEUE, T_WAITING, 0, p->channel.id);
    put32(QUEUE, request);
    put32(QUEUE, reason);
    put64(QUEUE, p->channel.in.taken);
    put64(QUEUE, a ? a->out : p->channel.out.sent);
    put64(QUEUE, a ? a->err : p->err.sent);
    frame_end(QUEUE);
}

void waiting_ask(struct process *p, uint32_t request, uint64_t offset)
{
    int count = 0;
    for (struct await *a = p->awaits; a; a = a->next)
        count++;
    struct await *a = count < ASKED_MOST ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        say_waiting(p, request, REASON_CANCELLED, NULL);
        return;
    }
    *a = (struct await){.next = p->awaits, .request = request, .in = offset};
    p->awaits = a;
    process_advance(p);
}

void waiting_cancel(struct process *p, uint32_t request)
{
    for (struct await **at = &p->awaits, *a; (a = *at); at = &a->next)
        if (a->request == request) {
            *at = a->next;
            free(a);
            say_waiting(p, request, REASON_CANCELLED, NULL);
            return;
        }
}

void waiting_drop(struct process *p)
{
    timer_stop(&p->check);
    while (p->awaits) {
        struct await *a = p->awaits;
        p->awaits = a->next;
        free(a);
    }
}

/* Say what is due: an answer whose bytes are all on the wire, or that the process ended. */
void waiting_advance(struct process *p)
{
    for (struct await **at = &p->awaits, *a; (a = *at);) {
        bool ended = p->said_end || (p->exited && p->forgotten);
        if (!ended && !(a->found && p->channel.out.sent >= a->out && p->err.sent >= a->err)) {
            at = &a->next;
            continue;
        }
        say_waiting(p, a->request, ended ? REASON_ENDED : REASON_INPUT, ended ? NULL : a);
        *at = a->next;
        free(a);
    }
    waiting_kick(p);
}

/* --- looking ----------------------------------------------------------------------------------------------------- */

struct view {
    const struct stat *on;
    uint32_t tty;      /* device number as /proc/PID/stat writes it, 0: a pipe */
    uint64_t switches; /* a digest of who is there and how often each was put on a CPU */
    bool reader, busy, blind;
};

static uint64_t digest(uint64_t so_far, uint64_t value)
{
    return (so_far ^ value) * 0x9E3779B97F4A7C15ull + (so_far >> 29);
}

static uint64_t times_run(const char *task)
{
    char path[64], text[4096];
    unsigned long long n[3] = {0}, more = 0; /* time run, time waited, times put on a CPU */
    snprintf(path, sizeof path, "%s/schedstat", task);
    if (proc_read(path, text, sizeof text) > 0 && scan(text, 10, n, 3) == 3)
        return n[2] + n[0];
    snprintf(path, sizeof path, "%s/status", task); /* a kernel without CONFIG_SCHED_INFO */
    if (proc_read(path, text, sizeof text) > 0)
        for (const char *at = text; (at = strstr(at, "voluntary_ctxt_switches:")); at += 24)
            if (scan(at + 24, 10, n, 1) == 1)
                more += n[0];
    return more;
}

static void view_member(struct view *v, const struct member *m)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)m->pid);
    DIR *dir = opendir(path);
    struct dirent *d;
    if (!dir) {
        v->busy = true; /* it just ended: somebody is about to be told */
        return;
    }
    while (!v->busy && (d = readdir(dir))) {
        struct member thread;
        if (!isdigit((unsigned char)d->d_name[0]))
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.10s/stat", (int)m->pid, d->d_name);
        if (!proc_stat(path, &thread) || thread.state == 'R' || thread.state == 'D') {
            v->busy = true;
            break;
        }
        path[strlen(path) - 5] = 0;
        v->switches = digest(digest(v->switches, (uint64_t)thread.pid), times_run(path));
        if (v->reader || thread.state != 'S')
            continue;
        enum sight sight = thread_waits(m->pid, thread.pid, v->on, v->tty && m->tty == v->tty);
        v->reader = sight == YES;
        v->blind |= sight == BLIND;
    }
    closedir(dir);
}

static void view_tree(struct process *p, struct view *v, bool exact)
{
    struct tree t;
    if (!tree_walk(p->keeper, &t, exact) || !t.count)
        v->busy = true;
    for (int i = 0; i < t.count && !v->busy; i++)
        view_member(v, &t.members[i]);
    tree_free(&t);
}

/* Nothing unread in the pipe, or in the terminal as its readers see it. Polling the terminal's other side flushes what
 * the kernel still has on its way there, and wakes the reader before we look at it. */
static bool stdin_drained(struct process *p, struct stat *on, uint32_t *tty)
{
    struct in *i = &p->channel.in;
    int unread = 0;
    *tty = 0;
    if (i->closed || i->source.fd < 0 || i->ring.used)
        return false;
    if (!p->tty)
        return ioctl(i->source.fd, FIONREAD, &unread) == 0 && !unread && fstat(i->source.fd, on) == 0;
    int peer = ioctl(i->source.fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (peer < 0)
        return false;
    struct pollfd poll_peer = {peer, POLLIN, 0};
    bool drained = poll(&poll_peer, 1, 0) == 0 && fstat(peer, on) == 0;
    close(peer);
    uint32_t high = major(on->st_rdev), low = minor(on->st_rdev);
    *tty = (low & 0xff) | high << 8 | (low & ~0xffu) << 12; /* the kernel's new_encode_dev() */
    return drained;
}

static bool blind_quiet(struct process *p, const struct view *v)
{
    p->blind = v->blind && v->switches == p->blind_seen ? p->blind + 1 : 0;
    p->blind_seen = v->switches;
    return p->blind >= BLIND_CHECKS;
}

static bool is_waiting(struct process *p)
{
    struct stat on;
    uint32_t tty;
    if (!stdin_drained(p, &on, &tty))
        return false;
    struct view first = {.on = &on, .tty = tty}, second = first;
    view_tree(p, &first, false);
    if (first.busy || (!first.reader && !first.blind))
        return false;
    view_tree(p, &second, true);
    if (second.busy || second.switches != first.switches)
        return false;
    return second.reader || blind_quiet(p, &second);
}

/* True if there was nothing more to read, so that the look before it still holds. */
static bool outputs_drained(struct process *p)
{
    struct out *streams[2] = {&p->channel.out, &p->err};
    bool drained = true;
    for (int i = 0; i < 2; i++) {
        struct out *o = streams[i];
        if (o->source.fd < 0)
            continue;
        struct pollfd more = {o->source.fd, POLLIN, 0};
        if (out_fill(o) || (o->source.fd >= 0 && o->ring.used == o->window && poll(&more, 1, 0) != 0))
            drained = false;
        out_watch(o);
    }
    return drained;
}

static void check(struct timer *t)
{
    struct process *p = owner_of(t, struct process, check);
    bool open = false;
    for (struct await *a = p->awaits; a; a = a->next)
        open |= !a->found;
    if (!open || p->exited)
        return;
    if (p->leader && is_waiting(p)) {
        if (!outputs_drained(p)) {
            process_advance(p); /* and look again at once: a writer may have been held up by us */
            return;
        }
        for (struct await *a = p->awaits; a; a = a->next)
            if (!a->found && p->channel.in.taken >= a->in) {
                a->found = true;
                a->out = p->channel.out.head;
                a->err = p->err.head;
            }
        uint64_t backoff = p->backoff;
        process_advance(p);
        p->backoff = backoff;
    }
    p->backoff = p->backoff * 3 / 2 < MOST_US * 1000ull ? p->backoff * 3 / 2 : MOST_US * 1000ull;
    if (p->awaits)
        timer_set(&p->check, p->backoff, check);
}
