/* What the parts of the guest know of each other. The protocol is in ../_wire/PROTOCOL.md.
 *
 * Theory of operation. One thread, one epoll loop. Every descriptor is non-blocking, every signal is blocked and read
 * from a signalfd. A *channel* is a process, a dialled connection or a file transfer. It has an *in* stream (from the
 * agent) and *out* streams (to the agent), each with absolute offsets and a bounded window. Frames for the agent are
 * appended to one queue; conn_flush(), once per turn of the loop, writes that queue and then DATA, straight out of the
 * streams' rings, one frame a stream in turn, those with little first.
 *
 * Each process has a *keeper* (keeper.c), a forked copy of the guest that is its subreaper: whatever the process
 * starts remains a descendant of the keeper, so the tree is known exactly, and the keeper's end means it is empty.
 */
#ifndef TFNZ_GUEST_H
#define TFNZ_GUEST_H

#include "protocol.h"
#include "sys.h"

#define NS_MS 1000000ull
#define NS_S 1000000000ull
/* Reading the socket stops while this much waits to be written to it: an agent that asks but does not read. */
#define QUEUE_LIMIT (4u << 20)
/* Answers of unbounded number (LIST, the inventory) are made only while the queue is shorter than this. */
#define QUEUE_LOW (128u << 10)
#define REPORT_FD 3 /* keepers write here, see keeper.c */

/* --- loop.c ------------------------------------------------------------------------------------------------------- */

struct source {
    int fd; /* -1: closed */
    uint32_t events;
    void (*ready)(struct source *, uint32_t events);
};

struct timer {
    uint64_t due;
    void (*fire)(struct timer *);
    struct timer *next, **prev; /* prev is NULL while not set */
};

void loop_init(void);
void loop_turn(void);
void loop_again(void); /* the next turn does not wait */
size_t loop_share(void); /* bytes that one source may move in this turn */
void source_open(struct source *, int fd, void (*ready)(struct source *, uint32_t));
void source_want(struct source *, uint32_t events); /* 0 removes it: EPOLLHUP cannot be masked otherwise */
void source_close(struct source *);
void timer_set(struct timer *, uint64_t ns, void (*fire)(struct timer *));
void timer_stop(struct timer *);
uint64_t now_ns(void);
uint64_t epoch_ns(void);

#define owner_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* --- wire.c: frames as bytes, no descriptors ---------------------------------------------------------------------- */

struct frame {
    uint32_t size, channel;
    uint8_t type, stream;
    uint8_t *payload;
};

struct field {
    uint16_t tag;
    uint32_t size;
    uint8_t *data;
};

struct buffer { /* [start, end) of a mapping that children do not inherit */
    uint8_t *base;
    size_t start, end, size;
};

/* Bytes the first frame takes, 0 when it is not complete, -1 when it is malformed. */
long wire_parse(uint8_t *bytes, size_t length, bool any_side, struct frame *);
bool wire_has_fields(uint8_t type);
bool field_next(const struct frame *, size_t *at, struct field *); /* on a frame that wire_parse accepted */
bool field_find(const struct frame *, uint16_t tag, struct field *);
int64_t field_int(const struct frame *, uint16_t tag, int64_t otherwise);
/* A copy of the field as a string. NULL with errno ENOENT (absent), EINVAL (NUL inside) or ENOMEM. */
char *field_text(const struct frame *, uint16_t tag);
uint32_t get32(const struct frame *, size_t at);
uint64_t get64(const struct frame *, size_t at);

bool buffer_room(struct buffer *, size_t); /* makes room for that many bytes at the end */
void frame_begin(struct buffer *, uint8_t type, uint8_t stream, uint32_t channel);
void frame_end(struct buffer *);
void put16(struct buffer *, uint16_t);
void put32(struct buffer *, uint32_t);
void put64(struct buffer *, uint64_t);
void put_bytes(struct buffer *, const void *, size_t);
void put_int(struct buffer *, uint16_t tag, int64_t);
void put_field(struct buffer *, uint16_t tag, const void *, size_t);
void put_text(struct buffer *, uint16_t tag, const char *);

/* --- ring.c, stream.c --------------------------------------------------------------------------------------------- */

struct ring { /* mapped when the first byte arrives */
    uint8_t *base;
    uint32_t size, at, used;
};

