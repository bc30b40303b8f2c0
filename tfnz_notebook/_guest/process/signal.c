/* SIGNAL: to the leader, its group, or every member of the tree. */
#include "guest.h"

enum { KILL_MS = 2000, PAUSE_MOST_MS = 20, END_S = 10 };

void killing_over(struct process *p, int survivors)
{
    struct killing *k = &p->killing;
    if (!k->active)
        return;
    k->active = false;
    timer_stop(&k->timer);
    if (k->request_asked)
        say_result(p->channel.id, k->request, 0, survivors);
}

/* Survivors. Without a /proc the group is all that can be reached; the keeper's end still tells when none is left. */
static int kill_pass(const struct process *p)
{
    int survivors = p->keeper ? tree_kill_pass(p->keeper) : 0;
    if (survivors >= 0)
        return survivors;
    if (p->leader)
        kill(-p->leader, SIGKILL);
    return 1;
}

static void kill_tick(struct timer *t)
{
    struct process *p = owner_of(t, struct process, killing.timer);
    struct killing *k = &p->killing;
    int survivors = kill_pass(p);
    if (!survivors || now_ns() >= k->until) {
        killing_over(p, survivors);
        return;
    }
    /* Death takes the kernel a moment; look again soon, then less often. */
    timer_set(t, k->pause, kill_tick);
    if (k->pause < PAUSE_MOST_MS * NS_MS)
        k->pause *= 2;
}

static void kill_tree(struct process *p, uint32_t request, bool asked)
{
    struct killing *k = &p->killing;
    if (k->active) /* asked twice: both get an answer */
        killing_over(p, kill_pass(p));
    *k = (struct killing){.request = request, .request_asked = asked, .active = true, .pause = NS_MS / 2};
    k->until = now_ns() + KILL_MS * NS_MS;
    kill_tick(&k->timer);
}

void process_signal(struct frame *f)
{
    uint32_t request = get32(f, 0), target = get32(f, 8);
    int signal = (int)get32(f, 4), error = 0, count = 0;
    reports_read(); /* an exit that is already told must not be signalled */
    struct process *p = process_of(f->channel);
    if (target > TARGET_TREE || signal < 0 || signal > 64) {
        error = EINVAL;
    } else if (!p || !p->keeper) {
        error = p && p->empty && target == TARGET_TREE && signal == SIGKILL ? 0 : ESRCH;
    } else if (target == TARGET_LEADER) {
        /* Its keeper reaps it, so until it is reported its pid cannot be another's for more than a moment. */
        error = p->exited || !p->leader ? ESRCH : kill(p->leader, signal) < 0 ? errno : 0;
        count = !error;
    } else if (target == TARGET_TREE && signal == SIGKILL) {
        kill_tree(p, request, true);
        return;
    } else if (target == TARGET_GROUP && !p->leader) {
        error = ESRCH;
    } else {
        count = tree_signal(p->keeper, signal, target == TARGET_GROUP ? p->leader : 0, &error);
        if (!count && !error)
            error = ESRCH;
        else if (count)
            error = 0;
    }
    say_result(f->channel, request, error, count);
}

static bool none_left(void)
{
    for (struct channel *c = channels; c; c = c->next)
        if (c->kind == K_PROCESS && ((struct process *)c)->keeper)
            return false;
    return true;
}

static struct timer ending;
static uint64_t end_by;

static void end_tick(struct timer *t)
{
    if (none_left() || now_ns() >= end_by)
        guest_exit(main_code());
    timer_set(t, PAUSE_MOST_MS * NS_MS, end_tick);
}

void process_end_all(void)
{
    end_by = now_ns() + END_S * NS_S;
    for (struct channel *c = channels; c; c = c->next) {
        struct process *p = (struct process *)c;
        int error;
        if (c->kind == K_PROCESS && p->keeper)
            tree_signal(p->keeper, SIGTERM, 0, &error);
    }
    end_tick(&ending);
}

/* The guest ends. As PID 1 the kernel kills all the rest; else they are killed one tree after the other. */
void process_kill_all(void)
{
    uint64_t until = now_ns() + KILL_MS * NS_MS;
    while (guest.pid != 1 && !none_left() && now_ns() < until) {
        for (struct channel *c = channels; c; c = c->next) {
            struct process *p = (struct process *)c;
            if (c->kind == K_PROCESS && p->keeper)
                kill_pass(p);
        }
        nanosleep(&(struct timespec){.tv_nsec = NS_MS / 2}, NULL);
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
            struct process *p = process_of_pid(pid);
            if (p)
                process_pid(p, 0);
        }
    }
}
