/* The command line, the start, the signals and the end. */
#include <stdarg.h>
#include <sys/signalfd.h>

#include "guest.h"

#define DEFAULT_SOCKET "/.tfnz/run/guest.sock"
struct settings guest;
static struct source signals = {.fd = -1};
static char *title; /* the command line's memory */
static size_t title_size;

void note(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct pollfd p = {2, POLLOUT, 0};
    if (n >= 0 && poll(&p, 1, 0) > 0) /* a log that nobody reads must not stop the guest */
        dprintf(2, "tfnz-guest: %s\n", text);
}

#ifdef COVERAGE
void __gcov_dump(void);
#endif

_Noreturn void leave(int code)
{
#ifdef COVERAGE
    __gcov_dump();
#endif
    _exit(code);
}

_Noreturn void guest_exit(int code)
{
    conn_flush_now();
    conn_close(NULL);
    log_finish();
    process_kill_all();
    if (conn_path)
        unlink(conn_path);
    leave(code);
}

static void signals_ready(struct source *s, uint32_t events)
{
    struct signalfd_siginfo info;
    (void)events;
    while (read(s->fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGCHLD)
            reports_reap();
        else
            process_engine_signal((int)info.ssi_signo, guest.pid == 1 && info.ssi_pid);
}

/* All signals are blocked for good, so that none interrupts anything and SIGPIPE is an errno; dispositions are set to
 * the default, which is what processes inherit, whatever our parent ignored. */
static void signals_init(void)
{
    const uint64_t nothing[4] = {0}, every = ~0ull; /* the kernel's; the libc keeps 32 to 34 to itself */
    for (int n = 1; n <= 64; n++)
        syscall(SYS_rt_sigaction, n, nothing, NULL, 8);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &every, NULL, 8);
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGPIPE);
    int fd = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        note("cannot make a signalfd: %s", strerror(errno));
        leave(1);
    }
    source_open(&signals, fd, signals_ready);
    source_want(&signals, EPOLLIN);
}

/* 0 to 3 are taken before anything else is opened: processes get theirs by dup2, see keeper.c. */
static void descriptors_init(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd < 3)
        fd = fcntl(fd, F_DUPFD, 0); /* without O_CLOEXEC: these stay */
    int pipe_[2];
    if (fd < 0 && fcntl(2, F_GETFD) < 0 && pipe2(pipe_, 0) == 0) /* an image without /dev/null, and no stdio */
        while ((fd = fcntl(pipe_[1], F_DUPFD, 0)) >= 0 && fd < 3)
            ;
    if (syscall(SYS_close_range, 3, ~0u, 0) < 0)
        for (fd = 3; fd < 1024; fd++)
            close(fd);
    fcntl(0, F_DUPFD_CLOEXEC, REPORT_FD); /* holds its place */
    getrlimit(RLIMIT_NOFILE, &guest.files);
    struct rlimit most = {guest.files.rlim_max, guest.files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &most);
}

/* What `ps`, `pkill -f`, `killall` and `pgrep` find. A command line is shown to everybody, and the image's command is
 * the child's alone: `pkill -f nginx` is to end nginx, not who started it. */
void show_as(const char *name)
{
    prctl(PR_SET_NAME, name);
    memset(title, 0, title_size);
    strncpy(title, name, title_size - 1);
}

/* A copy of the words, before anything else is done; their memory becomes the title, the keepers' as well. */
static char **take_arguments(int argc, char **argv)
{
    static char **words;
    words = calloc((size_t)argc + 1, sizeof *words);
    for (int i = 0; i < argc; i++)
        if (!words || !(words[i] = strdup(argv[i]))) {
            note("cannot start: %s", strerror(ENOMEM));
            leave(1);
        }
    title = argv[0];
    title_size = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) + 1 - title);
    show_as("tfnz-guest");
    return words;
}

/* Beside an image's own PID 1 a guest is started by the engine's exec, whenever there may be none: one is enough. A POSIX
 * lock is this process's alone; no keeper inherits it. */
static void be_the_only_one(const char *socket_path)
{
    char path[PATH_MAX];
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(path, sizeof path, "%s.lock", socket_path);
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && fcntl(fd, F_SETLK, &all) < 0)
        leave(0);
}

/* An exec of some engines cannot be left behind, and ends when nobody holds its ends. So what it started is this process,
 * which waits until the guest, a child of nobody, listens: then all is well. Till then stderr is still the exec's. */