bool ring_reserve(struct ring *, uint32_t size);
bool ring_widen(struct ring *, uint32_t size);
int ring_room(struct ring *, struct iovec[2]);
int ring_data(struct ring *, uint32_t skip, uint32_t length, struct iovec[2]);
void ring_drop(struct ring *, uint32_t);
void ring_free(struct ring *);

struct channel;
struct out { /* bytes for the agent; the ring holds [head - ring.used, head) */
    struct source source;
    struct channel *channel;
    uint64_t base, head, sent; /* acknowledged; read; said on this connection */
    uint64_t end;              /* a process's: where its leader's output ended, ~0: not known yet */
    uint64_t elided, logged;   /* the main process's: dropped unread; written to the guest's own stdout or stderr */
    uint32_t window;
    uint8_t stream;
    bool eof, flowing, eof_said, grown, widened;
    struct log *log; /* NULL but for the main process */
    struct ring ring;
    struct line *line; /* where it waits for its turn to send, NULL: it has nothing */
    struct out *next, **prev;
};

struct line {
    struct out *first, **last;
};

struct in { /* bytes from the agent */
    struct source source;
    struct channel *channel;
    uint64_t received, taken, said; /* from the agent; by the other side; the last ACK */
    uint64_t window_from;           /* more than `taken` only just after a connection came */
    uint32_t window, step;          /* at most so many bytes on the way; an ACK is said after so many */
    uint64_t eof_at;                /* ~0: not said */
    bool closed, told;              /* nothing is taken any more; the agent was told so */
    struct ring ring;
};

void out_open(struct out *, struct channel *, uint8_t stream, int fd);
void out_close(struct out *);
bool out_fill(struct out *);                  /* read what there is; true if there was something */
void out_watch(struct out *);                 /* (un)register for reading, (un)queue for sending */
bool out_ack(struct out *, uint64_t offset);  /* false: out of range */
bool out_done(const struct out *);
void out_eof(struct out *);                   /* say EOF if it is due */
void out_reset(struct out *, bool flowing);   /* a connection came or went */
uint32_t out_pending(const struct out *);     /* bytes that may be sent now */

void in_open(struct in *, struct channel *, int fd);
bool in_data(struct in *, uint64_t offset, const uint8_t *, size_t); /* false: a gap, or over the window */
void in_pump(struct in *);
bool in_eof(struct in *, uint64_t offset); /* false: a gap */
void in_ack(struct in *);
void in_break(struct in *); /* the other side takes no more */
void in_close(struct in *);

/* --- log.c: the main process's output on the guest's own stdout and stderr, for the engine's log ------------------ */

struct log {
    struct source source;
    struct out *out;
    struct timer patience;
    bool stuck, direct; /* direct: not reopened, so a write is preceded by a poll */
};

void log_open(struct out *, int fd);
void log_pump(struct out *);
uint64_t log_limit(const struct out *, uint64_t until); /* how far the ring may forget */
void log_finish(void);                                  /* the guest is about to end */

/* --- channel.c ---------------------------------------------------------------------------------------------------- */

enum kind { K_PROCESS, K_DIAL, K_PUT, K_GET, K_LIST };

struct channel {
    uint32_t id;
    enum kind kind;
    bool dead, connecting; /* connecting: a dial that has no answer yet */
    struct channel *hash_next, *next, **prev;
    struct in in;
    struct out out;
};

extern struct channel *channels; /* oldest first */
struct channel *channel_find(uint32_t id);
void *channel_new(uint32_t id, enum kind, size_t size); /* NULL: no memory, or MAX_CHANNELS */
void channel_drop(struct channel *);                    /* freed when the loop's turn is over */
void channel_advance(struct channel *);                 /* say what is due */
void channel_gone(struct channel *);                    /* say GONE and drop */
void channels_sweep(void);
void channels_disconnected(void);

/* --- conn.c: the one connection ----------------------------------------------------------------------------------- */

struct conn {
    struct source source;
    bool hello, ready, stalled, wide; /* wide: its way is long, the agent says */
    int room;                         /* bytes that its socket is asked to hold */
    struct buffer in, queue;
    struct { /* the DATA frame on its way */
        struct out *out;
        uint32_t length, done; /* of header and data together */
        uint64_t offset;
        size_t before; /* bytes of the queue that go before it */
        uint8_t head[20];
    } frame;
    struct line brief, bulk; /* who has little to send, and all others */
    size_t briefly;          /* sent from the first since somebody in the other had a turn */
};

