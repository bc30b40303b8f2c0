/* The guest comes first: beside a hundred busy processes it must still answer.
 *
 * It asks for its rank itself; where it may not, the agent may, from outside (engines/launch/rank.py), by the process
 * group that the guest and its keepers are alone in. Keepers are forks of the guest and have its rank too. What they
 * start runs at the rank that the guest was started with: that is given back as the last step before exec, so that of
 * all that lies between SPAWN and a new program nothing waits for a turn.
 *
 * A short slice takes no privilege. Since Linux 6.12 it means to be picked sooner, not to run more.
 */
#include "guest.h"

enum { RANK = -15, SLICE_NS = 100000, POLICY_OTHER = 0, POLICY_BATCH = 3 };

struct attributes { /* the kernel's struct sched_attr, as of Linux 3.14 */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice, deadline, period;
};
static struct attributes own; /* size 0: not known */

static void ask(const struct attributes *a)
{
    bool plain = a->policy == POLICY_OTHER || a->policy == POLICY_BATCH; /* others know no slices, and no nice */
    if (a->size && plain && syscall(SYS_sched_setattr, 0, a, 0) == 0)
        return;
    setpriority(PRIO_PROCESS, 0, a->nice);
}

/* A session is scheduled as one where no cgroup has a share of its own, and its nice is another. */
static void ask_for_session(void)
{
    int fd = getsid(0) == getpid() ? open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        dprintf(fd, "%d", RANK);
        close(fd);
    }
}

void rank_init(void)
{
    if (syscall(SYS_sched_getattr, 0, &own, sizeof own, 0) < 0)
        own = (struct attributes){.nice = getpriority(PRIO_PROCESS, 0)};
    struct attributes wanted = own;
    wanted.slice = SLICE_NS;
    ask(&wanted); /* the slice first: the rank may be refused */
    if (wanted.nice > RANK) {
        wanted.nice = RANK;
        ask(&wanted);
    }
    ask_for_session();
}

/* Never more than what this process has now, should somebody have lowered the guest. */
void rank_give_back(void)
{
    struct attributes back = own;
    int now = getpriority(PRIO_PROCESS, 0);
    back.flags = back.slice = 0;
    if (back.nice < now)
        back.nice = now;
    ask(&back);
}
