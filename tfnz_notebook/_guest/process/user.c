/* Users and groups, read from the container's own files: a static libc has no NSS, and needs none. */
#include "guest.h"

/* The whole file, or NULL. O_NONBLOCK and the check: a FIFO of that name must not hang the spawn. */
static char *slurp(const char *path)
{
    enum { MOST = 4 << 20 };
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    char *text = NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < MOST && (text = malloc((size_t)st.st_size + 1))) {
        ssize_t n = read(fd, text, (size_t)st.st_size);
        text[n > 0 ? n : 0] = 0;
    }
    close(fd);
    return text;
}

/* The next line of a file of colon-separated fields; false at the end. Short lines have empty last fields. */
static bool next_entry(char **at, char *fields[7])
{
    static char nothing[1];
    char *line = *at;
    if (!line || !*line)
        return false;
    char *end = strchr(line, '\n');
    *at = end ? end + 1 : NULL;
    if (end)
        *end = 0;
    for (int i = 0; i < 7; i++) {
        fields[i] = line ? line : nothing;
        char *colon = line ? strchr(line, ':') : NULL;
        if (colon)
            *colon = 0;
        line = colon ? colon + 1 : NULL;
    }
    return true;
}

static bool number(const char *text, uint32_t *value)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n >= UINT32_MAX)
        return false;
    *value = (uint32_t)n;
    return true;
}

static void take_entry(struct user *u, char *fields[7])
{
    u->known = true;
    number(fields[2], &u->uid);
    number(fields[3], &u->gid);
    snprintf(u->name, sizeof u->name, "%s", fields[0]);
    snprintf(u->home, sizeof u->home, "%s", *fields[5] ? fields[5] : "/");
    snprintf(u->shell, sizeof u->shell, "%s", *fields[6] ? fields[6] : "/bin/sh");
}

static void find_passwd(const char *name, bool numeric, uint32_t uid, struct user *u)
{
    char *text = slurp("/etc/passwd"), *at = text, *fields[7];
    uint32_t id;
    while (!u->known && next_entry(&at, fields))
        /* A name wins over a number, as in Docker: a user may be called 1000. */
        if ((name && !strcmp(fields[0], name)) || (numeric && number(fields[2], &id) && id == uid))
            take_entry(u, fields);
    free(text);
}

static bool listed(const char *members, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = members; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
        if (!strncmp(at, name, length) && (at[length] == ',' || !at[length]))
            return true;
    return false;
}

static void join_group(struct user *u, uint32_t id)
{
    if (u->groups < (int)(sizeof u->group / sizeof *u->group))
        u->group[u->groups++] = id;
}

/* With a group asked for: that one alone. Without: all that list the user. Beside them, those of the container, whoever
 * it is. All as Docker does. */
static int find_groups(const char *group, struct user *u)
{
    uint32_t id;
    bool found = false;
    if (group && number(group, &id)) {
        u->gid = id;
        found = true;
    }
    u->groups = 0;
    char *text = slurp("/etc/group"), *at = text, *fields[7];
    while (next_entry(&at, fields)) {
        if (!number(fields[2], &id))
            continue;
        if (group && !found && !strcmp(fields[0], group)) {
            u->gid = id;
            found = true;
        } else if (!group && *u->name && listed(fields[3], u->name)) {
            join_group(u, id);
        }
        if (guest.groups && listed(guest.groups, fields[0]))
            join_group(u, id);
    }
    free(text);
    for (at = (char *)guest.groups; at && *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
        char one[16];
        snprintf(one, sizeof one, "%.*s", (int)strcspn(at, ","), at);
        if (number(one, &id))
            join_group(u, id);
    }
    return group && !found ? ENOENT : 0;
}

/* Root may be less than that in a container: it is asked for its capabilities. */
uint32_t user_features(void)
{
    enum { CHOWN = 0, SETGID = 6, SETUID = 7 };
    struct {
        uint32_t version;
        int pid;
    } head = {0x20080522, 0};
    struct {
        uint32_t effective, permitted, inheritable;
    } sets[2] = {{0}};
    if (syscall(SYS_capget, &head, sets) < 0)
        return geteuid() ? 0 : FEATURE_USERS | FEATURE_OWNERS;
    uint32_t may = sets[0].effective;
    return (may >> SETGID & may >> SETUID & 1 ? FEATURE_USERS : 0u) | (may >> CHOWN & 1 ? FEATURE_OWNERS : 0u);
}

int user_find(const char *spec, struct user *u)
{
    *u = (struct user){.uid = geteuid(), .gid = getegid(), .groups = -1, .home = "/", .shell = "/bin/sh"};
    if (!spec) {
        find_passwd(NULL, true, u->uid, u);
        u->uid = geteuid();
        u->gid = getegid();
        return 0;
    }
    char name[256];
    const char *colon = strchr(spec, ':');
    size_t length = colon ? (size_t)(colon - spec) : strlen(spec);
    if (!length || length >= sizeof name)
        return EINVAL;
    memcpy(name, spec, length);
    name[length] = 0;
    uint32_t uid = 0;
    bool numeric = number(name, &uid);
    find_passwd(name, numeric, uid, u);
    if (!u->known) {
        if (!numeric)
            return ENOENT;
        u->uid = uid;
        u->gid = 0;
    }
    return find_groups(colon ? colon + 1 : NULL, u);
}