extern struct conn conn;
void conn_listen(const char *path);
void conn_close(const char *why);
void conn_flush(void);
void conn_flush_now(void); /* before the end: waits a little for the agent to take what is queued */
void conn_input(void);
void conn_queue(struct out *);
void conn_unqueue(struct out *);
void conn_forget_out(struct out *); /* it goes away: finish its frame from a copy */
void conn_dispatch(struct frame *); /* dispatch.c */
void conn_inventory(void);          /* process.c */
extern char *conn_path;
int unix_address(const char *path, struct sockaddr_un *, int *dir);

void orphan_init(void); /* orphan.c */
void orphan_heard(void);

#define QUEUE (&conn.queue)
void say(uint8_t type, uint32_t channel);
void say64(uint8_t type, uint8_t stream, uint32_t channel, uint64_t);
void say_result(uint32_t channel, uint32_t request, int error, int64_t value);
void say_failed(uint32_t channel, int error, const char *stage);

/* --- process.c ---------------------------------------------------------------------------------------------------- */

struct await {
    struct await *next;
    uint32_t request;
    uint64_t in, out, err; /* offsets: asked; found */
    bool found;
};

struct killing { /* a KILL of the tree that is not over */
    struct timer timer;
    uint32_t request;
    uint64_t until, pause;
    bool active, request_asked;
};

struct process {
    struct channel channel; /* with stdin and stdout */
    struct out err;
    struct process *pid_next;
    pid_t keeper, leader; /* 0: gone; not started yet */
    uint8_t *meta;
    uint32_t meta_size;
    uint64_t started, began; /* by epoch_ns() and now_ns() */
    bool tty, exited, empty, forgotten, said_exit, said_end;
    bool introduced; /* the connection knows of it: by the inventory, or by its own SPAWN */
    bool mid_line;   /* tty: the last byte typed was not the end of a line */
    bool lost;       /* its keeper was killed; `keeper` is the leader, now our own child */
    bool start_asked;
    uint32_t start_request;
    int32_t status;
    uint32_t flags;
    uint64_t user_us, system_us;
    uint64_t exit_head;
    struct await *awaits;
    struct timer check; /* waiting.c */
    uint64_t backoff;
    int blind; /* checks in a row that saw nothing change, and could not look inside a member */
    uint64_t blind_seen;
    struct killing killing;
};

extern struct process *main_process;
struct process *process_of(uint32_t channel);
void process_args(struct frame *); /* for the SPAWN to come; NULL: there will be none */
void process_spawn(struct frame *);
void process_setup(struct frame *);
int process_start_main(void); /* errno */
void process_advance(struct process *);
void process_introduced(struct process *); /* SPAWNED, to whoever asked */
void process_pid(struct process *, pid_t keeper);
struct process *process_of_pid(pid_t keeper);
void tty_prepare(int master);
void reports_init(void);
void reports_read(void);
void reports_reap(void);
void main_advance(void);
void process_signal(struct frame *);
void killing_over(struct process *, int survivors);
void process_disconnected(struct process *);
void process_free(struct process *);
void process_drained(struct out *);                                  /* nothing more to read now */
void process_typed(struct in *, const struct iovec *, size_t);       /* its stdin took this */
bool process_stdin_end(struct process *);                            /* false: not now */
void process_engine_signal(int signal, bool inside);                 /* the guest was sent one */
void process_kill_all(void);
void process_end_all(void); /* with a grace; the guest ends, too */
int main_code(void);        /* the container's exit code */

/* --- keeper.c ----------------------------------------------------------------------------------------------------- */

enum report_kind { R_SPAWNED = 1, R_FAILED, R_EXIT };
struct report { /* one write, shorter than PIPE_BUF: atomic */
    uint32_t channel, kind;
    int32_t pid, status; /* R_FAILED: errno */
    uint32_t stage, empty;
    uint64_t user_us, system_us;
};

struct spec { /* what to run: a SPAWN frame, or the command line's words */
    struct frame *frame;
    char **argv;
    const char *cwd, *user;
    int fds[3];
    bool tty;
    uint32_t channel;
};

extern const char *const stages[];
enum stage { ST_FORK, ST_USER, ST_CWD, ST_TTY, ST_EXEC, ST_ENV };
pid_t keeper_fork(const struct spec *);

/* --- rank.c ------------------------------------------------------------------------------------------------------- */

void rank_init(void);
void rank_give_back(void); /* in a child, before its exec */

