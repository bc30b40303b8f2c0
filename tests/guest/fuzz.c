/* Frames nobody would send, to the real dispatcher: everything of the guest but main() and the keepers, under
 * AddressSanitizer and UBSan. `fuzz SECONDS [SEED]`; the same seed says the same frames, a
 * million to the decoder, and then for so long, and a hundred thousand at least, to the dispatcher. With -DLIBFUZZER it is
 * libFuzzer's entry instead.
 *
 * Nothing leaves the process: keepers are made up, kill() and connect() are wrapped (-Wl,--wrap), files live under a
 * temporary root, which the guest's own path rules hold it to.
 */
#include <setjmp.h>

#include "guest.h"

enum { FAKE_PID = 0x3fffffff, MOST = 4096, MILLION = 1000000 };
struct settings guest = {.pid = 1};
const char *const stages[] = {"fork", "user", "cwd", "tty", "exec", "env"};
static char directory[] = "/tmp/tfnz-fuzz-XXXXXX";
static int agent_end = -1;
static jmp_buf over;
static unsigned long long inputs, frames;

void note(const char *format, ...)
{
    (void)format;
}

_Noreturn void leave(int code)
{
    (void)code;
    abort();
}

/* The container's end is the input's: its main process has ended, maybe in an input before, whose grace is over. */
_Noreturn void guest_exit(int code)
{
    (void)code;
    longjmp(over, 1);
}

int __wrap_kill(pid_t pid, int signal)
{
    (void)pid, (void)signal;
    errno = ESRCH;
    return -1;
}

int __wrap_connect(int fd, const struct sockaddr *a, socklen_t size)
{
    (void)fd, (void)a, (void)size;
    errno = ECONNREFUSED;
    return -1;
}

/* By channel: starts and goes on, fails, or ends at once. */
pid_t keeper_fork(const struct spec *spec)
{
    static struct image image;
    enum stage stage;
    struct report r[2] = {{.channel = spec->channel, .kind = R_SPAWNED, .pid = FAKE_PID},
                          {.channel = spec->channel, .kind = R_EXIT, .pid = FAKE_PID, .empty = 1}};
    image_make(spec, &image, &stage); /* leaks, as it does in a keeper: see __lsan_default_suppressions */
    if (spec->channel % 3 == 0)
        r[0].kind = R_FAILED, r[0].status = ENOENT, r[0].stage = spec->channel % 8;
    if (write(REPORT_FD, r, spec->channel % 3 == 1 ? sizeof r : sizeof *r) < 0)
        abort();
    return FAKE_PID;
}

const char *__lsan_default_suppressions(void)
{
    return "leak:image_make\n";
}

static void drain(void)
{
    static char bytes[1 << 20];
    while (read(agent_end, bytes, sizeof bytes) > 0)
        ;
}

