/* Samples: from the cgroup when it is the container's own and can be seen, else summed over the guest's tree. */
#include "guest.h"

struct totals {
    int64_t cpu, memory, pids, read, written;
};

/* The number after a key at the start of a line ("" for a file that is one number); -1: unknown. */
static int64_t value(const char *path, const char *key)
{
    char text[8192];
    if (proc_read(path, text, sizeof text) <= 0)
        return -1;
    size_t length = strlen(key);
    for (char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length) && (line[length] == ' ' || !length)) {
            char *end;
            unsigned long long n = strtoull(line + length, &end, 10);
            if (end == line + length)
                return -1;
            return n > INT64_MAX ? INT64_MAX : (int64_t)n;
        }
    }
    return -1;
}

/* Every "key=number" of io.stat, or every "Key number" of v1's blkio files. */
static int64_t sum(const char *path, const char *key)
{
    char text[16384];
    if (proc_read(path, text, sizeof text) < 0)
        return -1;
    int64_t total = 0;
    for (char *at = text; (at = strstr(at, key)); at += strlen(key))
        total += strtoll(at + strlen(key), NULL, 10);
    return total;
}

static void put_known(uint16_t tag, int64_t n)
{
    if (n >= 0)
        put_int(QUEUE, tag, n);
}

static int64_t without_cache(int64_t memory, int64_t inactive)
{
    return memory >= 0 && inactive > 0 && inactive < memory ? memory - inactive : memory; /* as docker stats */
}

#define V2 "/sys/fs/cgroup/"

static bool own;

/* Where an engine could make no cgroup for the container it sees its engine's, and every number would be of much more.
 * In version 2 a process of no pid namespace below ours stands in it as 0. Version 1 lists none of those: whose engine
 * has no part in that, says --no-cgroup. Asked before anybody is brought in from outside, as by an exec. */
void stats_init(void)
{
    char text[16384];
    bool shared = proc_read(V2 "cgroup.procs", text, sizeof text) > 0 && (!strncmp(text, "0\n", 2) || strstr(text, "\n0\n"));
    own = guest.pid == 1 && !guest.no_cgroup && !shared;
}

static bool sample_v2(void)
{
    int64_t cpu = value(V2 "cpu.stat", "usage_usec"), memory = value(V2 "memory.current", "");
    if (cpu < 0 && memory < 0)
        return false;
    put_known(TAG_CPU, cpu);
    put_known(TAG_MEMORY, without_cache(memory, value(V2 "memory.stat", "inactive_file")));
    if (memory >= 0) {
        int64_t limit = value(V2 "memory.max", "");
        put_int(QUEUE, TAG_MEMORY_LIMIT, limit < 0 ? 0 : limit); /* "max" */
    }
    put_known(TAG_PIDS, value(V2 "pids.current", ""));
    put_known(TAG_READ, sum(V2 "io.stat", "rbytes="));
    put_known(TAG_WRITTEN, sum(V2 "io.stat", "wbytes="));
    put_known(TAG_OOM, value(V2 "memory.events", "oom_kill"));
    return true;
}

static bool sample_v1(void)
{
    int64_t cpu = value(V2 "cpuacct/cpuacct.usage", ""), memory = value(V2 "memory/memory.usage_in_bytes", "");
    if (cpu < 0 && memory < 0)
        return false;
    put_known(TAG_CPU, cpu < 0 ? -1 : cpu / 1000);
    put_known(TAG_MEMORY, without_cache(memory, value(V2 "memory/memory.stat", "total_inactive_file")));
    if (memory >= 0) {
        int64_t limit = value(V2 "memory/memory.limit_in_bytes", "");
        put_int(QUEUE, TAG_MEMORY_LIMIT, limit < 0 || limit > INT64_MAX / 2 ? 0 : limit);
    }
    put_known(TAG_PIDS, value(V2 "pids/pids.current", ""));
    put_known(TAG_READ, sum(V2 "blkio/blkio.throttle.io_service_bytes", "Read "));
    put_known(TAG_WRITTEN, sum(V2 "blkio/blkio.throttle.io_service_bytes", "Write "));
    put_known(TAG_OOM, value(V2 "memory/memory.oom_control", "oom_kill"));
    return true;
}

