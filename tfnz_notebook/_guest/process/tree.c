/* The tree of a process: all descendants of its keeper, read from /proc. */
#include <ctype.h>

#include "guest.h"

long proc_read(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, size - 1);
    int error = errno;
    close(fd);
    errno = error;
    if (n >= 0)
        text[n] = 0;
    return n;
}

/* The next numbers of a line; how many there were. Not sscanf: it is a tenth of the binary. */
int scan(const char *at, int base, unsigned long long *numbers, int most)
{
    int n = 0;
    for (char *end; n < most; n++, at = end) {
        numbers[n] = strtoull(at, &end, base);
        if (end == at)
            break;
    }
    return n;
}

bool proc_stat(const char *path, struct member *m)
{
    char text[1024], *at;
    unsigned long long n[17]; /* from the fourth field on */
    if (proc_read(path, text, sizeof text) <= 0 || !(at = strrchr(text, ')'))) /* a name may hold anything */
        return false;
    if (strlen(at) < 4 || scan(at + 3, 10, n, 17) != 17)
        return false;
    m->pid = (pid_t)atoi(text);
    m->state = at[2];
    m->parent = (pid_t)n[0];
    m->group = (pid_t)n[1];
    m->tty = (uint32_t)n[3];
    /* A leader that ended before its threads is shown as a zombie, and lives. */
    m->dead = m->state == 'X' || (m->state == 'Z' && n[16] <= 1);
    return true;
}

static bool add(struct tree *t, const struct member *m)
{
    if (t->count == t->room) {
        int room = t->room ? t->room * 2 : 64;
        struct member *more = realloc(t->members, (size_t)room * sizeof *more);
        if (!more)
            return false;
        t->members = more;
        t->room = room;
    }
    t->members[t->count++] = *m;
    return true;
}

void tree_free(struct tree *t)
{
    free(t->members);
    *t = (struct tree){0};
}

static int by_pid(const void *a, const void *b)
{
    return ((const struct member *)a)->pid - ((const struct member *)b)->pid;
}

static struct member *find(const struct tree *t, pid_t pid)
{
    struct member key = {.pid = pid};
    return t->count ? bsearch(&key, t->members, (size_t)t->count, sizeof key, by_pid) : NULL;
}

/* All processes there are, then those whose line of parents leads to the root. */
static bool walk_all(pid_t root, struct tree *t)
{
    DIR *dir = opendir("/proc");
    struct dirent *d;
    if (!dir)
        return false;
    bool any = false;
    while ((d = readdir(dir))) {
        char path[300];
        struct member m = {0};
        if (!isdigit((unsigned char)d->d_name[0]))
            continue;
        any = true;
        snprintf(path, sizeof path, "/proc/%s/stat", d->d_name);
        if (proc_stat(path, &m))
            add(t, &m);
    }
    closedir(dir);
    if (t->count)
        qsort(t->members, (size_t)t->count, sizeof *t->members, by_pid);
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < t->count; i++) {
            struct member *m = &t->members[i], *parent = m->parent == root ? m : find(t, m->parent);
            if (!m->in && parent && (parent == m || parent->in))
                m->in = more = true;
        }
    }
    int kept = 0;
    for (int i = 0; i < t->count; i++)
        if (t->members[i].in && !t->members[i].dead)
            t->members[kept++] = t->members[i];
    t->count = kept;
    return any;
}

/* By the kernel's lists of children, which cost nothing for processes that are not ours. They may miss one while
 * another exits, so this answers "surely busy" early and never "waiting". False: this kernel has no such lists. */
static bool walk_children(pid_t root, struct tree *t)
{
    char path[64], text[4096];
    for (int next = -1; next < t->count; next++) {
        pid_t pid = next < 0 ? root : t->members[next].pid;
        snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
        DIR *dir = opendir(path);
        struct dirent *d;
        while (dir && (d = readdir(dir))) {
            if (!isdigit((unsigned char)d->d_name[0]))
                continue;
            snprintf(path, sizeof path, "/proc/%d/task/%.10s/children", (int)pid, d->d_name);
            if (proc_read(path, text, sizeof text) < 0) {
                if (errno == ENOENT && access("/proc/self/task", F_OK) == 0 && next < 0) {
                    closedir(dir);
                    return false;
                }
                continue;
            }
            for (char *at = text, *end; *at; at = end + (*end == ' ')) {
                struct member m = {0};
                long child = strtol(at, &end, 10);
                if (end == at)
                    break;
                snprintf(path, sizeof path, "/proc/%ld/stat", child);
                if (proc_stat(path, &m) && !m.dead)
                    add(t, &m);
            }
        }
        if (dir)
            closedir(dir);
    }
    return true;
}

bool tree_walk(pid_t root, struct tree *t, bool exact)
{
    *t = (struct tree){0};
    return (!exact && walk_children(root, t)) || walk_all(root, t);
}

/* Whether nobody but the tree is in that group. Who has just been forked is in its keeper's for a moment. */
static bool own_group(pid_t group, pid_t keeper)
{
    return group > 1 && group != getpgrp() && group != getpgid(keeper);
}

/* A group at once, so that none of it forks away meanwhile: a shell's next command, for one. The tree's groups are its
 * own, since its sessions are. */
int tree_signal(pid_t keeper, int signal, pid_t group, int *error)
{
    struct tree t;
    int count = 0;
    if (!tree_walk(keeper, &t, true)) {
        *error = ENOSYS;
        return 0;
    }
    for (int i = 0; i < t.count; i++) {
        pid_t of = t.members[i].group;
        if (group && of != group)
            continue;
        int first = 0;
        while (t.members[first].group != of)
            first++;
        bool reached = first < i && own_group(of, keeper); /* with the first one of its group */
        count += reached || kill(own_group(of, keeper) ? -of : t.members[i].pid, signal) == 0 || (*error = errno, false);
    }
    tree_free(&t);
    return count;
}

/* Stop everybody until nobody is new, so that a bomb cannot outrun us; then kill all of them. */
int tree_kill_pass(pid_t keeper)
{
    struct tree before = {0}, t = {0};
    for (int round = 0; round < 20; round++) {
        int fresh = 0;
        if (!tree_walk(keeper, &t, true))
            return -1;
        for (int i = 0; i < t.count; i++)
            if (!find(&before, t.members[i].pid)) {
                kill(t.members[i].pid, SIGSTOP);
                fresh++;
            }
        tree_free(&before);
        before = t;
        if (!fresh)
            break;
    }
    int count = before.count;
    for (int i = 0; i < count; i++)
        kill(before.members[i].pid, SIGKILL);
    tree_free(&before);
    return count;
}
