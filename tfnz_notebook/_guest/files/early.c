/* Files that are to be there before the first process, where only the container itself can reach the place: below its
 * mounts, or where the engine mounts a file of its own (/etc/hosts). Who launches the guest leaves them in a directory,
 * each under its path; they are written through whatever is mounted there.
 */
#include "guest.h"

enum { MOUNT_ROOT = 0x2000 }; /* STATX_ATTR_MOUNT_ROOT, Linux 5.8 */

static bool is_mount(int fd, dev_t above)
{
    uint64_t told[32] = {0}; /* struct statx: the second word is its attributes */
    struct stat st;
    return (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0, told) == 0 && told[1] & MOUNT_ROOT) ||
           (fstat(fd, &st) == 0 && st.st_dev != above);
}

/* errno. `again`: a mounted file is the engine's, who makes another of that name at each start. */
static int write_early(const char *path, int from, bool *again)
{
    char name[NAME_MAX + 1];
    struct stat above, st;
    int dir = path_parent(path, true, NULL, name), error = 0;
    int to = dir < 0 ? -1 : openat(dir, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    if (to < 0 || fstat(dir, &above) < 0 || fstat(to, &st) < 0)
        error = errno;
    else if (!S_ISREG(st.st_mode))
        error = EINVAL;
    else if (ftruncate(to, 0) < 0 || !file_copy(from, to))
        error = errno;
    else
        *again = is_mount(to, above.st_dev);
    if (dir >= 0)
        close(dir);
    if (to >= 0)
        close(to);
    return error;
}

/* errno, and then the path is that of the file that could not be written. */
static int walk(int at, char path[PATH_MAX])
{
    size_t length = strlen(path), room = PATH_MAX - length;
    DIR *dir = fdopendir(at);
    struct dirent *d;
    int error = dir ? 0 : ENOMEM;
    while (!error && (d = readdir(dir))) {
        struct stat st;
        bool again = false;
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        int fd = openat(at, d->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
            error = errno;
        else if ((size_t)snprintf(path + length, room, "/%s", d->d_name) >= room)
            error = ENAMETOOLONG;
        else if (S_ISDIR(st.st_mode))
            error = walk(fd, path), fd = -1;
        else if (!(error = write_early(path, fd, &again)) && !again)
            unlinkat(at, d->d_name, 0);
        if (fd >= 0)
            close(fd);
        if (!error)
            path[length] = 0;
    }
    if (dir)
        closedir(dir);
    return error;
}

int files_early(const char *from, char path[PATH_MAX])
{
    *path = 0;
    int fd = open(from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? walk(fd, path) : errno == ENOENT ? 0 : errno;
}
