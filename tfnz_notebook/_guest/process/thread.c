/* Is a thread blocked in the kernel, reading or polling one given file? /proc says which call it sleeps in, with its
 * arguments; the poll sets are in its memory. A thread that was woken is no longer shown as blocked, so a look after a
 * write cannot see the time before it.
 */
#include <sys/fsuid.h>
#include <sys/select.h>
#include <sys/sysmacros.h>

#include "guest.h"

struct look {
    pid_t pid;
    const struct stat *on;
    bool same_tty;
    unsigned long long nr, a[6];
};

/* 5:0 is /dev/tty, whichever terminal the process has. */
static bool same_file(const struct look *k, int fd)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)k->pid, fd);
    if (fd < 0 || stat(path, &st) < 0)
        return false;
    if (k->same_tty && S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 0))
        return true;
    return st.st_dev == k->on->st_dev && st.st_ino == k->on->st_ino;
}

static bool peek(const struct look *k, unsigned long long from, void *to, size_t size)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)k->pid); /* not process_vm_readv: that one asks the real uid */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = pread(fd, to, size, (off_t)from);
    close(fd);
    return n == (ssize_t)size;
}

static bool polls(const struct look *k)
{
    enum { MOST = 1024 };
    struct pollfd fds[MOST];
    if (!k->a[1] || k->a[1] > MOST || !peek(k, k->a[0], fds, k->a[1] * sizeof *fds))
        return false;
    for (size_t i = 0; i < k->a[1]; i++)
        if ((fds[i].events & (POLLIN | POLLRDNORM)) && same_file(k, fds[i].fd))
            return true;
    return false;
}

static bool selects(const struct look *k)
{
    unsigned char bits[8192];
    size_t size = (k->a[0] + 63) / 64 * 8;
    if (!k->a[1] || size > sizeof bits || !peek(k, k->a[1], bits, size))
        return false;
    for (size_t fd = 0; fd < k->a[0]; fd++)
        if (bits[fd / 8] >> fd % 8 & 1 && same_file(k, (int)fd))
            return true;
    return false;
}

static bool epolls(const struct look *k)
{
    char path[64], text[16384];
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)k->pid, (int)k->a[0]);
    if (proc_read(path, text, sizeof text) <= 0)
        return false;
    unsigned long long fd, mask;
    for (char *at = text, *events; (at = strstr(at, "tfd:")) && (events = strstr(at, "events:")); at += 4)
        if (scan(at + 4, 10, &fd, 1) && scan(events + 7, 16, &mask, 1) && (mask & EPOLLIN) && same_file(k, (int)fd))
            return true;
    return false;
}

static bool waits(const struct look *k)
{
    switch (k->nr) {
    case SYS_read: case SYS_readv: case SYS_pread64: case SYS_preadv:
#ifdef SYS_preadv2
    case SYS_preadv2:
#endif
    case SYS_splice:
        return same_file(k, (int)k->a[0]);
    case SYS_sendfile:
        return same_file(k, (int)k->a[1]);
#ifdef SYS_poll
    case SYS_poll:
#endif
    case SYS_restart_syscall: /* a poll that was stopped and went on; registers are as they were */
    case SYS_ppoll:
        return polls(k);
#ifdef SYS_select
    case SYS_select:
#endif
    case SYS_pselect6:
        return selects(k);
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
    case SYS_epoll_pwait: case SYS_epoll_pwait2:
        return epolls(k);
    default:
        return false;
    }
}

static enum sight look(pid_t pid, pid_t tid, const struct stat *on, bool same_tty)
{
    struct look k = {.pid = pid, .on = on, .same_tty = same_tty};
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", (int)pid, (int)tid);
    if (proc_read(path, text, sizeof text) < 0)
        return errno == EPERM || errno == EACCES || errno == ENOENT ? BLIND : NO;
    /* "running", or -1 when it blocks outside of a system call */
    if (*text < '0' || *text > '9' || scan(text, 10, &k.nr, 1) != 1 || scan(text + strcspn(text, " "), 16, k.a, 6) != 6)
        return NO;
    return waits(&k) ? YES : NO;
}

/* /proc asks for the right to ptrace. Root in a default container lacks CAP_SYS_PTRACE, and then only the target's own
 * uid and gid will do; /proc compares the *filesystem* ids, which are cheap to borrow. */
enum sight thread_waits(pid_t pid, pid_t tid, const struct stat *on, bool same_tty)
{
    enum sight sight = look(pid, tid, on, same_tty);
    char path[32];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (sight != BLIND || geteuid() != 0 || stat(path, &st) < 0)
        return sight;
    setfsgid(st.st_gid);
    setfsuid(st.st_uid);
    sight = look(pid, tid, on, same_tty);
    setfsuid(geteuid());
    setfsgid(getegid());
    return sight;
}
