/* What keepers report, what is reaped, and how the main process's end ends the guest. */
#include "guest.h"

enum { GRACE_S = 10, STOP_GRACE_S = 2, STOP_S = 60 };
static struct source reports = {.fd = -1};
static struct timer grace;
static uint64_t signalled; /* when the engine last signalled the main process, 0: never */
static uint64_t early_signals; /* for the main process, whose start was not reported yet */

static void reports_ready(struct source *s, uint32_t events)
{
    (void)s, (void)events;
    reports_read();
}

void reports_init(void)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        note("cannot make a pipe: %s", strerror(errno));
        leave(1);
    }
    dup3(fds[1], REPORT_FD, O_CLOEXEC);
    close(fds[1]);
    int ours = fds[0];
    fcntl(ours, F_SETFL, O_NONBLOCK);
    source_open(&reports, ours, reports_ready);
    source_want(&reports, EPOLLIN);
}

static void exited(struct process *p, int status, bool empty, uint64_t user_us, uint64_t system_us)
{
    int waiting;
    p->exited = true;
    p->empty = p->empty || empty;
    p->status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    p->flags = WIFSIGNALED(status) && WCOREDUMP(status) ? FLAG_CORE : 0;
    if (p->status == -SIGKILL && stats_oom())
        p->flags |= FLAG_OOM;
    p->user_us = user_us;
    p->system_us = system_us;
    p->exit_head = p->channel.out.head;
    /* A pipe tells how much waits in it: that is the leader's, what comes later is not. */
    struct out *streams[2] = {&p->channel.out, &p->err};
    for (int i = 0; i < 2; i++) {
        struct out *o = streams[i];
        if (!p->tty && !o->eof && ioctl(o->source.fd, FIONREAD, &waiting) == 0)
            o->end = o->head + (uint64_t)waiting;
        if (!o->eof)
            out_fill(o);
        out_watch(o);
    }
    process_advance(p);
}

static void failed(struct process *p, int error, uint32_t stage)
{
    const char *name = stages[stage <= ST_ENV ? stage : ST_FORK];
    if (p == main_process) {
        const char *about = stage == ST_CWD ? guest.cwd : stage == ST_USER ? guest.user : NULL;
        note("cannot start %s: %s (%s%s%s)", guest.argv[0], strerror(error), name, about ? " " : "", about ? about : "");
        if (p->start_asked)
            say_result(MAIN, p->start_request, error, stage);
        bool missing = stage == ST_EXEC && (error == ENOENT || error == ENOTDIR);
        out_fill(&p->channel.out); /* EOF: the keeper has closed them */
        exited(p, (missing ? 127 : 126) << 8, true, 0, 0);
        return;
    }
    if (p->introduced)
        say_failed(p->channel.id, error, name);
    channel_drop(&p->channel);
}

static void handle(const struct report *r)
{
    struct process *p = process_of(r->channel);
    if (!p)
        return;
    switch (r->kind) {
    case R_SPAWNED:
        p->leader = r->pid;
        process_introduced(p);
        if (p->start_asked)
            say_result(MAIN, p->start_request, 0, r->pid);
        for (int n = 1; p == main_process && early_signals && n <= 64; n++)
            if (early_signals >> (n - 1) & 1)
                kill(-p->leader, n);
        process_advance(p);
        break;
    case R_FAILED:
        failed(p, r->status, r->stage);
        break;
    case R_EXIT:
        exited(p, r->status, r->empty, r->user_us, r->system_us);
    }
}

void reports_read(void)
{
    struct report r[64];
    ssize_t n;
    while ((n = read(reports.fd, r, sizeof r)) > 0) {
        for (size_t i = 0; i < (size_t)n / sizeof *r; i++)
            handle(&r[i]);
        if ((size_t)n < sizeof r)
            break;
    }
}

