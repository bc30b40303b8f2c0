/* A pod's container, as little of one as its guest can tell from runc's: namespaces, a root, mounts, a user, limits.
 *
 *   sandbox probe                        0: this user may make some
 *   sandbox run OPTION… -- COMMAND…      the container; ends as its first process does
 *   sandbox enter PID OPTION… -- COMMAND…  one more process in the container whose first process is PID (of this machine)
 *
 * Everything is mounted in the container's own namespace and goes with it. What becomes of the start is said on
 * the descriptor --told: `pid N`, then nothing, or what runc would have said. It dies with who started it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAST_CAPABILITY = 40 };
static int told = 2;
static const int KINDS = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC;

static _Noreturn void fail(const char *what, const char *whom)
{
    dprintf(told, "%s \"%s\": %s\n", what, whom, strerror(errno));
    _exit(125);
}

static void parents(char *path, bool whole)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0755);
            *p = '/';
        }
    if (whole)
        mkdir(path, 0755);
}

/* A place below the new root, made if it is not there: a directory, or a file for a file. */
static const char *place(const char *root, const char *path, bool directory)
{
    static char whole[PATH_MAX];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    parents(whole, directory);
    if (!directory)
        close(open(whole, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    return whole;
}

static void bind_at(const char *root, const char *source, const char *target, bool writable)
{
    struct stat st;
    if (stat(source, &st))
        fail("stat", source);
    const char *at = place(root, target, S_ISDIR(st.st_mode));
    if (mount(source, at, NULL, MS_BIND | MS_REC, NULL))
        fail("mount", target);
    if (!writable && mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
        fail("remount", target);
}

static void devices(const char *root)
{
    static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"};
    if (mount("tmpfs", place(root, "/dev", true), "tmpfs", MS_NOSUID, "mode=755,size=64k"))
        fail("mount", "/dev");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        bind_at(root, names[i], names[i], true);
    mount("devpts", place(root, "/dev/pts", true), "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
    mount("shm", place(root, "/dev/shm", true), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m");
    char link[PATH_MAX];
    static const char *const links[][2] = {
        {"/dev/ptmx", "pts/ptmx"}, {"/dev/fd", "/proc/self/fd"}, {"/dev/stdin", "/proc/self/fd/0"},
        {"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"}};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf(link, sizeof link, "%s%s", root, links[i][0]);
        if (symlink(links[i][1], link))
            fail("symlink", links[i][0]);
    }
}

/* A new network has an interface for itself, which is down. */
static void loopback(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        ioctl(fd, SIOCSIFFLAGS, &lo);
    close(fd);
}

static void join(const char *cgroup)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1)
        fail("join", cgroup);
    close(fd);
}

struct wishes {
    const char *cwd;
    uid_t uid;
    gid_t gid;
    gid_t groups[16];
    size_t ngroups;
    uint64_t capabilities;
    bool no_new_privileges;
};

/* The last steps: whoever we were told to be, with no more powers than that has. */
static _Noreturn void become(const struct wishes *w, char **command)
{
    for (int n = 0; n <= LAST_CAPABILITY; n++)
        if (!(w->capabilities >> n & 1))
            prctl(PR_CAPBSET_DROP, n, 0, 0, 0);
    if (setgroups(w->ngroups, w->groups) || setresgid(w->gid, w->gid, w->gid) || setresuid(w->uid, w->uid, w->uid))
        fail("become user", "");
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    uint64_t held = w->uid ? 0 : w->capabilities;
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted = (uint32_t)(held >> 32 * i), data[i].inheritable = 0;
    if (syscall(SYS_capset, &head, data))
        fail("capset", "");
    if (w->no_new_privileges)
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (chdir(w->cwd))
        fail("unable to start container process: chdir to cwd", w->cwd);
    umask(022);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* not sooner: another user, and it is forgotten */
    execvp(command[0], command);
    if (errno != ENOENT)
        fail("unable to start container process: exec:", command[0]);
    dprintf(told, strchr(command[0], '/')
                      ? "unable to start container process: exec: \"%1$s\": stat %1$s: no such file or directory\n"
                      : "unable to start container process: exec: \"%1$s\": executable file not found in $PATH\n",
            command[0]);
    _exit(127);
}

static _Noreturn void as(pid_t child)
{
    int status;
    dprintf(told, "pid %d\n", child);
    close(told);
    signal(SIGINT, SIG_IGN); /* of a terminal: who started us decides */
    while (waitpid(child, &status, 0) < 0)
        ;
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    _exit(128 + WTERMSIG(status));
}

int main(int argc, char **argv)
{
    struct wishes wishes = {.cwd = "/", .capabilities = ~0ull};
    const char *hostname = NULL, *network = NULL, *into = NULL;
    char *root = NULL;
    bool read_only = false;
    if (argc < 2)
        return 2;
    if (!strcmp(argv[1], "probe"))
        return geteuid() || unshare(KINDS) || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int i = 2;
    if (strcmp(argv[1], "run"))
        into = argv[i++];
    int first = i;
    /* Twice: who we are to be, and where; then what is mounted there. */
    for (; i < argc && strcmp(argv[i], "--"); i++) {
        char *value = strchr(argv[i], '=');
        if (value)
            value++;
        else
            value = "";
        if (!strncmp(argv[i], "--told=", 7))
            fcntl(told = atoi(value), F_SETFD, FD_CLOEXEC);
        else if (!strncmp(argv[i], "--root=", 7))
            root = value;
        else if (!strncmp(argv[i], "--cwd=", 6))
            wishes.cwd = value;
        else if (!strncmp(argv[i], "--hostname=", 11))
            hostname = value;
        else if (!strncmp(argv[i], "--net=", 6))
            network = value;
        else if (!strncmp(argv[i], "--uid=", 6))
            wishes.uid = (uid_t)atoi(value);
        else if (!strncmp(argv[i], "--gid=", 6))
            wishes.gid = (gid_t)atoi(value);
        else if (!strncmp(argv[i], "--group=", 8) && wishes.ngroups < 16)
            wishes.groups[wishes.ngroups++] = (gid_t)atoi(value);
        else if (!strncmp(argv[i], "--caps=", 7))
            wishes.capabilities = strtoull(value, NULL, 16);
        else if (!strcmp(argv[i], "--no-new-privs"))
            wishes.no_new_privileges = true;
        else if (!strcmp(argv[i], "--read-only"))
            read_only = true;
        else if (!strncmp(argv[i], "--cgroup=", 9))
            join(value);
        else if (strncmp(argv[i], "--bind=", 7) && strncmp(argv[i], "--overlay=", 10)) {
            errno = EINVAL;
            fail("option", argv[i]);
        }
    }
    char **command = argv + i + 1;
    if (i + 1 >= argc)
        return 2;
    if (into) {
        static const char *const kinds[] = {"net", "uts", "ipc", "pid", "mnt"};
        int held[5];
        for (int k = 0; k < 5; k++) {
            char path[64];
            snprintf(path, sizeof path, "/proc/%s/ns/%s", into, kinds[k]);
            if ((held[k] = open(path, O_RDONLY | O_CLOEXEC)) < 0)
                fail("enter", kinds[k]);
        }
        for (int k = 0; k < 5; k++)
            if (setns(held[k], 0))
                fail("enter", kinds[k]);
    } else {
        if (network) {
            int held = open(network, O_RDONLY | O_CLOEXEC);
            if (held < 0 || setns(held, CLONE_NEWNET))
                fail("enter", network);
        }
        if (unshare(network ? KINDS & ~CLONE_NEWNET : KINDS))
            fail("unshare", "");
        loopback();
    }
    pid_t child = fork();
    if (child < 0)
        fail("fork", "");
    if (child)
        as(child);
    if (into)
        become(&wishes, command);

    umask(0);
    if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL))
        fail("make private", "/");
    if (hostname && sethostname(hostname, strlen(hostname)))
        fail("sethostname", hostname);
    if (!root)
        return 2;
    for (i = first; strcmp(argv[i], "--"); i++) /* the image below, what is written above */
        if (!strncmp(argv[i], "--overlay=", 10) && mount("overlay", root, "overlay", 0, argv[i] + 10))
            fail("mount overlay on", root);
    if (mount(root, root, NULL, MS_BIND | MS_REC, NULL))
        fail("bind", root);
    devices(root);
    if (mount("proc", place(root, "/proc", true), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
        fail("mount", "/proc");
    for (i = first; strcmp(argv[i], "--"); i++) /* --bind=SOURCE:TARGET:rw, in their order */
        if (!strncmp(argv[i], "--bind=", 7)) {
            char *source = argv[i] + 7, *target = strchr(source, ':'), *mode = target ? strchr(target + 1, ':') : NULL;
            if (!mode)
                return 2;
            *target++ = *mode++ = 0;
            bind_at(root, source, target, !strcmp(mode, "rw"));
        }
    if (chdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        fail("pivot_root", root);
    if (read_only && mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
        fail("remount", "/");
    become(&wishes, command);
}
