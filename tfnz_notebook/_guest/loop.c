/* The epoll loop: sources, timers, and what follows each turn. What is moved in one turn is bounded, and shared among
 * those that are ready: the agent's next word is heard within a millisecond, whatever processes write. */
#include "guest.h"

enum { MOST = 64, TURN = 1 << 20 };
static int epoll_fd = -1;
static size_t share = TURN;
static struct timer *timers;
static bool again, has_pwait2 = true;

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_S + (uint64_t)t.tv_nsec;
}

uint64_t epoch_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS_S + (uint64_t)t.tv_nsec;
}

void loop_init(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        note("cannot make an epoll: %s", strerror(errno));
        leave(1);
    }
}

void loop_again(void)
{
    again = true;
}

size_t loop_share(void)
{
    return share;
}

void source_open(struct source *s, int fd, void (*ready)(struct source *, uint32_t))
{
    s->fd = fd;
    s->events = 0;
    s->ready = ready;
}

void source_want(struct source *s, uint32_t events)
{
    if (s->fd < 0 || s->events == events)
        return;
    struct epoll_event e = {.events = events, .data.ptr = s};
    int op = !events ? EPOLL_CTL_DEL : s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    epoll_ctl(epoll_fd, op, s->fd, &e);
    s->events = events;
}

/* epoll knows open files, not descriptors: while a keeper that was just forked still holds a copy, close() alone would
 * leave the registration, and its pointer, alive. */
void source_close(struct source *s)
{
    if (s->fd < 0)
        return;
    source_want(s, 0);
    close(s->fd);
    s->fd = -1;
}

void timer_stop(struct timer *t)
{
    if (!t->prev)
        return;
    *t->prev = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->prev = NULL;
}

void timer_set(struct timer *t, uint64_t ns, void (*fire)(struct timer *))
{
    timer_stop(t);
    t->due = now_ns() + ns;
    t->fire = fire;
    t->next = timers;
    t->prev = &timers;
    if (timers)
        timers->prev = &t->next;
    timers = t;
}

static uint64_t next_due(void)
{
    uint64_t due = UINT64_MAX;
    for (struct timer *t = timers; t; t = t->next)
        if (t->due < due)
            due = t->due;
    return due;
}

/* A timer that fires may stop or set any other, so look again from the start after each; those set meanwhile are due
 * later than `until` and do not fire twice. */
static void run_timers(void)
{
    if (!timers)
        return;
    uint64_t until = now_ns();
    for (struct timer *t = timers; t;) {
        if (t->due > until) {
            t = t->next;
            continue;
        }
        timer_stop(t);
        t->fire(t);
        t = timers;
    }
}

static int wait_events(struct epoll_event *events, int most)
{
    uint64_t due = again ? 0 : next_due(), now = due == UINT64_MAX || !due ? 0 : now_ns();
    uint64_t ns = due > now ? due - now : 0;
    again = false;
    if (due == UINT64_MAX)
        return epoll_wait(epoll_fd, events, most, -1);
    if (has_pwait2) {
        struct timespec t = {.tv_sec = (time_t)(ns / NS_S), .tv_nsec = (long)(ns % NS_S)};
        long n = syscall(SYS_epoll_pwait2, epoll_fd, events, most, &t, NULL, 0);
        /* Before Linux 5.11 ENOSYS; EPERM from the seccomp profile of an older Docker. */
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return (int)n;
        has_pwait2 = false;
    }
    return epoll_wait(epoll_fd, events, most, (int)((ns + NS_MS - 1) / NS_MS));
}

void loop_turn(void)
{
    struct epoll_event events[MOST];
    int n = wait_events(events, MOST);
    share = TURN / (size_t)(n > 0 ? n : 1);
    for (int i = 0; i < n; i++) {
        struct source *s = events[i].data.ptr;
        if (s->fd >= 0 && s->events) /* an earlier one may have closed it */
            s->ready(s, events[i].events);
    }
    run_timers();
    conn_flush();
    channels_sweep();
}