static void kill_with_tree(pid_t pid)
{
    kill(pid, SIGSTOP); /* it would start others while they are counted */
    tree_kill_pass(pid);
    kill(pid, SIGKILL);
}

/* A keeper ended before its tree did: somebody with the right to do so killed it. Its children are ours now, and no
 * tree's: they are not left to run. PID 1 also inherits orphans of the engine's own execs, and cannot tell them from
 * daemons of the tree; those it must let live. */
static void lost(struct process *p)
{
    struct tree t = {0};
    if (!p->leader) {
        failed(p, EAGAIN, ST_FORK);
        return;
    }
    p->lost = true;
    bool gone = kill(p->leader, 0) < 0;
    if (!gone) {
        kill_with_tree(p->leader);
        process_pid(p, p->leader);
    }
    if (guest.pid != 1 && tree_walk(guest.pid, &t, true))
        for (int i = 0; i < t.count; i++)
            if (t.members[i].parent == guest.pid && !process_of_pid(t.members[i].pid))
                kill_with_tree(t.members[i].pid);
    tree_free(&t);
    if (gone) /* the keeper had reaped it, and could not tell */
        exited(p, SIGKILL, true, 0, 0);
}

void reports_reap(void)
{
    int status;
    struct rusage usage;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage)) > 0) {
        struct process *p = process_of_pid(pid);
        if (!p)
            continue; /* an orphan from outside, as PID 1 gets them */
        if (WIFSTOPPED(status)) {
            if (!p->lost) /* a keeper: nobody would be told how its process ended */
                kill(pid, SIGCONT);
            continue;
        }
        reports_read(); /* what the keeper said before it ended */
        if (p->channel.dead)
            continue;
        if (p->lost) {
            process_pid(p, 0);
            exited(p, status, true, (uint64_t)usage.ru_utime.tv_sec * 1000000u + (uint64_t)usage.ru_utime.tv_usec,
                   (uint64_t)usage.ru_stime.tv_sec * 1000000u + (uint64_t)usage.ru_stime.tv_usec);
        } else if (!p->exited) {
            process_pid(p, 0);
            lost(p);
        } else {
            process_pid(p, 0);
            p->empty = true;
            process_advance(p);
        }
    }
}

/* --- the main process -------------------------------------------------------------------------------------------- */

int main_code(void)
{
    if (!main_process || !main_process->exited)
        return 128 + SIGTERM;
    return main_process->status < 0 ? 128 - main_process->status : main_process->status;
}

static void grace_over(struct timer *t)
{
    (void)t;
    guest_exit(main_code());
}

/* How it ended, and its last output, are told before the container's end cuts them short: to the agent that is
 * connected, or to one that is on its way, because the container ended at once or the agent itself starts again. Who
 * stops the container is not kept waiting for an agent that is not there. */
void main_advance(void)
{
    struct process *p = main_process;
    if (!p->exited)
        return;
    bool stopped = signalled && now_ns() - signalled < STOP_S * NS_S;
    if ((p->forgotten && p->said_end) || (stopped && !conn.hello))
        guest_exit(main_code());
    if (!grace.prev)
        timer_set(&grace, (stopped ? STOP_GRACE_S : GRACE_S) * NS_S, grace_over);
}

/* What the engine sends is passed on. `inside`: PID 1 got it from a process of its own container; then a sleeping guest
 * takes no notice, as the kernel has it with any PID 1 that did not ask for a signal. */
void process_engine_signal(int signal, bool inside)
{
    struct process *p = main_process;
    reports_read();
    if (!p) {
        if ((signal == SIGTERM || signal == SIGINT) && !inside)
            guest_exit(128 + signal);
        return;
    }
    if (!inside)
        signalled = now_ns();
    if (p->exited) { /* nobody waits any longer than that */
        timer_stop(&grace);
        main_advance();
    } else if (p->leader) {
        kill(-p->leader, signal);
    } else {
        early_signals |= 1ull << (signal - 1);
    }
}