static int64_t micros(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

/* What it and its children that ended have read and written. */
static void add_io(pid_t pid, struct totals *sums)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
    int64_t read = sum(path, "\nread_bytes: "), written = sum(path, "\nwrite_bytes: ");
    sums->read += read > 0 ? read : 0;
    sums->written += written > 0 ? written : 0;
}

static void add_process(pid_t pid, struct totals *sums)
{
    char path[64], text[1024], *at;
    unsigned long long n[21]; /* from the fourth field on */
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (proc_read(path, text, sizeof text) <= 0 || !(at = strrchr(text, ')')) || strlen(at) < 4 ||
        scan(at + 3, 10, n, 21) != 21)
        return;
    /* Its own times, and those of its children that ended. */
    sums->cpu += (int64_t)(n[10] + n[11] + n[12] + n[13]) * (1000000 / sysconf(_SC_CLK_TCK));
    sums->memory += (int64_t)n[20] * sysconf(_SC_PAGESIZE);
    sums->pids++;
    add_io(pid, sums);
}

/* Who has ended and is not reaped yet, or is reaped while we look, is counted nowhere for a moment. */
static int64_t never_less(int64_t *most, int64_t n)
{
    return *most = n > *most ? n : *most;
}

static void sample_tree(void)
{
    static struct totals most;
    struct rusage own, ended;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &ended);
    struct totals sums = {.cpu = micros(own.ru_utime) + micros(own.ru_stime)};
    sums.cpu += micros(ended.ru_utime) + micros(ended.ru_stime);
    struct tree t;
    bool known = tree_walk(guest.pid, &t, true);
    for (int i = 0; i < t.count; i++)
        add_process(t.members[i].pid, &sums);
    add_io(guest.pid, &sums);
    put_int(QUEUE, TAG_CPU, never_less(&most.cpu, sums.cpu));
    if (known) {
        put_int(QUEUE, TAG_MEMORY, sums.memory);
        put_int(QUEUE, TAG_PIDS, sums.pids);
        put_int(QUEUE, TAG_READ, never_less(&most.read, sums.read));
        put_int(QUEUE, TAG_WRITTEN, never_less(&most.written, sums.written));
    }
    tree_free(&t);
}

static void sample_network(void)
{
    char text[16384];
    unsigned long long n[9]; /* bytes received come first, bytes sent ninth */
    int64_t in = 0, out = 0;
    if (proc_read("/proc/net/dev", text, sizeof text) <= 0)
        return;
    for (char *at = text, *colon; (colon = strchr(at, ':')); at = colon + 1) {
        const char *name = colon;
        while (name > text && name[-1] != ' ' && name[-1] != '\n')
            name--;
        bool loopback = colon - name == 2 && !strncmp(name, "lo", 2);
        if (!loopback && scan(colon + 1, 10, n, 9) == 9) {
            in += (int64_t)n[0];
            out += (int64_t)n[8];
        }
    }
    put_int(QUEUE, TAG_RECEIVED, in);
    put_int(QUEUE, TAG_SENT, out);
}

void stats_sample(uint32_t request)
{
    frame_begin(QUEUE, T_STATS, 0, 0);
    put_int(QUEUE, TAG_REQUEST, request);
    put_int(QUEUE, TAG_CLOCK, (int64_t)epoch_ns());
    if (!own || (!sample_v2() && !sample_v1()))
        sample_tree();
    if (guest.pid == 1)
        sample_network();
    frame_end(QUEUE);
}

/* Each kill for memory explains one death by SIGKILL. The kernel does not say which; that both happened is the best
 * there is from inside. */
bool stats_oom(void)
{
    static int64_t explained = -1;
    if (!own)
        return false;
    int64_t kills = value(V2 "memory.events", "oom_kill");
    if (kills < 0)
        kills = value(V2 "memory/memory.oom_control", "oom_kill");
    bool first = explained < 0;
    if (first)
        explained = 0; /* a container's cgroup is as new as its guest */
    if (kills <= explained)
        return false;
    explained++;
    return true;
}
