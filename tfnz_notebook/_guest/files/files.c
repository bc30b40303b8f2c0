/* File transfers, listings, directories. Disk files never say EAGAIN, so these read and write where they stand. */
#include "guest.h"

struct file {
    struct channel channel;
    struct file *next;  /* listings that are not over */
    int fd, dir;        /* the file or the directory that is listed; the directory a PUT goes to */
    struct source pipe; /* has the bytes, where the agent names one */
    uint64_t piped;     /* how many went into it */
    char name[NAME_MAX + 1], temporary[40];
    mode_t mode;
    bool chown, listing_one;
    struct user *user; /* of the request, NULL: none was named */
    uid_t uid;
    gid_t gid;
    char *entries; /* what getdents64 gave, [at, end) not yet told */
    int at, end;
};
enum { ENTRIES = 32 << 10 };
static struct file *listings;

struct entry { /* linux_dirent64 */
    uint64_t inode, offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

void file_free(struct channel *c)
{
    struct file *f = (struct file *)c;
    for (struct file **at = &listings; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    if (f->dir >= 0 && *f->temporary)
        unlinkat(f->dir, f->temporary, 0);
    if (f->fd >= 0)
        close(f->fd);
    if (f->dir >= 0)
        close(f->dir);
    f->fd = f->dir = -1;
    source_close(&f->pipe);
    free(f->entries);
    free(f->user);
    f->entries = NULL;
    f->user = NULL;
}

void file_failed(struct channel *c, int error, const char *stage)
{
    say_failed(c->id, error, stage);
    channel_drop(c);
}

static void say_stat(uint32_t channel, const char *name, const struct stat *st, const char *link)
{
    frame_begin(QUEUE, T_STAT, 0, channel);
    if (name)
        put_text(QUEUE, TAG_NAME, name);
    put_int(QUEUE, TAG_KIND, st->st_mode & S_IFMT);
    put_int(QUEUE, TAG_SIZE, st->st_size);
    put_int(QUEUE, TAG_MODE, st->st_mode & 07777);
    put_int(QUEUE, TAG_UID, st->st_uid);
    put_int(QUEUE, TAG_GID, st->st_gid);
    put_int(QUEUE, TAG_MTIME, (int64_t)st->st_mtim.tv_sec * (int64_t)NS_S + st->st_mtim.tv_nsec);
    if (link)
        put_text(QUEUE, TAG_LINK, link);
    frame_end(QUEUE);
}

/* The user a new file belongs to. 0, or errno. */
static int request_user(const struct frame *q, struct user **user)
{
    char *spec = field_text(q, TAG_USER);
    *user = NULL;
    if (!spec || !*spec) {
        free(spec);
        return spec || errno == ENOENT ? 0 : errno;
    }
    struct user *u = malloc(sizeof *u);
    int error = u ? user_find(spec, u) : ENOMEM;
    free(spec);
    if (error)
        free(u);
    else
        *user = u;
    return error;
}

static int wrong_kind(const struct stat *st, const char **stage)
{
    if (S_ISREG(st->st_mode))
        return 0;
    *stage = "kind";
    return S_ISDIR(st->st_mode) ? EISDIR : EINVAL;
}

/* --- through a pipe ---------------------------------------------------------------------------------------------- */

/* Who reads or writes at its other end may go away at any time: a file is whole when the connection says so. */

bool file_piped(const struct channel *c)
{
    return ((const struct file *)c)->pipe.fd >= 0;
}

/* 0 where none is named. */
static int pipe_begin(struct file *f, const struct frame *q, int flags, void (*ready)(struct source *, uint32_t),
                      const char **stage)
{
    char *name = field_text(q, TAG_PIPE);
    if (!name)
        return errno == ENOENT ? 0 : errno;
    *stage = "pipe";
    int fd = pipe_open(name, flags);
    free(name);
    if (fd < 0)
        return errno;
    source_open(&f->pipe, fd, ready);
    source_want(&f->pipe, (flags & O_ACCMODE) == O_RDONLY ? EPOLLIN : EPOLLOUT);
    return 0;
}

static void put_go_on(struct file *f)
{
    struct in *i = &f->channel.in;
    bool over = !f->pipe.events;
    if (i->received == i->eof_at)
        file_written(&f->channel);
    else if (i->received > i->eof_at || (over && i->eof_at != UINT64_MAX))
        file_failed(&f->channel, EPIPE, "read");
}

static void put_ready(struct source *s, uint32_t events)
{
    struct file *f = owner_of(s, struct file, pipe);
    bool end;
    ssize_t n = pipe_move(s->fd, f->channel.in.source.fd, loop_share(), &end);
    (void)events;
    if (n < 0) {
        file_failed(&f->channel, errno, "write");
        return;
    }
    f->channel.in.received += (uint64_t)n;
    if (end)
        source_want(s, 0);
    put_go_on(f);
}

void file_piped_eof(struct channel *c, uint64_t offset)
{
    c->in.eof_at = offset;
    put_go_on((struct file *)c);
}

/* It stays open, for whoever is at its other end may not have opened it yet, until the agent closes the channel. */
static void get_ready(struct source *s, uint32_t events)
{
    struct file *f = owner_of(s, struct file, pipe);
    bool end;
    ssize_t n = pipe_move(f->fd, s->fd, loop_share(), &end);
    (void)events;
    if (n < 0) {
        file_failed(&f->channel, errno, "read");
        return;
    }
    f->piped += (uint64_t)n;
    if (end) {
        source_want(s, 0);
        say64(T_EOF, S_OUT, f->channel.id, f->piped);
    }
}

/* --- PUT --------------------------------------------------------------------------------------------------------- */

static int put_begin(struct file *f, const struct frame *q, const char *path, const char **stage)
{
    int64_t mode = field_int(q, TAG_MODE, -1);
    bool parents = field_int(q, TAG_FLAGS, 0) & FLAG_PARENTS;
    struct stat st;
    *stage = "user";
    int error = request_user(q, &f->user);
    if (error)
        return error;
    *stage = "open";
    f->dir = path_parent(path, parents, f->user, f->name);
    if (f->dir < 0)
        return errno;
    if (path[strlen(path) - 1] == '/')
        return EISDIR;
    f->mode = mode < 0 ? 0644 : (mode_t)mode & 07777;
    f->chown = f->user;
    if (f->user) {
        f->uid = f->user->uid;
        f->gid = f->user->gid;
    }
    if (fstatat(f->dir, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if ((error = wrong_kind(&st, stage))) /* a rename would replace /dev/null */
            return error;
        if (mode < 0)
            f->mode = st.st_mode & 07777;
        if (!f->user && geteuid() == 0) {
            f->chown = true;
            f->uid = st.st_uid;
            f->gid = st.st_gid;
        }
    }
    static unsigned counter;
    snprintf(f->temporary, sizeof f->temporary, ".tfnz-%08x-%u", (unsigned)epoch_ns(), counter++);
    int fd = openat(f->dir, f->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        error = errno;
        *f->temporary = 0;
        return error;
    }
    in_open(&f->channel.in, &f->channel, fd);
    f->channel.in.window = WINDOW_WIDE;
    f->channel.in.step = field_int(q, TAG_FLAGS, 0) & FLAG_WIDE ? WINDOW_WIDE / 4 : WINDOW_IN / 2;
    error = pipe_begin(f, q, O_RDONLY, put_ready, stage);
    if (!error && file_piped(&f->channel))
        say64(T_ACK, S_IN, f->channel.id, 0); /* it is open here: who writes may open it now */
    return error;
}

bool file_copy(int from, int to)
{
    static char piece[64 << 10];
    ssize_t n;
    while ((n = read(from, piece, sizeof piece)) > 0)
        for (ssize_t done = 0, more; done < n; done += more)
            if ((more = write(to, piece + done, (size_t)(n - done))) < 0)
                return false;
    return n == 0;
}

/* A file that is mounted by itself, as engines do with /etc/hosts, cannot be replaced: what was uploaded is written
 * through to it. */
static bool write_through(struct file *f, int uploaded, struct stat *st)
{
    int to = openat(f->dir, f->name, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool good = to >= 0 && lseek(uploaded, 0, SEEK_SET) == 0 && file_copy(uploaded, to) &&
                (!f->chown || fchown(to, f->uid, f->gid) == 0) && fchmod(to, f->mode) == 0 && fstat(to, st) == 0;
    int error = errno;
    if (to >= 0)
        close(to);
    if (good)
        unlinkat(f->dir, f->temporary, 0);
    errno = error;
    return good;
}

void file_written(struct channel *c)
{
    struct file *f = (struct file *)c;
    struct stat st;
    int fd = c->in.source.fd;
    const char *stage = "user";
    bool good = !f->chown || fchown(fd, f->uid, f->gid) == 0;
    if (good) {
        stage = "write"; /* chmod comes last, for chown drops the set-user-id bit */
        good = fchmod(fd, f->mode) == 0 && fstat(fd, &st) == 0;
    }
    if (good) {
        stage = "rename";
        good = renameat(f->dir, f->temporary, f->dir, f->name) == 0 || (errno == EBUSY && write_through(f, fd, &st));
    }
    if (!good) {
        file_failed(c, errno, stage);
        return;
    }
    *f->temporary = 0;
    say_stat(c->id, NULL, &st, NULL);
    channel_gone(c);
}

/* --- GET --------------------------------------------------------------------------------------------------------- */

/* Looked at before it is opened: opening a FIFO waits, opening a device may do anything. */
static int get_begin(struct file *f, const struct frame *q, const char *path, const char **stage)
{
    struct stat st;
    int peek = path_open(path, O_PATH);
    if (peek < 0)
        return errno;
    int error = fstat(peek, &st) < 0 ? errno : wrong_kind(&st, stage);
    close(peek);
    if (error)
        return error;
    f->fd = path_open(path, O_RDONLY | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &st) < 0)
        return errno;
    if ((error = wrong_kind(&st, stage)))
        return error;
    if ((error = pipe_begin(f, q, O_RDWR, get_ready, stage)))
        return error;
    say_stat(f->channel.id, NULL, &st, NULL);
    if (file_piped(&f->channel))
        return 0;
    out_open(&f->channel.out, &f->channel, S_OUT, -1);
    if (field_int(q, TAG_FLAGS, 0) & FLAG_WIDE)
        f->channel.out.window = WINDOW_WIDE;
    return 0;
}

void file_fill(struct channel *c)
{
    struct file *f = (struct file *)c;
    struct out *o = &c->out;
    struct iovec v[2];
    if (!ring_reserve(&o->ring, o->window)) {
        file_failed(c, ENOMEM, "read");
        return;
    }
    int pieces = ring_room(&o->ring, v);
    if (!pieces)
        return;
    if (v[0].iov_len > MAX_DATA)
        v[0].iov_len = MAX_DATA;
    ssize_t n = readv(f->fd, v, v[0].iov_len == MAX_DATA ? 1 : pieces);
    if (n < 0) {
        file_failed(c, errno, "read");
        return;
    }
    o->eof = n == 0;
    o->ring.used += (uint32_t)n;
    o->head += (uint64_t)n;
}

void file_advance(struct channel *c)
{
    if (c->kind != K_GET || file_piped(c))
        return;
    out_eof(&c->out);
    if (c->out.eof_said)
        channel_gone(c);
}

/* --- LIST -------------------------------------------------------------------------------------------------------- */

static int list_begin(struct file *f, const char *path)
{
    struct stat st;
    f->fd = path_open(path, O_PATH);
    if (f->fd < 0 || fstat(f->fd, &st) < 0)
        return errno;
    if (S_ISDIR(st.st_mode)) {
        close(f->fd);
        f->fd = path_open(path, O_RDONLY | O_DIRECTORY);
        if (f->fd < 0)
            return errno;
        if (!(f->entries = malloc(ENTRIES)))
            return ENOMEM;
    } else {
        const char *slash = strrchr(path, '/');
        snprintf(f->name, sizeof f->name, "%s", slash + 1);
        f->listing_one = true;
    }
    f->next = listings;
    listings = f;
    return 0;
}

static void say_entry(struct file *f, const struct entry *e)
{
    struct stat st;
    char link[PATH_MAX];
    if (!strcmp(e->name, ".") || !strcmp(e->name, "..") || fstatat(f->fd, e->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return; /* one that went away meanwhile is not listed */
    ssize_t n = S_ISLNK(st.st_mode) ? readlinkat(f->fd, e->name, link, sizeof link - 1) : -1;
    if (n >= 0)
        link[n] = 0;
    say_stat(f->channel.id, e->name, &st, n >= 0 ? link : NULL);
}

/* False when the listing is over and its channel gone. */
static bool list_some(struct file *f)
{
    struct stat st;
    if (f->listing_one && fstat(f->fd, &st) == 0) {
        say_stat(f->channel.id, f->name, &st, NULL);
    } else if (!f->listing_one) {
        if (f->at == f->end) {
            long n = syscall(SYS_getdents64, f->fd, f->entries, ENTRIES);
            if (n < 0) {
                file_failed(&f->channel, errno, "read");
                return false;
            }
            f->at = 0;
            f->end = (int)n;
        }
        for (int i = 0; i < 64 && f->at < f->end; i++) {
            struct entry *e = (struct entry *)(f->entries + f->at);
            f->at += e->size;
            say_entry(f, e);
        }
        if (f->end)
            return true;
    }
    say64(T_EOF, S_OUT, f->channel.id, 0);
    channel_gone(&f->channel);
    return false;
}

void list_fill(void)
{
    while (listings && conn.queue.end - conn.queue.start < QUEUE_LOW)
        list_some(listings);
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

void file_open(struct frame *q)
{
    const char *stage = "path";
    if (channel_find(q->channel) || q->channel <= MAIN) {
        conn_close("a file request on a channel that exists");
        return;
    }
    enum kind kind = q->type == T_PUT ? K_PUT : q->type == T_GET ? K_GET : K_LIST;
    char *path = field_text(q, TAG_PATH);
    int error = path && *path ? 0 : EINVAL;
    struct file *f = error ? NULL : channel_new(q->channel, kind, sizeof *f);
    if (!error && !f)
        error = errno;
    if (f) {
        f->fd = f->dir = f->pipe.fd = -1;
        stage = "open";
        error = kind == K_PUT   ? put_begin(f, q, path, &stage)
                : kind == K_GET ? get_begin(f, q, path, &stage)
                                : list_begin(f, path);
        if (error)
            channel_drop(&f->channel);
        else if (kind == K_GET && !file_piped(&f->channel))
            out_watch(&f->channel.out);
    }
    free(path);
    if (error)
        say_failed(q->channel, error, stage);
}

static int make_directory(const struct frame *q, const char *path, struct stat *st, const char **stage)
{
    int64_t flags = field_int(q, TAG_FLAGS, 0);
    mode_t mode = (mode_t)field_int(q, TAG_MODE, 0755) & 07777;
    char name[NAME_MAX + 1];
    struct user *user;
    *stage = "user";
    int error = request_user(q, &user);
    if (error)
        return error;
    *stage = "mkdir";
    int dir = path_parent(path, flags & FLAG_PARENTS, user, name), fd = -1;
    if (dir < 0)
        error = errno == EISDIR ? EEXIST : errno; /* the root */
    else if (mkdirat(dir, name, 0700) < 0)
        error = errno;
    else if ((fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0 ||
             (user && (*stage = "user", fchown(fd, user->uid, user->gid) < 0)) || fchmod(fd, mode) < 0 ||
             fstat(fd, st) < 0)
        error = errno;
    if (error == EEXIST && flags & FLAG_EXIST_OK) {
        fd = path_open(path, O_PATH | O_DIRECTORY);
        error = fd >= 0 && fstat(fd, st) == 0 ? 0 : EEXIST;
    }
    free(user);
    if (dir >= 0)
        close(dir);
    if (fd >= 0)
        close(fd);
    return error;
}

void file_mkdir(struct frame *q)
{
    const char *stage = "path";
    struct stat st;
    if (channel_find(q->channel) || q->channel <= MAIN) {
        conn_close("MKDIR on a channel that exists");
        return;
    }
    char *path = field_text(q, TAG_PATH);
    int error = path && *path ? make_directory(q, path, &st, &stage) : EINVAL;
    free(path);
    if (error) {
        say_failed(q->channel, error, stage);
        return;
    }
    say_stat(q->channel, NULL, &st, NULL);
    say(T_GONE, q->channel);
}
