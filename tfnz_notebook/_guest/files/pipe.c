/* FIFOs beside the guest's socket: bytes of files that do not go over the connection. */
#include "guest.h"

/* The directory is the container's as well, and who is root in there may put anything in it. */
int pipe_open(const char *name, int flags)
{
    char path[PATH_MAX];
    struct stat st;
    const char *slash = strrchr(conn_path, '/');
    int length = slash ? (int)(slash - conn_path) : 0;
    if (strchr(name, '/') || snprintf(path, sizeof path, "%.*s/%s", length, conn_path, name) >= (int)sizeof path) {
        errno = EINVAL;
        return -1;
    }
    int fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))) {
        close(fd);
        fd = -1;
        errno = EINVAL;
    }
    return fd;
}

/* The same with a copy, for files that cannot be spliced: of /proc. */
static ssize_t copy(int from, int to)
{
    static char piece[64 << 10];
    ssize_t n = read(from, piece, sizeof piece), done = 0, wrote = 0;
    if (n < 0)
        return -1;
    while (done < n && (wrote = write(to, piece + done, (size_t)(n - done))) > 0)
        done += wrote;
    if (done == n)
        return n;
    if (errno == EAGAIN && lseek(from, done - n, SEEK_CUR) >= 0 && done) /* a full pipe: what it did not take comes again */
        return done;
    return -1;
}

/* Bytes moved, at most about `most`; -1 with errno. `end`: `from` has no more. One of them is a file on a disk. */
ssize_t pipe_move(int from, int to, size_t most, bool *end)
{
    size_t moved = 0;
    *end = false;
    while (moved < most) {
        ssize_t n = splice(from, NULL, to, NULL, most - moved, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && errno == EINVAL)
            n = copy(from, to);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? (ssize_t)moved : -1;
        *end = n == 0;
        if (*end)
            break;
        moved += (size_t)n;
    }
    return (ssize_t)moved;
}