static void begin(void)
{
    int fds[2];
    static int null;
    if (!*guest.boot) {
        guest.boot[0] = 1;
        signal(SIGPIPE, SIG_IGN); /* the guest blocks it */
        static char path[64];
        if (!mkdtemp(directory))
            abort();
        snprintf(path, sizeof path, "%s/x", directory); /* a FIFO that texts name, beside the socket that there would be */
        if (mkfifo(path, 0600) < 0)
            abort();
        conn_path = path;
        while ((null = open("/dev/null", O_RDWR)) <= REPORT_FD)
            ;
        loop_init();
        reports_init();
        path_root(directory);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        abort();
    agent_end = fds[1];
    conn.source.fd = fds[0];
    conn.source.events = 0;
}

static void end(void)
{
    conn_close(NULL);
    while (channels)
        channel_drop(channels);
    channels_sweep();
    main_process = NULL; /* its channel has gone with the others, and the next input may start another */
    close(agent_end);
}

static void one_input(const uint8_t *bytes, size_t size)
{
    conn.hello = conn.ready = size && bytes[0] & 1;
    if (buffer_room(&conn.in, MAX_PAYLOAD + (128 << 10)) && size > 1) {
        memcpy(conn.in.base, bytes + 1, size - 1);
        conn.in.end = size - 1;
        conn_input();
    }
    for (int i = 0; i < 3; i++) {
        loop_again();
        loop_turn();
        drain();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    begin();
    inputs++;
    if (!setjmp(over))
        one_input(bytes, size);
    end();
    return 0;
}

#ifndef LIBFUZZER
static uint64_t state;

static uint32_t dice(uint32_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % sides;
}

static const uint8_t types[] = {T_HELLO, T_PING, T_PONG, T_SPAWN, T_DATA, T_ACK, T_EOF, T_FORGET, T_SIGNAL, T_RESIZE,
                                T_AWAIT, T_CANCEL, T_START, T_DIAL, T_CLOSE, T_PUT, T_GET, T_LIST, T_MKDIR, T_SAMPLE,
                                T_ARGS,  T_SETUP};
static const char *const texts[] = {"/", "/a", "/a/b", "/a/../b", "x", "", "root", "0:0", "true", "A=b", "127.0.0.1", "::1"};

static void some_fields(struct buffer *b)
{
    for (uint32_t n = dice(6); n; n--) {
        uint16_t tag = (uint16_t)dice(TAG_LAST + 3);
        if (dice(12) == 0)
            put_field(b, tag, &state, dice(9));
        else if (tag > TAG_LAST || !(TAGS_OF_INTEGERS >> tag & 1))
            put_text(b, tag, texts[dice(sizeof texts / sizeof *texts)]);
        else
            put_int(b, tag, dice(3) ? dice(100) : (int64_t)state);
    }
}

/* A frame that is right, or nearly. */
static void some_frame(struct buffer *b)
{
    uint8_t type = dice(40) ? types[dice(sizeof types)] : (uint8_t)dice(256);
    frame_begin(b, type, (uint8_t)(dice(8) ? dice(2) : dice(5)), dice(10));
    if (wire_has_fields(type))
        some_fields(b);
    else if (type == T_DATA || type == T_ACK || type == T_EOF || type == T_PING)
        put64(b, dice(4) ? dice(40) : state);
    else if (type != T_FORGET)
        put32(b, dice(8) ? dice(12) : (uint32_t)state);
    if (type == T_DATA)
        put_bytes(b, directory, dice(20));
    if (type == T_SIGNAL || type == T_AWAIT)
        put64(b, dice(4) ? dice(40) : state);
    frame_end(b);
    frames++;
}

/* The decoder alone, exact allocations: a byte read beyond one is found. */
static void fuzz_decoder(uint64_t count)
{
    struct buffer b = {0};
    for (uint64_t i = 0; i < count; i++) {
        struct frame f;
        struct field field;
        b.start = b.end = 0;
        some_frame(&b);
        for (uint32_t n = dice(4); n; n--)
            b.base[dice((uint32_t)b.end)] ^= (uint8_t)(1 << dice(8));
        size_t size = dice(4) ? b.end : dice((uint32_t)b.end + 1);
        uint8_t *exact = malloc(size + !size);
        memcpy(exact, b.base, size);
        if (wire_parse(exact, size, true, &f) > 0 && wire_has_fields(f.type))
            for (size_t at = 0; field_next(&f, &at, &field);)
                if (field.data + field.size > exact + size)
                    abort();
        free(exact);
    }
    munmap(b.base, b.size);
}

int main(int argc, char **argv)
{
    uint64_t until = now_ns() + (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * NS_S;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    state = state * 0x9E3779B97F4A7C15ull + 1;
    fuzz_decoder(MILLION);
    struct buffer b = {0};
    while (now_ns() < until || frames < MILLION + MILLION / 10) {
        b.start = b.end = 0;
        put_bytes(&b, dice(20) ? "\1" : "\0", 1);
        if (b.base[0] == 0 && dice(2)) {
            frame_begin(&b, T_HELLO, 0, 0);
            put_int(&b, TAG_VERSION, 1);
            frame_end(&b);
        }
        for (uint32_t n = 1 + dice(30); n && b.end < MOST; n--)
            some_frame(&b);
        if (dice(3) == 0)
            b.base[dice((uint32_t)b.end)] ^= (uint8_t)(1 << dice(8));
        LLVMFuzzerTestOneInput(b.base, b.end);
    }
    munmap(b.base, b.size);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0)
        return 1;
    printf("%llu frames, %llu connections, nothing found\n", frames, inputs);
    return 0;
}
#endif
