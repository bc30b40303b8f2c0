/* The keeper: one small process between the guest and each process it starts.
 *
 * A keeper is a child subreaper, so every orphan of its process's tree becomes its child, whatever that orphan did to
 * its session, group, user or environment: the tree is all descendants of the keeper. It reports to the guest over one
 * pipe (records shorter than PIPE_BUF, so atomic): the leader's pid or why it could not be started, the leader's exit,
 * and it ends when it has no child left. Should the guest die, it takes its tree along.
 *
 * The leader is made with vfork, so no page table is copied twice. Which step failed before its exec comes through a
 * pipe that exec closes: shared memory would do, but an emulated machine (qemu-user) makes a fork of a vfork.
 */
#include <grp.h>

#include "guest.h"

const char *const stages[] = {
    [ST_FORK] = "fork", [ST_USER] = "user", [ST_CWD] = "cwd", [ST_TTY] = "tty", [ST_EXEC] = "exec", [ST_ENV] = "env",
};

struct failure {
    int error;
    enum stage stage;
};
static int failure_fds[2];

static void tell(const struct report *r)
{
    while (write(REPORT_FD, r, sizeof *r) < 0 && errno == EINTR)
        ;
}

static _Noreturn void give_up(enum stage stage, int error)
{
    struct failure f = {error ? error : EINVAL, stage};
    if (write(failure_fds[1], &f, sizeof f) < 0)
        _exit(126);
    _exit(127);
}

/* As execvp: a directory that denies is remembered, one that has nothing is passed over. */
static int find_and_exec(const struct image *image)
{
    static char path[PATH_MAX + 1];
    if (strchr(image->file, '/') || !*image->file) {
        execve(image->file, image->argv, image->env);
        return errno;
    }
    int error = ENOENT;
    size_t name = strlen(image->file);
    for (const char *at = image->path;; at++) {
        size_t length = strcspn(at, ":");
        if (length + name + 2 <= sizeof path) {
            memcpy(path, at, length);
            path[length] = '/';
            strcpy(path + length + (length > 0), image->file);
            execve(path, image->argv, image->env);
            if (errno == EACCES)
                error = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR && errno != ENODEV && errno != ESTALE)
                return errno;
        }
        at += length;
        if (!*at)
            return error;
    }
}

static _Noreturn void leader(const struct spec *spec, const struct image *image)
{
    setsid();
    if (spec->tty && ioctl(0, TIOCSCTTY, 0) < 0)
        give_up(ST_TTY, errno);
    setrlimit(RLIMIT_NOFILE, &guest.files);
    umask(022);
    if (image->change_user) {
        /* Raw: the libc's would first try to gather threads, in memory that is not ours. */
        if (image->user.groups >= 0 && syscall(SYS_setgroups, (size_t)image->user.groups, image->user.group) < 0)
            give_up(ST_USER, errno);
        if (syscall(SYS_setresgid, image->user.gid, image->user.gid, image->user.gid) < 0 ||
            syscall(SYS_setresuid, image->user.uid, image->user.uid, image->user.uid) < 0)
            give_up(ST_USER, errno);
    }
    if (image->cwd && chdir(image->cwd) < 0 && (!image->cwd_optional || chdir("/") < 0))
        give_up(ST_CWD, errno);
    sigset_t none;
    sigemptyset(&none);
    rank_give_back(); /* last: beside busy processes it has to wait for its turn from here on */
    sigprocmask(SIG_SETMASK, &none, NULL);
    give_up(ST_EXEC, find_and_exec(image));
}

static __attribute__((noinline)) pid_t fork_leader(const struct spec *spec, const struct image *image)
{
    pid_t pid = vfork();
    if (pid == 0)
        leader(spec, image);
    return pid;
}

/* The leader's pid once its exec is done; 0 if it failed. */
static pid_t start(const struct spec *spec, const struct image *image, struct failure *f)
{
    *f = (struct failure){0, ST_FORK};
    pid_t pid = pipe2(failure_fds, O_CLOEXEC) < 0 ? -1 : fork_leader(spec, image);
    if (pid < 0) {
        f->error = errno;
        return 0;
    }
    close(failure_fds[1]);
    ssize_t n = read(failure_fds[0], f, sizeof *f);
    close(failure_fds[0]);
    if (n != (ssize_t)sizeof *f)
        return pid;
    waitpid(pid, NULL, 0);
    return 0;
}

static void close_from(int lowest)
{
    if (syscall(SYS_close_range, lowest, ~0u, 0) == 0)
        return;
    struct rlimit limit; /* before Linux 5.9, or a seccomp profile that does not know it */
    rlim_t end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? limit.rlim_cur : 65536;
    for (int fd = lowest; fd < (int)end; fd++)
        close(fd);
}

/* The guest died. Descendants of those that are killed become our children and die in the next round. */
static _Noreturn void end_tree(pid_t leader_pid)
{
    for (int round = 0; round < 500; round++) {
        kill(-leader_pid, SIGKILL); /* enough where no /proc shows the rest */
        tree_kill_pass(getpid());
        while (wait4(-1, NULL, WNOHANG, NULL) > 0)
            ;
        if (errno == ECHILD)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 2 * NS_MS}, NULL);
    }
    leave(0);
}

static uint64_t micros(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_usec;
}

/* Reaps until no child is left. Signals are blocked and taken here, one by one. */
static _Noreturn void keep(uint32_t channel, pid_t leader_pid)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    for (;;) {
        struct report r = {.channel = channel, .kind = R_EXIT};
        struct rusage usage;
        int status;
        pid_t pid;
        bool ended = false;
        while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
            if (pid != leader_pid)
                continue;
            ended = true;
            r.pid = pid;
            r.status = status;
            r.user_us = micros(usage.ru_utime);
            r.system_us = micros(usage.ru_stime);
        }
        r.empty = pid < 0 && errno == ECHILD;
        if (ended)
            tell(&r);
        if (r.empty)
            leave(0);
        if (getppid() != guest.pid)
            end_tree(leader_pid);
        sigwaitinfo(&wanted, NULL); /* SIGTERM: the guest died, or somebody tried; getppid() tells which */
    }
}

static _Noreturn void keeper(const struct spec *spec)
{
    struct report r = {.channel = spec->channel, .kind = R_FAILED};
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != guest.pid)
        _exit(1);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    show_as("tfnz-keeper");
    for (int i = 0; i < 3; i++)
        dup2(spec->fds[i], i); /* clears O_CLOEXEC; none of them is below 4 */
    close_from(REPORT_FD + 1);
    static struct image image; /* static: kilobytes, and the leader shares the stack */
    enum stage stage = ST_ENV;
    r.status = image_make(spec, &image, &stage);
    r.stage = stage;
    if (r.status) {
        tell(&r);
        leave(0);
    }
    if (spec->tty && image.change_user) /* so that the user can open it again by its name */
        if (fchown(0, image.user.uid, (gid_t)-1) < 0)
            r.stage = ST_TTY; /* not needed to go on */
    struct failure f;
    pid_t pid = start(spec, &image, &f);
    if (!pid) {
        r.status = f.error;
        r.stage = f.stage;
        tell(&r);
        leave(0);
    }
    for (int i = 0; i < 3; i++)
        close(i); /* before anybody writes: a pipe that only we hold open would take bytes for nobody */
    r = (struct report){.channel = spec->channel, .kind = R_SPAWNED, .pid = pid};
    tell(&r);
    keep(spec->channel, pid);
}

pid_t keeper_fork(const struct spec *spec)
{
    pid_t pid = fork();
    if (pid == 0)
        keeper(spec);
    return pid;
}