/* --- env.c, user.c: run in the keeper ----------------------------------------------------------------------------- */

struct user {
    uid_t uid;
    gid_t gid;
    int groups; /* -1: leave them */
    gid_t group[256];
    char name[256], home[PATH_MAX], shell[PATH_MAX];
    bool known; /* has an entry in passwd */
};

int user_find(const char *spec, struct user *); /* errno; NULL: this process's own */
uint32_t user_features(void);

struct image { /* what execve wants, and what comes before */
    char **argv, **env;
    const char *file, *cwd, *path;
    struct user user;
    bool change_user, cwd_optional;
};

int image_make(const struct spec *, struct image *, enum stage *); /* errno */
int setup_take(struct frame *);                                    /* errno; the payload is its own then */

/* --- tree.c, waiting.c -------------------------------------------------------------------------------------------- */

struct member {
    pid_t pid, parent, group;
    uint32_t tty;  /* device number of its controlling terminal */
    char state;
    bool in, dead; /* of the tree; dead: a zombie without threads */
};
struct tree {
    struct member *members;
    int count, room;
};

long proc_read(const char *path, char *text, size_t size);
int scan(const char *at, int base, unsigned long long *numbers, int most);
bool proc_stat(const char *path, struct member *);
bool tree_walk(pid_t root, struct tree *, bool exact); /* false: no /proc. Without the root, without the dead */
void tree_free(struct tree *);
int tree_signal(pid_t keeper, int signal, pid_t group, int *error); /* how many; group 0: all */
int tree_kill_pass(pid_t keeper);                                   /* survivors; -1: no /proc, nothing done */

void waiting_ask(struct process *, uint32_t request, uint64_t offset);
void waiting_cancel(struct process *, uint32_t request);
void waiting_advance(struct process *); /* say what was found and is on the wire */
void waiting_kick(struct process *);    /* something happened: look soon */
void waiting_drop(struct process *);
enum sight { NO, YES, BLIND };
enum sight thread_waits(pid_t pid, pid_t tid, const struct stat *on, bool same_tty); /* blocked reading that file? */

/* --- dial.c, files.c, pipe.c, early.c, path.c, stats.c ------------------------------------------------------------ */

struct dial {
    struct channel channel;
    struct source pipe; /* what comes goes there, if it is open */
};

void dial_open(struct frame *);
void dial_advance(struct channel *);
void dial_close(struct channel *, int error);

void file_open(struct frame *);
void file_mkdir(struct frame *);
void file_advance(struct channel *);
void file_written(struct channel *);          /* all of a PUT was taken */
void file_fill(struct channel *);             /* GET: read into the ring */
void list_fill(void);                         /* LIST: entries while the queue is short */
void file_failed(struct channel *, int error, const char *stage);
void file_free(struct channel *);
bool file_copy(int from, int to);             /* all that is left of it */
bool file_piped(const struct channel *);      /* its bytes go through a pipe */
void file_piped_eof(struct channel *, uint64_t offset);
int pipe_open(const char *name, int flags);   /* one that is beside our socket */
ssize_t pipe_move(int from, int to, size_t most, bool *end);
int files_early(const char *from, char path[PATH_MAX]); /* errno, and whose it is */

int path_root(const char *root); /* errno */
int path_open(const char *path, int flags);                                   /* -1 and errno */
int path_parent(const char *path, bool make, const struct user *, char *name); /* directory of the file it means */

void stats_init(void);
void stats_sample(uint32_t request);
bool stats_oom(void); /* has the kernel killed for memory since the last call that said so? */

/* --- main.c ------------------------------------------------------------------------------------------------------- */

struct settings {
    char **argv; /* of the main process, NULL: none */
    const char *user, *cwd;
    const char *groups; /* on top of any user's own, by name or number, with commas between */
    bool tty;           /* the main process has a terminal */
    bool configured; /* by SETUP */
    bool beside;     /* another process is the container's first */
    bool no_cgroup;  /* the one that is seen is not the container's own */
    int64_t orphan;  /* seconds, 0: it waits for ever */
    uint32_t features;
    pid_t pid;
    uint8_t boot[16];
    struct rlimit files; /* as the guest found it; what processes get */
};
extern struct settings guest;
void show_as(const char *name); /* in the lists of processes */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void guest_exit(int code);
_Noreturn void leave(int code); /* _exit, and in a coverage build its counters first */
int connect_main(const char *path);
int reach_main(const char *host, const char *port);

#endif