static void detach(void)
{
    int ready[2], status = 1 << 8;
    char listens;
    if (pipe2(ready, O_CLOEXEC) < 0)
        leave(1);
    pid_t child = fork();
    if (child < 0) {
        note("cannot start: %s", strerror(errno));
        leave(1);
    }
    if (!child) {
        setsid();
        dup2(ready[1], 1);
        return;
    }
    close(ready[1]);
    if (read(ready[0], &listens, 1) != 1)
        waitpid(child, &status, 0);
    else
        status = 0;
    leave(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void detached(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (write(1, "", 1) < 0)
        note("nobody waited: %s", strerror(errno));
    for (int n = 0; fd > 2 && n < 3; n++)
        dup2(fd, n);
    if (fd > 2)
        close(fd);
}

static void boot_id(void)
{
    if (syscall(SYS_getrandom, guest.boot, sizeof guest.boot, 0) == (long)sizeof guest.boot)
        return;
    uint64_t clock[2] = {epoch_ns(), now_ns() ^ (uint64_t)getpid() << 32};
    memcpy(guest.boot, clock, sizeof guest.boot);
}

static _Noreturn void usage(const char *problem)
{
    note("%s. Usage: guest init [--socket PATH] [--root DIR] [--files DIR] [--user USER] [--groups LIST] [--cwd DIR] "
         "[--tty] [--sleep] [--beside [--detach]] [--no-cgroup] [--orphan SECONDS] [--] [command ...] | guest connect [--socket PATH] | "
         "guest reach HOST PORT | guest version",
         problem);
    leave(2);
}

static _Noreturn void init_main(const char *socket_path, const char *root, const char *files, bool sleep, bool apart)
{
    if (apart)
        detach();
    descriptors_init();
    if (guest.beside)
        be_the_only_one(socket_path);
    guest.pid = getpid();
    stats_init();
    rank_init();
    loop_init();
    reports_init();
    signals_init();
    umask(0); /* modes are always given whole */
    if (guest.pid != 1)
        prctl(PR_SET_CHILD_SUBREAPER, 1); /* should a keeper be killed */
    boot_id();
    guest.features = FEATURE_SETUP | FEATURE_PIPES | FEATURE_WIDE | user_features();
    int error = path_root(root);
    if (error) {
        note("cannot use %s as the root for files: %s", root, strerror(error));
        leave(1);
    }
    char path[PATH_MAX];
    if (files && (error = files_early(files, path))) {
        note("cannot write %s: %s", *path ? path : files, strerror(error));
        leave(1);
    }
    conn_listen(socket_path);
    if (apart)
        detached();
    orphan_init();
    if (guest.argv && !sleep && (error = process_start_main())) {
        note("cannot start %s: %s", guest.argv[0], strerror(error));
        guest_exit(126);
    }
    for (;;)
        loop_turn();
}

int main(int argc, char **argv)
{
    const char *socket_path = DEFAULT_SOCKET, *root = "/", *files = NULL, *orphan = NULL;
    bool sleep = false, apart = false;
    int i = 2;
    if (argc < 2)
        usage("no command");
    argv = take_arguments(argc, argv);
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char **wanted = !strcmp(argv[i], "--socket") ? &socket_path
                              : !strcmp(argv[i], "--root")  ? &root
                              : !strcmp(argv[i], "--files") ? &files
                              : !strcmp(argv[i], "--user")  ? &guest.user
                              : !strcmp(argv[i], "--groups") ? &guest.groups
                              : !strcmp(argv[i], "--cwd")   ? &guest.cwd
                              : !strcmp(argv[i], "--orphan") ? &orphan
                                                             : NULL;
        if (!strcmp(argv[i], "--")) {
            i++;
            break;
        }
        if (!strcmp(argv[i], "--sleep"))
            sleep = true;
        else if (!strcmp(argv[i], "--tty"))
            guest.tty = true;
        else if (!strcmp(argv[i], "--beside"))
            guest.beside = true;
        else if (!strcmp(argv[i], "--detach"))
            apart = true;
        else if (!strcmp(argv[i], "--no-cgroup"))
            guest.no_cgroup = true;
        else if (wanted && i + 1 < argc)
            *wanted = argv[++i];
        else
            usage("unknown option, or one without its value");
    }
    if (orphan && ((guest.orphan = strtol(orphan, NULL, 10)) <= 0 || guest.orphan > INT32_MAX))
        usage("--orphan wants seconds");
    if (!strcmp(argv[1], "version")) {
        printf("tfnz-guest %d\n", VERSION);
        return 0;
    }
    if (!strcmp(argv[1], "connect"))
        return connect_main(socket_path);
    if (!strcmp(argv[1], "reach") && argc == 4)
        return reach_main(argv[2], argv[3]);
    if (strcmp(argv[1], "init"))
        usage("unknown command");
    if (i < argc)
        guest.argv = argv + i;
    init_main(socket_path, root, files, sleep, apart);
}
