/* --orphan: a guest ends when its agent has said nothing for so long. Where nobody else looks after what a vanished agent
 * left (a cluster), it would run for ever. What counts is a word, not a connection: one that a proxy keeps open leads to
 * nobody. An agent says something in time (HELLO tells it ORPHAN).
 *
 * A guest beside a container's own first process asks that one to end, too.
 *
 * Counted in ticks in which the guest itself ran: after the freezer, or a stopped machine, it is no orphan yet. */
#include "guest.h"

enum { TICKS = 16 };
static struct timer timer;
static uint64_t tick, last, alone;

void orphan_heard(void)
{
    alone = 0;
}

static void ticked(struct timer *t)
{
    uint64_t now = now_ns(), passed = now - last;
    last = now;
    alone += passed < 2 * tick ? passed : 2 * tick;
    if (alone < TICKS * tick) {
        timer_set(t, tick, ticked);
        return;
    }
    note("ending: no agent has come for %lld s", (long long)guest.orphan);
    if (guest.beside)
        kill(1, SIGTERM); /* the container is to end, as its engine would have it */
    process_end_all();
}

void orphan_init(void)
{
    if (!guest.orphan)
        return;
    tick = (uint64_t)guest.orphan * NS_S / TICKS;
    last = now_ns();
    timer_set(&timer, tick, ticked);
}
