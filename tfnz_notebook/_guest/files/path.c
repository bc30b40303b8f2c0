/* Paths inside the guest's root. Nothing, neither `..` nor a link, leads out of it, also while the container changes
 * its directories meanwhile: every step is taken from a descriptor, never from a name that was checked before.
 */
#include "guest.h"

enum { LINKS_MOST = 40, DEPTH = 256 };
static int root_fd = -1;
static bool has_openat2 = true;

int path_root(const char *root)
{
    root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root_fd < 0 ? errno : 0;
}

static bool sound(const char *path)
{
    if (*path != '/')
        return false;
    for (const char *at = path; (at = strstr(at, "..")); at += 2)
        if (at[-1] == '/' && (at[2] == '/' || !at[2]))
            return false;
    return true;
}

/* Where openat2 is missing (before Linux 5.6) or denied (the seccomp profile of Docker before 20.10.10): one component
 * at a time. The descriptors of the way down are kept, so `..` in a link's text goes back to where we came from. */
static int walk(const char *path, int flags)
{
    char *rest = strdup(path), link[PATH_MAX];
    int way[DEPTH], depth = 0, links = 0, error = 0, found = -1;
    if (!rest)
        return -1;
    char *at = rest;
    while (!error && found < 0) {
        at += strspn(at, "/");
        int here = depth ? way[depth - 1] : root_fd;
        size_t length = strcspn(at, "/");
        bool last = !at[length + strspn(at + length, "/")];
        char name[NAME_MAX + 1];
        if (!length) {
            found = openat(here, ".", flags);
            error = found < 0 ? errno : 0;
            break;
        }
        if (length > NAME_MAX) {
            error = ENAMETOOLONG;
            break;
        }
        memcpy(name, at, length);
        name[length] = 0;
        at += length;
        if (!strcmp(name, "."))
            continue;
        if (!strcmp(name, "..")) {
            if (depth)
                close(way[--depth]);
            continue;
        }
        ssize_t n = readlinkat(here, name, link, sizeof link - 1);
        if (n >= 0 && !(last && !*at && flags & O_NOFOLLOW)) {
            link[n] = 0;
            char *joined = malloc((size_t)n + strlen(at) + 1);
            if (!joined || ++links > LINKS_MOST) {
                error = joined ? ELOOP : ENOMEM;
                free(joined);
                break;
            }
            strcpy(stpcpy(joined, link), at); /* what follows begins with its slash */
            while (*link == '/' && depth)
                close(way[--depth]);
            free(rest);
            at = rest = joined;
        } else if (last && !*at) { /* a trailing slash asks for a directory: one more round */
            found = openat(here, name, flags | O_NOFOLLOW);
            error = found < 0 ? errno : 0;
        } else if (depth == DEPTH) {
            error = ENAMETOOLONG;
        } else {
            way[depth] = openat(here, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (way[depth] < 0)
                error = errno;
            else
                depth++;
        }
    }
    while (depth)
        close(way[--depth]);
    free(rest);
    errno = error;
    return found;
}

static int open_inside(const char *path, int flags)
{
    struct open_how_ how = {.flags = (uint64_t)flags, .resolve = RESOLVE_IN_ROOT_ | RESOLVE_NO_MAGICLINKS_};
    for (int i = 0; has_openat2 && i < 8; i++) {
        long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EAGAIN))
            return (int)fd;
        /* EAGAIN: something was renamed while the kernel crossed a `..`. EPERM may also be the file system's word,
         * so ask again for what always works. */
        if (errno == EPERM && syscall(SYS_openat2, root_fd, ".", &(struct open_how_){.flags = O_PATH | O_CLOEXEC},
                                      sizeof how) >= 0) {
            errno = EPERM;
            return -1;
        }
        if (errno != EAGAIN)
            has_openat2 = false;
    }
    return walk(path, flags);
}

int path_open(const char *path, int flags)
{
    if (!sound(path)) {
        errno = EINVAL;
        return -1;
    }
    /* openat2 refuses O_NOCTTY with O_PATH */
    return open_inside(path, flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY));
}

/* Splits at the last slash; "/a/b/" names b too. False: the root itself, or a name that cannot be. */
static bool split(const char *path, char *parent, char *name)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t slash = end;
    while (slash && path[slash - 1] != '/')
        slash--;
    if (slash == end || end - slash > NAME_MAX || slash >= PATH_MAX)
        return false;
    memcpy(name, path + slash, end - slash);
    name[end - slash] = 0;
    memcpy(parent, path, slash);
    parent[slash] = 0;
    return strcmp(name, ".") && strcmp(name, "..");
}

/* The directory, made with all above it if asked for. New ones belong to the user of the request. */
static int open_directory(const char *path, bool make, const struct user *u, int depth)
{
    char parent[PATH_MAX], name[NAME_MAX + 1];
    int fd = open_inside(*path ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == EACCES) /* may be passed, if not read */
        fd = open_inside(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT || !make || depth > DEPTH || !split(path, parent, name))
        return fd;
    int above = open_directory(parent, make, u, depth + 1);
    if (above < 0)
        return -1;
    bool made = mkdirat(above, name, 0755) == 0;
    fd = made || errno == EEXIST ? openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    int error = errno;
    if (made && u && fd >= 0 && fchown(fd, u->uid, u->gid) < 0)
        error = errno, close(fd), fd = -1;
    close(above);
    errno = error;
    return fd;
}

/* A link that is the last component is followed by hand, so that we hold the directory of what it means: a file is
 * replaced in its own directory, and the link stays. */
int path_parent(const char *path, bool make, const struct user *u, char *name)
{
    char here[PATH_MAX], parent[PATH_MAX], link[PATH_MAX];
    if (!sound(path) || strlen(path) >= sizeof here) {
        errno = sound(path) ? ENAMETOOLONG : EINVAL;
        return -1;
    }
    strcpy(here, path);
    for (int links = 0; links <= LINKS_MOST; links++) {
        if (!split(here, parent, name)) {
            errno = EISDIR;
            return -1;
        }
        int fd = open_directory(parent, make, u, 0);
        if (fd < 0)
            return -1;
        ssize_t n = readlinkat(fd, name, link, sizeof link - 1);
        if (n < 0)
            return fd;
        close(fd);
        link[n] = 0;
        int length = snprintf(here, sizeof here, "%s%s", *link == '/' ? "" : parent, link);
        if (length < 0 || (size_t)length >= sizeof here) {
            errno = ENAMETOOLONG;
            return -1;
        }
    }
    errno = ELOOP;
    return -1;
}
